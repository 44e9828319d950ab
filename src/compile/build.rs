//! Policies to decision trees.

use std::sync::Arc;

use crate::matcher::{
    MetadataMatch, NamespaceMatch, PathTemplate, PrincipalMatch, RequestPrincipalMatch,
    ServiceAccountMatch, Star, StringMatch, TrustDomainMatch,
};
use crate::model::{
    Action, AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Located, Operation,
    Rule, RuleId, Source, StringList,
};
use crate::plan::{AttributeTest, CompiledRule, DecisionTree, Test, Trees, Unknown};

/// What kind of traffic the trees are for. HTTP-only conditions cannot be met by a connection: an
/// ALLOW rule with one is left out, other rules lose the condition, as Istio does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    Http,
    L4,
}

/// Builds all trees of a workload.
pub(super) fn trees(policies: &[Arc<AuthorizationPolicy>], traffic: Traffic) -> Trees {
    let select = |wanted: fn(&Action) -> bool, dry_run: bool| {
        (0u32..)
            .zip(policies)
            .filter(move |(_, p)| wanted(&p.action) && p.dry_run == dry_run)
            .collect::<Vec<_>>()
    };
    let tree = |wanted: fn(&Action) -> bool, dry_run: bool, unknown: Unknown| {
        let mut rules = Vec::new();
        for (index, policy) in select(wanted, dry_run) {
            for (rule, position) in policy.rules.iter().zip(0u32..) {
                let id = RuleId { policy: index, rule: position };
                let mut builder = Builder { policy, traffic, http_only: false };
                let compiled = builder.rule(id, rule);
                let unmatchable = builder.http_only && matches!(policy.action, Action::Allow);
                if !unmatchable {
                    rules.push(compiled);
                }
            }
        }
        DecisionTree::new(rules, unknown)
    };
    let is_allow = |a: &Action| matches!(a, Action::Allow);
    let is_deny = |a: &Action| matches!(a, Action::Deny);
    let is_audit = |a: &Action| matches!(a, Action::Audit);
    let is_custom = |a: &Action| matches!(a, Action::Custom { .. });
    Trees {
        custom: tree(is_custom, false, Unknown::Match),
        deny: tree(is_deny, false, Unknown::Match),
        allow: tree(is_allow, false, Unknown::NoMatch),
        has_allow: !select(is_allow, false).is_empty(),
        audit: tree(is_audit, false, Unknown::Match),
        shadow_deny: tree(is_deny, true, Unknown::Match),
        shadow_allow: tree(is_allow, true, Unknown::NoMatch),
        has_shadow_allow: !select(is_allow, true).is_empty(),
        has_shadow: !select(is_allow, true).is_empty() || !select(is_deny, true).is_empty(),
    }
}

struct Builder<'a> {
    policy: &'a AuthorizationPolicy,
    traffic: Traffic,
    /// Set when an HTTP-only condition was met while building for connections.
    http_only: bool,
}

/// A conjunction under construction.
#[derive(Default)]
struct Conjunction(Vec<Test>);

impl Conjunction {
    /// Adds the positive and the negated half of a field, each where it has entries.
    fn field<T>(
        &mut self,
        values: &[T],
        not_values: &[T],
        attribute: impl Fn(&[T]) -> AttributeTest,
    ) {
        for (list, negated) in [(values, false), (not_values, true)] {
            if !list.is_empty() {
                self.0.push(Test { negated, attribute: attribute(list) });
            }
        }
    }
}

