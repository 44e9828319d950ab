//! One rule as written against one request, field by field.

use super::entry::{
    in_namespace, in_trust_domain, is_account, is_request_principal, principal, within,
};
use super::pattern::{anything, dots, fits, plain, template};
use super::{Certainty, unknown_under};
use crate::model::{
    Action, Attributes, AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Headers,
    Identity, Located, Operation, Position, Rule, RuleId, Source, Value,
};
use std::fmt::Display;
use std::net::IpAddr;

/// How one rule fared.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleTrace {
    /// Which.
    pub id: RuleId,
    /// Whether it matches, what is unknown counted by its action.
    pub matches: bool,
    /// The result before that.
    pub result: Certainty,
    /// `from`, each alternative.
    pub sources: Vec<AlternativeTrace>,
    /// `to`, each alternative.
    pub operations: Vec<AlternativeTrace>,
    /// `when`, each condition.
    pub conditions: Vec<FieldTrace>,
}

/// How one source or operation fared.
#[derive(Debug, Clone, PartialEq)]
pub struct AlternativeTrace {
    /// Where it starts.
    pub position: Position,
    /// All of its fields.
    pub result: Certainty,
    /// Its fields that have entries.
    pub fields: Vec<FieldTrace>,
}

/// How one field fared.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldTrace {
    /// As manifests name it, such as `to.operation.notPaths`.
    pub field: String,
    /// Whether the field holds; for a `not...` field that none matched.
    pub result: Certainty,
    /// The first entry that matched.
    pub matched: Option<Located<String>>,
    /// The entries.
    pub wanted: Vec<Located<String>>,
    /// What the request had.
    pub actual: Vec<String>,
}

