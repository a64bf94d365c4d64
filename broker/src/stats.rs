//! What has happened since the broker started, counted.

use std::collections::BTreeMap;

use crate::engine::{Closed, Dropped, Fault, Gone, RefusedWorker};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The broker's counters. Each counts since the start and never falls.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Name, value and meaning of every counter, in the order of a
            /// request's life.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$((stringify!($name), self.$name, concat!($($doc),+).trim_ascii()),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Requests that came from clients, those of the broker's own services not counted.
    requests_received,
    /// Requests handed to a worker, each time.
    requests_dispatched,
    /// Requests that went back to the queue because their worker was lost.
    requests_returned,
    /// Requests of MDP/1.0 that came again while they waited or ran, and were joined.
    requests_joined,
    /// Answers of MDP/1.0 repeated because their request came again.
    answers_repeated,
    /// Requests that ended with a final reply, or a worker's error.
    requests_answered,
    /// Requests dropped: `requests_max` reached.
    requests_dropped_requests_max,
    /// Requests dropped: `requests_per_service_max` reached.
    requests_dropped_requests_per_service_max,
    /// Requests dropped: `requests_per_client_max` reached.
    requests_dropped_requests_per_client_max,
    /// Requests dropped: `bytes_max` reached.
    requests_dropped_bytes_max,
    /// Requests dropped: `services_max` reached.
    requests_dropped_services_max,
    /// Requests dropped: `services_idle_max` reached.
    requests_dropped_services_idle_max,
    /// Requests dropped: `clients_max` reached.
    requests_dropped_clients_max,
    /// Requests dropped: `requests_per_identity_max` reached.
    requests_dropped_requests_per_identity_max,
    /// Requests dropped: `peers_per_identity_max` reached.
    requests_dropped_peers_per_identity_max,
    /// Requests dropped: their client may not, or no longer, call their service.
    requests_dropped_forbidden,
    /// Requests dropped: requests of another's key are under way on a connection of the same name.
    requests_dropped_other_identity,
    /// Requests dropped: no worker is registered for their service, and they were not to wait.
    requests_dropped_no_worker,
    /// Requests dropped: not started in the time that their client gave.
    requests_dropped_not_started,
    /// Requests dropped: not ended in the time that their client gave.
    requests_dropped_timed_out,
    /// Requests dropped: cancelled by their client.
    requests_dropped_cancelled,
    /// Requests dropped: their worker was lost, and they were not for a second one.
    requests_dropped_once,
    /// Requests dropped: no worker was free within `request_expiry_ms`.
    requests_dropped_expired,
    /// Requests dropped: their worker was lost `attempts_max` times.
    requests_dropped_attempts_max,
    /// Requests dropped: their worker was lost after a part of the reply was sent.
    requests_dropped_partial_sent,
    /// Requests dropped: a part of the reply could not be sent to the client.
    requests_dropped_partial_unsent,
    /// Requests dropped: kept parts of the reply over `partial_bytes_max` or `bytes_max`.
    requests_dropped_partial_bytes_max,
    /// Requests dropped: the broker was shutting down.
    requests_dropped_stopping,
    /// Parts of replies that came from workers.
    replies_partial,
    /// Replies to a request that had ended for its client, as by CANCEL or its timeout.
    replies_unwanted,
    /// Replies of a worker to a request it does not have: late, repeated or foreign.
    replies_unexpected,
    /// Replies that could not be sent: their client is gone, or does not read.
    replies_unsent,
    /// Requests to the broker's own services.
    mmi_requests,
    /// Requests for the state of the broker, of peers that are no operators.
    mmi_requests_forbidden,
    /// Workers that registered.
    workers_registered,
    /// Workers that said DRAIN, and left when they had finished what they had.
    workers_drained,
    /// Workers lost: silent for heartbeat interval × liveness.
    workers_silent,
    /// Workers that left with DISCONNECT.
    workers_disconnected,
    /// Workers lost: their connection ended without DISCONNECT.
    workers_connection_ended,
    /// Workers lost: a message could not be sent to them.
    workers_unreachable,
    /// Workers disconnected: they sent a valid command out of place.
    workers_unexpected,
    /// Workers disconnected: they sent an invalid message.
    workers_invalid,
    /// Workers disconnected: their right to serve was withdrawn.
    workers_forbidden,
    /// Workers disconnected: the broker was shutting down.
    workers_stopping,
    /// Peers told to DISCONNECT: they spoke as workers without being registered.
    workers_refused_unregistered,
    /// Peers told to DISCONNECT: they asked for one of the broker's own services.
    workers_refused_reserved_service,
    /// Peers told to DISCONNECT: they may not serve the service they asked for.
    workers_refused_forbidden,
    /// Peers told to DISCONNECT: `peers_per_identity_max` reached.
    workers_refused_peers_per_identity_max,
    /// Peers told to DISCONNECT: their READY offered no place, or a liveness of 1.
    workers_refused_offer,
    /// Peers told to DISCONNECT: the metadata of their READY over `worker_metadata_bytes_max`.
    workers_refused_metadata,
    /// Peers told to DISCONNECT: `bytes_max` reached.
    workers_refused_bytes_max,
    /// Peers told to DISCONNECT: `workers_max` reached.
    workers_refused_workers_max,
    /// Peers told to DISCONNECT: `services_max` reached.
    workers_refused_services_max,
    /// Peers told to DISCONNECT: the broker was shutting down.
    workers_refused_stopping,
    /// Messages dropped: no command of the protocol.
    messages_malformed,
    /// Messages dropped: more frames than `frames_max`.
    messages_frames_max,
    /// Messages dropped: more bytes than `message_bytes_max`.
    messages_message_bytes_max,
    /// Messages dropped: their peer is authenticated and gave its connection a name of its own.
    messages_routing_id,
    /// Heartbeats of clients that were not answered: their key was removed.
    messages_forbidden,
    /// Messages not read: their peer sent too many invalid ones (`invalid_max`).
    messages_cut_off,
    /// How often a key or user was cut off for too many invalid messages.
    identities_cut_off,
    /// Connections that had a worker's name but another's key; the worker was given up.
    peers_displaced,
    /// Connections closed: `connections_per_identity_max` reached.
    connections_closed_connections_per_identity_max,
    /// Connections closed: their key was removed.
    connections_closed_forbidden,
    /// Handshakes refused: a key, user or password that the rights file does not have.
    handshakes_refused,
}

