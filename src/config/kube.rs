//! The cluster that policies come from, as configured.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::values::{self, text};
use super::{Environment, Reader};
use crate::compile::Settings;

/// Everything about following a cluster that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeConfig {
    /// Only these namespaces; all where it is empty.
    pub namespaces: Vec<String>,
    /// The kubeconfig to use instead of the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// Its context, where it is not the current one.
    pub context: Option<String>,
    /// Whether statuses are written.
    pub status: bool,
    /// Whether its pods are workloads.
    pub workloads: bool,
    /// In which version its APIRules are followed; not at all where there is none.
    pub api_rules: Option<&'static str>,
    /// Only the pods of this node; all where there is none.
    pub node: Option<String>,
    /// What this machine or pod is called, to be told from its likes.
    pub host: Option<String>,
}

/// Settings that mean nothing without `kube`.
const OTHERS: [&str; 7] = [
    "kubeNamespaces",
    "kubeconfig",
    "kubeContext",
    "kubeStatus",
    "kubeWorkloads",
    "kubeApiRules",
    "kubeNode",
];

impl KubeConfig {
    pub(super) fn read(
        read: &mut Reader<'_>,
        settings: &Settings,
        environment: &Environment,
    ) -> Option<Self> {
        let followed = read.setting("kube", false, values::boolean);
        let found =
            |name: &'static str| read.layers.find(name).map(|(origin, _)| origin.subject(name));
        if !followed {
            let others: Vec<_> = OTHERS.into_iter().filter_map(found).collect();
            for subject in others {
                read.problems.add(subject, "is for --kube, which is not set");
            }
            return None;
        }
        let others: Vec<_> = ["policies", "store"].into_iter().filter_map(found).collect();
        for subject in others {
            read.problems.add(subject, "policies come from the cluster already (--kube)");
        }
        #[cfg(not(feature = "kube"))]
        read.problems.add("--kube", "this Postern was built without it (feature `kube`)");
        let path = |value: &Value| values::path(value).map(Some);
        let config = Self {
            namespaces: read.setting("kubeNamespaces", Vec::new(), namespaces),
            kubeconfig: read.setting("kubeconfig", None, path),
            context: read.setting("kubeContext", None, |v| Ok(Some(text(v)?.to_owned()))),
            status: read.setting("kubeStatus", true, values::boolean),
            workloads: read.setting("kubeWorkloads", false, values::boolean),
            api_rules: read.setting("kubeApiRules", None, api_rules),
            node: read.setting("kubeNode", None, |v| Ok(Some(text(v)?.to_owned()))),
            host: environment.variable("HOSTNAME"),
        };
        if config.node.is_some() && !config.workloads {
            read.problems.add("--kube-node", "is for --kube-workloads, which is not set");
        }
        config.misses_none(read, settings);
        Some(config)
    }

    /// Policies that are not looked at cannot deny.
    fn misses_none(&self, read: &mut Reader<'_>, settings: &Settings) {
        if self.namespaces.is_empty() {
            return;
        }
        let root =
            (&settings.mesh.root_namespace, "the root namespace, whose policies hold everywhere");
        let workloads = settings.workloads.iter();
        let needed = workloads.map(|workload| (&workload.namespace, "the namespace of a workload"));
        let mut said: Vec<&String> = Vec::new();
        for (namespace, what) in std::iter::once(root).chain(needed) {
            if !self.namespaces.contains(namespace) && !said.contains(&namespace) {
                said.push(namespace);
                let problem = format!("`{namespace}` is missing: it is {what}");
                read.problems.add("--kube-namespaces", problem);
            }
        }
    }

    /// Adds the settings as they are in effect.
    pub(super) fn show(&self, settings: &mut Map<String, Value>) {
        let shown = [
            ("kube", json!(true)),
            ("kubeNamespaces", json!(self.namespaces)),
            ("kubeconfig", json!(self.kubeconfig.as_ref().map(|path| path.display().to_string()))),
            ("kubeContext", json!(self.context)),
            ("kubeStatus", json!(self.status)),
            ("kubeWorkloads", json!(self.workloads)),
            ("kubeNode", json!(self.node)),
            ("kubeApiRules", json!(self.api_rules.unwrap_or("false"))),
        ];
        settings.extend(shown.map(|(name, value)| (name.to_owned(), value)));
    }
}

/// Whether, or a version.
fn api_rules(value: &Value) -> Result<Option<&'static str>, String> {
    if let Value::Bool(value) = value {
        return Ok(value.then_some("v1beta1"));
    }
    match text(value)? {
        "false" => Ok(None),
        "true" | "v1beta1" => Ok(Some("v1beta1")),
        "v2alpha1" => Ok(Some("v2alpha1")),
        "v2" => Ok(Some("v2")),
        other => {
            Err(format!("`{other}` is none of `true`, `false`, `v1beta1`, `v2alpha1` and `v2`"))
        }
    }
}

/// A list, or a text with commas.
fn namespaces(value: &Value) -> Result<Vec<String>, String> {
    let mut namespaces = match value.as_array() {
        Some(list) => list.iter().map(values::namespace).collect::<Result<Vec<_>, _>>()?,
        None => text(value)?
            .split(',')
            .map(|name| values::namespace(&Value::String(name.trim().to_owned())))
            .collect::<Result<Vec<_>, _>>()?,
    };
    namespaces.sort();
    namespaces.dedup();
    if namespaces.iter().any(String::is_empty) {
        return Err("a namespace is empty".into());
    }
    Ok(namespaces)
}
