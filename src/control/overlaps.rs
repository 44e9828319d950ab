//! What is probably not meant in accepted APIRules, found again only in those that are others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::lint;
use crate::model::{Resource, ResourceId};

/// What was found in each.
#[derive(Debug, Default)]
pub(super) struct Overlaps(BTreeMap<ResourceId, (Arc<Resource>, Vec<Diagnostic>)>);

impl Overlaps {
    /// Of all resources in force.
    pub(super) fn find(&mut self, resources: &[Arc<Resource>]) -> Vec<Diagnostic> {
        let mut before = std::mem::take(&mut self.0);
        let is_api_rule = |it: &&Arc<Resource>| matches!(***it, Resource::ApiRule(_));
        for resource in resources.iter().filter(is_api_rule) {
            let id = resource.id();
            let kept = before.remove(&id).filter(|(known, _)| Arc::ptr_eq(known, resource));
            let found = kept.unwrap_or_else(|| (resource.clone(), lint::overlaps(resource)));
            self.0.insert(id, found);
        }
        self.0.values().flat_map(|(_, found)| found).cloned().collect()
    }
}
