//! One policy set after the other to snapshots, making again only what has changed.
//!
//! A list of the very same policies compiles to what it did before; workloads that see the same list
//! share it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::access::{Access, Forms, Scope};
use super::api_rules::{ApiRules, OfWorkload};
use super::attachments::{NamespaceResources, by_namespace};
use super::{Rejected, Settings, access, attach, authentication, build, holding, trust_domain};
use crate::model::{
    Action, ApiRule, AuthorizationPolicy, JwtRule, Kind, Mesh, Metadata, RefusedScope, Resource,
    ResourceId, Workload,
};
use crate::plan::rules::TooLarge;
use crate::plan::{
    AttachedLayer, Directory, JwtPlan, KeyReference, KeySource, KeySourceId, Layer, SeriesNames,
    Snapshot, WorkloadPlan,
};

/// Compiles policy sets that follow each other.
#[derive(Debug, Default)]
pub struct Compiler {
    mesh: Mesh,
    layers: Kept<AuthorizationPolicy, Option<Arc<Layer>>>,
    tokens: Kept<Resource, Tokens>,
    forms: Kept<ApiRule, Forms>,
    access: HashMap<AccessKey, (Access, bool)>,
    series: SeriesNames,
    compiled: usize,
}

/// What an [`Access`] is made of: the APIRules, for whom, the RequestAuthentications, and the hosts that
/// are refused.
type AccessKey = (Identical<ApiRule>, Scope, Identical<Resource>, Vec<(String, ResourceId)>);

/// Compiled RequestAuthentications.
#[derive(Debug, Clone)]
struct Tokens {
    plan: Arc<JwtPlan>,
    /// Where its keys come from, and how long that may take.
    key_sources: Arc<[(KeySourceId, Duration)]>,
}

impl Compiler {
    /// Compiles a policy set: what is accepted in any order, and what never was. The workloads are
    /// those of the settings, then those that were found.
    pub fn compile(
        &mut self,
        revision: u64,
        (resources, rejected): (&[Arc<Resource>], &[Rejected]),
        settings: &Settings,
        found: &[Workload],
    ) -> Snapshot {
        if self.mesh != settings.mesh {
            let series = self.series.clone();
            *self = Self { mesh: settings.mesh.clone(), series, ..Self::default() };
        }
        self.compiled = 0;
        let ordered = attach::in_order(resources);
        let namespaces = by_namespace(&ordered);
        let mut refused: HashMap<&str, Vec<&Rejected>> = HashMap::new();
        let mut refused_api_rules = Vec::new();
        for rejected in rejected {
            match rejected.scope {
                Some(RefusedScope::ApiRule { .. }) => refused_api_rules.push(rejected),
                Some(RefusedScope::Attached(_)) | None => {
                    refused.entry(&rejected.id.namespace).or_default().push(rejected);
                }
            }
        }
        let api_rules = ordered.iter().filter_map(|resource| match &***resource {
            Resource::ApiRule(api_rule) => Some(api_rule),
            Resource::AuthorizationPolicy(_)
            | Resource::RequestAuthentication(_)
            | Resource::PeerAuthentication(_) => None,
        });
        let knows_services = |workload: &Workload| !workload.services.is_empty();
        let by_service = settings.workloads.iter().chain(found).any(knows_services);
        let api_rules = ApiRules::new(api_rules.collect(), refused_api_rules, by_service);
        let set = PolicySet { namespaces, refused, api_rules };
        let workloads: Vec<_> = settings
            .workloads
            .iter()
            .chain(found)
            .map(|workload| Arc::new(self.workload(&set, workload)))
            .collect();
        let mut timeouts = BTreeMap::new();
        let of_access = self.access.values().filter(|(_, used)| *used);
        let of_access = of_access.flat_map(|(access, _)| &*access.key_sources);
        let of_tokens = self.tokens.used().flat_map(|tokens| &*tokens.key_sources);
        for (id, timeout) in of_tokens.chain(of_access) {
            let longest = timeouts.entry(id.clone()).or_insert(*timeout);
            *longest = (*timeout).max(*longest);
        }
        self.layers.forget_unused();
        self.tokens.forget_unused();
        self.forms.forget_unused();
        self.access.retain(|_, (_, used)| std::mem::take(used));
        let key_sources = timeouts.into_iter().map(|(id, timeout)| KeySource { id, timeout });
        let key_sources = key_sources.collect();
        let directory = Directory::new(&workloads);
        let series = self.series.clone();
        Snapshot { revision, workloads, directory, series, key_sources }
    }