impl Counters {
    /// Name and value of every counter.
    pub fn to_map(&self) -> BTreeMap<String, u64> {
        self.iter().map(|(name, value, _)| (name.to_owned(), value)).collect()
    }

    /// The counter of requests dropped for this reason.
    pub fn dropped(&mut self, reason: Dropped) -> &mut u64 {
        match reason {
            Dropped::RequestsMax => &mut self.requests_dropped_requests_max,
            Dropped::RequestsPerServiceMax => &mut self.requests_dropped_requests_per_service_max,
            Dropped::RequestsPerClientMax => &mut self.requests_dropped_requests_per_client_max,
            Dropped::BytesMax => &mut self.requests_dropped_bytes_max,
            Dropped::ServicesMax => &mut self.requests_dropped_services_max,
            Dropped::ServicesIdleMax => &mut self.requests_dropped_services_idle_max,
            Dropped::ClientsMax => &mut self.requests_dropped_clients_max,
            Dropped::NoWorker => &mut self.requests_dropped_no_worker,
            Dropped::NotStarted => &mut self.requests_dropped_not_started,
            Dropped::TimedOut => &mut self.requests_dropped_timed_out,
            Dropped::Cancelled => &mut self.requests_dropped_cancelled,
            Dropped::Once => &mut self.requests_dropped_once,
            Dropped::RequestsPerIdentityMax => &mut self.requests_dropped_requests_per_identity_max,
            Dropped::PeersPerIdentityMax => &mut self.requests_dropped_peers_per_identity_max,
            Dropped::Forbidden => &mut self.requests_dropped_forbidden,
            Dropped::OtherIdentity => &mut self.requests_dropped_other_identity,
            Dropped::Expired => &mut self.requests_dropped_expired,
            Dropped::AttemptsMax => &mut self.requests_dropped_attempts_max,
            Dropped::PartialSent => &mut self.requests_dropped_partial_sent,
            Dropped::PartialUnsent => &mut self.requests_dropped_partial_unsent,
            Dropped::PartialBytesMax => &mut self.requests_dropped_partial_bytes_max,
            Dropped::Stopping => &mut self.requests_dropped_stopping,
        }
    }

    /// The counter of workers that went for this reason.
    pub fn gone(&mut self, reason: Gone) -> &mut u64 {
        match reason {
            Gone::Silent => &mut self.workers_silent,
            Gone::Disconnected => &mut self.workers_disconnected,
            Gone::ConnectionEnded => &mut self.workers_connection_ended,
            Gone::Unreachable => &mut self.workers_unreachable,
            Gone::Unexpected => &mut self.workers_unexpected,
            Gone::Invalid => &mut self.workers_invalid,
            Gone::Drained => &mut self.workers_drained,
            Gone::Forbidden => &mut self.workers_forbidden,
            Gone::Stopping => &mut self.workers_stopping,
        }
    }

    /// The counter of peers turned away for this reason.
    pub fn refused(&mut self, reason: RefusedWorker) -> &mut u64 {
        match reason {
            RefusedWorker::Unregistered => &mut self.workers_refused_unregistered,
            RefusedWorker::ReservedService => &mut self.workers_refused_reserved_service,
            RefusedWorker::Forbidden => &mut self.workers_refused_forbidden,
            RefusedWorker::PeersPerIdentityMax => &mut self.workers_refused_peers_per_identity_max,
            RefusedWorker::Offer => &mut self.workers_refused_offer,
            RefusedWorker::Metadata { .. } => &mut self.workers_refused_metadata,
            RefusedWorker::BytesMax => &mut self.workers_refused_bytes_max,
            RefusedWorker::WorkersMax => &mut self.workers_refused_workers_max,
            RefusedWorker::ServicesMax => &mut self.workers_refused_services_max,
            RefusedWorker::Stopping => &mut self.workers_refused_stopping,
        }
    }

    /// The counter of connections closed for this reason.
    pub fn closed(&mut self, reason: Closed) -> &mut u64 {
        match reason {
            Closed::PerIdentityMax => &mut self.connections_closed_connections_per_identity_max,
            Closed::Forbidden => &mut self.connections_closed_forbidden,
        }
    }

    /// The counter of messages with this fault.
    pub fn invalid(&mut self, fault: Fault) -> &mut u64 {
        match fault {
            Fault::Malformed => &mut self.messages_malformed,
            Fault::FramesMax => &mut self.messages_frames_max,
            Fault::MessageBytesMax => &mut self.messages_message_bytes_max,
            Fault::RoutingId => &mut self.messages_routing_id,
        }
    }
}
