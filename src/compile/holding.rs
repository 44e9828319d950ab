//! Which PeerAuthentications and RequestAuthentications hold for a workload, for those who show it.
//!
//! Plans have only what these come to; which AuthorizationPolicies and APIRules hold stands in them.

use std::collections::HashMap;
use std::sync::Arc;

use super::attachments::{NamespaceResources, by_namespace};
use super::authentication::PeerLevels;
use super::{attach, attachments};
use crate::model::{Mesh, RequestAuthentication, Resource, Workload};

/// A policy set, to be asked what holds for many workloads.
#[derive(Debug)]
pub struct Holding<'r> {
    mesh: &'r Mesh,
    namespaces: HashMap<&'r str, NamespaceResources<'r>>,
}

impl<'r> Holding<'r> {
    /// Of these resources, in any order.
    pub fn new(resources: &'r [Arc<Resource>], mesh: &'r Mesh) -> Self {
        Self { mesh, namespaces: by_namespace(&attach::in_order(resources)) }
    }

    /// The PeerAuthentications that the workload has its modes from.
    pub fn peers(&self, workload: &Workload) -> PeerLevels<'r> {
        peer_levels(&self.namespaces, self.mesh, workload)
    }

    /// The RequestAuthentications that hold for the workload.
    pub fn tokens(&self, workload: &Workload) -> Vec<&'r RequestAuthentication> {
        let mut found = Vec::new();
        for namespace in attach::namespaces(self.mesh, workload) {
            let Some(resources) = self.namespaces.get(namespace) else { continue };
            let tokens: &attachments::Attachments<'r, &'r Arc<Resource>> = &resources.tokens;
            let every = tokens.every(namespace, self.mesh, workload);
            found.extend(every.into_iter().filter_map(|resource| match &**resource {
                Resource::RequestAuthentication(tokens) => Some(tokens),
                Resource::AuthorizationPolicy(_)
                | Resource::PeerAuthentication(_)
                | Resource::ApiRule(_) => None,
            }));
        }
        found
    }
}

pub(super) fn peer_levels<'r>(
    namespaces: &HashMap<&'r str, NamespaceResources<'r>>,
    mesh: &Mesh,
    workload: &Workload,
) -> PeerLevels<'r> {
    let mut policies = Vec::new();
    for namespace in attach::namespaces(mesh, workload) {
        let Some(resources) = namespaces.get(namespace) else { continue };
        // Of those for all, the oldest counts.
        policies.extend(resources.peers.wide().next());
        policies.extend(resources.peers.candidates(workload));
    }
    PeerLevels::of(&policies, mesh, workload)
}
