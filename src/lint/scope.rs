//! For which workloads a resource can hold, as far as two resources can be held against each other.
//!
//! No workloads are known here, only what selects them.

use std::collections::BTreeMap;

use crate::model::{Attachment, Mesh, Metadata, PolicyTargetReference};

/// What selects the workloads of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// `None` for the root namespace: every namespace.
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    targets: Vec<PolicyTargetReference>,
}

impl Scope {
    pub(super) fn of(metadata: &Metadata, attachment: &Attachment, mesh: &Mesh) -> Self {
        let in_root = *metadata.namespace == *mesh.root_namespace;
        Self {
            namespace: (!in_root).then(|| metadata.namespace.to_string()),
            labels: attachment.selector.clone().unwrap_or_default(),
            targets: attachment.target_refs.clone(),
        }
    }

    /// Whether it holds for every workload that the other holds for.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let by_namespace = self.namespace.is_none() || self.namespace == other.namespace;
        // Without targets a policy never holds for waypoints, with targets for gateways alone.
        let by_target = match (self.targets.as_slice(), other.targets.as_slice()) {
            ([], []) => {
                self.labels.iter().all(|(label, value)| other.labels.get(label) == Some(value))
            }
            // Names of targets are of the policy's own namespace.
            (ours, theirs) => {
                !ours.is_empty()
                    && !theirs.is_empty()
                    && self.namespace == other.namespace
                    && theirs.iter().all(|target| ours.contains(target))
            }
        };
        by_namespace && by_target
    }

    /// Whether there can be a workload that both hold for; `true` where that is not known.
    pub(super) fn may_overlap(&self, other: &Self) -> bool {
        let by_namespace = match (&self.namespace, &other.namespace) {
            (Some(a), Some(b)) => a == b,
            (_, _) => true,
        };
        let conflict = self
            .labels
            .iter()
            .any(|(label, value)| other.labels.get(label).is_some_and(|theirs| theirs != value));
        by_namespace && !conflict
    }

    /// Whether it is a whole namespace, or the whole mesh.
    pub(super) fn is_wide(&self) -> bool {
        self.labels.is_empty() && self.targets.is_empty()
    }

    /// Whether it is of the root namespace.
    pub(super) fn is_of_root(&self) -> bool {
        self.namespace.is_none()
    }
}
