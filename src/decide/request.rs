//! What a request has for each attribute, and which of it is not known.
//!
//! Whether a pattern matches is `evaluate`'s business, which rules ask for it `candidates`'.

use std::net::IpAddr;

use crate::matcher::{SCHEME, claim_matches, request_principal};
use crate::model::{Attributes, Headers, Http, Identity, SentHeaders, Value};
use crate::plan::index::key::{Case, Lookup};
use crate::plan::vocabulary::Attribute;

/// A request to be decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    attributes: &'a Attributes<'a>,
    identity: &'a Identity<'a>,
    /// Without its query.
    path: Option<&'a str>,
}

/// One value of an attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Actual<'a> {
    /// A name of the peer.
    Name(&'a str),
    /// Issuer and subject of the token.
    Token((&'a str, &'a str)),
    /// An address.
    Address(IpAddr),
    /// A port.
    Port(u16),
    /// A text.
    Text(&'a [u8]),
    /// Dynamic metadata.
    Metadata(&'a Value),
    /// Something that may be several values: there is one, that is all that is known.
    Unclear,
}

impl<'a> Request<'a> {
    pub(super) fn new(attributes: &'a Attributes<'a>, identity: &'a Identity<'a>) -> Self {
        let path = attributes.http.as_ref().map(|http| http.path_without_query());
        Self { attributes, identity, path }
    }

    /// Whether it is an HTTP request, and not a connection.
    #[inline]
    pub(super) fn is_http(&self) -> bool {
        self.attributes.http.is_some()
    }

    /// Whether conditions on the attribute that nothing matches are unknown.
    #[inline]
    pub(super) fn is_open(&self, attribute: &Attribute) -> bool {
        match attribute {
            Attribute::Principal
            | Attribute::Namespace
            | Attribute::ServiceAccount
            | Attribute::TrustDomain => self.attributes.missing.peer_certificate,
            Attribute::Sni => self.attributes.missing.tls_session,
            Attribute::RemoteIp => self.attributes.missing.client_address,
            Attribute::SourceIp => self.attributes.missing.source_address,
            Attribute::DestinationIp | Attribute::DestinationPort => {
                self.attributes.missing.destination
            }
            Attribute::Metadata { .. } => self.attributes.missing.metadata,
            Attribute::Header(name) => self.attributes.http.as_ref().is_some_and(|http| {
                let sent = self.attributes.missing.headers;
                sent != SentHeaders::All && may_lack(http, name, sent)
                    || http.headers.joined()
                        && http.pseudo_header(name).is_none()
                        && http.headers.values(name).any(|line| is_unclear(name, line))
            }),
            Attribute::Unknowable => true,
            Attribute::RequestPrincipal
            | Attribute::Host
            | Attribute::Method
            | Attribute::Path
            | Attribute::Claim(_) => false,
        }
    }

    /// Hands over each value of the attribute until `found` says to stop; says whether it did.
    #[inline]
    pub(super) fn any(
        &self,
        attribute: &Attribute,
        mut found: impl FnMut(Actual<'a>) -> bool,
    ) -> bool {
        let attributes = self.attributes;
        let address = |ip: Option<IpAddr>| ip.map(Actual::Address);
        match attribute {
            Attribute::Principal
            | Attribute::Namespace
            | Attribute::ServiceAccount
            | Attribute::TrustDomain => {
                attributes.peer.names.iter().any(|name| found(Actual::Name(name)))
            }
            Attribute::RequestPrincipal => self
                .identity
                .claims
                .and_then(request_principal)
                .is_some_and(|token| found(Actual::Token(token))),
            Attribute::SourceIp => {
                let known = attributes.source_ip.filter(|_| !attributes.missing.source_address);
                address(known).is_some_and(found)
            }
            Attribute::RemoteIp => {
                let known = attributes.remote_ip.filter(|_| !attributes.missing.client_address);
                address(known).is_some_and(found)
            }
            Attribute::DestinationIp => {
                let known = attributes.destination_ip.filter(|_| !attributes.missing.destination);
                address(known).is_some_and(found)
            }
            Attribute::DestinationPort => {
                let known = attributes.destination_port.filter(|_| !attributes.missing.destination);
                known.map(Actual::Port).is_some_and(found)
            }
            Attribute::Host => attributes
                .http
                .as_ref()
                .is_some_and(|http| found(Actual::Text(http.host.as_bytes()))),
            Attribute::Method => attributes
                .http
                .as_ref()
                .is_some_and(|http| found(Actual::Text(http.method.as_bytes()))),
            Attribute::Path => self.path.is_some_and(|path| found(Actual::Text(path.as_bytes()))),
            Attribute::Header(name) => self.any_line(name, found),
            Attribute::Claim(path) => self.identity.claims.is_some_and(|claims| {
                claim_matches(claims, path, |text| found(Actual::Text(text.as_bytes())))
            }),
            Attribute::Sni => {
                !attributes.missing.tls_session && found(Actual::Text(attributes.sni.as_bytes()))
            }
            Attribute::Metadata { filter, key } => attributes
                .filter_metadata
                .iter()
                .find(|(name, _)| **name == **filter)
                .and_then(|(_, metadata)| metadata.get(key))
                .is_some_and(|value| found(Actual::Metadata(value))),
            Attribute::Unknowable => false,
        }
    }

    fn any_line(&self, name: &str, mut found: impl FnMut(Actual<'a>) -> bool) -> bool {
        let Some(http) = &self.attributes.http else { return false };
        if let Some(value) = http.pseudo_header(name) {
            return found(Actual::Text(value.as_bytes()));
        }
        let joined = http.headers.joined();
        http.headers.values(name).any(|line| {
            found(if joined && is_unclear(name, line) {
                Actual::Unclear
            } else {
                Actual::Text(line)
            })
        })
    }
}

/// Whether the request may have had a line that was not sent.
fn may_lack(http: &Http<'_>, name: &str, sent: SentHeaders) -> bool {
    sent.may_lack(name)
        && http.pseudo_header(name).is_none()
        && http.headers.values(name).next().is_none()
}

/// Whether a joined line does not say what the header is: a comma may be one of a value or stand between
/// two, and a `!` may stand for any byte that is not UTF-8.
fn is_unclear(name: &str, line: &[u8]) -> bool {
    line.contains(&b'!') || line.contains(&b',') && !Headers::JOINED_BY_ENVOY.contains(&name)
}

/// Hands over the keys of a value that a place of the index may have, until `found` says to stop;
/// says whether it did.
#[inline]
pub(super) fn keys(
    attribute: &Attribute,
    actual: Actual<'_>,
    lookup: &Lookup,
    mut found: impl FnMut(u64) -> bool,
) -> bool {
    if lookup.present(&mut found) {
        return true;
    }
    match actual {
        Actual::Name(name) => name_keys(attribute, name, lookup, found),
        Actual::Token((issuer, subject)) => lookup.pair(issuer, subject, found),
        Actual::Address(ip) => lookup.address(ip, found),
        Actual::Port(port) => lookup.number(port, found),
        Actual::Text(text) => lookup.text(text, case(attribute), found),
        Actual::Metadata(Value::String(text)) => lookup.text(text.as_bytes(), Case::Counts, found),
        Actual::Metadata(Value::List(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .any(|text| lookup.text(text.as_bytes(), Case::Counts, &mut found)),
        Actual::Metadata(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_))
        | Actual::Unclear => false,
    }
}

/// Whether texts of the attribute differ where only their case does.
#[inline]
pub(super) fn case(attribute: &Attribute) -> Case {
    if matches!(attribute, Attribute::Host) { Case::Ignored } else { Case::Counts }
}

fn name_keys(
    attribute: &Attribute,
    name: &str,
    lookup: &Lookup,
    mut found: impl FnMut(u64) -> bool,
) -> bool {
    if matches!(attribute, Attribute::Namespace) {
        return behind_each(name, "/ns/")
            .any(|behind| lookup.text(behind.as_bytes(), Case::Counts, &mut found));
    }
    if matches!(attribute, Attribute::ServiceAccount) {
        return behind_each(name, "/ns/").any(|behind| {
            let Some((namespace, rest)) = behind.split_once('/') else { return false };
            let first = rest.strip_prefix("sa/");
            first.into_iter().chain(behind_each(rest, "/sa/")).any(|behind| {
                let account = behind.split('/').next().unwrap_or_default();
                lookup.pair(namespace, account, &mut found)
            })
        });
    }
    // Principals and trust domains.
    name.strip_prefix(SCHEME).is_some_and(|id| lookup.text(id.as_bytes(), Case::Counts, found))
}

/// What stands behind each place of a word that begins and ends with a slash; places may overlap.
fn behind_each<'n>(name: &'n str, word: &'static str) -> impl Iterator<Item = &'n str> {
    name.match_indices('/').filter_map(move |(at, _)| name.get(at..)?.strip_prefix(word))
}
