//! The rules of a workload, by what they do.
//!
//! Nothing about requests: `decide` asks.

use std::sync::Arc;

use super::index::Index;
use super::rules::Rules;

/// The rules of one workload for one kind of traffic, by what they do.
#[derive(Debug, Default)]
pub struct Trees {
    /// Enforced CUSTOM, by provider.
    pub custom: Vec<CustomTree>,
    /// Dry-run CUSTOM, by provider.
    pub shadow_custom: Vec<CustomTree>,
    /// Enforced DENY.
    pub deny: DecisionTree,
    /// Enforced ALLOW.
    pub allow: DecisionTree,
    /// Whether an enforced ALLOW policy is attached, with or without rules that can match.
    pub has_allow: bool,
    /// Enforced AUDIT.
    pub audit: DecisionTree,
    /// Dry-run DENY.
    pub shadow_deny: DecisionTree,
    /// Dry-run ALLOW.
    pub shadow_allow: DecisionTree,
    /// Whether an AUDIT policy is attached.
    pub has_audit: bool,
    /// Whether a dry-run DENY policy is attached.
    pub has_shadow_deny: bool,
    /// Whether a dry-run ALLOW policy is attached.
    pub has_shadow_allow: bool,
    /// Whether any dry-run policy of these three is attached.
    pub has_shadow: bool,
}

impl Trees {
    fn all(&self) -> impl Iterator<Item = &DecisionTree> {
        let custom = self.custom.iter().chain(&self.shadow_custom).map(|custom| &custom.tree);
        [&self.deny, &self.allow, &self.audit, &self.shadow_deny, &self.shadow_allow]
            .into_iter()
            .chain(custom)
    }

    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.all().map(|tree| tree.rules.len()).sum()
    }

    /// What they hold on the heap, in bytes.
    pub fn heap_size(&self) -> usize {
        self.all().map(|tree| tree.rules.heap_size() + tree.index.heap_size()).sum()
    }
}

/// The rules that ask one extension provider. Those of a workload are in the order of their
/// providers' names, which is the order in which Istio places their filters.
#[derive(Debug)]
pub struct CustomTree {
    /// `spec.provider.name`
    pub provider: Arc<str>,
    /// Its rules.
    pub tree: DecisionTree,
}

/// What a condition counts as that depends on an input Envoy does not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// As not matching: for ALLOW.
    #[default]
    NoMatch,
    /// As matching: for DENY, CUSTOM and AUDIT.
    Match,
}

/// Rules of one action in order, and an index that skips those which cannot match.
#[derive(Debug, Default)]
pub struct DecisionTree {
    /// In the order in which they are tried.
    pub rules: Rules,
    /// Finds at least those that may match.
    pub index: Index,
    /// What an unknown condition counts as.
    pub unknown: Unknown,
}
