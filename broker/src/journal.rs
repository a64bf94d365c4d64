//! What the operator reads: the engine's notes as log lines.
//!
//! Every line but those at debug goes through a gate, since peers can cause it at
//! will.

use std::time::Instant;

use majordomo_protocol::{ClientAddress, DecodeError, PeerId};

use crate::engine::{Act, Closed, Dropped, Fault, Gone, Note};
use crate::log_gate::LogGate;

/// The log target of all lines about peers and requests.
pub(crate) const TARGET: &str = "majordomo_broker";

/// Writes log lines, at most so many a second of each kind.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    gate: LogGate,
}

impl Journal {
    /// When [`Journal::handle_timeout`] has something to write, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.gate.poll_timeout()
    }

    /// Says how many lines were left out.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((kind, lines)) = self.gate.poll_left_out(now) {
            log::warn!(target: TARGET, kind, lines; "log lines left out");
        }
    }

    /// Writes about a message that was dropped as invalid.
    pub(crate) fn invalid(
        &mut self,
        peer: &PeerId,
        fault: Fault,
        error: Option<DecodeError>,
        now: Instant,
    ) {
        let reason = match fault {
            Fault::Malformed => "malformed",
            Fault::FramesMax => "frames_max",
            Fault::MessageBytesMax => "message_bytes_max",
            Fault::RoutingId => "a routing id of its own on a secured endpoint",
        };
        if self.gate.admits("invalid message", now) {
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            log::warn!(target: TARGET, peer:%, reason, error; "invalid message dropped");
        }
    }

    /// Writes about what the engine noted.
    pub(crate) fn note(&mut self, note: &Note, now: Instant) {
        match note {
            Note::WorkerRegistered { worker, version, service } => {
                if self.gate.admits("worker registered", now) {
                    log::info!(
                        target: TARGET, worker:%, service:%, protocol:% = version;
                        "worker registered"
                    );
                }
            }
            Note::WorkerGone { worker, service, reason, requests } => {
                let (kind, level) = gone(*reason);
                if self.gate.admits(kind, now) {
                    let reason = reason.as_str();
                    log::log!(
                        target: TARGET, level, worker:%, service:%, reason, requests;
                        "worker gone"
                    );
                }
            }
            Note::WorkerRefused { worker, reason } => {
                let reason = reason.as_str();
                if self.gate.admits(reason, now) {
                    log::info!(target: TARGET, worker:%, reason; "worker told to disconnect");
                }
            }
            Note::RequestDispatched { request, client, service, worker, attempt } => {
                log::debug!(
                    target: TARGET, request:%, client:%, service:%, worker:%, attempt;
                    "request dispatched"
                );
            }
            Note::RequestAnswered { request, worker } => {
                log::debug!(target: TARGET, request:%, worker:%; "request answered");
            }
            Note::RequestDropped { client, service, request, reason } => {
                let reason = dropped(*reason);
                if self.gate.admits(reason, now) {
                    let request = request_id(request.as_ref());
                    log::warn!(
                        target: TARGET, client:%, service:%, request, reason;
                        "request dropped"
                    );
                }
            }
            Note::ReplyUnsent { client } => {
                if self.gate.admits("reply unsent", now) {
                    log::info!(target: TARGET, client:%; "reply dropped: its client is gone or full");
                }
            }
            Note::Forbidden { peer, who, act } => {
                let (act, service) = match act {
                    Act::Call(service) => ("call", service.as_str()),
                    Act::Serve(service) => ("serve", service.as_str()),
                    Act::Operate => ("ask for the state of the broker", ""),
                    Act::Displace => ("speak on another's connection", ""),
                };
                if self.gate.admits(act, now) {
                    log::warn!(target: TARGET, peer:%, who:%, act, service; "not allowed");
                }
            }
            Note::CutOff { who } => {
                if self.gate.admits("cut off", now) {
                    log::warn!(target: TARGET, who:%; "cut off for invalid messages");
                }
            }
            Note::ConnectionClosed { peer, who, reason } => {
                let reason = match reason {
                    Closed::PerIdentityMax => "connections_per_identity_max",
                    Closed::Forbidden => "its key was removed",
                };
                if self.gate.admits(reason, now) {
                    log::warn!(target: TARGET, peer:%, who:%, reason; "connection closed");
                }
            }
            Note::Late => {
                if self.gate.admits("late", now) {
                    log::warn!(target: TARGET, "the broker was held up; nobody's silence counts");
                }
            }
        }
    }
}

/// The id of a request in a log line, if there is one.
fn request_id(request: Option<&ClientAddress>) -> String {
    request.map_or_else(|| "none".to_owned(), ClientAddress::to_string)
}

/// Kind and level for the end of a worker.
fn gone(reason: Gone) -> (&'static str, log::Level) {
    match reason {
        Gone::Silent => ("worker silent", log::Level::Warn),
        Gone::Disconnected => ("worker disconnected", log::Level::Info),
        Gone::ConnectionEnded => ("worker connection ended", log::Level::Warn),
        Gone::Unreachable => ("worker unreachable", log::Level::Warn),
        Gone::Unexpected => ("worker unexpected", log::Level::Warn),
        Gone::Invalid => ("worker invalid", log::Level::Warn),
        Gone::Drained => ("worker drained", log::Level::Info),
        Gone::Forbidden => ("worker forbidden", log::Level::Warn),
        Gone::Stopping => ("worker stopping", log::Level::Info),
    }
}

/// The key or the rule for which a request was dropped.
fn dropped(reason: Dropped) -> &'static str {
    match reason {
        Dropped::RequestsMax => "requests_max",
        Dropped::RequestsPerServiceMax => "requests_per_service_max",
        Dropped::RequestsPerClientMax => "requests_per_client_max",
        Dropped::BytesMax => "bytes_max",
        Dropped::ServicesMax => "services_max",
        Dropped::ServicesIdleMax => "services_idle_max",
        Dropped::ClientsMax => "clients_max",
        Dropped::RequestsPerIdentityMax => "requests_per_identity_max",
        Dropped::PeersPerIdentityMax => "peers_per_identity_max",
        Dropped::Forbidden => "no longer allowed",
        Dropped::OtherIdentity => "another's requests are under way on this connection",
        Dropped::Expired => "expired",
        Dropped::NoWorker => "no worker, and not to wait",
        Dropped::NotStarted => "not started in time",
        Dropped::TimedOut => "not ended in time",
        Dropped::Cancelled => "cancelled",
        Dropped::Once => "worker lost, and not for a second one",
        Dropped::AttemptsMax => "attempts_max",
        Dropped::PartialSent => "a part of the reply was sent, and it cannot be repeated",
        Dropped::PartialUnsent => "a part of the reply could not be sent",
        Dropped::PartialBytesMax => "partial_bytes_max",
        Dropped::Stopping => "the broker is stopping",
    }
}