impl Builder<'_> {
    fn rule(&mut self, id: RuleId, rule: &Rule) -> CompiledRule {
        CompiledRule {
            id,
            sources: rule.from.iter().map(|source| self.source(source)).collect(),
            operations: rule.to.iter().map(|operation| self.operation(operation)).collect(),
            conditions: rule.when.iter().flat_map(|condition| self.condition(condition)).collect(),
        }
    }

    fn source(&mut self, source: &Source) -> Box<[Test]> {
        let namespace = &self.policy.metadata.namespace;
        let mut all = Conjunction::default();
        all.field(&source.principals, &source.not_principals, principals);
        if self.http([&source.request_principals, &source.not_request_principals]) {
            all.field(
                &source.request_principals,
                &source.not_request_principals,
                request_principals,
            );
        }
        all.field(&source.namespaces, &source.not_namespaces, namespaces);
        all.field(&source.service_accounts, &source.not_service_accounts, |list| {
            service_accounts(list, namespace)
        });
        all.field(&source.trust_domains, &source.not_trust_domains, trust_domains);
        all.field(&source.ip_blocks, &source.not_ip_blocks, |l| AttributeTest::SourceIp(values(l)));
        all.field(&source.remote_ip_blocks, &source.not_remote_ip_blocks, |l| {
            AttributeTest::RemoteIp(values(l))
        });
        all.0.into()
    }

    fn operation(&mut self, operation: &Operation) -> Box<[Test]> {
        let mut all = Conjunction::default();
        if self.http([&operation.hosts, &operation.not_hosts]) {
            all.field(&operation.hosts, &operation.not_hosts, |l| {
                AttributeTest::Host(strings(l, Star::Present))
            });
        }
        if self.http([&operation.methods, &operation.not_methods]) {
            all.field(&operation.methods, &operation.not_methods, |l| {
                AttributeTest::Method(strings(l, Star::Present))
            });
        }
        if self.http([&operation.paths, &operation.not_paths]) {
            all.field(&operation.paths, &operation.not_paths, paths);
        }
        all.field(&operation.ports, &operation.not_ports, |l| {
            AttributeTest::DestinationPort(values(l))
        });
        all.0.into()
    }

    fn condition(&mut self, condition: &Condition) -> Vec<Test> {
        let mut all = Conjunction::default();
        let (key, yes, no) = (&condition.key, &condition.values, &condition.not_values);
        if is_http_only(key) && self.traffic == Traffic::L4 {
            self.http_only |= !yes.is_empty() || !no.is_empty();
            return Vec::new();
        }
        match (yes, no) {
            (ConditionValues::IpBlocks(yes), ConditionValues::IpBlocks(no)) => {
                let attribute = if *key == ConditionKey::RemoteIp {
                    AttributeTest::RemoteIp
                } else if *key == ConditionKey::DestinationIp {
                    AttributeTest::DestinationIp
                } else {
                    AttributeTest::SourceIp
                };
                all.field(yes, no, |list| attribute(values(list)));
            }
            (ConditionValues::Ports(yes), ConditionValues::Ports(no)) => {
                all.field(yes, no, |list| AttributeTest::DestinationPort(values(list)));
            }
            (ConditionValues::Patterns(yes), ConditionValues::Patterns(no)) => {
                let namespace = &self.policy.metadata.namespace;
                all.field(yes, no, |list| pattern_condition(key, list, namespace));
            }
            // The decoder types both lists by the key.
            (_, _) => all.0.push(Test { negated: false, attribute: AttributeTest::Unknown }),
        }
        all.0
    }

    /// Whether an HTTP-only field is to be compiled; notes that it was met where it is not.
    fn http(&mut self, lists: [&StringList; 2]) -> bool {
        let is_http = self.traffic == Traffic::Http;
        if !is_http && lists.iter().any(|list| !list.is_empty()) {
            self.http_only = true;
        }
        is_http
    }
}

fn is_http_only(key: &ConditionKey) -> bool {
    match key {
        ConditionKey::RequestHeader(_)
        | ConditionKey::RequestPrincipal
        | ConditionKey::RequestAudiences
        | ConditionKey::RequestPresenter
        | ConditionKey::RequestClaims(_) => true,
        ConditionKey::SourceIp
        | ConditionKey::RemoteIp
        | ConditionKey::SourceNamespace
        | ConditionKey::SourceServiceAccount
        | ConditionKey::SourcePrincipal
        | ConditionKey::SourceTrustDomain
        | ConditionKey::DestinationIp
        | ConditionKey::DestinationPort
        | ConditionKey::ConnectionSni
        | ConditionKey::EnvoyFilterMetadata { .. } => false,
    }
}

