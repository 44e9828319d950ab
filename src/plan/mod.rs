//! The compiled form that `decide` walks: a snapshot holds a plan for each workload.
//!
//! Immutable once built; `compile` builds it, `decide` and `authn` read it.

mod access;
mod authentication;
mod directory;

mod dependencies;
pub mod index;
pub mod rules;
mod series;
mod size;
mod trees;
pub mod vocabulary;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

pub use access::{AccessPlan, AccessRulePlan, HostPlan, PathMatch, Route, host_of};
pub use authentication::{
    ClaimHeader, JwtPlan, JwtRulePlan, KeyReference, KeySource, KeySourceId, PeerPlan, TokenPlaces,
};
pub use dependencies::{Dependencies, Dependency};
pub use directory::{Directory, Named};
pub use series::{Series, SeriesNames};
pub use size::CompiledSize;
pub use trees::{CustomTree, DecisionTree, Trees, Unknown};

use crate::model::{
    AccessRuleId, Action, AuthorizationPolicy, DenyResponse, ResourceId, RuleId, Workload,
};
use vocabulary::{Attribute, Vocabulary};

/// All plans of one revision of the policies. Immutable; replaced whole.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts up from 1; 0 before the first policies were read.
    pub revision: u64,
    /// One plan for each workload; the first is the default.
    pub workloads: Vec<Arc<WorkloadPlan>>,
    /// Finds them by what requests say.
    pub directory: Directory,
    /// What they are counted as.
    pub series: SeriesNames,
    /// Remote key sets that some rule names, without duplicates.
    pub key_sources: Vec<KeySource>,
}

/// What holds for one workload. Most of it is shared with other workloads.
#[derive(Debug)]
pub struct WorkloadPlan {
    /// The workload.
    pub workload: Workload,
    /// What it is counted as.
    pub series: Series,
    /// The attached AuthorizationPolicies, those that hold for most workloads first.
    pub layers: Vec<AttachedLayer>,
    /// Mutual TLS.
    pub peer: PeerPlan,
    /// Tokens.
    pub jwt: Arc<JwtPlan>,
    /// APIRules; `None` without any.
    pub access: Option<Arc<AccessPlan>>,
    /// Resources that may apply and have never had an accepted form: everything is denied.
    pub invalid: Vec<ResourceId>,
    /// Made when it is first asked for.
    pub dependencies: OnceLock<Dependencies>,
}

/// A layer and its place in a plan.
#[derive(Debug, Clone)]
pub struct AttachedLayer {
    /// The number that its first policy has in the plan.
    pub first_policy: u32,
    /// What it is.
    pub layer: Arc<Layer>,
}

/// Policies that hold for the same workloads, compiled together and once for all of these.
#[derive(Debug, Default)]
pub struct Layer {
    /// By age. Trust-domain aliases are already written out. A `RuleId` of the trees below counts in
    /// here; see [`AttachedLayer::rule`].
    pub policies: Vec<Arc<AuthorizationPolicy>>,
    /// The words of all rules.
    pub vocabulary: Vocabulary,
    /// Rules for HTTP requests.
    pub http: Trees,
    /// Rules for L4 connections.
    pub l4: Trees,
    /// What the first enforced ALLOW policy with a word on it tells whom no ALLOW rule allows.
    pub not_allowed: Option<Arc<DenyResponse>>,
}

impl Snapshot {
    /// What deciding takes in memory, all workloads together; what they share counts once.
    pub fn compiled_size(&self) -> CompiledSize {
        let mut seen = HashSet::new();
        let layers = self.workloads.iter().flat_map(|plan| &plan.layers);
        let distinct = layers.filter(|attached| seen.insert(Arc::as_ptr(&attached.layer)));
        let layers: CompiledSize = distinct.map(|attached| attached.layer.compiled_size()).sum();
        let mut seen = HashSet::new();
        let plans = self.workloads.iter().filter_map(|plan| plan.access.as_ref());
        let distinct = plans.filter(|access| seen.insert(Arc::as_ptr(access)));
        layers + distinct.map(|access| access.compiled_size()).sum()
    }
}

impl WorkloadPlan {
    /// What deciding takes in memory. The policies as written, kept for explanations, are not part
    /// of it.
    pub fn compiled_size(&self) -> CompiledSize {
        let access = self.access.iter().map(|access| access.compiled_size());
        self.layers.iter().map(|attached| attached.layer.compiled_size()).chain(access).sum()
    }

