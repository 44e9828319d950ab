//! A request about a request, as the parts of a CheckRequest, borrowed.
//!
//! Strict: of what a proxy always sends there is exactly one, and it is well formed; all else is
//! denied, never guessed. What the parts mean is `attributes`' job.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HOST, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Version};
use ipnet::IpNet;

use super::super::Malformed;
use super::super::client_address::split_zone;
use super::super::view::{
    AddressView, CheckView, ContextView, Extensions, HttpView, PeerView, RequestView,
};
use super::Flavour;
use super::proxy_header::{self, Said};
use crate::model::{Missing, SentHeaders};

/// How requests about requests are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Who asks.
    pub flavour: Flavour,
    /// What Envoy puts before the original path; empty for nothing.
    pub path_prefix: Arc<str>,
    /// The header in which the proxy says what else it knows; `None` believes no header.
    pub proxy_header: Option<HeaderName>,
    /// Whose requests are believed. Whoever comes through a unix socket is.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The most bytes of the head of a request.
    pub max_head_size: usize,
}

impl HttpSettings {
    /// Whether a peer may ask.
    pub(super) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.map(|ip| ip.to_canonical())
            .is_none_or(|ip| self.trusted_proxies.iter().any(|net| net.contains(&ip)))
    }
}

/// The request that `head` asks about.
pub(super) fn view<'a>(
    head: &'a Parts,
    peer: Option<IpAddr>,
    settings: &HttpSettings,
) -> CheckView<'a> {
    if !settings.trusts(peer) {
        return CheckView { attributes: None, malformed: Some(Malformed::UntrustedPeer) };
    }
    match read(head, settings) {
        Some(attributes) => CheckView { attributes: Some(attributes), malformed: None },
        None => CheckView { attributes: None, malformed: Some(Malformed::Forwarded) },
    }
}

/// What is found of the original request, by flavour.
struct Original<'a> {
    method: &'a str,
    path: &'a str,
    host: &'a str,
    /// `None` where it has to be said elsewhere.
    scheme: Option<&'a str>,
    /// Where a header says the peer of the connection.
    source: Option<AddressView<'a>>,
    /// Proxies in between, where `x-forwarded-for` is the proxy's own.
    forwarded_for: Option<&'a str>,
    headers: SentHeaders,
}

fn read<'a>(head: &'a Parts, settings: &HttpSettings) -> Option<ContextView<'a>> {
    let original = match settings.flavour {
        Flavour::Envoy => of_envoy(head, &settings.path_prefix)?,
        Flavour::Nginx => of_nginx(head)?,
        Flavour::Traefik => of_traefik(head)?,
    };
    let said = match &settings.proxy_header {
        Some(name) => proxy_header::parse(only(&head.headers, name)?)?,
        None => Said::default(),
    };
    let Original { method, path, host, scheme, source, forwarded_for, headers: sent } = original;
    let scheme = said.scheme.or(scheme)?;
    let is_method =
        method.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    // What a request line cannot hold; Envoy refuses all of it too. A fragment is the client's own
    // business, and what comes after it may be a path to somebody.
    let is_path = !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if method.is_empty() || !is_method || !is_path {
        return None;
    }

    let is_hidden = |name: &HeaderName| {
        name == HOST || sent.hides(name.as_str()) || settings.proxy_header.as_ref() == Some(name)
    };
    let lines = (head.headers.iter())
        .filter(|(name, _)| !is_hidden(name))
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let are_joined = settings.flavour == Flavour::Envoy && !said.has_raw_headers;
    let http = HttpView::new([method, path, host, scheme], lines, are_joined);

    let source = said.source.or(source);
    let missing = Missing {
        peer_certificate: said.certificate.is_none(),
        source_address: source.is_none(),
        destination: said.destination.is_none(),
        metadata: true,
        headers: sent,
        ..Missing::default()
    };
    let mut extensions = Extensions::default();
    for (name, value) in said.extensions {
        extensions.set(name, value);
    }
    Some(ContextView {
        source: Some(PeerView {
            address: source.unwrap_or_default(),
            principal: "",
            certificate: said.certificate.unwrap_or_default(),
        }),
        destination: Some(PeerView {
            address: said.destination.unwrap_or_default(),
            ..PeerView::default()
        }),
        request: Some(RequestView { http: Some(http), ..RequestView::default() }),
        extensions,
        metadata: None,
        sni: said.sni,
        forwarded_for,
        missing,
    })
}

