//! What is probably not meant in accepted APIRules.
//!
//! What an APIRule says by itself is found again only in those that are others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::lint;
use crate::model::{Resource, ResourceId, Workload};

/// What was found in each.
#[derive(Debug, Default)]
pub(super) struct Overlaps(BTreeMap<ResourceId, (Arc<Resource>, Vec<Diagnostic>)>);

impl Overlaps {
    /// Of all resources in force. `workloads` are all there are, with their Services; none where
    /// others may be elsewhere.
    pub(super) fn find(
        &mut self,
        resources: &[Arc<Resource>],
        workloads: &[Workload],
    ) -> Vec<Diagnostic> {
        let mut before = std::mem::take(&mut self.0);
        let is_api_rule = |it: &&Arc<Resource>| matches!(***it, Resource::ApiRule(_));
        for resource in resources.iter().filter(is_api_rule) {
            let id = resource.id();
            let kept = before.remove(&id).filter(|(known, _)| Arc::ptr_eq(known, resource));
            let found = kept.unwrap_or_else(|| (resource.clone(), lint::overlaps(resource)));
            self.0.insert(id, found);
        }
        let of_each = self.0.values().flat_map(|(resource, found)| {
            let elsewhere = lint::without_workload(resource, workloads);
            found.iter().cloned().chain(elsewhere)
        });
        of_each.collect()
    }
}
