//! One compiled rule against one request.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Certainty;
use crate::matcher::{StringMatch, claim_matches};
use crate::model::{Attributes, Headers, Http, Identity};
use crate::plan::{AttributeTest, CompiledRule, Test};

/// Whether the rule holds.
pub(super) fn rule(
    rule: &CompiledRule,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Certainty {
    let conjunction =
        |tests: &[Test]| Certainty::all(tests.iter().map(|test| holds(test, attributes, identity)));
    let alternatives = |list: &[Box<[Test]>]| {
        if list.is_empty() {
            Certainty::Yes
        } else {
            Certainty::any(list.iter().map(|tests| conjunction(tests)))
        }
    };
    // Lazily: a part is only looked at while the rule can still hold.
    let parts: [&dyn Fn() -> Certainty; 3] =
        [&|| alternatives(&rule.operations), &|| alternatives(&rule.sources), &|| {
            conjunction(&rule.conditions)
        }];
    Certainty::all(parts.iter().map(|part| part()))
}

fn holds(test: &Test, attributes: &Attributes<'_>, identity: &Identity<'_>) -> Certainty {
    let matched = matches(&test.attribute, attributes, identity);
    if test.negated { !matched } else { matched }
}

fn matches(
    test: &AttributeTest,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Certainty {
    match test {
        AttributeTest::Principal(list) => peer(attributes, |n| list.iter().any(|m| m.matches(n))),
        AttributeTest::Namespace(list) => peer(attributes, |n| list.iter().any(|m| m.matches(n))),
        AttributeTest::ServiceAccount(list) => {
            peer(attributes, |n| list.iter().any(|m| m.matches(n)))
        }
        AttributeTest::TrustDomain(list) => peer(attributes, |n| list.iter().any(|m| m.matches(n))),
        AttributeTest::RequestPrincipal(list) => {
            identity.claims.is_some_and(|claims| list.iter().any(|m| m.matches(claims))).into()
        }
        AttributeTest::SourceIp(list) => contains(list, attributes.source_ip).into(),
        AttributeTest::RemoteIp(list) => {
            if attributes.missing.client_address {
                return Certainty::Unknown;
            }
            contains(list, attributes.remote_ip).into()
        }
        AttributeTest::DestinationIp(list) => contains(list, attributes.destination_ip).into(),
        AttributeTest::DestinationPort(list) => {
            attributes.destination_port.is_some_and(|port| list.contains(&port)).into()
        }
        AttributeTest::Host(list) => http(attributes, |http| {
            list.iter().any(|m| m.matches_ignore_case(http.host.as_bytes()))
        }),
        AttributeTest::Method(list) => {
            http(attributes, |http| list.iter().any(|m| m.matches(http.method.as_bytes())))
        }
        AttributeTest::Path { exact, patterns, templates } => http(attributes, |http| {
            let path = http.path_without_query();
            exact.binary_search_by(|e| (**e).cmp(path)).is_ok()
                || patterns.iter().any(|m| m.matches(path))
                || templates.iter().any(|m| m.matches(path))
        }),
        AttributeTest::Header { name, patterns } => {
            attributes.http.as_ref().map_or(Certainty::No, |http| header(http, name, patterns))
        }
        AttributeTest::Claim { path, patterns } => identity
            .claims
            .is_some_and(|claims| {
                claim_matches(claims, path, |text| patterns.iter().any(|m| m.matches(text)))
            })
            .into(),
        AttributeTest::Sni(list) => {
            if attributes.missing.tls_session {
                return Certainty::Unknown;
            }
            list.iter().any(|m| m.matches(attributes.sni.as_bytes())).into()
        }
        AttributeTest::Metadata { filter, key, patterns } => attributes
            .filter_metadata
            .iter()
            .find(|(name, _)| **name == **filter)
            .and_then(|(_, metadata)| metadata.get(key))
            .is_some_and(|value| patterns.iter().any(|m| m.matches(value)))
            .into(),
        AttributeTest::Unknown => Certainty::Unknown,
    }
}

fn http(attributes: &Attributes<'_>, test: impl FnOnce(&Http<'_>) -> bool) -> Certainty {
    attributes.http.as_ref().is_some_and(test).into()
}

/// Any name of the peer; names that are not sent may match too.
fn peer(attributes: &Attributes<'_>, test: impl Fn(&str) -> bool) -> Certainty {
    if attributes.peer.names.iter().any(|name| test(name)) {
        Certainty::Yes
    } else if attributes.missing.peer_certificate {
        Certainty::Unknown
    } else {
        Certainty::No
    }
}

fn contains(list: &[IpNet], ip: Option<IpAddr>) -> bool {
    ip.is_some_and(|ip| list.iter().any(|net| net.contains(&ip)))
}

fn header(http: &Http<'_>, name: &str, patterns: &[StringMatch]) -> Certainty {
    let any = |value: &[u8]| patterns.iter().any(|m| m.matches(value));
    if let Some(value) = http.pseudo_header(name) {
        return any(value.as_bytes()).into();
    }
    Certainty::any(http.headers.values(name).map(|value| {
        let ambiguous = http.headers.joined()
            && value.contains(&b',')
            && !Headers::JOINED_BY_ENVOY.contains(&name)
            && !patterns.contains(&StringMatch::Present);
        // A comma may be one of a line or stand between two.
        if ambiguous { Certainty::Unknown } else { any(value).into() }
    }))
}