    /// How many policies had to be compiled for the last snapshot. One that is attached in different
    /// company counts each time.
    pub fn compiled(&self) -> usize {
        self.compiled
    }

    fn workload(&mut self, set: &PolicySet<'_>, workload: &Workload) -> WorkloadPlan {
        let mesh = self.mesh.clone();
        let namespaces = attach::namespaces(&mesh, workload);
        let mut plan = WorkloadPlan {
            workload: workload.clone(),
            series: self.series.of(workload),
            layers: Vec::new(),
            peer: set.peer(&mesh, workload),
            jwt: Arc::default(),
            access: None,
            invalid: set.invalid(&mesh, workload),
            dependencies: OnceLock::new(),
        };
        let mut tokens = Vec::new();
        for namespace in namespaces {
            let Some(resources) = set.namespaces.get(namespace) else { continue };
            if attach::is_selectable(workload) {
                let wide = || resources.policies.wide().cloned().collect();
                let layer = resources.wide_layer.get_or_init(|| self.layer(wide()));
                add_layer(&mut plan, layer.as_ref(), wide);
            }
            let narrow = resources.policies.narrow(namespace, &mesh, workload);
            let narrow = || narrow.iter().copied().cloned().collect();
            let layer = self.layer(narrow());
            add_layer(&mut plan, layer.as_ref(), narrow);
            tokens.extend(resources.tokens.every(namespace, &mesh, workload).into_iter().cloned());
        }
        let mut own = set.api_rules.of(workload);
        plan.invalid.append(&mut own.invalid);
        if own.api_rules.is_empty() && own.refused.is_empty() {
            plan.jwt = self.tokens.get(tokens, tokens_of).plan;
        } else {
            self.add_access(&mut plan, own, tokens);
        }
        plan
    }

    fn add_access(&mut self, plan: &mut WorkloadPlan, own: OfWorkload, tokens: Vec<Arc<Resource>>) {
        let OfWorkload { api_rules, scope, refused, invalid: _ } = own;
        let mut compiled = Vec::new();
        for api_rule in &api_rules {
            let count = &mut self.compiled;
            let forms = self.forms.get(vec![api_rule.clone()], |_| {
                *count += 1;
                access::forms(api_rule)
            });
            match forms {
                Some(forms) => compiled.push((api_rule.clone(), forms)),
                None => plan.invalid.push(id_of(Kind::ApiRule, &api_rule.metadata)),
            }
        }
        let key = (Identical(api_rules), scope, Identical(tokens), refused);
        if let Some((access, used)) = self.access.get_mut(&key) {
            *used = true;
            (plan.jwt, plan.access) = (access.jwt.clone(), Some(access.plan.clone()));
            return;
        }
        let access = access::access(&compiled, &key.3, &key.1, &jwt_rules(&key.2.0));
        (plan.jwt, plan.access) = (access.jwt.clone(), Some(access.plan.clone()));
        self.access.insert(key, (access, true));
    }

    /// `None` where there is more than can be counted.
    fn layer(&mut self, policies: Vec<Arc<AuthorizationPolicy>>) -> Option<Arc<Layer>> {
        let (mesh, compiled) = (&self.mesh, &mut self.compiled);
        self.layers.get(policies, |policies| {
            *compiled += policies.len();
            let policies: Vec<_> = policies.iter().map(|p| trust_domain::expand(p, mesh)).collect();
            let build::Built { vocabulary, http, l4 } =
                build::build(&policies).map_err(|_: TooLarge| ()).ok()?;
            let not_allowed = policies
                .iter()
                .filter(|policy| policy.action == Action::Allow && !policy.dry_run)
                .find_map(|policy| policy.deny_response.clone());
            Some(Arc::new(Layer { policies, vocabulary, http, l4, not_allowed }))
        })
    }
}

