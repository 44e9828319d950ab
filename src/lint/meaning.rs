//! A rule as lists of tests, the shape in which rules can be held against each other.
//!
//! A field of `from` and a condition on the same attribute are the same kind of test here. What
//! follows from tests is for the families of lints.

use crate::manifest::text::quoted;
use crate::matcher::Star;
use crate::model::{
    AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Located, Operation, Position,
    Rule, Source, StringList,
};
use crate::plan::vocabulary::Attribute;

use super::pattern::Pattern;

/// One list of a rule.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) attribute: Attribute,
    pub(super) negated: bool,
    pub(super) entries: Vec<Entry>,
    /// As manifests name it, such as `notPaths`, or a condition's key.
    pub(super) field: String,
}

/// One value of a list.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) pattern: Pattern,
    /// As written, with trust domain aliases expanded.
    pub(super) text: String,
    pub(super) position: Position,
}

/// What a rule asks for.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    pub(super) sources: Vec<Alternative>,
    pub(super) operations: Vec<Alternative>,
    pub(super) conditions: Vec<Test>,
}

/// One `source` or `operation`: all of its tests.
#[derive(Debug, Clone)]
pub(super) struct Alternative {
    pub(super) tests: Vec<Test>,
    pub(super) position: Position,
}

/// Nothing is asked for.
const ANYTHING: &Alternative =
    &Alternative { tests: Vec::new(), position: Position { line: 0, column: 0 } };

impl Meaning {
    /// Of a rule whose trust domain aliases are written out. `None` where an entry means nothing.
    pub(super) fn of(policy: &AuthorizationPolicy, rule: &Rule) -> Option<Self> {
        let namespace = &*policy.metadata.namespace;
        Some(Self {
            sources: rule.from.iter().map(|from| source(from, namespace)).collect(),
            operations: rule.to.iter().map(operation).collect::<Option<_>>()?,
            conditions: rule
                .when
                .iter()
                .map(|when| condition(when, namespace))
                .collect::<Option<Vec<_>>>()?
                .concat(),
        })
    }

    /// Every way to match: one source, one operation, all conditions.
    pub(super) fn ways(&self) -> impl Iterator<Item = Way<'_>> {
        self.sources_or_any().flat_map(move |source| self.ways_of_source(source))
    }

    /// Every way with that source.
    pub(super) fn ways_of_source<'m>(
        &'m self,
        source: &'m Alternative,
    ) -> impl Iterator<Item = Way<'m>> {
        let conditions = &self.conditions;
        self.operations_or_any().map(move |operation| Way { source, operation, conditions })
    }

    /// Every way with that operation.
    pub(super) fn ways_of_operation<'m>(
        &'m self,
        operation: &'m Alternative,
    ) -> impl Iterator<Item = Way<'m>> {
        let conditions = &self.conditions;
        self.sources_or_any().map(move |source| Way { source, operation, conditions })
    }

    /// A way that asks for no operation.
    pub(super) fn way_by_source<'m>(&'m self, source: &'m Alternative) -> Way<'m> {
        Way { source, operation: ANYTHING, conditions: &self.conditions }
    }

    /// A way that asks for no source.
    pub(super) fn way_by_operation<'m>(&'m self, operation: &'m Alternative) -> Way<'m> {
        Way { source: ANYTHING, operation, conditions: &self.conditions }
    }

    pub(super) fn sources_or_any(&self) -> impl Iterator<Item = &Alternative> {
        self.sources.iter().chain(self.sources.is_empty().then_some(ANYTHING))
    }

    pub(super) fn operations_or_any(&self) -> impl Iterator<Item = &Alternative> {
        self.operations.iter().chain(self.operations.is_empty().then_some(ANYTHING))
    }

    /// Every list of the rule.
    pub(super) fn tests(&self) -> impl Iterator<Item = &Test> {
        let alternatives = self.sources.iter().chain(&self.operations);
        alternatives.flat_map(|alternative| &alternative.tests).chain(&self.conditions)
    }

    /// Whether a connection without HTTP cannot fulfil all of it.
    pub(super) fn needs_http(&self) -> bool {
        self.tests().any(Test::needs_http)
    }

    /// Whether it asks for nothing.
    pub(super) fn is_anything(&self) -> bool {
        self.tests().next().is_none()
    }
}

