//! The yardstick: rules compiled to lists of patterns and tried one after the other.
//!
//! The form that proxies use which have no index (ztunnel's, for one): a rule is its clauses, a
//! clause its alternatives, an alternative a pair of lists for each field, and all fields of an
//! alternative are looked at. Knows the fields that the scenarios use, and refuses others.

use std::sync::Arc;

use ipnet::IpNet;
use postern::model::{
    Action, Attributes, ConditionKey, ConditionValues, Located, Outcome, Resource,
};

/// Allows what an ALLOW rule matches and no DENY rule.
#[derive(Debug)]
pub(crate) struct LinearScan {
    deny: Vec<Rule>,
    allow: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// All of these.
    clauses: Vec<Clause>,
}

#[derive(Debug)]
struct Clause {
    /// Any of these; every request without one.
    alternatives: Vec<Fields>,
}

/// Positive and negated patterns of each field.
#[derive(Debug, Default)]
struct Fields {
    principals: [Vec<Pattern>; 2],
    namespaces: [Vec<Pattern>; 2],
    blocks: [Vec<IpNet>; 2],
    hosts: [Vec<Pattern>; 2],
    ports: [Vec<u16>; 2],
    methods: [Vec<Pattern>; 2],
    paths: [Vec<Pattern>; 2],
    header: Option<(String, [Vec<Pattern>; 2])>,
}

#[derive(Debug)]
enum Pattern {
    Any,
    Exact(String),
    Prefix(String),
    Suffix(String),
}

impl Pattern {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => value == text,
            Self::Prefix(text) => value.starts_with(text.as_str()),
            Self::Suffix(text) => value.ends_with(text.as_str()),
        }
    }
}

/// What patterns are held against, taken apart once for a request.
struct Actual<'a> {
    attributes: &'a Attributes<'a>,
    principal: &'a str,
    namespace: &'a str,
    path: &'a str,
}

impl LinearScan {
    pub(crate) fn new(resources: &[Arc<Resource>]) -> Self {
        let mut scan = Self { deny: Vec::new(), allow: Vec::new() };
        for resource in resources {
            let Resource::AuthorizationPolicy(policy) = &**resource else {
                panic!("only rules are known here")
            };
            let rules = match policy.action {
                Action::Allow => &mut scan.allow,
                Action::Deny => &mut scan.deny,
                Action::Audit | Action::Custom { .. } => panic!("an action of its own"),
            };
            rules.extend(policy.rules.iter().map(Rule::new));
        }
        scan
    }

    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Outcome {
        let name = attributes.peer.names.first().map_or("", |name| &**name);
        let principal = name.strip_prefix("spiffe://").unwrap_or_default();
        let actual = Actual {
            attributes,
            principal,
            namespace: principal.split('/').nth(2).unwrap_or_default(),
            path: attributes.http.as_ref().map_or("", |http| &http.path),
        };
        let any = |rules: &[Rule]| rules.iter().any(|rule| rule.matches(&actual));
        if any(&self.deny) || (!self.allow.is_empty() && !any(&self.allow)) {
            Outcome::Deny
        } else {
            Outcome::Allow
        }
    }
}

impl Rule {
    fn new(rule: &postern::model::Rule) -> Self {
        let mut clauses = Vec::new();
        if !rule.from.is_empty() {
            let alternatives = rule.from.iter().map(|source| Fields {
                principals: [patterns(&source.principals), patterns(&source.not_principals)],
                namespaces: [patterns(&source.namespaces), patterns(&source.not_namespaces)],
                blocks: [values(&source.ip_blocks), values(&source.not_ip_blocks)],
                ..Fields::default()
            });
            clauses.push(Clause { alternatives: alternatives.collect() });
        }
        if !rule.to.is_empty() {
            let alternatives = rule.to.iter().map(|operation| Fields {
                hosts: [patterns(&operation.hosts), patterns(&operation.not_hosts)],
                ports: [values(&operation.ports), values(&operation.not_ports)],
                methods: [patterns(&operation.methods), patterns(&operation.not_methods)],
                paths: [patterns(&operation.paths), patterns(&operation.not_paths)],
                ..Fields::default()
            });
            clauses.push(Clause { alternatives: alternatives.collect() });
        }
        for condition in &rule.when {
            let (name, yes, no) = match (&condition.key, &condition.values, &condition.not_values) {
                (
                    ConditionKey::RequestHeader(name),
                    ConditionValues::Patterns(yes),
                    ConditionValues::Patterns(no),
                ) => (name.clone(), yes, no),
                other => panic!("{other:?}"),
            };
            let header = Some((name, [patterns(yes), patterns(no)]));
            clauses.push(Clause { alternatives: vec![Fields { header, ..Fields::default() }] });
        }
        Self { clauses }
    }

    fn matches(&self, actual: &Actual<'_>) -> bool {
        self.clauses.iter().all(|clause| clause.alternatives.iter().any(|f| f.match_all(actual)))
    }
}

impl Fields {
    fn match_all(&self, actual: &Actual<'_>) -> bool {
        let Attributes { source_ip, destination_port, http, .. } = actual.attributes;
        let (host, method) = http.as_ref().map_or(("", ""), |http| (&*http.host, &*http.method));
        let mut all = both(&self.principals, |p| p.matches(actual.principal));
        all &= both(&self.namespaces, |p| p.matches(actual.namespace));
        all &= both(&self.blocks, |block| source_ip.is_some_and(|ip| block.contains(&ip)));
        all &= both(&self.hosts, |p| p.matches(host));
        all &= both(&self.ports, |port| Some(*port) == *destination_port);
        all &= both(&self.methods, |p| p.matches(method));
        all &= both(&self.paths, |p| p.matches(actual.path));
        if let Some((name, lists)) = &self.header {
            let line = http.as_ref().and_then(|http| http.headers.values(name).next());
            let value = line.and_then(|line| str::from_utf8(line).ok()).unwrap_or_default();
            all &= both(lists, |p| p.matches(value));
        }
        all
    }
}

fn both<T>([yes, no]: &[Vec<T>; 2], matches: impl Fn(&T) -> bool) -> bool {
    (yes.is_empty() || yes.iter().any(&matches)) && !no.iter().any(&matches)
}

fn patterns(list: &[Located<String>]) -> Vec<Pattern> {
    let pattern = |text: &str| match (text, text.strip_prefix('*'), text.strip_suffix('*')) {
        ("*", _, _) => Pattern::Any,
        (_, Some(suffix), _) => Pattern::Suffix(suffix.to_owned()),
        (_, None, Some(prefix)) => Pattern::Prefix(prefix.to_owned()),
        (_, None, None) => Pattern::Exact(text.to_owned()),
    };
    list.iter().map(|entry| pattern(&entry.value)).collect()
}

fn values<T: Copy>(list: &[Located<T>]) -> Vec<T> {
    list.iter().map(|entry| entry.value).collect()
}