    /// Whether every request gets the same answer from both. May say no where they only look
    /// different.
    pub fn decides_like(&self, other: &Self) -> bool {
        let Self { workload: _, series: _, layers, peer, jwt, access, invalid, dependencies: _ } =
            self;
        let is_same = |(a, b): (&AttachedLayer, &AttachedLayer)| Arc::ptr_eq(&a.layer, &b.layer);
        layers.len() == other.layers.len()
            && layers.iter().zip(&other.layers).all(is_same)
            && *peer == other.peer
            && Arc::ptr_eq(jwt, &other.jwt)
            && access.as_ref().map(Arc::as_ptr) == other.access.as_ref().map(Arc::as_ptr)
            && *invalid == other.invalid
    }

    /// The attached policies; `RuleId::policy` counts in here.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<AuthorizationPolicy>> + Clone {
        self.layers.iter().flat_map(|attached| &attached.layer.policies)
    }

    /// The policy a rule belongs to.
    pub fn policy(&self, rule: RuleId) -> Option<&AuthorizationPolicy> {
        let behind = self.layers.partition_point(|layer| layer.first_policy <= rule.policy);
        let attached = self.layers.get(behind.checked_sub(1)?)?;
        let policy = attached.layer.policies.get(at(rule.policy - attached.first_policy))?;
        Some(policy)
    }

    /// Namespace and name of the APIRule that a rule belongs to.
    pub fn api_rule(&self, rule: AccessRuleId) -> Option<[&str; 2]> {
        let (api_rule, _) = self.access.as_ref()?.rule(rule)?;
        Some([&api_rule.metadata.namespace, &api_rule.metadata.name])
    }

    /// The provider that a CUSTOM rule names.
    pub fn provider(&self, rule: RuleId) -> Option<&str> {
        match &self.policy(rule)?.action {
            Action::Custom { provider } => Some(provider),
            Action::Allow | Action::Deny | Action::Audit => None,
        }
    }

    /// The trees for a kind of traffic, of each layer.
    pub fn trees(&self, is_http: bool) -> impl Iterator<Item = &Trees> {
        self.layers.iter().map(move |attached| attached.layer.trees(is_http))
    }

    /// Whether an enforced ALLOW policy is attached, with or without rules that can match.
    pub fn has_allow(&self) -> bool {
        self.trees(true).any(|trees| trees.has_allow)
    }

    /// Whether a dry-run ALLOW policy is attached.
    pub fn has_shadow_allow(&self) -> bool {
        self.trees(true).any(|trees| trees.has_shadow_allow)
    }

    /// Whether any dry-run policy is attached.
    pub fn has_shadow(&self) -> bool {
        self.trees(true).any(|trees| trees.has_shadow)
    }

    /// Whether an enforced AUDIT policy is attached.
    pub fn has_audit(&self) -> bool {
        self.trees(true).any(|trees| trees.has_audit)
    }

    /// Whether a dry-run DENY policy is attached.
    pub fn has_shadow_deny(&self) -> bool {
        self.trees(true).any(|trees| trees.has_shadow_deny)
    }

    /// What a request is told that no ALLOW rule allows: by the first attached ALLOW policy that says
    /// so, if annotations count.
    pub fn not_allowed(&self) -> Option<&DenyResponse> {
        self.layers.iter().find_map(|attached| attached.layer.not_allowed.as_deref())
    }

    /// What of a request its answer may depend on.
    pub fn dependencies(&self) -> &Dependencies {
        let all = || Dependencies::of(self.attributes(), &self.jwt, &self.peer);
        self.dependencies.get_or_init(all)
    }

    /// What the rules look at, each once.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.layers.iter().enumerate().flat_map(|(number, attached)| {
            let before = self.layers.get(..number).unwrap_or_default();
            let is_new = move |attribute: &&Attribute| {
                !before.iter().any(|it| it.layer.vocabulary.attributes().any(|a| a == *attribute))
            };
            attached.layer.vocabulary.attributes().filter(is_new)
        })
    }

    /// The headers that conditions look at, each once.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.attributes().filter_map(Attribute::header_name)
    }
}

impl AttachedLayer {
    /// A rule of the layer as a rule of the plan.
    pub fn rule(&self, RuleId { policy, rule }: RuleId) -> RuleId {
        RuleId { policy: self.first_policy.saturating_add(policy), rule }
    }
}

impl Layer {
    /// The trees for a kind of traffic.
    pub fn trees(&self, is_http: bool) -> &Trees {
        if is_http { &self.http } else { &self.l4 }
    }

    /// What deciding takes in memory.
    pub fn compiled_size(&self) -> CompiledSize {
        CompiledSize {
            rules: self.policies.iter().map(|policy| policy.rules.len()).sum(),
            bytes: self.vocabulary.heap_size() + self.http.heap_size() + self.l4.heap_size(),
        }
    }
}

/// A number of the plan as a place in a list.
fn at(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
