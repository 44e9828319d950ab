//! The management API from outside: the built binary, asked over TLS with signed tokens.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test support")]

mod clusters;
mod contended;
mod counted;
mod described;
mod documented;
mod measured;
#[path = "../blackbox/prometheus.rs"]
mod prometheus;
mod refused;
#[path = "../blackbox/running.rs"]
mod running;
mod server;
mod stored;
mod telemetry;