fn pattern_condition(
    key: &ConditionKey,
    list: &[Located<String>],
    namespace: &str,
) -> AttributeTest {
    let claim = |path: &[&str]| AttributeTest::Claim {
        path: path.iter().map(|&name| name.into()).collect(),
        patterns: strings(list, Star::OneOrMore),
    };
    match key {
        ConditionKey::RequestHeader(name) => AttributeTest::Header {
            name: name.as_str().into(),
            patterns: strings(list, Star::Present),
        },
        ConditionKey::SourceNamespace => namespaces(list),
        ConditionKey::SourceServiceAccount => service_accounts(list, namespace),
        ConditionKey::SourcePrincipal => principals(list),
        ConditionKey::SourceTrustDomain => trust_domains(list),
        ConditionKey::RequestPrincipal => request_principals(list),
        ConditionKey::RequestAudiences => claim(&["aud"]),
        ConditionKey::RequestPresenter => claim(&["azp"]),
        ConditionKey::RequestClaims(path) => {
            claim(&path.iter().map(String::as_str).collect::<Vec<_>>())
        }
        ConditionKey::ConnectionSni => AttributeTest::Sni(strings(list, Star::OneOrMore)),
        ConditionKey::EnvoyFilterMetadata { filter, key } => AttributeTest::Metadata {
            filter: filter.as_str().into(),
            key: key.as_str().into(),
            patterns: list.iter().map(|v| MetadataMatch::parse(v)).collect(),
        },
        // Typed as addresses and ports by the decoder.
        ConditionKey::SourceIp
        | ConditionKey::RemoteIp
        | ConditionKey::DestinationIp
        | ConditionKey::DestinationPort => AttributeTest::Unknown,
    }
}

fn values<T: Copy>(list: &[Located<T>]) -> Box<[T]> {
    list.iter().map(|entry| entry.value).collect()
}

fn strings(list: &[Located<String>], star: Star) -> Box<[StringMatch]> {
    list.iter().map(|v| StringMatch::parse(v, star)).collect()
}

fn principals(list: &[Located<String>]) -> AttributeTest {
    AttributeTest::Principal(list.iter().map(|v| PrincipalMatch::parse(v)).collect())
}

fn namespaces(list: &[Located<String>]) -> AttributeTest {
    AttributeTest::Namespace(list.iter().map(|v| NamespaceMatch::parse(v)).collect())
}

fn service_accounts(list: &[Located<String>], namespace: &str) -> AttributeTest {
    AttributeTest::ServiceAccount(
        list.iter().map(|v| ServiceAccountMatch::parse(v, namespace)).collect(),
    )
}

fn trust_domains(list: &[Located<String>]) -> AttributeTest {
    AttributeTest::TrustDomain(list.iter().map(|v| TrustDomainMatch::parse(v)).collect())
}

fn request_principals(list: &[Located<String>]) -> AttributeTest {
    AttributeTest::RequestPrincipal(list.iter().map(|v| RequestPrincipalMatch::parse(v)).collect())
}

fn paths(list: &[Located<String>]) -> AttributeTest {
    let mut exact: Vec<Box<str>> = Vec::new();
    let mut patterns = Vec::new();
    let mut templates = Vec::new();
    for path in list {
        if PathTemplate::is_template(path) {
            match PathTemplate::parse(path) {
                Some(template) => templates.push(template),
                // A field with one unusable entry says nothing certain about any path.
                None => return AttributeTest::Unknown,
            }
            continue;
        }
        match StringMatch::parse(path, Star::OneOrMore) {
            StringMatch::Exact(text) => exact.push(text),
            pattern @ (StringMatch::Present
            | StringMatch::OneOrMore
            | StringMatch::Prefix(_)
            | StringMatch::Suffix(_)) => patterns.push(pattern),
        }
    }
    exact.sort_unstable();
    AttributeTest::Path {
        exact: exact.into(),
        patterns: patterns.into(),
        templates: templates.into(),
    }
}
