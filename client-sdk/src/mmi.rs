//! What the broker's own services answer (RFC 8, MMI), as values: the same for both
//! clients.

use majordomo_protocol::mmi::{self, BrokerReport};
use majordomo_protocol::{Body, Excerpt};

use crate::error::Violation;

/// Whether a service has a worker, as `mmi.service` says it.
pub(crate) fn found(answer: Body) -> Result<bool, Violation> {
    let answer = answer.into_bytes();
    match std::str::from_utf8(&answer) {
        Ok(mmi::FOUND) => Ok(true),
        Ok(mmi::NOT_FOUND) => Ok(false),
        _ => Err(Violation::Answer {
            service: mmi::SERVICE,
            expected: "200 or 404",
            found: Excerpt::of(&answer),
        }),
    }
}

/// The state of a broker, as `mmi.broker` says it.
pub(crate) fn report(answer: Body) -> Result<BrokerReport, Violation> {
    let answer = answer.into_bytes();
    if answer == mmi::NOT_IMPLEMENTED.as_bytes() {
        return Err(Violation::Answer {
            service: mmi::BROKER,
            expected: "a report in JSON",
            found: Excerpt::of(&answer),
        });
    }
    Ok(serde_json::from_slice(&answer)?)
}
