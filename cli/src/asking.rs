//! What `call` and `status` have in common: clients of the brokers named, in the
//! version asked for, and what is said when one failed.

use std::time::Duration;

use anyhow::anyhow;
use majordomo_client::{
    BlockingClient, BlockingClientBuilder, CallError, Client, ClientBuilder, ENDPOINT_DEFAULT,
    Security, Version,
};

use crate::args::Asking;
use crate::printable;

/// A client of MDP/1.0 that asks as it was told to.
pub(crate) fn client(brokers: &[String], security: Security, asking: &Asking) -> ClientBuilder {
    let mut builder = Client::builder().security(security);
    for endpoint in brokers {
        builder = builder.broker(endpoint);
    }
    if let Some(timeout) = asking.timeout {
        // So that a broker that is there is heard before a try is over.
        let heartbeat = (timeout / 2).clamp(Duration::from_millis(1), Duration::from_secs(1));
        builder = builder.timeout(timeout).heartbeat(heartbeat);
    }
    if let Some(tries) = asking.tries {
        builder = builder.tries(tries);
    }
    builder
}

/// The same for an older version.
pub(crate) fn blocking(
    brokers: &[String],
    security: Security,
    asking: &Asking,
    version: Version,
) -> BlockingClientBuilder {
    let mut builder = BlockingClient::builder().version(version).security(security);
    for endpoint in brokers {
        builder = builder.broker(endpoint);
    }
    if let Some(timeout) = asking.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some(tries) = asking.tries {
        builder = builder.tries(tries);
    }
    builder
}

/// Why a call of `client` failed, in words for a terminal, and what to do about it.
/// `runs`: whether a worker was to run it, and not the broker itself.
pub(crate) fn told(
    error: CallError,
    client: &Client,
    brokers: &[String],
    runs: bool,
) -> anyhow::Error {
    let is_mute = client.counts().heard == 0;
    let text = match error {
        CallError::Deadline { tries, may_have_run: true, .. }
        | CallError::Disconnected { tries, may_have_run: true, .. }
            if is_mute =>
        {
            let brokers = match brokers {
                [] => ENDPOINT_DEFAULT.to_owned(),
                brokers => brokers.join(", "),
            };
            let ran = if runs { " the request may have run;" } else { "" };
            format!(
                "nothing was heard from {brokers} (tries: {tries});{ran} if no MDP/1.0 is spoken \
                 there, try --protocol 0.2"
            )
        }
        CallError::Disconnected { endpoints, tries, may_have_run } => {
            let endpoints = endpoints.join(", ");
            match may_have_run {
                false => format!("no broker reached at {endpoints} (tries: {tries})"),
                true => format!(
                    "connection to {endpoints} lost (tries: {tries}); the request may have run"
                ),
            }
        }
        CallError::WorkerLost { service, text } => {
            format!("service {service}: {text}; the request may have run")
        }
        CallError::Remote { service, code: 500, text, .. } => {
            format!("service {service} failed: {}", text.trim_end())
        }
        error => error.to_string(),
    };
    anyhow!("{}", printable(&text))
}
