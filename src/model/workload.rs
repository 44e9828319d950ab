//! The workload that policies select, and the mesh settings they are read with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What policies are attached to, and how requests name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its name, unique in its namespace; the pod's where it is one.
    pub name: Option<String>,
    /// The Services of its namespace that lead to it.
    pub services: BTreeSet<String>,
    /// Where requests to it arrive.
    pub addresses: BTreeSet<IpAddr>,
    /// Its service account, which its certificates name.
    pub service_account: Option<String>,
}

/// A Kubernetes Service: which workloads of its namespace it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Service {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `spec.selector`; without labels, it leads to none that could be told.
    pub selector: BTreeMap<String, String>,
}

impl Service {
    /// Whether it leads to the workload.
    pub fn leads_to(&self, workload: &Workload) -> bool {
        !self.selector.is_empty()
            && self.namespace == workload.namespace
            && self.selector.iter().all(|(name, value)| workload.labels.get(name) == Some(value))
    }
}

impl Workload {
    /// Adds the Services that lead to it.
    pub fn found_by(&mut self, services: &[Service]) {
        let leading = services.iter().filter(|service| service.leads_to(self));
        let names: Vec<_> = leading.map(|service| service.name.clone()).collect();
        self.services.extend(names);
    }
}

/// The part of Istio's MeshConfig that gives policies their meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// `rootNamespace`
    pub root_namespace: String,
    /// `trustDomain`
    pub trust_domain: String,
    /// `trustDomainAliases`
    pub trust_domain_aliases: Vec<String>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".into(),
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
        }
    }
}
