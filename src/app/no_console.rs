//! A Postern without the console.

use axum::Router;

use crate::admin::Admin;
use crate::authn::clock::Clock;
use crate::config::Config;
use crate::control::publish::SnapshotCell;
use crate::shutdown::Shutdown;
use crate::telemetry::decision_log::Tap;

/// What the console would show beside what the admin endpoints do.
#[expect(dead_code, reason = "nobody shows them here")]
pub(super) struct Parts {
    pub(super) snapshots: SnapshotCell,
    pub(super) tap: Tap,
    pub(super) clock: Clock,
}

/// Nobody watches.
pub(super) fn tap(_config: &Config, _clock: Clock) -> Option<Tap> {
    None
}

/// Nothing.
pub(super) fn router(
    _config: &Config,
    _admin: &Admin,
    Parts { snapshots: _, tap: _, clock: _ }: Parts,
    _is_local: bool,
    _drain: &Shutdown,
) -> Router {
    Router::new()
}