/// Envoy asks with the method, the path and the host of the original.
fn of_envoy<'a>(head: &'a Parts, prefix: &str) -> Option<Original<'a>> {
    let target = asked_path(head)?;
    let path = target.strip_prefix(prefix)?;
    let path_alone = path.split(['?', '#']).next().unwrap_or_default();
    // Another proxy, which Postern is not configured for: its path says nothing of the original.
    if Flavour::ALL.iter().any(|flavour| flavour.path() == Some(path_alone)) {
        return None;
    }
    // Envoy's connection manager sets it unless a proxy before has; without it headers are left out.
    let scheme = at_most_one(&head.headers, "x-forwarded-proto");
    let headers = if scheme == Some(None) { SentHeaders::Some } else { SentHeaders::ThroughEnvoy };
    Some(Original {
        method: head.method.as_str(),
        path,
        // As Envoy takes it: it may be empty.
        host: asked_host(head)?,
        // Envoy may have taken another than a proxy before claims.
        scheme: match scheme {
            Some(Some(scheme)) => as_scheme(scheme),
            Some(None) => Some(""),
            None => None,
        },
        source: None,
        forwarded_for: None,
        headers,
    })
}

/// nginx asks with headers that its configuration sets.
fn of_nginx(head: &Parts) -> Option<Original<'_>> {
    asked_as(head, Flavour::Nginx)?;
    let source = only(&head.headers, "x-real-ip").filter(|source| !source.is_empty())?;
    Some(Original {
        method: only(&head.headers, "x-original-method")?,
        path: path_of(only(&head.headers, "x-original-uri")?)?,
        host: host_of(asked_host(head)?)?,
        scheme: Some(as_scheme(only(&head.headers, "x-forwarded-proto")?)?),
        source: Some(proxy_header::address(source)?),
        forwarded_for: Some(at_most_one(&head.headers, "x-forwarded-for")?.unwrap_or_default()),
        headers: SentHeaders::ThroughProxy,
    })
}

/// Traefik and its like ask with headers that they set themselves.
fn of_traefik(head: &Parts) -> Option<Original<'_>> {
    asked_as(head, Flavour::Traefik)?;
    let forwarded_for = only(&head.headers, "x-forwarded-for")?;
    // The proxy has appended its peer, or let it stand alone.
    let source = split_zone(forwarded_for.rsplit(',').next()?.trim());
    source.parse::<IpAddr>().ok()?;
    Some(Original {
        method: only(&head.headers, "x-forwarded-method")?,
        path: path_of(only(&head.headers, "x-forwarded-uri")?)?,
        host: host_of(only(&head.headers, "x-forwarded-host")?)?,
        scheme: Some(as_scheme(only(&head.headers, "x-forwarded-proto")?)?),
        source: Some(AddressView::Socket { address: source, port: None }),
        forwarded_for: Some(forwarded_for),
        headers: SentHeaders::ThroughProxy,
    })
}

/// Where a proxy asks that has the original in headers.
fn asked_as(head: &Parts, flavour: Flavour) -> Option<()> {
    // Caddy leaves the client's query on it.
    let is_its_path = asked_path(head)?.split('?').next() == flavour.path();
    let is_its_method = [Method::GET, Method::HEAD].contains(&head.method);
    (is_its_path && is_its_method).then_some(())
}

/// The path and query that were asked for. HTTP/1.1 has forms without a path, or with more, that no
/// proxy uses to ask.
fn asked_path(head: &Parts) -> Option<&str> {
    let is_origin_form = head.uri.authority().is_none() && head.uri.scheme().is_none();
    let is_known = match head.version {
        Version::HTTP_2 => true,
        Version::HTTP_11 => is_origin_form,
        _ => false,
    };
    if !is_known || head.method == Method::CONNECT {
        return None;
    }
    head.uri.path_and_query().map(|path| path.as_str())
}

fn asked_host(head: &Parts) -> Option<&str> {
    match head.uri.authority() {
        // HTTP/2 has it in the request's own parts; another one beside it would be somebody's trick.
        Some(authority) => {
            let beside = at_most_one(&head.headers, HOST)?;
            beside.is_none_or(|host| host == authority.as_str()).then_some(authority.as_str())
        }
        None => only(&head.headers, HOST),
    }
}

/// Envoy and nginx write it in lower case, and a proxy before them may not.
fn as_scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme))
}

/// A host that somebody else has taken out of a request line or a header.
fn host_of(text: &str) -> Option<&str> {
    let is_host = text.bytes().all(|b| b.is_ascii_graphic() && !b",/\\@".contains(&b));
    (is_host && !text.is_empty()).then_some(text)
}

/// A path as it stands in a request line; `*` is OPTIONS' own.
fn path_of(text: &str) -> Option<&str> {
    (text.starts_with('/') || text == "*").then_some(text)
}

/// The value of the header, which is there once.
fn only(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<&str> {
    at_most_one(headers, name)?
}

/// The value of the header, which is not there twice. `None` where it is, or is no text.
#[expect(clippy::option_option, reason = "none of it is not the same as too much of it")]
fn at_most_one(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<Option<&str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => str::from_utf8(value.as_bytes()).ok().map(Some),
        (Some(_), Some(_)) => None,
    }
}
