//! Single values that do not mean what they look like.

use super::meaning::{Entry, Meaning, Test};
use super::pattern::{Pattern, Text};
use super::policies::{Policies, Policy};
use super::{Finding, codes};
use crate::manifest::text::quoted;
use crate::plan::vocabulary::Attribute;

/// Methods of HTTP that are in use.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Ports whose usual protocol is not HTTP.
const OTHER_PROTOCOLS: [(u16, &str); 16] = [
    (22, "SSH"),
    (25, "SMTP"),
    (389, "LDAP"),
    (636, "LDAPS"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (2181, "ZooKeeper"),
    (3306, "MySQL"),
    (4222, "NATS"),
    (5432, "PostgreSQL"),
    (5671, "AMQPS"),
    (5672, "AMQP"),
    (6379, "Redis"),
    (9092, "Kafka"),
    (11211, "memcached"),
    (27017, "MongoDB"),
];

/// Longer lists are not held against themselves.
const LONGEST_LIST: usize = 1_000;

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    for policy in &policies.authorization {
        for (rule, meaning) in policy.known() {
            for test in meaning.tests() {
                for entry in &test.entries {
                    findings.extend(literal_star(policy, rule, test, entry));
                    findings.extend(impossible(policy, rule, test, entry));
                }
                redundant(policy, rule, test, findings);
                hosts_and_ports(policy, rule, test, findings);
            }
            findings.extend(http_on_other_port(policy, rule, meaning));
        }
    }
}

fn literal_star(policy: &Policy<'_>, rule: usize, test: &Test, entry: &Entry) -> Option<Finding> {
    let literal = match &entry.pattern {
        Pattern::Text(text) | Pattern::Path(text) | Pattern::Principal(text) => {
            text.literal().contains('*')
        }
        Pattern::Metadata { text, .. } => text.literal().contains('*'),
        Pattern::RequestPrincipal(issuer, subject) => {
            issuer.literal().contains('*') || subject.literal().contains('*')
        }
        Pattern::Template(_, text) => text.replace("{*}", "").replace("{**}", "").contains('*'),
        Pattern::Namespace(_)
        | Pattern::ServiceAccount(..)
        | Pattern::TrustDomain(_)
        | Pattern::Block(_)
        | Pattern::Port(_) => false,
    };
    // A media type, not a pattern.
    let is_media_type =
        entry.text.ends_with("/*") && matches!(test.attribute, Attribute::Header(_));
    if !literal || is_media_type {
        return None;
    }
    let message = format!(
        "a `*` in {} stands for itself: only one at the start or at the end is a wildcard, and not \
         both",
        quoted(&entry.text)
    );
    let help = match test.attribute {
        Attribute::Path => {
            "write `{*}` for one segment of a path, `{**}` for any number, or a single `*` at one end"
        }
        Attribute::RequestPrincipal => {
            "write `*` for any issuer and subject, `issuer/*` or `*/subject`"
        }
        Attribute::Principal
        | Attribute::Namespace
        | Attribute::ServiceAccount
        | Attribute::TrustDomain
        | Attribute::SourceIp
        | Attribute::RemoteIp
        | Attribute::DestinationIp
        | Attribute::DestinationPort
        | Attribute::Host
        | Attribute::Method
        | Attribute::Header(_)
        | Attribute::Claim(_)
        | Attribute::Sni
        | Attribute::Metadata { .. }
        | Attribute::Unknowable => "write a `*` at one end, or list the values",
    };
    Some(policy.warning(codes::LITERAL_STAR, rule, entry.position, message).help(help))
}

fn impossible(policy: &Policy<'_>, rule: usize, test: &Test, entry: &Entry) -> Option<Finding> {
    let (why, help) = why_impossible(test, entry)?;
    let what = if test.negated { "excludes nothing" } else { "matches nothing" };
    let message = format!("{} {what}: {why}", quoted(&entry.text));
    Some(policy.warning(codes::IMPOSSIBLE_VALUE, rule, entry.position, message).help(help))
}

fn why_impossible(test: &Test, entry: &Entry) -> Option<(&'static str, String)> {
    let text = entry.text.as_str();
    match &entry.pattern {
        Pattern::Text(pattern) if test.attribute == Attribute::Method => {
            let upper = text.to_ascii_uppercase();
            let is_method = METHODS.contains(&upper.as_str());
            if text.contains([' ', ',', '|']) {
                return Some((
                    "it is not one method",
                    "write a list, such as `[GET, HEAD]`".into(),
                ));
            }
            (is_method && upper != text && matches!(pattern, Text::Exact(_)))
                .then(|| ("methods are in capitals", format!("write `{upper}`")))
        }
        Pattern::Text(_) if test.attribute == Attribute::Host => {
            if text.contains("://") {
                return Some(("a host has no scheme", "write the host alone".into()));
            }
            text.contains('/').then(|| {
                ("a host has no path", "write the host alone, and the path into `paths`".into())
            })
        }
        Pattern::Text(_) if test.attribute == Attribute::Sni => text
            .contains(|c: char| c.is_ascii_uppercase())
            .then(|| ("server names are compared in lower case", "write it in lower case".into())),
        Pattern::Path(_) | Pattern::Template(..) => {
            if text.contains(['?', '#']) {
                return Some((
                    "paths are compared without their query",
                    "leave out what follows the `?`".into(),
                ));
            }
            let begins =
                if let Pattern::Path(Text::Exact(start) | Text::Prefix(start)) = &entry.pattern {
                    start.starts_with('/')
                } else {
                    !matches!(entry.pattern, Pattern::Template(..)) || text.starts_with(['/', '{'])
                };
            (!begins).then(|| {
                ("a path begins with `/`", format!("write {}", quoted(&format!("/{text}"))))
            })
        }
        Pattern::Principal(_) if text.starts_with("spiffe://") => Some((
            "principals are written without `spiffe://`",
            format!("write {}", quoted(text.trim_start_matches("spiffe://"))),
        )),
        Pattern::Namespace(name) if name.contains('/') => {
            Some(("a namespace has no `/`", "write the name of the namespace alone".into()))
        }
        Pattern::RequestPrincipal(_, Text::Exact(subject)) if subject.is_empty() => Some((
            "an issuer without a subject is nobody",
            format!("write {}", quoted(&format!("{}/*", text.trim_end_matches('/')))),
        )),
        Pattern::Port(0) => Some(("there is no port 0", "write the port of the workload".into())),
        Pattern::Text(_)
        | Pattern::Principal(_)
        | Pattern::Namespace(_)
        | Pattern::ServiceAccount(..)
        | Pattern::TrustDomain(_)
        | Pattern::RequestPrincipal(..)
        | Pattern::Metadata { .. }
        | Pattern::Block(_)
        | Pattern::Port(_) => None,
    }
}

