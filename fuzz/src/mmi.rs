//! What is asked of the broker's own services, and the report that it gives.
//!
//! A report that is read is written to what is read as the same. A question is about a
//! service just when it asks `mmi.service` and its body can be a name.

use majordomo_broker::engine::Question;
use majordomo_protocol::ServiceName;
use majordomo_protocol::mmi::{BROKER, BrokerReport, PREFIX, SERVICE};

use crate::Target;

/// Questions, and reports in JSON.
pub const TARGET: Target =
    Target { name: "mmi", run, show: |data| String::from_utf8_lossy(data).into_owned() };

fn run(data: &[u8]) {
    if let Ok(report) = serde_json::from_slice::<BrokerReport>(data) {
        let json = serde_json::to_vec(&report).expect("a report has only names as keys");
        let again: BrokerReport = serde_json::from_slice(&json).expect("it was just written");
        assert_eq!(again, report);
    }
    let line = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (name, body) = data.split_at(line);
    let body = body.get(1..).unwrap_or_default();
    let Ok(service) = ServiceName::from_bytes(&[PREFIX.as_bytes(), name].concat()) else { return };
    match Question::new(&service, body) {
        Question::Service(asked) => {
            assert_eq!(service.as_str(), SERVICE);
            assert_eq!(asked, ServiceName::from_bytes(body).ok());
        }
        Question::Broker => assert_eq!(service.as_str(), BROKER),
        Question::Unknown => assert!(![SERVICE, BROKER].contains(&service.as_str())),
    }
}
