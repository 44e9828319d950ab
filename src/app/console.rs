//! The console, as configured.

use std::sync::Arc;

use axum::Router;

use crate::admin::Admin;
use crate::authn::clock::Clock;
use crate::config::Config;
use crate::console::{self, Access, Console};
use crate::control::publish::SnapshotCell;
use crate::management::access::Callers;
use crate::management::mesh::MeshObjects;
use crate::shutdown::Shutdown;
use crate::telemetry::decision_log::{Redaction, Tap};

/// How many may watch decisions at once.
const MOST_WATCHERS: usize = 16;

/// What the console shows beside what the admin endpoints do.
pub(super) struct Parts {
    pub(super) snapshots: SnapshotCell,
    pub(super) tap: Tap,
    /// `None` where only the management API would ask for them.
    pub(super) objects: Option<MeshObjects>,
    /// Whose tokens are taken; `None` where nobody said.
    pub(super) callers: Option<Callers>,
    pub(super) clock: Clock,
}

/// Where decisions are watched; `None` without a console. What is shown of headers is what is logged.
pub(super) fn tap(config: &Config, clock: Clock) -> Option<Tap> {
    let logged = config.decision_log.as_ref().map(|log| log.settings.redaction.clone());
    let redaction: Redaction = logged.unwrap_or_default();
    config.console.then(|| Tap::new(redaction, clock, MOST_WATCHERS))
}

/// Its endpoints, to be served by the admin port.
pub(super) fn router(
    config: &Config,
    admin: &Admin,
    Parts { snapshots, tap, objects, callers, clock }: Parts,
    is_local: bool,
    drain: &Shutdown,
) -> Router {
    let console = Console {
        admin: admin.clone(),
        snapshots,
        mesh: Arc::new(config.settings.mesh.clone()),
        tap,
        objects,
        clock,
        drain: drain.clone(),
    };
    console::router(console, Access::of(is_local, callers))
}
