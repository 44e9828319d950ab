//! The compiled form that `decide` walks: a snapshot holds a plan for each workload.

use std::sync::Arc;

use crate::model::Workload;

/// All plans of one revision of the policies. Immutable; replaced whole.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts up from 1; 0 before the first policies were read.
    pub revision: u64,
    /// One plan for each configured workload; the first is the default.
    pub workloads: Vec<Arc<WorkloadPlan>>,
    /// Remote key sets that some rule names, without duplicates.
    pub key_sources: Vec<KeySource>,
}

/// What holds for one workload.
#[derive(Debug)]
pub struct WorkloadPlan {
    /// The workload.
    pub workload: Workload,
}

/// Identifies a remote key set, as Istio does: by issuer and URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeySourceId {
    /// The rule's issuer.
    pub issuer: Arc<str>,
    /// `jwksUri`; `None` asks the issuer by OIDC discovery.
    pub uri: Option<Arc<str>>,
}

/// A remote key set that some rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Which.
    pub id: KeySourceId,
    /// The longest `timeout` of the rules that name it.
    pub timeout: std::time::Duration,
}