/// One way to match a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'m> {
    pub(super) source: &'m Alternative,
    pub(super) operation: &'m Alternative,
    conditions: &'m [Test],
}

impl<'m> Way<'m> {
    pub(super) fn tests(self) -> impl Iterator<Item = &'m Test> {
        self.source.tests.iter().chain(&self.operation.tests).chain(self.conditions)
    }
}

impl Test {
    /// Whether a connection without HTTP has nothing to hold it against.
    pub(super) fn needs_http(&self) -> bool {
        match self.attribute {
            Attribute::RequestPrincipal
            | Attribute::Host
            | Attribute::Method
            | Attribute::Path
            | Attribute::Header(_)
            | Attribute::Claim(_) => true,
            Attribute::Principal
            | Attribute::Namespace
            | Attribute::ServiceAccount
            | Attribute::TrustDomain
            | Attribute::SourceIp
            | Attribute::RemoteIp
            | Attribute::DestinationIp
            | Attribute::DestinationPort
            | Attribute::Sni
            | Attribute::Metadata { .. }
            | Attribute::Unknowable => false,
        }
    }

    /// Whether it looks at the client certificate.
    pub(super) fn is_of_peer(&self) -> bool {
        matches!(
            self.attribute,
            Attribute::Principal
                | Attribute::Namespace
                | Attribute::ServiceAccount
                | Attribute::TrustDomain
        )
    }

    /// Whether it looks at the token.
    pub(super) fn is_of_token(&self) -> bool {
        matches!(self.attribute, Attribute::RequestPrincipal | Attribute::Claim(_))
    }

    /// Whether a request has at most one value of it. A header can have several lines, a claim can
    /// be a list.
    pub(super) fn has_one_value(&self) -> bool {
        match self.attribute {
            Attribute::RequestPrincipal
            | Attribute::SourceIp
            | Attribute::RemoteIp
            | Attribute::DestinationIp
            | Attribute::DestinationPort
            | Attribute::Host
            | Attribute::Method
            | Attribute::Path
            | Attribute::Sni => true,
            Attribute::Principal
            | Attribute::Namespace
            | Attribute::ServiceAccount
            | Attribute::TrustDomain
            | Attribute::Header(_)
            | Attribute::Claim(_)
            | Attribute::Metadata { .. }
            | Attribute::Unknowable => false,
        }
    }

    /// Where its first entry stands.
    pub(super) fn position(&self) -> Position {
        self.entries.first().map(|entry| entry.position).unwrap_or_default()
    }
}

/// Both halves of a field.
fn field<T>(
    tests: &mut Vec<Test>,
    attribute: &Attribute,
    (yes, no): (&[Located<T>], &[Located<T>]),
    name: &str,
    read: impl Fn(&T) -> (Pattern, String),
) {
    for (list, negated) in [(yes, false), (no, true)] {
        if list.is_empty() {
            continue;
        }
        let entries = list.iter().map(|entry| {
            let (pattern, text) = read(&entry.value);
            Entry { pattern, text, position: entry.position }
        });
        tests.push(Test {
            attribute: attribute.clone(),
            negated,
            entries: entries.collect(),
            field: shown(&if negated { negative_of(name) } else { name.to_owned() }),
        });
    }
}

/// As messages show it: names of claims and headers are anyone's text.
fn shown(name: &str) -> String {
    quoted(name).trim_matches('`').to_owned()
}

