//! What an operator sees while Postern runs: metrics and log events.
//!
//! Serving them is `admin`'s job; what is worth an event is the caller's.

pub mod decision_log;
mod histogram;
pub mod logging;
pub mod metrics;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
pub mod otlp;
#[cfg(feature = "otlp")]
pub mod otlp;
mod shards;
pub mod timeline;
