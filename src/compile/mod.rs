//! Resources to plans: attach policies to workloads, then build what `decide` walks.
//!
//! Total: everything that can be wrong with a resource was refused by `manifest`.

mod attach;
mod authentication;
mod build;
mod fingerprint;
mod index;
mod trust_domain;
mod words;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use attach::precedence;
pub use authentication::normalize_audience;
pub(crate) use trust_domain::expand as expand_trust_domains;

use crate::model::{
    Action, Attachment, AuthorizationPolicy, Kind, Mesh, Metadata, Resource, ResourceId, Workload,
};
use crate::plan::rules::TooLarge;
use crate::plan::{Dependencies, KeyReference, KeySource, Snapshot, WorkloadPlan};

/// What gives resources their meaning beside themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Root namespace, trust domain, aliases.
    pub mesh: Mesh,
    /// The workloads to plan for; the first is the default.
    pub workloads: Vec<Workload>,
}

/// A resource that has never had an accepted form: the workloads it may select deny everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Which.
    pub id: ResourceId,
    /// What it is attached to; `None` where even that could not be read, which counts as its whole
    /// namespace.
    pub attachment: Option<Attachment>,
}

/// Compiles a whole policy set. The order of `resources` does not matter.
pub fn compile(
    revision: u64,
    resources: &[Arc<Resource>],
    rejected: &[Rejected],
    settings: &Settings,
) -> Snapshot {
    let mut ordered: Vec<&Resource> = resources.iter().map(AsRef::as_ref).collect();
    ordered.sort_by(|a, b| attach::precedence(a.metadata()).cmp(&attach::precedence(b.metadata())));

    let mut timeouts = BTreeMap::new();
    let workloads = settings
        .workloads
        .iter()
        .map(|workload| {
            let plan = plan_workload(&ordered, rejected, &settings.mesh, workload, &mut timeouts);
            Arc::new(plan)
        })
        .collect();
    let key_sources = timeouts.into_iter().map(|(id, timeout)| KeySource { id, timeout }).collect();
    Snapshot { revision, workloads, key_sources }
}

fn plan_workload(
    ordered: &[&Resource],
    rejected: &[Rejected],
    mesh: &Mesh,
    workload: &Workload,
    timeouts: &mut BTreeMap<crate::plan::KeySourceId, std::time::Duration>,
) -> WorkloadPlan {
    let mut policies: Vec<Arc<AuthorizationPolicy>> = Vec::new();
    let mut token_rules = Vec::new();
    let mut peer_policies = Vec::new();
    // Root namespace first, as Istio looks policies up; within a namespace by age.
    let attached = attach::namespaces(mesh, workload).into_iter().flat_map(|namespace| {
        ordered.iter().copied().filter(move |r| &*r.metadata().namespace == namespace)
    });
    for resource in attached {
        match resource {
            Resource::AuthorizationPolicy(policy) => {
                if attach::attaches(&policy.metadata.namespace, &policy.attachment, mesh, workload)
                {
                    policies.push(trust_domain::expand(policy, mesh));
                }
            }
            Resource::RequestAuthentication(policy) => {
                if attach::attaches(&policy.metadata.namespace, &policy.attachment, mesh, workload)
                {
                    token_rules.extend(&policy.jwt_rules);
                }
            }
            Resource::PeerAuthentication(policy) => peer_policies.push(policy),
        }
    }
    let jwt = authentication::jwt_plan(&token_rules);
    for (rule, plan) in authentication::sorted(&token_rules).into_iter().zip(&jwt.rules) {
        if let KeyReference::Remote(id) = &plan.keys {
            let timeout = timeouts.entry(id.clone()).or_insert(rule.timeout);
            *timeout = rule.timeout.max(*timeout);
        }
    }
    let mut invalid: Vec<_> = rejected
        .iter()
        .filter(|r| attach::may_attach(r, mesh, workload))
        .map(|r| r.id.clone())
        .collect();
    let built = build::build(&policies).unwrap_or_else(|_: TooLarge| {
        // What cannot be compiled cannot be enforced: closed.
        invalid.extend(policies.iter().map(|policy| {
            let Metadata { namespace, name, .. } = &policy.metadata;
            let kind = Kind::AuthorizationPolicy;
            ResourceId { kind, namespace: namespace.clone(), name: name.clone() }
        }));
        build::Built::default()
    });
    let not_allowed = policies
        .iter()
        .filter(|policy| policy.action == Action::Allow && !policy.dry_run)
        .find_map(|policy| policy.deny_response.clone());
    let peer = authentication::peer_plan(&peer_policies, mesh, workload);
    WorkloadPlan {
        not_allowed,
        dependencies: Dependencies::of(&built.vocabulary, &jwt, &peer),
        workload: workload.clone(),
        peer,
        jwt,
        vocabulary: built.vocabulary,
        http: built.http,
        l4: built.l4,
        policies,
        invalid,
    }
}
