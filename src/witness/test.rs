//! Rules taken apart: each field by itself, with what of a request it looks at.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use super::Probe;
use crate::decide::Certainty;
use crate::decide::reference;
use crate::model::{
    Action, Attachment, AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Located,
    Operation, Rule, Source, StringList,
};

/// What of a request a field looks at. In the order in which requests are changed: a token before
/// its claims.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The names of the peer's certificate.
    Peer,
    /// Issuer and subject of the token.
    RequestPrincipal,
    /// Another claim, by its path.
    Claim(Vec<String>),
    /// `:method`
    Method,
    /// `:authority`
    Host,
    /// `:path`
    Path,
    /// `:scheme`
    Scheme,
    /// A header that is no pseudo header.
    Header(String),
    /// The peer of the connection.
    SourceIp,
    /// The client.
    RemoteIp,
    /// The local address.
    DestinationIp,
    /// The local port.
    DestinationPort,
    /// The server name.
    Sni,
    /// Dynamic metadata.
    Metadata {
        /// By this filter.
        filter: String,
        /// Its key.
        key: String,
    },
}

impl Input {
    /// Whether it is never more than one text.
    pub(super) fn is_one_text(&self) -> bool {
        match self {
            Self::Method | Self::Host | Self::Path | Self::Scheme | Self::Sni => true,
            Self::Peer
            | Self::RequestPrincipal
            | Self::Claim(_)
            | Self::Header(_)
            | Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationIp
            | Self::DestinationPort
            | Self::Metadata { .. } => false,
        }
    }
}

/// What entries mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Principal,
    Namespace,
    ServiceAccount,
    TrustDomain,
    RequestPrincipal,
    Path,
    Metadata,
    Text,
}

/// The entries of a field.
#[derive(Debug, Clone)]
pub(super) enum Entries {
    Texts(Meaning, Vec<String>),
    Blocks(Vec<IpNet>),
    Ports(Vec<u16>),
}

/// One field of a rule, by itself.
#[derive(Clone)]
pub struct Test {
    input: Input,
    pub(super) entries: Entries,
    pub(super) negated: bool,
    /// A rule with this field only, and a policy around it.
    rule: Rule,
    policy: Arc<AuthorizationPolicy>,
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, entries, negated, .. } = self;
        write!(f, "{input:?} {}{entries:?}", if *negated { "not " } else { "" })
    }
}

impl Test {
    /// What it looks at.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Whether it holds, for certain.
    pub fn holds(&self, probe: &Probe) -> bool {
        let trace = reference::rule(&self.policy, &self.rule, &probe.attributes, &probe.identity());
        trace.result == Certainty::Yes
    }

    /// The same text for tests that always hold together, and another one for those that do not.
    pub fn meaning(&self) -> String {
        let is_account = matches!(self.entries, Entries::Texts(Meaning::ServiceAccount, _));
        format!("{self:?} {}", if is_account { self.namespace() } else { "" })
    }

    /// The namespace of its policy.
    pub(super) fn namespace(&self) -> &str {
        &self.policy.metadata.namespace
    }
}

/// Every way to match a rule: one source and one operation of each, and all conditions. Empty for a
/// rule that nothing can match.
pub fn alternatives<'r>(
    policy: &AuthorizationPolicy,
    rule: &'r Rule,
) -> impl Iterator<Item = Vec<Test>> + use<'r> {
    // What an unknown input counts as, and what is left out on connections, is of the action.
    let policy = Arc::new(AuthorizationPolicy {
        metadata: policy.metadata.clone(),
        attachment: Attachment::default(),
        action: Action::Audit,
        rules: Vec::new(),
        dry_run: false,
        deny_response: None,
    });
    let operations = each_or_none(&rule.to);
    each_or_none(&rule.from).into_iter().flat_map(move |source| {
        let parts = Parts { policy: policy.clone() };
        operations.clone().into_iter().map(move |operation| {
            let mut tests = Vec::new();
            source.into_iter().for_each(|source| parts.source(source, &mut tests));
            operation.into_iter().for_each(|operation| parts.operation(operation, &mut tests));
            rule.when.iter().for_each(|condition| parts.condition(condition, &mut tests));
            tests
        })
    })
}

/// No entries are one way: the one without any.
fn each_or_none<T>(list: &[T]) -> Vec<Option<&T>> {
    if list.is_empty() { vec![None] } else { list.iter().map(Some).collect() }
}

struct Parts {
    policy: Arc<AuthorizationPolicy>,
}

fn texts(meaning: Meaning, list: &StringList) -> Entries {
    Entries::Texts(meaning, list.iter().map(|entry| entry.value.clone()).collect())
}

fn blocks(list: &[Located<IpNet>]) -> Entries {
    Entries::Blocks(list.iter().map(|entry| entry.value).collect())
}

fn ports(list: &[Located<u16>]) -> Entries {
    Entries::Ports(list.iter().map(|entry| entry.value).collect())
}

impl Parts {
    fn test(&self, input: Input, entries: Entries, negated: bool, rule: Rule) -> Test {
        Test { input, entries, negated, rule, policy: self.policy.clone() }
    }