/// Puts a layer behind those that are there. What could not be compiled cannot be enforced: closed.
fn add_layer(
    plan: &mut WorkloadPlan,
    layer: Option<&Arc<Layer>>,
    policies: impl Fn() -> Vec<Arc<AuthorizationPolicy>>,
) {
    let first_policy = plan.layers.last().map_or(Some(0), |last| {
        last.first_policy.checked_add(u32::try_from(last.layer.policies.len()).ok()?)
    });
    match (layer, first_policy) {
        (Some(layer), _) if layer.policies.is_empty() => {}
        (Some(layer), Some(first_policy)) => {
            plan.layers.push(AttachedLayer { first_policy, layer: layer.clone() });
        }
        (_, _) => plan.invalid.extend(
            policies().iter().map(|policy| id_of(Kind::AuthorizationPolicy, &policy.metadata)),
        ),
    }
}

fn id_of(kind: Kind, Metadata { namespace, name, .. }: &Metadata) -> ResourceId {
    ResourceId { kind, namespace: namespace.clone(), name: name.clone() }
}

fn jwt_rules(resources: &[Arc<Resource>]) -> Vec<&JwtRule> {
    let mut rules: Vec<&JwtRule> = Vec::new();
    for resource in resources {
        if let Resource::RequestAuthentication(tokens) = &**resource {
            rules.extend(&tokens.jwt_rules);
        }
    }
    rules
}

fn tokens_of(resources: &[Arc<Resource>]) -> Tokens {
    let rules = jwt_rules(resources);
    let plan = authentication::jwt_plan(&rules);
    let sorted = authentication::sorted(&rules);
    let remote = sorted.into_iter().zip(&plan.rules).filter_map(|(rule, plan)| match &plan.keys {
        KeyReference::Remote(id) => Some((id.clone(), rule.timeout)),
        KeyReference::Inline(_) => None,
    });
    Tokens { key_sources: remote.collect(), plan: Arc::new(plan) }
}

/// The resources of one revision by namespace.
struct PolicySet<'r> {
    namespaces: HashMap<&'r str, NamespaceResources<'r>>,
    refused: HashMap<&'r str, Vec<&'r Rejected>>,
    api_rules: ApiRules<'r>,
}

impl PolicySet<'_> {
    fn peer(&self, mesh: &Mesh, workload: &Workload) -> crate::plan::PeerPlan {
        authentication::peer_plan(&holding::peer_levels(&self.namespaces, mesh, workload))
    }

    fn invalid(&self, mesh: &Mesh, workload: &Workload) -> Vec<ResourceId> {
        attach::namespaces(mesh, workload)
            .into_iter()
            .filter_map(|namespace| self.refused.get(namespace))
            .flatten()
            .filter(|rejected| attach::may_attach(rejected, mesh, workload))
            .map(|rejected| rejected.id.clone())
            .collect()
    }
}

/// What lists of resources came to, by the resources in them.
#[derive(Debug)]
struct Kept<R, T>(HashMap<Identical<R>, (T, bool)>);

impl<R, T> Default for Kept<R, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<R, T: Clone> Kept<R, T> {
    fn get(&mut self, list: Vec<Arc<R>>, make: impl FnOnce(&[Arc<R>]) -> T) -> T {
        let key = Identical(list);
        if let Some((made, used)) = self.0.get_mut(&key) {
            *used = true;
            return made.clone();
        }
        let made = make(&key.0);
        self.0.insert(key, (made.clone(), true));
        made
    }

    fn used(&self) -> impl Iterator<Item = &T> {
        self.0.values().filter(|(_, used)| *used).map(|(made, _)| made)
    }

    fn forget_unused(&mut self) {
        self.0.retain(|_, (_, used)| std::mem::take(used));
    }
}

/// Equal where the very same resources are in it, in the same order. It holds them, so that no other
/// gets the address of one.
#[derive(Debug)]
struct Identical<R>(Vec<Arc<R>>);

impl<R> PartialEq for Identical<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl<R> Eq for Identical<R> {}

impl<R> Hash for Identical<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
        for resource in &self.0 {
            Arc::as_ptr(resource).hash(state);
        }
    }
}

#[cfg(test)]
mod tests;
