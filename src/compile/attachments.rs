//! Which of a namespace's resources hold for a workload, without asking each of them.
//!
//! Finds what `attach` says; the rules are there.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::attach;
use crate::model::{Attachment, AuthorizationPolicy, Mesh, PeerAuthentication, Resource, Workload};
use crate::plan::Layer;

/// The resources of one namespace, each list in the order of precedence.
#[derive(Debug, Default)]
pub(super) struct NamespaceResources<'r> {
    pub(super) policies: Attachments<'r, &'r Arc<AuthorizationPolicy>>,
    /// RequestAuthentications.
    pub(super) tokens: Attachments<'r, &'r Arc<Resource>>,
    pub(super) peers: Attachments<'r, &'r PeerAuthentication>,
    /// Of the policies that hold for the whole namespace, once they were asked for.
    pub(super) wide_layer: OnceCell<Option<Arc<Layer>>>,
}

/// Sorts resources, which are in the order of precedence, by namespace.
pub(super) fn by_namespace<'r>(
    ordered: &[&'r Arc<Resource>],
) -> HashMap<&'r str, NamespaceResources<'r>> {
    let mut namespaces: HashMap<&str, NamespaceResources<'_>> = HashMap::new();
    for resource in ordered {
        let found = namespaces.entry(&resource.metadata().namespace).or_default();
        match &***resource {
            Resource::AuthorizationPolicy(policy) => {
                found.policies.add(&policy.attachment, policy);
            }
            Resource::RequestAuthentication(tokens) => {
                found.tokens.add(&tokens.attachment, resource);
            }
            Resource::PeerAuthentication(peer) => found.peers.add(&peer.attachment, peer),
            Resource::ApiRule(_) => {}
        }
    }
    namespaces
}

/// Resources of one namespace by what they are attached to.
#[derive(Debug)]
pub(super) struct Attachments<'r, T> {
    /// In the order in which they were added.
    all: Vec<(&'r Attachment, T)>,
    /// Places in `all` of those without selector and target.
    wide: Vec<usize>,
    /// Of the others by one of their labels.
    by_label: HashMap<(&'r str, &'r str), Vec<usize>>,
    /// By the name of each of their targets.
    by_target: HashMap<&'r str, Vec<usize>>,
}

impl<T> Default for Attachments<'_, T> {
    fn default() -> Self {
        let (by_label, by_target) = (HashMap::new(), HashMap::new());
        Self { all: Vec::new(), wide: Vec::new(), by_label, by_target }
    }
}

impl<'r, T: Copy> Attachments<'r, T> {
    /// Adds one behind the others.
    pub(super) fn add(&mut self, attachment: &'r Attachment, item: T) {
        let place = self.all.len();
        self.all.push((attachment, item));
        for target in &attachment.target_refs {
            self.by_target.entry(&target.name).or_default().push(place);
        }
        if attachment.target_refs.is_empty() {
            match attachment.selector.iter().flatten().next() {
                Some((name, value)) => self.by_label.entry((name, value)).or_default().push(place),
                None => self.wide.push(place),
            }
        }
    }

    fn items(&self, places: &[usize]) -> impl Iterator<Item = T> {
        places.iter().filter_map(|place| self.all.get(*place)).map(|(_, item)| *item)
    }

    /// Those without selector and target.
    pub(super) fn wide(&self) -> impl Iterator<Item = T> {
        self.items(&self.wide)
    }

    /// All others that may hold for the workload, and some that do not.
    pub(super) fn candidates(&self, workload: &Workload) -> impl Iterator<Item = T> {
        let places = self.candidate_places(workload);
        places.into_iter().filter_map(|place| self.all.get(place)).map(|(_, item)| *item)
    }

    /// Those of them that hold for the workload, which sees this namespace.
    pub(super) fn narrow(&self, namespace: &str, mesh: &Mesh, workload: &Workload) -> Vec<T> {
        self.items(&self.narrow_places(namespace, mesh, workload)).collect()
    }

    /// All that hold for the workload.
    pub(super) fn every(&self, namespace: &str, mesh: &Mesh, workload: &Workload) -> Vec<T> {
        let mut places = self.narrow_places(namespace, mesh, workload);
        if attach::is_selectable(workload) {
            places.extend(&self.wide);
        }
        places.sort_unstable();
        self.items(&places).collect()
    }

    fn narrow_places(&self, namespace: &str, mesh: &Mesh, workload: &Workload) -> Vec<usize> {
        let mut places = self.candidate_places(workload);
        places.retain(|place| {
            self.all.get(*place).is_some_and(|(attachment, _)| {
                attach::attaches(namespace, attachment, mesh, workload)
            })
        });
        places
    }

    fn candidate_places(&self, workload: &Workload) -> Vec<usize> {
        let labels = workload.labels.iter();
        let by_label = labels.filter_map(|(k, v)| self.by_label.get(&(k.as_str(), v.as_str())));
        let targets = attach::target_names(workload);
        let by_target = targets.filter_map(|name| self.by_target.get(name));
        let mut places: Vec<usize> = by_label.chain(by_target).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

#[cfg(test)]
mod tests;
