//! Requests that lost their workers too often: they may be what kills them, so they
//! are listed for somebody to look at.

use std::collections::VecDeque;

use majordomo_protocol::mmi::DeadReport;

use super::request::RequestKey;
use super::{Engine, Outlet, Payload};

/// The latest of them, oldest first.
pub(super) type Dead = VecDeque<DeadReport>;

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// Lists a request that ends because its workers were lost; forgets the oldest one
    /// when there are too many.
    pub(super) fn list_dead(&mut self, key: RequestKey) {
        let request = &self.requests[key];
        let report = DeadReport {
            service: self.services[request.service].name.to_string(),
            request: key.address(self.settings.instance).to_string(),
            id: request.caller.id.map(|id| id.to_string()),
            bytes: request.bytes as u64,
            reasons: request.losses.reasons().iter().map(|gone| gone.as_str().to_owned()).collect(),
        };
        self.dead.push_back(report);
        while self.dead.len() > self.settings.dead_max {
            self.dead.pop_front();
        }
    }
}
