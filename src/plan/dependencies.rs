//! What of a request an answer by a plan may depend on: what some rule or token place looks at.
//!
//! The same for all requests of a plan, so never too little for one of them. Until when an answer holds
//! depends on the request's tokens, which only `authn` sees.

use std::collections::BTreeSet;
use std::fmt;

use super::authentication::{JwtPlan, JwtRulePlan, PeerPlan};
use super::vocabulary::Attribute;
use crate::model::MutualTlsMode;

/// One part of a request. Displays its name in the hint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// The peer's address.
    SourceIp,
    /// The client's address behind trusted proxies.
    RemoteIp,
    /// Every name in the peer's certificate.
    Peer,
    /// The local address.
    DestinationIp,
    /// The local port.
    DestinationPort,
    /// The server name.
    Sni,
    /// Dynamic metadata of a filter.
    Metadata(Box<str>, Box<str>),
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Host,
    /// `:path` up to its query or fragment.
    Path,
    /// What follows that.
    Query,
    /// All lines of a header.
    Header(Box<str>),
    /// Whether tokens are looked at: not in a CORS preflight, nor where the path does not begin with
    /// a slash.
    Preflight,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceIp => "source.ip",
            Self::RemoteIp => "remote.ip",
            Self::Peer => "source.principal",
            Self::DestinationIp => "destination.ip",
            Self::DestinationPort => "destination.port",
            Self::Sni => "connection.sni",
            Self::Metadata(filter, key) => {
                return write!(f, "experimental.{filter}[{key}]");
            }
            Self::Method => "request.method",
            Self::Scheme => "request.scheme",
            Self::Host => "request.host",
            Self::Path => "request.path",
            Self::Query => "request.query",
            Self::Header(name) => return write!(f, "request.headers[{name}]"),
            Self::Preflight => "request.preflight",
        })
    }
}

/// The dependencies of a plan, for each kind of traffic.
#[derive(Debug, Default)]
pub struct Dependencies {
    /// In order, each once; those that connections have come first.
    all: Box<[(Dependency, Box<str>)]>,
    /// How many of them connections have.
    l4: usize,
}

impl Dependencies {
    /// Those of a plan that is made of these.
    pub fn of<'a>(
        attributes: impl Iterator<Item = &'a Attribute>,
        jwt: &JwtPlan,
        peer: &PeerPlan,
    ) -> Self {
        let mut found = BTreeSet::new();
        attributes.for_each(|attribute| of_attribute(attribute, &mut found));
        if !jwt.rules.is_empty() {
            found.insert(Dependency::Preflight);
        }
        jwt.rules.iter().for_each(|rule| of_token_rule(rule, &mut found));
        let modes = || peer.ports.values().chain([&peer.mode]);
        if modes().any(|mode| *mode == MutualTlsMode::Strict) {
            found.insert(Dependency::Peer);
        }
        if !peer.ports.is_empty() {
            found.insert(Dependency::DestinationPort);
        }
        // Connections have all that is before `Method`.
        let l4 = found.range(..Dependency::Method).count();
        let named = found.into_iter().map(|dependency| {
            let name = dependency.to_string().into();
            (dependency, name)
        });
        Self { all: named.collect(), l4 }
    }

    /// Those of requests, or of connections.
    pub fn iter(&self, is_http: bool) -> impl Iterator<Item = &Dependency> {
        self.here(is_http).iter().map(|(dependency, _)| dependency)
    }

    /// Their names, made once.
    pub fn names(&self, is_http: bool) -> impl Iterator<Item = &str> {
        self.here(is_http).iter().map(|(_, name)| &**name)
    }

    fn here(&self, is_http: bool) -> &[(Dependency, Box<str>)] {
        let l4 = self.all.get(..self.l4).unwrap_or_default();
        if is_http { &self.all } else { l4 }
    }
}

fn of_attribute(attribute: &Attribute, found: &mut BTreeSet<Dependency>) {
    let dependency = match attribute {
        Attribute::Principal
        | Attribute::Namespace
        | Attribute::ServiceAccount
        | Attribute::TrustDomain => Dependency::Peer,
        Attribute::SourceIp => Dependency::SourceIp,
        Attribute::RemoteIp => Dependency::RemoteIp,
        Attribute::DestinationIp => Dependency::DestinationIp,
        Attribute::DestinationPort => Dependency::DestinationPort,
        Attribute::Host => Dependency::Host,
        Attribute::Method => Dependency::Method,
        Attribute::Path => Dependency::Path,
        Attribute::Header(name) => return of_header(name, found),
        Attribute::Sni => Dependency::Sni,
        Attribute::Metadata { filter, key } => Dependency::Metadata(filter.clone(), key.clone()),
        // What tokens say is a matter of where they are looked for.
        Attribute::RequestPrincipal | Attribute::Claim(_) | Attribute::Unknowable => return,
    };
    found.insert(dependency);
}

/// A header by its name, which may be that of a pseudo header.
fn of_header(name: &str, found: &mut BTreeSet<Dependency>) {
    let dependency = match name {
        ":method" => Dependency::Method,
        ":scheme" => Dependency::Scheme,
        ":authority" | "host" => Dependency::Host,
        ":path" => {
            found.insert(Dependency::Query);
            Dependency::Path
        }
        name => Dependency::Header(name.into()),
    };
    found.insert(dependency);
}

fn of_token_rule(rule: &JwtRulePlan, found: &mut BTreeSet<Dependency>) {
    rule.places.headers.iter().for_each(|(name, _)| of_header(name, found));
    if !rule.places.params.is_empty() {
        // A path without its token is part of the answer.
        of_header(":path", found);
    }
    if !rule.places.cookies.is_empty() {
        of_header("cookie", found);
    }
    // What a client puts there is taken out, which is part of the answer, too.
    let outputs = rule.payload_header.iter().chain(rule.claim_headers.iter().map(|c| &c.header));
    outputs.for_each(|name| of_header(name, found));
}
