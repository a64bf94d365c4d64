//! A worker's settings: defaults, ranges, and the check that refuses the rest
//! before anything is started.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use majordomo_io::security;
use majordomo_protocol::{Credentials, ENDPOINT_DEFAULT, Endpoint, Metadata, ServiceName, Version};

use crate::dialog::Timing;
use crate::error::Error;
use crate::handler::Service;

/// Bytes that a service may say of itself in its READY. With the rest it stays below what a
/// broker takes by default, 16 KiB.
const SERVICE_METADATA_BYTES_MAX: usize = 12 << 10;

/// The most bytes of what a worker says of itself, for each setting.
const METADATA_BYTES_MAX: usize = 1024;

/// What [`WorkerBuilder`](crate::WorkerBuilder) sets, except services.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) brokers: Vec<String>,
    pub(crate) credentials: Credentials,
    pub(crate) version: Version,
    /// What the worker says of itself: the method that set it, and the text.
    pub(crate) metadata: Vec<(&'static str, String)>,
    pub(crate) timing: Timing,
    pub(crate) drain_limit: Duration,
    pub(crate) request_bytes_max: usize,
    pub(crate) reply_bytes_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) context: Option<zmq::Context>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            brokers: Vec::new(),
            credentials: Credentials::default(),
            version: Version::V1_0,
            metadata: Vec::new(),
            timing: Timing::default(),
            drain_limit: Duration::from_secs(30),
            request_bytes_max: 64 * 1024 * 1024,
            reply_bytes_max: 64 * 1024 * 1024,
            batch_bytes_max: 256 * 1024,
            context: None,
        }
    }
}

impl Settings {
    /// Refuses what cannot be used. Gives the brokers, and the names of `services`
    /// in their order.
    pub(crate) fn check(
        &self,
        services: &[Service],
    ) -> Result<(Vec<Endpoint>, Vec<ServiceName>), Error> {
        if !security::is_possible(&self.credentials) {
            return Err(Error::CurveMissing);
        }
        let brokers = self.check_brokers()?;
        self.check_times()?;
        within("request_bytes_max", self.request_bytes_max, 1, usize::MAX, "must be 1 or more")?;
        within("reply_bytes_max", self.reply_bytes_max, 1, usize::MAX, "must be 1 or more")?;
        let range = "must be between 1 and 67108864";
        within("batch_bytes_max", self.batch_bytes_max, 1, 64 << 20, range)?;
        let names = check_services(services, self.version, brokers.len())?;
        self.check_metadata(services)?;
        Ok((brokers, names))
    }

    /// What READY says of the worker and of a service.
    pub(crate) fn metadata(&self, service: &[(&'static str, String)]) -> Metadata {
        let mut metadata = Metadata::default();
        for (setting, value) in self.metadata.iter().chain(service) {
            let key = setting.trim_start_matches("worker_");
            // It fits: see check_metadata.
            let _ = metadata.push(key, value.as_bytes());
        }
        metadata
    }

    fn check_metadata(&self, services: &[Service]) -> Result<(), Error> {
        for service in services {
            let bytes: usize = service.metadata.iter().map(|(_, value)| value.len()).sum();
            let rule = "must have at most 12288 bytes in description, version and methods";
            within("service", bytes, 0, SERVICE_METADATA_BYTES_MAX, rule)?;
        }
        for (setting, value) in &self.metadata {
            let refuse = |rule| Err(refused(setting, format!("{value:.40?}"), rule));
            if value.len() > METADATA_BYTES_MAX {
                return refuse("must have at most 1024 bytes");
            }
        }
        Ok(())
    }

    fn check_brokers(&self) -> Result<Vec<Endpoint>, Error> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for text in &self.brokers {
            let endpoint = Endpoint::to_connect(text)?;
            let refuse = |rule| Err(refused("broker", text, rule));
            if text.starts_with("inproc://") && self.context.is_none() {
                return refuse("must be tcp or ipc, or come with the broker's context");
            }
            if endpoints.contains(&endpoint) {
                return refuse("must be given once");
            }
            endpoints.push(endpoint);
        }
        if endpoints.is_empty() {
            endpoints.push(Endpoint::to_connect(ENDPOINT_DEFAULT)?);
        }
        within("broker", endpoints.len(), 1, 64, "must be given at most 64 times")?;
        Ok(endpoints)
    }

    fn check_times(&self) -> Result<(), Error> {
        let Timing { heartbeat_interval, heartbeat_liveness, reconnect_min, reconnect_max } =
            self.timing;
        let millisecond = Duration::from_millis(1);
        let hour = Duration::from_secs(3600);
        let day = 24 * hour;
        let range = "must be between 1 ms and 1 h";
        within("heartbeat_interval", Shown(heartbeat_interval), millisecond, hour, range)?;
        within("heartbeat_liveness", heartbeat_liveness, 1, 1000, "must be between 1 and 1000")?;
        within("reconnect_min", Shown(reconnect_min), millisecond, hour, range)?;
        let range = "must be between reconnect_min and 1 h";
        within("reconnect_max", Shown(reconnect_max), reconnect_min, hour, range)?;
        let range = "must be at most 1 day";
        within("drain_limit", Shown(self.drain_limit), Duration::ZERO, day, range)
    }
}

fn check_services(
    services: &[Service],
    version: Version,
    brokers: usize,
) -> Result<Vec<ServiceName>, Error> {
    if services.is_empty() {
        return Err(refused("service", "missing", "at least one must be added"));
    }
    let mut names = Vec::with_capacity(services.len());
    let mut seen = HashSet::new();
    let mut sockets = 0usize;
    for service in services {
        let refuse = |rule| refused("service", format!("{:?}", service.name), rule);
        let name = ServiceName::new(&service.name)
            .map_err(|_| refuse("must have 1 to 255 bytes of UTF-8 without control characters"))?;
        if name.is_reserved() {
            return Err(refuse("must not begin with mmi., which is the broker's (RFC 8)"));
        }
        if !seen.insert(name.clone()) {
            return Err(refuse("must be added once; concurrency gives it more places"));
        }
        let range = "must be between 1 and 4096";
        within("concurrency", service.concurrency, 1, 4096, range)?;
        if let Some(limit) = service.time_limit {
            let week = Duration::from_secs(7 * 24 * 3600);
            let range = "must be between 1 ms and 7 days";
            within("time_limit", Shown(limit), Duration::from_millis(1), week, range)?;
        }
        sockets = sockets.saturating_add(service.connections(version));
        names.push(name);
    }
    sockets = sockets.saturating_mul(brokers);
    let range = "all services and brokers together must need at most 16384 sockets";
    within("concurrency", sockets, 1, 16384, range)?;
    Ok(names)
}

/// A duration that prints as people write it.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<Duration> for Shown {
    fn eq(&self, other: &Duration) -> bool {
        self.0 == *other
    }
}

