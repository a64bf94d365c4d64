//! The configuration, from TOML text, environment and flags to a `Config`, and what
//! is refused on the way.

mod faults;
mod inputs;
mod keys;
mod printing;
mod services;
mod sources;
mod together;
