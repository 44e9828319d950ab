//! The workload that policies select, and the mesh settings they are read with.

use std::collections::BTreeMap;

/// What policies select: a namespace and labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
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