/// `paths` to `notPaths`; the key of a condition stays.
fn negative_of(name: &str) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) if !name.contains(['.', '[']) => {
            format!("not{}{}", first.to_ascii_uppercase(), letters.as_str())
        }
        _ => name.to_owned(),
    }
}

fn written(read: impl Fn(&str) -> Pattern) -> impl Fn(&String) -> (Pattern, String) {
    move |text| (read(text), text.clone())
}

fn block(block: &ipnet::IpNet) -> (Pattern, String) {
    (Pattern::Block(*block), block.to_string())
}

fn port(port: &u16) -> (Pattern, String) {
    (Pattern::Port(*port), port.to_string())
}

fn source(source: &Source, policy_namespace: &str) -> Alternative {
    let mut tests = Vec::new();
    let of_peer: [(&Attribute, &StringList, &StringList, &str); 5] = [
        (&Attribute::Principal, &source.principals, &source.not_principals, "principals"),
        (
            &Attribute::RequestPrincipal,
            &source.request_principals,
            &source.not_request_principals,
            "requestPrincipals",
        ),
        (&Attribute::Namespace, &source.namespaces, &source.not_namespaces, "namespaces"),
        (
            &Attribute::ServiceAccount,
            &source.service_accounts,
            &source.not_service_accounts,
            "serviceAccounts",
        ),
        (&Attribute::TrustDomain, &source.trust_domains, &source.not_trust_domains, "trustDomains"),
    ];
    for (attribute, yes, no, name) in of_peer {
        let read = |text: &str| identity(attribute, text, policy_namespace);
        field(&mut tests, attribute, (yes, no), name, written(read));
    }
    let of_address = [
        (&Attribute::SourceIp, &source.ip_blocks, &source.not_ip_blocks, "ipBlocks"),
        (
            &Attribute::RemoteIp,
            &source.remote_ip_blocks,
            &source.not_remote_ip_blocks,
            "remoteIpBlocks",
        ),
    ];
    for (attribute, yes, no, name) in of_address {
        field(&mut tests, attribute, (yes, no), name, block);
    }
    Alternative { tests, position: source.position }
}

fn identity(attribute: &Attribute, text: &str, policy_namespace: &str) -> Pattern {
    if *attribute == Attribute::Principal {
        Pattern::principal(text)
    } else if *attribute == Attribute::RequestPrincipal {
        Pattern::request_principal(text)
    } else if *attribute == Attribute::Namespace {
        Pattern::Namespace(text.to_owned())
    } else if *attribute == Attribute::ServiceAccount {
        Pattern::service_account(text, policy_namespace)
    } else {
        Pattern::TrustDomain(text.to_owned())
    }
}

fn operation(operation: &Operation) -> Option<Alternative> {
    let mut tests = Vec::new();
    let hosts = (operation.hosts.as_slice(), operation.not_hosts.as_slice());
    field(&mut tests, &Attribute::Host, hosts, "hosts", written(Pattern::host));
    let methods = (operation.methods.as_slice(), operation.not_methods.as_slice());
    let method = |text: &str| Pattern::text(text, Star::Present);
    field(&mut tests, &Attribute::Method, methods, "methods", written(method));
    let paths = (operation.paths.as_slice(), operation.not_paths.as_slice());
    if paths.0.iter().chain(paths.1).any(|path| Pattern::path(path).is_none()) {
        return None;
    }
    let path = |text: &str| {
        Pattern::path(text).unwrap_or(Pattern::Path(super::pattern::Text::Exact(text.to_owned())))
    };
    field(&mut tests, &Attribute::Path, paths, "paths", written(path));
    let ports = (operation.ports.as_slice(), operation.not_ports.as_slice());
    field(&mut tests, &Attribute::DestinationPort, ports, "ports", port);
    Some(Alternative { tests, position: operation.position })
}

