//! Rules as `decide` walks them.

use std::{collections::HashMap, sync::Arc};

use ipnet::IpNet;

use crate::matcher::{
    MetadataMatch, NamespaceMatch, PathTemplate, PrincipalMatch, RequestPrincipalMatch,
    ServiceAccountMatch, StringMatch, TrustDomainMatch,
};
use crate::model::RuleId;

/// The rules of one workload for one kind of traffic, by what they do.
#[derive(Debug, Default)]
pub struct Trees {
    /// Enforced CUSTOM.
    pub custom: DecisionTree,
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
    /// Whether a dry-run ALLOW policy is attached.
    pub has_shadow_allow: bool,
    /// Whether any dry-run policy is attached.
    pub has_shadow: bool,
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
    rules: Box<[CompiledRule]>,
    /// Rules that need one of some exact paths, by each of them.
    by_path: HashMap<Arc<str>, Box<[u32]>>,
    /// All other rules.
    always: Box<[u32]>,
    unknown: Unknown,
}

impl DecisionTree {
    /// Indexes rules; their order is the order in which they are tried.
    pub fn new(rules: Vec<CompiledRule>, unknown: Unknown) -> Self {
        let mut by_path: HashMap<Arc<str>, Vec<u32>> = HashMap::new();
        let mut always = Vec::new();
        for (i, rule) in (0u32..).zip(&rules) {
            match rule.exact_paths() {
                Some(mut paths) => {
                    paths.sort_unstable();
                    paths.dedup();
                    for path in paths {
                        by_path.entry(path.into()).or_default().push(i);
                    }
                }
                None => always.push(i),
            }
        }
        Self {
            rules: rules.into(),
            by_path: by_path.into_iter().map(|(path, rules)| (path, rules.into())).collect(),
            always: always.into(),
            unknown,
        }
    }

    /// What an unknown condition counts as.
    pub fn unknown(&self) -> Unknown {
        self.unknown
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules that may match a request for `path` (without its query), in order; without a path,
    /// those that need none.
    pub fn candidates<'t>(
        &'t self,
        path: Option<&str>,
    ) -> impl Iterator<Item = &'t CompiledRule> + use<'t> {
        let keyed = path.and_then(|path| self.by_path.get(path)).map_or(&[][..], |rules| rules);
        merge(keyed, &self.always)
            .filter_map(|i| self.rules.get(usize::try_from(i).unwrap_or(usize::MAX)))
    }
}

/// Two ascending lists without common elements, as one.
fn merge<'a>(mut a: &'a [u32], mut b: &'a [u32]) -> impl Iterator<Item = u32> + use<'a> {
    std::iter::from_fn(move || {
        let from_a = match (a.first(), b.first()) {
            (Some(x), Some(y)) => x < y,
            (x, _) => x.is_some(),
        };
        let list = if from_a { &mut a } else { &mut b };
        let (first, rest) = list.split_first()?;
        *list = rest;
        Some(*first)
    })
}

/// One rule: any source, and any operation, and all conditions.
#[derive(Debug, Clone)]
pub struct CompiledRule {
    /// Which rule of which policy.
    pub id: RuleId,
    /// Alternatives, each a conjunction; empty holds for every source.
    pub sources: Box<[Box<[Test]>]>,
    /// Alternatives, each a conjunction; empty holds for every operation.
    pub operations: Box<[Box<[Test]>]>,
    /// A conjunction.
    pub conditions: Box<[Test]>,
}

impl CompiledRule {
    /// The exact paths one of which the rule needs; `None` where it matches other paths too.
    fn exact_paths(&self) -> Option<Vec<&str>> {
        let mut all = Vec::new();
        for operation in &self.operations {
            let paths = operation.iter().find_map(|test| match test {
                Test {
                    negated: false,
                    attribute: AttributeTest::Path { exact, patterns, templates },
                } if patterns.is_empty() && templates.is_empty() => Some(exact),
                _ => None,
            })?;
            all.extend(paths.iter().map(AsRef::as_ref));
        }
        (!all.is_empty()).then_some(all)
    }
}

/// One attribute against a list: positive wants any of it, negated none.
#[derive(Debug, Clone)]
pub struct Test {
    /// Whether this is a `not...` field.
    pub negated: bool,
    /// What is compared.
    pub attribute: AttributeTest,
}

/// An attribute and the patterns it is held against.
#[derive(Debug, Clone)]
pub enum AttributeTest {
    /// `principals`, `source.principal`
    Principal(Box<[PrincipalMatch]>),
    /// `namespaces`, `source.namespace`
    Namespace(Box<[NamespaceMatch]>),
    /// `serviceAccounts`, `source.serviceAccount`
    ServiceAccount(Box<[ServiceAccountMatch]>),
    /// `trustDomains`, `source.trustDomain`
    TrustDomain(Box<[TrustDomainMatch]>),
    /// `requestPrincipals`, `request.auth.principal`
    RequestPrincipal(Box<[RequestPrincipalMatch]>),
    /// `ipBlocks`, `source.ip`
    SourceIp(Box<[IpNet]>),
    /// `remoteIpBlocks`, `remote.ip`
    RemoteIp(Box<[IpNet]>),
    /// `destination.ip`
    DestinationIp(Box<[IpNet]>),
    /// `ports`, `destination.port`
    DestinationPort(Box<[u16]>),
    /// `hosts`
    Host(Box<[StringMatch]>),
    /// `methods`
    Method(Box<[StringMatch]>),
    /// `paths`
    Path {
        /// Sorted.
        exact: Box<[Box<str>]>,
        /// Prefixes, suffixes, `*`.
        patterns: Box<[StringMatch]>,
        /// With `{*}` or `{**}`.
        templates: Box<[PathTemplate]>,
    },
    /// `request.headers[name]`
    Header {
        /// In lower case.
        name: Box<str>,
        /// Held against each line.
        patterns: Box<[StringMatch]>,
    },
    /// `request.auth.claims[..]`, `request.auth.audiences`, `request.auth.presenter`
    Claim {
        /// Outermost first.
        path: Box<[Box<str>]>,
        /// Held against the string, or each string of the list.
        patterns: Box<[StringMatch]>,
    },
    /// `connection.sni`
    Sni(Box<[StringMatch]>),
    /// `experimental.envoy.filters.<f>[key]`
    Metadata {
        /// The filter.
        filter: Box<str>,
        /// The key.
        key: Box<str>,
        /// Held against the value.
        patterns: Box<[MetadataMatch]>,
    },
    /// A template that Envoy would refuse; admission never lets one through.
    Unknown,
}
