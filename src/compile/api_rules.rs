//! The APIRules of one revision, and which of them are a workload's.

use std::collections::HashMap;
use std::sync::Arc;

use super::Rejected;
use super::access::Scope;
use crate::model::{ApiRule, RefusedScope, ResourceId, Workload};

/// Those that are accepted, in their order, and those that never were.
pub(super) struct ApiRules<'r> {
    all: Vec<&'r Arc<ApiRule>>,
    /// By namespace and name of a Service, the places of those with a rule for it; `None` where no
    /// Services are known.
    by_service: Option<HashMap<(&'r str, &'r str), Vec<usize>>>,
    refused: Vec<&'r Rejected>,
}

/// What a workload has of them.
pub(super) struct OfWorkload {
    pub(super) api_rules: Vec<Arc<ApiRule>>,
    pub(super) scope: Scope,
    /// Hosts of those that never were accepted.
    pub(super) refused: Vec<(String, ResourceId)>,
    /// Those of them of which not enough is known: everything is closed.
    pub(super) invalid: Vec<ResourceId>,
}

impl<'r> ApiRules<'r> {
    pub(super) fn new(
        all: Vec<&'r Arc<ApiRule>>,
        refused: Vec<&'r Rejected>,
        by_service: bool,
    ) -> Self {
        let by_service = by_service.then(|| {
            let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
            for (place, api_rule) in all.iter().enumerate() {
                for rule in &api_rule.rules {
                    let key = (rule.service.namespace.as_str(), rule.service.name.as_str());
                    places.entry(key).or_default().push(place);
                }
            }
            places
        });
        Self { all, by_service, refused }
    }

    /// Those that hold for a workload, and which of their rules do.
    pub(super) fn of(&self, workload: &Workload) -> OfWorkload {
        let Workload { namespace, services, .. } = workload;
        let (api_rules, scope) = match &self.by_service {
            None => (self.all.iter().copied().cloned().collect(), Scope::Hosts),
            Some(by_service) => {
                let mut places: Vec<usize> = services
                    .iter()
                    .filter_map(|service| by_service.get(&(namespace.as_str(), service.as_str())))
                    .flatten()
                    .copied()
                    .collect();
                places.sort_unstable();
                places.dedup();
                let own =
                    places.into_iter().filter_map(|place| self.all.get(place).copied().cloned());
                let names = services.clone();
                (own.collect(), Scope::Services { namespace: namespace.clone(), names })
            }
        };
        let (mut refused, mut invalid) = (Vec::new(), Vec::new());
        for rejected in &self.refused {
            let Some(RefusedScope::ApiRule { hosts, services: theirs }) = &rejected.scope else {
                continue;
            };
            let is_of_namespace = *rejected.id.namespace == **namespace;
            // By their hosts they are for all workloads, by their Services for those of these.
            let is_own = match (&self.by_service, theirs) {
                (None, _) => hosts.is_some() || is_of_namespace,
                (Some(_), None) => is_of_namespace,
                (Some(_), Some(theirs)) => {
                    theirs.iter().any(|(of, name)| of == namespace && services.contains(name))
                }
            };
            match hosts {
                _ if !is_own => {}
                Some(hosts) if self.by_service.is_none() || theirs.is_some() => {
                    refused.extend(hosts.iter().map(|host| (host.clone(), rejected.id.clone())));
                }
                Some(_) | None => invalid.push(rejected.id.clone()),
            }
        }
        OfWorkload { api_rules, scope, refused, invalid }
    }
}