impl PartialOrd<Duration> for Shown {
    fn partial_cmp(&self, other: &Duration) -> Option<std::cmp::Ordering> {
        self.0.partial_cmp(other)
    }
}

fn within<T: PartialOrd<L> + fmt::Display, L>(
    setting: &'static str,
    value: T,
    min: L,
    max: L,
    rule: &'static str,
) -> Result<(), Error> {
    if value >= min && value <= max { Ok(()) } else { Err(refused(setting, value, rule)) }
}

fn refused(setting: &'static str, value: impl ToString, rule: &'static str) -> Error {
    Error::Setting { setting, value: value.to_string(), rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services() -> Vec<Service> {
        vec![Service::without_handler("echo".to_owned(), 1)]
    }

    fn refusal(change: impl FnOnce(&mut Settings, &mut Vec<Service>)) -> String {
        let (mut settings, mut services) = (Settings::default(), services());
        change(&mut settings, &mut services);
        settings.check(&services).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_accepted_and_name_the_default_broker() {
        let (brokers, names) = Settings::default().check(&services()).unwrap();
        assert_eq!(names, [ServiceName::new("echo").unwrap()]);
        assert_eq!(brokers.iter().map(Endpoint::as_str).collect::<Vec<_>>(), [ENDPOINT_DEFAULT]);
    }

    #[test]
    fn a_refusal_names_setting_value_and_rule() {
        let text = refusal(|settings, _| settings.timing.heartbeat_interval = Duration::ZERO);
        assert_eq!(text, "heartbeat_interval is 0ns: must be between 1 ms and 1 h");
        let text = refusal(|settings, _| settings.timing.heartbeat_liveness = 0);
        assert_eq!(text, "heartbeat_liveness is 0: must be between 1 and 1000");
        let text = refusal(|_, services| services[0].name = "mmi.service".to_owned());
        assert!(text.starts_with("service is \"mmi.service\": must not begin"), "{text}");
    }

    #[test]
    fn impossible_values_are_refused() {
        for text in [
            refusal(|settings, _| settings.timing.reconnect_min = Duration::ZERO),
            refusal(|settings, _| settings.timing.reconnect_max = Duration::from_millis(99)),
            refusal(|settings, _| settings.drain_limit = Duration::MAX),
            refusal(|settings, _| settings.request_bytes_max = 0),
            refusal(|settings, _| settings.reply_bytes_max = 0),
            refusal(|settings, _| settings.batch_bytes_max = 0),
            refusal(|settings, _| settings.batch_bytes_max = (64 << 20) + 1),
            refusal(|_, services| services.clear()),
            refusal(|_, services| services[0].name = String::new()),
            refusal(|_, services| services[0].name = "a\nb".to_owned()),
            refusal(|_, services| services.push(services[0].clone())),
            refusal(|_, services| services[0].concurrency = 0),
            refusal(|_, services| services[0].concurrency = 4097),
            refusal(|_, services| services[0].time_limit = Some(Duration::ZERO)),
            refusal(|settings, _| settings.metadata.push(("worker_name", "x".repeat(4097)))),
            refusal(|settings, services| {
                settings.version = Version::V0_2;
                settings.brokers = (1..=5).map(|port| format!("tcp://a:{port}")).collect();
                services[0].concurrency = 4096;
            }),
        ] {
            assert!(text.contains(": ") && text.contains(" must "), "{text}");
        }
    }

    #[test]
    fn a_broker_is_an_endpoint_to_connect_to() {
        let text = refusal(|settings, _| settings.brokers = vec!["tcp://*:5555".to_owned()]);
        assert!(text.starts_with("endpoint \"tcp://*:5555\" has a *"), "{text}");
    }

    #[test]
    fn inproc_needs_a_context_and_a_broker_is_named_once() {
        let text = refusal(|settings, _| settings.brokers = vec!["inproc://b".to_owned()]);
        assert!(text.contains("context"), "{text}");
        let text = refusal(|settings, _| settings.brokers = vec!["tcp://a:1".to_owned(); 2]);
        assert!(text.contains("once"), "{text}");
    }
}
