//! Resources to plans: attach policies to workloads, then build what `decide` walks.
//!
//! Total: everything that can be wrong with a resource was refused by `manifest`.

mod access;
mod api_rules;
mod attach;
mod attachments;
mod authentication;
mod build;
mod compiler;
mod fingerprint;
mod holding;
mod index;
mod trust_domain;
mod words;

use std::sync::Arc;

pub(crate) use attach::precedence;
pub use authentication::{PeerLevels, normalize_audience};
pub use compiler::Compiler;
pub use holding::Holding;
pub(crate) use trust_domain::expand as expand_trust_domains;

use crate::model::{Mesh, RefusedScope, Resource, ResourceId, Workload};
use crate::plan::Snapshot;

/// What gives resources their meaning beside themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Root namespace, trust domain, aliases.
    pub mesh: Mesh,
    /// The workloads to plan for; the first is the default.
    pub workloads: Vec<Workload>,
}

/// A resource that has never had an accepted form: what it may be about is denied. For a policy that is
/// everything at the workloads that it may select, for an APIRule the requests with one of its hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Which.
    pub id: ResourceId,
    /// What it would be about; `None` where even that could not be read, which counts as its whole
    /// namespace.
    pub scope: Option<RefusedScope>,
}

/// Compiles a whole policy set. The order of `resources` does not matter.
pub fn compile(
    revision: u64,
    resources: &[Arc<Resource>],
    rejected: &[Rejected],
    settings: &Settings,
) -> Snapshot {
    Compiler::default().compile(revision, (resources, rejected), settings, &[])
}
