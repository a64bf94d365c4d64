//! Every knob of a client: default, range, and what it is for.
//!
//! Values are checked in one place, before a client exists: a dialog with
//! impossible settings cannot be built.

use std::time::Duration;

use majordomo_protocol::{ENDPOINT_DEFAULT, Endpoint, Version};

use crate::error::Error;

/// What a client may do and for how long; see the methods of
/// [`BlockingClientBuilder`](crate::BlockingClientBuilder) for each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The brokers, in order of preference; none means [`ENDPOINT_DEFAULT`].
    pub endpoints: Vec<String>,
    /// The version spoken. Default: MDP/0.2.
    pub version: Version,
    /// The longest one try lasts, 1 ms to 24 h. Default: 10 s.
    pub timeout: Duration,
    /// The longest one try waits for a connection, 1 ms to 24 h; never more than
    /// `timeout`. Default: 1 s.
    pub connect_timeout: Duration,
    /// Tries for each request, 1 to 1,000. None means 3, or the number of
    /// endpoints if that is more.
    pub tries: Option<u32>,
    /// The largest body sent, in bytes. Default: 64 MiB.
    pub body_bytes_max: usize,
    /// The most frames in a body sent. Default: 1,000.
    pub body_frames_max: usize,
    /// The largest reply taken, in bytes. Default: 64 MiB.
    pub reply_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            endpoints: Vec::new(),
            version: Version::V0_2,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            tries: None,
            body_bytes_max: 64 << 20,
            body_frames_max: 1_000,
            reply_bytes_max: 64 << 20,
        }
    }
}

impl Settings {
    const TRIES: u32 = 3;
    const TRIES_MAX: u32 = 1_000;
    const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// Puts the defaults where nothing was given, and refuses what cannot be.
    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        if self.endpoints.is_empty() {
            self.endpoints.push(ENDPOINT_DEFAULT.to_owned());
        }
        for endpoint in &self.endpoints {
            Endpoint::to_connect(endpoint)?;
        }
        if self.version == Version::V1_0 {
            let found = self.version.to_string();
            let rule = "0.1 or 0.2; a Client speaks 1.0";
            return Err(Error::Setting { setting: "version", found, rule });
        }
        for (setting, value) in
            [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)]
        {
            if !(Duration::from_millis(1)..=Self::DURATION_MAX).contains(&value) {
                let found = format!("{value:?}");
                return Err(Error::Setting { setting, found, rule: "1 ms to 24 h" });
            }
        }
        if let Some(tries) = self.tries
            && !(1..=Self::TRIES_MAX).contains(&tries)
        {
            let found = tries.to_string();
            return Err(Error::Setting { setting: "tries", found, rule: "1 to 1000" });
        }
        for (setting, value) in [
            ("body_bytes_max", self.body_bytes_max),
            ("body_frames_max", self.body_frames_max),
            ("reply_bytes_max", self.reply_bytes_max),
        ] {
            if value == 0 {
                return Err(Error::Setting { setting, found: "0".to_owned(), rule: "1 or more" });
            }
        }
        Ok(self)
    }

    /// Tries for each request.
    pub(crate) fn tries(&self) -> u32 {
        let endpoints = u32::try_from(self.endpoints.len()).unwrap_or(Self::TRIES_MAX);
        self.tries.unwrap_or(Self::TRIES.max(endpoints.min(Self::TRIES_MAX)))
    }
}
