//! The embedded API from outside: the built binary, asked over TLS as clients of Kubernetes do.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test support")]

mod callers;
mod gate;
mod live;
mod refused;
mod routes;
#[path = "../blackbox/running.rs"]
mod running;
mod server;
mod verbs;
mod watching;
