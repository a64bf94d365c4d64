//! Every knob of a [`Client`](crate::Client), checked in one place.

use std::time::Duration;

use majordomo_protocol::{Body, ENDPOINT_DEFAULT, Endpoint, ServiceName};

use super::Request;
use crate::call_error::{CallError, check_duration, check_number};
use crate::options::Options;

/// What a [`Client`](crate::Client) may do and for how long; see the methods of
/// [`ClientBuilder`](crate::ClientBuilder) for each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The brokers, in order of preference; none means [`ENDPOINT_DEFAULT`].
    pub endpoints: Vec<String>,
    /// The longest one try waits. Default: 10 s.
    pub timeout: Duration,
    /// The longest one call takes. None, the default, means tries × timeout.
    pub deadline: Option<Duration>,
    /// Tries for each call. None means 3, or the number of brokers if that is more.
    pub tries: Option<u32>,
    /// How long a broker is given to accept a connection. Default: 1 s.
    pub connect_timeout: Duration,
    /// How long a broker with something outstanding may be quiet before it is asked
    /// for a sign of life. Default: 1 s.
    pub heartbeat: Duration,
    /// How many such questions may go unanswered. Default: 3.
    pub liveness: u32,
    /// The most calls outstanding. Default: 10,000.
    pub outstanding_max: usize,
    /// The most bytes of the bodies and metadata of the calls outstanding. Default:
    /// 256 MiB.
    pub outstanding_bytes_max: usize,
    /// The most bytes of a message that carries several requests. Default: 256 KiB.
    pub batch_bytes_max: usize,
    /// The largest body sent, in bytes. Default: 64 MiB.
    pub body_bytes_max: usize,
    /// The most frames in a body sent. Default: 1,000.
    pub body_frames_max: usize,
    /// The most bytes of a reply that wait to be read. Default: 64 MiB.
    pub reply_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            endpoints: Vec::new(),
            timeout: Duration::from_secs(10),
            deadline: None,
            tries: None,
            connect_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_secs(1),
            liveness: 3,
            outstanding_max: 10_000,
            outstanding_bytes_max: 256 << 20,
            batch_bytes_max: 256 << 10,
            body_bytes_max: 64 << 20,
            body_frames_max: 1_000,
            reply_bytes_max: 64 << 20,
        }
    }
}

impl Settings {
    /// Puts the default where no endpoint was given, and refuses what cannot be.
    pub(crate) fn checked(mut self) -> Result<Self, CallError> {
        if self.endpoints.is_empty() {
            self.endpoints.push(ENDPOINT_DEFAULT.to_owned());
        }
        for endpoint in &self.endpoints {
            Endpoint::to_connect(endpoint)?;
        }
        check_duration("timeout", self.timeout)?;
        check_duration("deadline", self.deadline.unwrap_or(self.timeout))?;
        check_duration("connect_timeout", self.connect_timeout)?;
        check_duration("heartbeat", self.heartbeat)?;
        let tries = self.tries.map_or(1, |tries| tries as usize);
        check_number("tries", tries, 1..=1_000, "1 to 1000")?;
        check_number("liveness", self.liveness as usize, 1..=100, "1 to 100")?;
        check_number("outstanding_max", self.outstanding_max, 1..=1 << 20, "1 to 1048576")?;
        let bytes = self.outstanding_bytes_max;
        check_number("outstanding_bytes_max", bytes, 1..=usize::MAX, "1 or more")?;
        check_number("batch_bytes_max", self.batch_bytes_max, 1..=64 << 20, "1 to 64 MiB")?;
        check_number("body_bytes_max", self.body_bytes_max, 1..=1 << 30, "1 to 1 GiB")?;
        // The number of body frames travels in two bytes.
        check_number("body_frames_max", self.body_frames_max, 1..=65_535, "1 to 65535")?;
        check_number("reply_bytes_max", self.reply_bytes_max, 1..=usize::MAX, "1 or more")?;
        Ok(self)
    }

    /// A request as the client's settings and the call's options have it.
    pub(crate) fn request(
        &self,
        service: ServiceName,
        body: Body,
        options: &Options,
    ) -> Result<Request, CallError> {
        options.check()?;
        let check = |unit, found, setting, limit| match found > limit {
            true => Err(CallError::BodyOverLimit { unit, found, limit, setting }),
            false => Ok(()),
        };
        check("bytes", body.size(), "body_bytes_max", self.body_bytes_max)?;
        check("frames", body.frames().len(), "body_frames_max", self.body_frames_max)?;
        let brokers = u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX).min(1_000);
        let tries = options.tries.or(self.tries).unwrap_or(brokers.max(3));
        let timeout = options.timeout.unwrap_or(self.timeout);
        let whole = self.deadline.unwrap_or_else(|| timeout.saturating_mul(tries));
        Ok(Request {
            service,
            body,
            timeout,
            deadline: options.deadline.unwrap_or(whole),
            tries,
            start_within: options.start_within,
            once: options.once,
            fail_fast: options.fail_fast,
            no_reply: false,
            metadata: options.metadata.clone(),
        })
    }
}