    fn source(&self, source: &Source, all: &mut Vec<Test>) {
        macro_rules! field {
            ($field:ident, $negated:literal, $input:expr, $entries:expr) => {
                if !source.$field.is_empty() {
                    let only = Source { $field: source.$field.clone(), ..Source::default() };
                    let rule = Rule { from: vec![only], ..Rule::default() };
                    all.push(self.test($input, $entries(&source.$field), $negated, rule));
                }
            };
        }
        let of = |meaning| move |list: &StringList| texts(meaning, list);
        field!(principals, false, Input::Peer, of(Meaning::Principal));
        field!(not_principals, true, Input::Peer, of(Meaning::Principal));
        let principal = || of(Meaning::RequestPrincipal);
        field!(request_principals, false, Input::RequestPrincipal, principal());
        field!(not_request_principals, true, Input::RequestPrincipal, principal());
        field!(namespaces, false, Input::Peer, of(Meaning::Namespace));
        field!(not_namespaces, true, Input::Peer, of(Meaning::Namespace));
        field!(service_accounts, false, Input::Peer, of(Meaning::ServiceAccount));
        field!(not_service_accounts, true, Input::Peer, of(Meaning::ServiceAccount));
        field!(trust_domains, false, Input::Peer, of(Meaning::TrustDomain));
        field!(not_trust_domains, true, Input::Peer, of(Meaning::TrustDomain));
        field!(ip_blocks, false, Input::SourceIp, |list: &Vec<_>| blocks(list));
        field!(not_ip_blocks, true, Input::SourceIp, |list: &Vec<_>| blocks(list));
        field!(remote_ip_blocks, false, Input::RemoteIp, |list: &Vec<_>| blocks(list));
        field!(not_remote_ip_blocks, true, Input::RemoteIp, |list: &Vec<_>| blocks(list));
    }

    fn operation(&self, operation: &Operation, all: &mut Vec<Test>) {
        macro_rules! field {
            ($field:ident, $negated:literal, $input:expr, $entries:expr) => {
                if !operation.$field.is_empty() {
                    let only =
                        Operation { $field: operation.$field.clone(), ..Operation::default() };
                    let rule = Rule { to: vec![only], ..Rule::default() };
                    all.push(self.test($input, $entries(&operation.$field), $negated, rule));
                }
            };
        }
        let of = |meaning| move |list: &StringList| texts(meaning, list);
        field!(hosts, false, Input::Host, of(Meaning::Text));
        field!(not_hosts, true, Input::Host, of(Meaning::Text));
        field!(methods, false, Input::Method, of(Meaning::Text));
        field!(not_methods, true, Input::Method, of(Meaning::Text));
        field!(paths, false, Input::Path, of(Meaning::Path));
        field!(not_paths, true, Input::Path, of(Meaning::Path));
        field!(ports, false, Input::DestinationPort, |list: &Vec<_>| ports(list));
        field!(not_ports, true, Input::DestinationPort, |list: &Vec<_>| ports(list));
    }

    fn condition(&self, condition: &Condition, all: &mut Vec<Test>) {
        let (input, meaning) = looks_at(&condition.key);
        let none = || match &condition.values {
            ConditionValues::IpBlocks(_) => ConditionValues::IpBlocks(Vec::new()),
            ConditionValues::Ports(_) => ConditionValues::Ports(Vec::new()),
            ConditionValues::Patterns(_) => ConditionValues::Patterns(Vec::new()),
        };
        for (values, negated) in [(&condition.values, false), (&condition.not_values, true)] {
            if values.is_empty() {
                continue;
            }
            let entries = match values {
                ConditionValues::IpBlocks(list) => blocks(list),
                ConditionValues::Ports(list) => ports(list),
                ConditionValues::Patterns(list) => texts(meaning, list),
            };
            let (yes, no) =
                if negated { (none(), values.clone()) } else { (values.clone(), none()) };
            let only = Condition {
                key: condition.key.clone(),
                values: yes,
                not_values: no,
                position: condition.position,
            };
            let rule = Rule { when: vec![only], ..Rule::default() };
            all.push(self.test(input.clone(), entries, negated, rule));
        }
    }
}

fn looks_at(key: &ConditionKey) -> (Input, Meaning) {
    let claim = |name: &str| (Input::Claim(vec![name.to_owned()]), Meaning::Text);
    match key {
        ConditionKey::RequestHeader(name) => match name.as_str() {
            ":method" => (Input::Method, Meaning::Text),
            ":authority" | "host" => (Input::Host, Meaning::Text),
            ":path" => (Input::Path, Meaning::Text),
            ":scheme" => (Input::Scheme, Meaning::Text),
            _ => (Input::Header(name.clone()), Meaning::Text),
        },
        ConditionKey::SourceIp => (Input::SourceIp, Meaning::Text),
        ConditionKey::RemoteIp => (Input::RemoteIp, Meaning::Text),
        ConditionKey::SourceNamespace => (Input::Peer, Meaning::Namespace),
        ConditionKey::SourceServiceAccount => (Input::Peer, Meaning::ServiceAccount),
        ConditionKey::SourcePrincipal => (Input::Peer, Meaning::Principal),
        ConditionKey::SourceTrustDomain => (Input::Peer, Meaning::TrustDomain),
        ConditionKey::RequestPrincipal => (Input::RequestPrincipal, Meaning::RequestPrincipal),
        ConditionKey::RequestAudiences => claim("aud"),
        ConditionKey::RequestPresenter => claim("azp"),
        ConditionKey::RequestClaims(path) => (Input::Claim(path.clone()), Meaning::Text),
        ConditionKey::DestinationIp => (Input::DestinationIp, Meaning::Text),
        ConditionKey::DestinationPort => (Input::DestinationPort, Meaning::Text),
        ConditionKey::ConnectionSni => (Input::Sni, Meaning::Text),
        ConditionKey::EnvoyFilterMetadata { filter, key } => {
            (Input::Metadata { filter: filter.clone(), key: key.clone() }, Meaning::Metadata)
        }
    }
}