/// Values of one list that another value of it includes.
fn redundant(policy: &Policy<'_>, rule: usize, test: &Test, findings: &mut Vec<Finding>) {
    if test.entries.len() > LONGEST_LIST {
        return;
    }
    for (number, entry) in test.entries.iter().enumerate() {
        let wider = test.entries.iter().enumerate().find(|(at, other)| {
            // What aliases of the trust domain add stands at the same place.
            *at != number
                && other.position != entry.position
                && other.pattern.covers(&entry.pattern)
                && (!entry.pattern.covers(&other.pattern) || *at < number)
        });
        let Some((_, wider)) = wider else { continue };
        let message = if wider.text == entry.text {
            format!("{} is in the list twice", quoted(&entry.text))
        } else {
            format!("{} is included in {}", quoted(&entry.text), quoted(&wider.text))
        };
        findings.push(
            policy
                .warning(codes::REDUNDANT_ENTRY, rule, entry.position, message)
                .note()
                .help("remove it, or narrow the other if that was not meant"),
        );
    }
}

fn hosts_and_ports(policy: &Policy<'_>, rule: usize, test: &Test, findings: &mut Vec<Finding>) {
    if test.attribute != Attribute::Host || test.entries.len() > LONGEST_LIST {
        return;
    }
    let takes = |host: &str| {
        test.entries
            .iter()
            .any(|entry| matches!(&entry.pattern, Pattern::Text(text) if text.takes(host)))
    };
    // What a client must not get around: it writes the Host header itself.
    let is_bar = policy.is_deny() && !test.negated || policy.is_allow() && test.negated;
    for entry in &test.entries {
        let Pattern::Text(text) = &entry.pattern else { continue };
        if let Text::Exact(host) = text
            && let Some((name, port @ ("80" | "443"))) = host.rsplit_once(':')
            && !takes(name)
        {
            let message = format!(
                "{} rarely matches: clients leave out port {port} where it is the default",
                quoted(&entry.text)
            );
            findings.push(
                policy
                    .warning(codes::DEFAULT_PORT_IN_HOST, rule, entry.position, message)
                    .help(format!("add {}", quoted(name))),
            );
        }
        let (with_port, help) = match text {
            Text::Exact(host) if is_name(host) => {
                (format!("{host}:1"), format!("add {}", quoted(&format!("{}:*", entry.text))))
            }
            Text::Suffix(end) if is_name(end) => (
                format!("x{end}:1"),
                "have Envoy strip ports (`strip_any_host_port`), then ignore this finding"
                    .to_owned(),
            ),
            Text::Any | Text::OneOrMore | Text::Exact(_) | Text::Prefix(_) | Text::Suffix(_) => {
                continue;
            }
        };
        if is_bar && !takes(&with_port) {
            let message = format!(
                "a client gets around {} by naming a port: hosts are compared with it",
                quoted(&entry.text)
            );
            findings.push(
                policy.warning(codes::PORT_ESCAPES_HOST, rule, entry.position, message).help(help),
            );
        }
    }
}

/// Whether it has no port, and can have one.
fn is_name(host: &str) -> bool {
    !host.contains([':', '/']) && !host.is_empty()
}

fn http_on_other_port(policy: &Policy<'_>, rule: usize, meaning: &Meaning) -> Option<Finding> {
    let http = meaning.tests().find(|test| test.needs_http())?;
    let ports = meaning
        .tests()
        .filter(|test| test.attribute == Attribute::DestinationPort && !test.negated)
        .flat_map(|test| &test.entries);
    for entry in ports {
        let Pattern::Port(port) = entry.pattern else { continue };
        let Some((_, protocol)) = OTHER_PROTOCOLS.iter().find(|(known, _)| *known == port) else {
            continue;
        };
        let effect = if policy.is_allow() {
            "allows nothing there"
        } else if policy.is_deny() {
            "denies every connection to it"
        } else {
            "takes every connection to it"
        };
        let message = format!(
            "port {port} is usually {protocol}, where there is no `{}`: the rule {effect}",
            http.field
        );
        return Some(
            policy
                .warning(codes::HTTP_ON_OTHER_PORT, rule, entry.position, message)
                .help("match connections by `ports`, `principals` or `ipBlocks` alone"),
        );
    }
    None
}
