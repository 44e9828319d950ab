//! The compiled form that `decide` walks: a snapshot holds a plan for each workload.
//!
//! Immutable once built; `compile` builds it, `decide` and `authn` read it.

mod authentication;
mod dependencies;
pub mod index;
pub mod rules;
mod size;
mod trees;
pub mod vocabulary;

use std::sync::Arc;

pub use authentication::{
    ClaimHeader, JwtPlan, JwtRulePlan, KeyReference, KeySource, KeySourceId, PeerPlan, TokenPlaces,
};
pub use dependencies::{Dependencies, Dependency};
pub use size::CompiledSize;
pub use trees::{DecisionTree, Trees, Unknown};

use crate::model::{Action, AuthorizationPolicy, DenyResponse, ResourceId, RuleId, Workload};
use vocabulary::Vocabulary;

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
    /// The attached AuthorizationPolicies, root namespace first, each by age; `RuleId::policy`
    /// counts in here. Trust-domain aliases are already written out.
    pub policies: Vec<Arc<AuthorizationPolicy>>,
    /// Mutual TLS.
    pub peer: PeerPlan,
    /// Tokens.
    pub jwt: JwtPlan,
    /// The words of all rules.
    pub vocabulary: Vocabulary,
    /// Rules for HTTP requests.
    pub http: Trees,
    /// Rules for L4 connections.
    pub l4: Trees,
    /// What of a request its answer may depend on.
    pub dependencies: Dependencies,
    /// What a request is told that no ALLOW rule allows: by the first attached ALLOW policy that says
    /// so, if annotations count.
    pub not_allowed: Option<Arc<DenyResponse>>,
    /// Resources that may apply and have never had an accepted form: everything is denied.
    pub invalid: Vec<ResourceId>,
}

impl Snapshot {
    /// What deciding takes in memory, all workloads together.
    pub fn compiled_size(&self) -> CompiledSize {
        self.workloads.iter().map(|plan| plan.compiled_size()).sum()
    }
}

impl WorkloadPlan {
    /// What deciding takes in memory. The policies as written, kept for explanations, are not part
    /// of it.
    pub fn compiled_size(&self) -> CompiledSize {
        CompiledSize {
            rules: self.policies.iter().map(|policy| policy.rules.len()).sum(),
            bytes: self.vocabulary.heap_size() + self.http.heap_size() + self.l4.heap_size(),
        }
    }

    /// The policy a rule belongs to.
    pub fn policy(&self, rule: RuleId) -> Option<&AuthorizationPolicy> {
        self.policies.get(usize::try_from(rule.policy).ok()?).map(AsRef::as_ref)
    }

    /// The provider that a CUSTOM rule names.
    pub fn provider(&self, rule: RuleId) -> Option<&str> {
        match &self.policy(rule)?.action {
            Action::Custom { provider } => Some(provider),
            Action::Allow | Action::Deny | Action::Audit => None,
        }
    }

    /// The trees for a kind of traffic.
    pub fn trees(&self, is_http: bool) -> &Trees {
        if is_http { &self.http } else { &self.l4 }
    }
}

/// A number of the plan as a place in a list.
fn at(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