pub(super) fn rule(
    id: RuleId,
    policy: &AuthorizationPolicy,
    rule: &Rule,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> RuleTrace {
    let context = Context { policy, attributes, identity };
    let sources: Vec<_> = rule.from.iter().map(|s| context.source(s)).collect();
    let operations: Vec<_> = rule.to.iter().map(|o| context.operation(o)).collect();
    let conditions: Vec<_> = rule.when.iter().flat_map(|c| context.condition(c)).collect();
    let any = |list: &[AlternativeTrace]| {
        if list.is_empty() { Certainty::Yes } else { Certainty::any(list.iter().map(|a| a.result)) }
    };
    let mut parts = vec![any(&sources), any(&operations)];
    parts.extend(conditions.iter().map(|c| c.result));
    // On a connection one HTTP-only field anywhere takes the whole ALLOW rule out.
    if attributes.http.is_none() && matches!(policy.action, Action::Allow) && has_http_only(rule) {
        parts.push(Certainty::No);
    }
    let result = Certainty::all(parts);
    RuleTrace {
        id,
        matches: result.counts_as_match(unknown_under(&policy.action)),
        result,
        sources,
        operations,
        conditions,
    }
}

fn has_http_only(rule: &Rule) -> bool {
    let sources = rule
        .from
        .iter()
        .any(|s| !s.request_principals.is_empty() || !s.not_request_principals.is_empty());
    let operations = rule.to.iter().any(|o| {
        [&o.hosts, &o.not_hosts, &o.methods, &o.not_methods, &o.paths, &o.not_paths]
            .iter()
            .any(|list| !list.is_empty())
    });
    let conditions = rule
        .when
        .iter()
        .any(|c| needs_http(&c.key) && !(c.values.is_empty() && c.not_values.is_empty()));
    sources || operations || conditions
}

fn needs_http(key: &ConditionKey) -> bool {
    matches!(
        key,
        ConditionKey::RequestHeader(_)
            | ConditionKey::RequestPrincipal
            | ConditionKey::RequestAudiences
            | ConditionKey::RequestPresenter
            | ConditionKey::RequestClaims(_)
    )
}

struct Context<'a, 'r> {
    policy: &'a AuthorizationPolicy,
    attributes: &'a Attributes<'r>,
    identity: &'a Identity<'r>,
}

/// An attribute as text, and whether more of it may be hidden.
struct Actual {
    values: Vec<String>,
    /// What a value that matches nothing counts as.
    otherwise: Certainty,
}

impl Actual {
    fn known(values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { values: values.into_iter().map(Into::into).collect(), otherwise: Certainty::No }
    }
}

/// An attribute that is no text.
struct Typed<A> {
    value: Option<A>,
    /// What a value that matches nothing counts as.
    otherwise: Certainty,
}

impl<A> Typed<A> {
    /// What is missing is unknown.
    fn unless(missing: bool, value: Option<A>) -> Self {
        if missing {
            return Self { value: None, otherwise: Certainty::Unknown };
        }
        Self { value, otherwise: Certainty::No }
    }
}

impl Context<'_, '_> {
    fn client(&self) -> Typed<IpAddr> {
        Typed::unless(self.attributes.missing.client_address, self.attributes.remote_ip)
    }

    fn source(&self, s: &Source) -> AlternativeTrace {
        let mut fields = Fields { prefix: "from.source", list: Vec::new() };
        let names = self.names();
        let namespace = self.policy.metadata.namespace.to_string();
        fields.patterns("principals", &s.principals, &s.not_principals, &names, principal);
        if self.attributes.http.is_some() {
            let tokens = self.token();
            fields.list.extend(
                request_principals(
                    "from.source.requestPrincipals",
                    &s.request_principals,
                    false,
                    &tokens,
                )
                .into_iter()
                .chain(request_principals(
                    "from.source.notRequestPrincipals",
                    &s.not_request_principals,
                    true,
                    &tokens,
                )),
            );
        }
        fields.patterns("namespaces", &s.namespaces, &s.not_namespaces, &names, in_namespace);
        fields.patterns(
            "serviceAccounts",
            &s.service_accounts,
            &s.not_service_accounts,
            &names,
            |p, v| is_account(p, v, &namespace),
        );
        fields.patterns(
            "trustDomains",
            &s.trust_domains,
            &s.not_trust_domains,
            &names,
            in_trust_domain,
        );
        let missing = self.attributes.missing.source_address;
        let peer = Typed::unless(missing, self.attributes.source_ip);
        fields.typed("ipBlocks", &s.ip_blocks, &s.not_ip_blocks, &peer, within);
        fields.typed(
            "remoteIpBlocks",
            &s.remote_ip_blocks,
            &s.not_remote_ip_blocks,
            &self.client(),
            within,
        );
        fields.done(s.position)
    }

    fn operation(&self, o: &Operation) -> AlternativeTrace {
        let mut fields = Fields { prefix: "to.operation", list: Vec::new() };
        if let Some(http) = &self.attributes.http {
            let host = Actual::known([http.host.as_ref()]);
            fields.patterns("hosts", &o.hosts, &o.not_hosts, &host, |pattern, value| {
                let lower = |s: &str| s.to_ascii_lowercase();
                fits(&plain(&lower(pattern), anything()), &lower(value))
            });
            let method = Actual::known([http.method.as_ref()]);
            fields.patterns("methods", &o.methods, &o.not_methods, &method, |pattern, value| {
                fits(&plain(pattern, anything()), value)
            });
            let path = Actual::known([http.path_without_query()]);
            fields.patterns("paths", &o.paths, &o.not_paths, &path, |pattern, value| {
                if pattern.contains("{*}") || pattern.contains("{**}") {
                    fits(&template(pattern), value)
                } else {
                    fits(&plain(pattern, dots(1)), value)
                }
            });
        }
        let port =
            Typed::unless(self.attributes.missing.destination, self.attributes.destination_port);
        fields.typed("ports", &o.ports, &o.not_ports, &port, |a, b| a == b);
        fields.done(o.position)
    }

    fn condition(&self, c: &Condition) -> Vec<FieldTrace> {
        if needs_http(&c.key) && self.attributes.http.is_none() {
            return Vec::new();
        }
        let name = key_name(&c.key);
        let mut list = Vec::new();
        for (values, negated) in [(&c.values, false), (&c.not_values, true)] {
            let half = if negated { "notValues" } else { "values" };
            let field = format!("when[{name}].{half}");
            match values {
                ConditionValues::IpBlocks(entries) => {
                    let ip = if c.key == ConditionKey::RemoteIp {
                        self.client()
                    } else if c.key == ConditionKey::DestinationIp {
                        Typed::unless(
                            self.attributes.missing.destination,
                            self.attributes.destination_ip,
                        )
                    } else {
                        Typed::unless(
                            self.attributes.missing.source_address,
                            self.attributes.source_ip,
                        )
                    };
                    list.extend(typed(field, entries, negated, &ip, within));
                }
                ConditionValues::Ports(entries) => {
                    let port = Typed::unless(
                        self.attributes.missing.destination,
                        self.attributes.destination_port,
                    );
                    list.extend(typed(field, entries, negated, &port, |a, b| a == b));
                }
                ConditionValues::Patterns(entries) => {
                    list.extend(self.pattern_condition(field, &c.key, entries, negated));
                }
            }
        }
        list
    }

    fn pattern_condition(
        &self,
        field: String,
        key: &ConditionKey,
        entries: &[Located<String>],
        negated: bool,
    ) -> Option<FieldTrace> {
        let one_or_more = |p: &str, v: &str| fits(&plain(p, dots(1)), v);
        match key {
            ConditionKey::SourcePrincipal => {
                patterns(field, entries, negated, &self.names(), principal)
            }
            ConditionKey::SourceNamespace => {
                patterns(field, entries, negated, &self.names(), in_namespace)
            }
            ConditionKey::SourceServiceAccount => {
                let namespace = self.policy.metadata.namespace.to_string();
                patterns(field, entries, negated, &self.names(), |p, v| {
                    is_account(p, v, &namespace)
                })
            }
            ConditionKey::SourceTrustDomain => {
                patterns(field, entries, negated, &self.names(), in_trust_domain)
            }
            ConditionKey::RequestPrincipal => {
                request_principals(&field, entries, negated, &self.token())
            }
            ConditionKey::RequestAudiences => {
                patterns(field, entries, negated, &self.claim(&["aud".into()]), one_or_more)
            }
            ConditionKey::RequestPresenter => {
                patterns(field, entries, negated, &self.claim(&["azp".into()]), one_or_more)
            }
            ConditionKey::RequestClaims(path) => {
                patterns(field, entries, negated, &self.claim(path), one_or_more)
            }
            ConditionKey::ConnectionSni => {
                let mut sni = Actual::known([self.attributes.sni.as_ref()]);
                if self.attributes.missing.tls_session {
                    sni = Actual { values: Vec::new(), otherwise: Certainty::Unknown };
                }
                patterns(field, entries, negated, &sni, one_or_more)
            }
            ConditionKey::RequestHeader(name) => self.header(field, name, entries, negated),
            ConditionKey::EnvoyFilterMetadata { filter, key } => {
                self.metadata(field, filter, key, entries, negated)
            }
            ConditionKey::SourceIp
            | ConditionKey::RemoteIp
            | ConditionKey::DestinationIp
            | ConditionKey::DestinationPort => None,
        }
    }

    /// Header values are bytes; Latin-1 keeps them apart as text, and patterns are compared alike.
    fn header(
        &self,
        field: String,
        name: &str,
        entries: &[Located<String>],
        negated: bool,
    ) -> Option<FieldTrace> {
        let http = self.attributes.http.as_ref()?;
        let pseudo = match name {
            ":method" => Some(&http.method),
            ":path" => Some(&http.path),
            ":scheme" => Some(&http.scheme),
            ":authority" | "host" => Some(&http.host),
            _ => None,
        };
        let lines: Vec<Vec<u8>> = match pseudo {
            Some(value) => vec![value.as_bytes().to_vec()],
            None => http.headers.values(name).map(<[u8]>::to_vec).collect(),
        };
        let latin1 = |bytes: &[u8]| bytes.iter().map(|&b| char::from(b)).collect::<String>();
        let may_be_several = |line: &String| {
            pseudo.is_none()
                && http.headers.joined()
                && (line.contains('!')
                    || line.contains(',') && !Headers::JOINED_BY_ENVOY.contains(&name))
                && !entries.iter().any(|e| e.value == "*")
        };
        let (hidden, plainly): (Vec<String>, Vec<String>) =
            lines.iter().map(|l| latin1(l)).partition(may_be_several);
        let sent = self.attributes.missing.headers;
        let may_be_there = pseudo.is_none() && lines.is_empty() && sent.may_lack(name);
        let otherwise =
            if hidden.is_empty() && !may_be_there { Certainty::No } else { Certainty::Unknown };
        let actual = Actual { values: plainly, otherwise };
        patterns(field, entries, negated, &actual, |p, v| {
            fits(&plain(&latin1(p.as_bytes()), anything()), v)
        })
    }

    fn metadata(
        &self,
        field: String,
        filter: &str,
        key: &str,
        entries: &[Located<String>],
        negated: bool,
    ) -> Option<FieldTrace> {
        let value = self
            .attributes
            .filter_metadata
            .iter()
            .find(|(name, _)| name == filter)
            .and_then(|(_, metadata)| metadata.get(key));
        // Strings and the strings of lists are told apart by a mark no pattern can hold.
        let marked = match value {
            Some(Value::String(text)) => vec![format!("string\0{text}")],
            Some(Value::List(items)) => {
                items.iter().filter_map(Value::as_str).map(|t| format!("list\0{t}")).collect()
            }
            _ => Vec::new(),
        };
        let otherwise =
            if self.attributes.missing.metadata { Certainty::Unknown } else { Certainty::No };
        let actual = Actual { values: marked, otherwise };
        patterns(field, entries, negated, &actual, |pattern, value| {
            let is_list = pattern.starts_with('[') && pattern.ends_with(']');
            let (mark, inner) = if is_list {
                ("list\0", pattern.trim_matches(['[', ']']))
            } else {
                ("string\0", pattern)
            };
            value.strip_prefix(mark).is_some_and(|text| fits(&plain(inner, dots(1)), text))
        })
    }

    fn names(&self) -> Actual {
        let otherwise = if self.attributes.missing.peer_certificate {
            Certainty::Unknown
        } else {
            Certainty::No
        };
        Actual {
            values: self.attributes.peer.names.iter().map(ToString::to_string).collect(),
            otherwise,
        }
    }

    fn token(&self) -> Option<(String, String)> {
        let claims = self.identity.claims?;
        let text = |name| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Some((text("iss")?, text("sub")?))
    }

    fn claim(&self, path: &[String]) -> Actual {
        let value = path
            .iter()
            .try_fold(self.identity.claims, |value, name| Some(value.and_then(|v| v.get(name))))
            .flatten();
        match value {
            Some(Value::String(text)) => Actual::known([text]),
            Some(Value::List(items)) => Actual::known(items.iter().filter_map(Value::as_str)),
            _ => Actual::known(Vec::<String>::new()),
        }
    }
}

struct Fields {
    prefix: &'static str,
    list: Vec<FieldTrace>,
}

impl Fields {
    fn names(&self, field: &str) -> [String; 2] {
        let mut letters = field.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
        let negated: String = "not".chars().chain(first).chain(letters).collect();
        [format!("{}.{field}", self.prefix), format!("{}.{negated}", self.prefix)]
    }

    fn patterns(
        &mut self,
        field: &str,
        yes: &[Located<String>],
        no: &[Located<String>],
        actual: &Actual,
        matches: impl Fn(&str, &str) -> bool,
    ) {
        let [positive, negative] = self.names(field);
        self.list.extend(patterns(positive, yes, false, actual, &matches));
        self.list.extend(patterns(negative, no, true, actual, &matches));
    }

    fn typed<T: Display + Copy, A: Display + Copy>(
        &mut self,
        field: &str,
        yes: &[Located<T>],
        no: &[Located<T>],
        actual: &Typed<A>,
        matches: impl Fn(T, A) -> bool,
    ) {
        let [positive, negative] = self.names(field);
        self.list.extend(typed(positive, yes, false, actual, &matches));
        self.list.extend(typed(negative, no, true, actual, &matches));
    }

    fn done(self, position: Position) -> AlternativeTrace {
        let result = Certainty::all(self.list.iter().map(|f| f.result));
        AlternativeTrace { position, result, fields: self.list }
    }
}

fn patterns(
    field: String,
    entries: &[Located<String>],
    negated: bool,
    actual: &Actual,
    matches: impl Fn(&str, &str) -> bool,
) -> Option<FieldTrace> {
    let matched =
        entries.iter().find(|e| actual.values.iter().any(|value| matches(&e.value, value)));
    let any = if matched.is_some() { Certainty::Yes } else { actual.otherwise };
    (!entries.is_empty()).then(|| FieldTrace {
        field,
        result: if negated { !any } else { any },
        matched: matched.cloned(),
        wanted: entries.to_vec(),
        actual: actual.values.clone(),
    })
}

fn typed<T: Display + Copy, A: Display + Copy>(
    field: String,
    entries: &[Located<T>],
    negated: bool,
    actual: &Typed<A>,
    matches: impl Fn(T, A) -> bool,
) -> Option<FieldTrace> {
    let text = |e: &Located<T>| Located::new(e.value.to_string(), e.position);
    let matched = entries.iter().find(|e| actual.value.is_some_and(|a| matches(e.value, a)));
    let any = if matched.is_some() { Certainty::Yes } else { actual.otherwise };
    (!entries.is_empty()).then(|| FieldTrace {
        field,
        result: if negated { !any } else { any },
        matched: matched.map(text),
        wanted: entries.iter().map(text).collect(),
        actual: actual.value.iter().map(ToString::to_string).collect(),
    })
}

fn request_principals(
    field: &str,
    entries: &[Located<String>],
    negated: bool,
    token: &Option<(String, String)>,
) -> Option<FieldTrace> {
    let actual = Actual::known(token.iter().map(|(iss, sub)| format!("{iss}/{sub}")));
    patterns(field.to_owned(), entries, negated, &actual, |pattern, _| {
        token.as_ref().is_some_and(|(iss, sub)| is_request_principal(pattern, iss, sub))
    })
}

fn key_name(key: &ConditionKey) -> String {
    match key {
        ConditionKey::RequestHeader(name) => format!("request.headers[{name}]"),
        ConditionKey::SourceIp => "source.ip".into(),
        ConditionKey::RemoteIp => "remote.ip".into(),
        ConditionKey::SourceNamespace => "source.namespace".into(),
        ConditionKey::SourceServiceAccount => "source.serviceAccount".into(),
        ConditionKey::SourcePrincipal => "source.principal".into(),
        ConditionKey::SourceTrustDomain => "source.trustDomain".into(),
        ConditionKey::RequestPrincipal => "request.auth.principal".into(),
        ConditionKey::RequestAudiences => "request.auth.audiences".into(),
        ConditionKey::RequestPresenter => "request.auth.presenter".into(),
        ConditionKey::RequestClaims(path) => {
            format!(
                "request.auth.claims{}",
                path.iter().map(|p| format!("[{p}]")).collect::<String>()
            )
        }
        ConditionKey::DestinationIp => "destination.ip".into(),
        ConditionKey::DestinationPort => "destination.port".into(),
        ConditionKey::ConnectionSni => "connection.sni".into(),
        ConditionKey::EnvoyFilterMetadata { filter, key } => {
            format!("experimental.{filter}[{key}]")
        }
    }
}
