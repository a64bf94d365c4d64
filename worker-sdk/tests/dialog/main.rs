//! The pure half of a connection under a virtual clock, rule by rule.

mod ahead;
mod in_place;
mod many_requests;
mod one_request;
mod world;