fn condition(condition: &Condition, policy_namespace: &str) -> Option<Vec<Test>> {
    let mut tests = Vec::new();
    let (attribute, name) = attribute_of(&condition.key);
    match (&condition.values, &condition.not_values) {
        (ConditionValues::IpBlocks(yes), ConditionValues::IpBlocks(no)) => {
            field(&mut tests, &attribute, (yes, no), &name, block);
        }
        (ConditionValues::Ports(yes), ConditionValues::Ports(no)) => {
            field(&mut tests, &attribute, (yes, no), &name, port);
        }
        (ConditionValues::Patterns(yes), ConditionValues::Patterns(no)) => {
            let read = |text: &str| match &attribute {
                Attribute::Principal
                | Attribute::Namespace
                | Attribute::ServiceAccount
                | Attribute::TrustDomain
                | Attribute::RequestPrincipal => identity(&attribute, text, policy_namespace),
                Attribute::Header(_) | Attribute::Method => Pattern::text(text, Star::Present),
                Attribute::Metadata { .. } => Pattern::metadata(text),
                Attribute::SourceIp
                | Attribute::RemoteIp
                | Attribute::DestinationIp
                | Attribute::DestinationPort
                | Attribute::Host
                | Attribute::Path
                | Attribute::Claim(_)
                | Attribute::Sni
                | Attribute::Unknowable => Pattern::text(text, Star::OneOrMore),
            };
            field(&mut tests, &attribute, (yes, no), &name, written(read));
        }
        // The decoder types both lists by the key.
        (_, _) => return None,
    }
    Some(tests)
}

/// What a condition looks at, and its key as manifests write it.
fn attribute_of(key: &ConditionKey) -> (Attribute, String) {
    let claim = |path: &[&str]| Attribute::Claim(path.iter().map(|&name| name.into()).collect());
    match key {
        // The method by another name.
        ConditionKey::RequestHeader(name) if name == ":method" => {
            (Attribute::Method, "request.headers[:method]".to_owned())
        }
        ConditionKey::RequestHeader(name) => {
            // By two names one value.
            let canonical = if name == "host" { ":authority" } else { name };
            (Attribute::Header(canonical.into()), format!("request.headers[{name}]"))
        }
        ConditionKey::SourceIp => (Attribute::SourceIp, "source.ip".to_owned()),
        ConditionKey::RemoteIp => (Attribute::RemoteIp, "remote.ip".to_owned()),
        ConditionKey::SourceNamespace => (Attribute::Namespace, "source.namespace".to_owned()),
        ConditionKey::SourceServiceAccount => {
            (Attribute::ServiceAccount, "source.serviceAccount".to_owned())
        }
        ConditionKey::SourcePrincipal => (Attribute::Principal, "source.principal".to_owned()),
        ConditionKey::SourceTrustDomain => {
            (Attribute::TrustDomain, "source.trustDomain".to_owned())
        }
        ConditionKey::RequestPrincipal => {
            (Attribute::RequestPrincipal, "request.auth.principal".to_owned())
        }
        ConditionKey::RequestAudiences => (claim(&["aud"]), "request.auth.audiences".to_owned()),
        ConditionKey::RequestPresenter => (claim(&["azp"]), "request.auth.presenter".to_owned()),
        ConditionKey::RequestClaims(path) => {
            let names: String = path.iter().map(|name| format!("[{name}]")).collect();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            (claim(&path), format!("request.auth.claims{names}"))
        }
        ConditionKey::DestinationIp => (Attribute::DestinationIp, "destination.ip".to_owned()),
        ConditionKey::DestinationPort => {
            (Attribute::DestinationPort, "destination.port".to_owned())
        }
        ConditionKey::ConnectionSni => (Attribute::Sni, "connection.sni".to_owned()),
        ConditionKey::EnvoyFilterMetadata { filter, key } => (
            Attribute::Metadata { filter: filter.as_str().into(), key: key.as_str().into() },
            format!("experimental.{filter}[{key}]"),
        ),
    }
}
