//! The keys of security: what they give, and what they need of each other.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use majordomo_protocol::Endpoint;

use super::error::ConfigError;
use super::table::file_mode;
use super::{Config, fit};
use crate::engine::Limits;
use crate::security::is_local;

impl Config {
    /// Endpoints to listen on with CURVE: none twice, and none of `bind`.
    pub fn bind_curve(&self) -> &[Endpoint] {
        &self.bind_curve
    }

    /// Endpoints to listen on with PLAIN: none twice, and none of the others.
    pub fn bind_plain(&self) -> &[Endpoint] {
        &self.bind_plain
    }

    /// All endpoints to listen on, in the order `bind`, `bind_curve`, `bind_plain`: one or
    /// more, none twice.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.bind.iter().chain(&self.bind_curve).chain(&self.bind_plain)
    }

    /// Mode of the files of ipc endpoints; `None` leaves it to the umask.
    pub fn ipc_mode(&self) -> Option<u32> {
        file_mode(&self.ipc_mode)
    }

    /// The file of the broker's secret key; there if an endpoint uses CURVE.
    pub fn curve_secret_key_file(&self) -> Option<&Path> {
        path(&self.curve_secret_key_file)
    }

    /// The file that says who may do what; there if an endpoint uses CURVE or PLAIN.
    pub fn rights_file(&self) -> Option<&Path> {
        path(&self.rights_file)
    }

    /// Whether open endpoints may be reachable from other machines.
    pub fn allow_insecure(&self) -> bool {
        self.allow_insecure
    }

    /// Time in which a connection must have ended its handshake.
    pub fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }

    /// Workers and clients of one identity.
    pub fn peers_per_identity_max(&self) -> usize {
        fit(self.peers_per_identity_max, usize::MAX)
    }

    /// Connections of one identity.
    pub fn connections_per_identity_max(&self) -> usize {
        fit(self.connections_per_identity_max, usize::MAX)
    }

    /// Requests of one identity that may wait or run.
    pub fn requests_per_identity_max(&self) -> usize {
        fit(self.requests_per_identity_max, usize::MAX)
    }

    /// Invalid messages of one identity in a row.
    pub fn invalid_max(&self) -> u32 {
        fit(self.invalid_max, u32::MAX)
    }

    /// Time after which an invalid message is forgiven.
    pub fn invalid_recovery(&self) -> Duration {
        Duration::from_millis(self.invalid_recovery_ms)
    }

    /// What holds for each identity.
    pub(crate) fn identity_limits(&self) -> Limits {
        Limits {
            requests_max: self.requests_per_identity_max(),
            peers_max: self.peers_per_identity_max(),
            connections_max: self.connections_per_identity_max(),
            invalid_max: self.invalid_max(),
            invalid_recovery: self.invalid_recovery(),
        }
    }

    /// Whether any endpoint authenticates its peers.
    pub fn is_secured(&self) -> bool {
        !self.bind_curve.is_empty() || !self.bind_plain.is_empty()
    }

    /// Endpoints that other machines reach without encryption, and what that means.
    pub fn exposed_endpoints(&self) -> [(Vec<&Endpoint>, &'static str); 2] {
        [
            (exposed(&self.bind), "other machines reach it, without authentication"),
            (exposed(&self.bind_plain), "other machines reach it, and passwords are not encrypted"),
        ]
    }

    /// What the keys of security need of each other. `default_endpoints`: nobody said
    /// anything of `bind`.
    pub(super) fn check_security(&mut self, default_endpoints: bool) -> Result<(), Refused> {
        let refused = |key, reason: String| Err(Refused::Insecure { key, reason });
        if self.is_secured() && default_endpoints {
            self.bind.clear();
        }
        if self.endpoints().next().is_none() {
            return Err(Refused::Empty);
        }
        let secured = self.bind_curve.iter().chain(&self.bind_plain);
        for (n, endpoint) in self.endpoints().enumerate() {
            // With a port that the system chooses, two lists may have the same text.
            let same = |other: &Endpoint| other == endpoint && !other.as_str().ends_with(":*");
            if self.endpoints().skip(n + 1).any(same) {
                return refused("bind", format!("{endpoint} is given with two mechanisms"));
            }
        }
        for endpoint in secured {
            if endpoint.as_str().starts_with("inproc:") {
                let reason = format!("{endpoint}: inproc has no handshake, use bind");
                return refused("bind_curve", reason);
            }
        }
        for (list, needed) in [
            (&self.bind_curve, ("curve_secret_key_file", &self.curve_secret_key_file)),
            (&self.bind_curve, ("rights_file", &self.rights_file)),
            (&self.bind_plain, ("rights_file", &self.rights_file)),
        ] {
            let (key, value) = needed;
            if let Some(endpoint) = list.first()
                && value.is_empty()
            {
                return refused(key, format!("is needed to listen on {endpoint}"));
            }
        }
        if !self.rights_file.is_empty() && !self.is_secured() {
            let reason = "has no effect without bind_curve or bind_plain: whoever connects to an \
                          endpoint of bind may do everything";
            return refused("rights_file", reason.to_owned());
        }
        if let Some(endpoint) = exposed(&self.bind).first()
            && !self.allow_insecure
        {
            let reason = format!(
                "{endpoint} can be reached from other machines without authentication: give it \
                 to bind_curve, bind 127.0.0.1 or ipc, or set allow_insecure = true"
            );
            return refused("bind", reason);
        }
        Ok(())
    }
}

/// Why keys cannot be as they are beside each other.
pub(super) enum Refused {
    /// There is nothing to listen on.
    Empty,
    /// What this key says is refused.
    Insecure { key: &'static str, reason: String },
}

impl Refused {
    /// As an error of the configuration; `origin` says where the key was set.
    pub(super) fn into_error(
        self,
        origin: impl FnOnce(&'static str) -> super::Origin,
    ) -> ConfigError {
        match self {
            Refused::Empty => ConfigError::Value {
                origin: origin("bind"),
                key: "bind",
                found: "[]".to_owned(),
                rule: "expected a list of endpoints, one or more, none twice".to_owned(),
            },
            Refused::Insecure { key, reason } => {
                ConfigError::Insecure { origin: origin(key), key, reason }
            }
        }
    }
}

fn path(text: &str) -> Option<&Path> {
    (!text.is_empty()).then(|| Path::new(std::ffi::OsStr::from_bytes(text.as_bytes())))
}

fn exposed(endpoints: &[Endpoint]) -> Vec<&Endpoint> {
    endpoints.iter().filter(|endpoint| !is_local(endpoint)).collect()
}
