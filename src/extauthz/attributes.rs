//! A `CheckRequest` as attributes, borrowed where it can be.
//!
//! Strict: what Envoy never sends is malformed, and what is malformed is denied.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;

use super::CertificateNames;
use super::client_address;
use super::metadata;
use super::service::RequestSettings;
use super::view::{AddressView, CheckView, ContextView, HttpView, PeerView, lower};
use crate::model::{Attributes, Exchange, Http, Missing, Peer, StartTime, header_text};

/// What is wrong with a CheckRequest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// No `attributes`.
    NoAttributes,
    /// `attributes.request` without `http`.
    NoHttp,
    /// No method.
    NoMethod,
    /// A path that neither starts with a slash nor is one of HTTP's two exceptions.
    Path,
    /// More bytes of headers than are read.
    HeadersTooLarge,
    /// A path that the configured normalisation refuses.
    PathNotNormalizable,
    /// A certificate that cannot be read.
    Certificate,
    /// Over HTTP, somebody who is none of the trusted proxies.
    UntrustedPeer,
    /// Over HTTP, what the proxy says about the request is not there, there twice, or cannot be read.
    Forwarded,
    /// Over HTTP, headers that token rules look at were not sent.
    HeadersNotSent,
}

impl Malformed {
    /// In words, of which none is the request's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAttributes => "the message has no attributes",
            Self::NoHttp => "the request has no http part",
            Self::NoMethod => "the request has no method",
            Self::Path => "the path does not start with a slash",
            Self::HeadersTooLarge => "the headers are larger than --max-headers-size",
            Self::PathNotNormalizable => "the path cannot be normalised",
            Self::Certificate => "the client certificate cannot be read",
            Self::UntrustedPeer => "the peer is none of --http-trusted-proxies",
            Self::Forwarded => "what the proxy says about the request is missing or malformed",
            Self::HeadersNotSent => {
                "the proxy does not send all headers, and token rules need them"
            }
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Malformed {}

/// Reads a CheckRequest.
pub fn from_check<'a>(
    check: &'a CheckRequest,
    settings: &RequestSettings,
    certificates: &CertificateNames,
) -> Result<Attributes<'a>, Malformed> {
    let view = CheckView::of_message(check).attributes.ok_or(Malformed::NoAttributes)?;
    let names = peer_names(&view, certificates)?;
    let names = names.iter().flat_map(|names| names.iter().cloned().map(Cow::Owned));
    from_view(view, settings, names)
}

/// Whether an encoded CheckRequest can be read as the server reads it, without a copy. For measuring
/// what that takes.
pub fn is_readable(
    message: &[u8],
    settings: &RequestSettings,
    certificates: &CertificateNames,
) -> bool {
    let Ok(CheckView { attributes: Some(view), .. }) = CheckView::read(message) else {
        return false;
    };
    let Ok(names) = peer_names(&view, certificates) else { return false };
    let names = names.iter().flat_map(|names| names.iter().map(|name| Cow::Borrowed(&**name)));
    from_view(view, settings, names).is_ok()
}

/// The other end of the connection, whether the rest can be read or not.
pub(super) fn peer_address(view: &ContextView<'_>) -> Option<IpAddr> {
    socket(view.source.as_ref()).0
}

/// The names in the peer's certificate; `None` without one.
pub(super) fn peer_names(
    view: &ContextView<'_>,
    certificates: &CertificateNames,
) -> Result<Option<Arc<[String]>>, Malformed> {
    match &view.source {
        Some(peer) if !peer.certificate.is_empty() => {
            certificates.of(peer.certificate).map(Some).ok_or(Malformed::Certificate)
        }
        Some(_) | None => Ok(None),
    }
}

/// Reads what was found in a CheckRequest, with the names in the peer's certificate.
pub(super) fn from_view<'a>(
    view: ContextView<'a>,
    settings: &RequestSettings,
    names: impl Iterator<Item = Cow<'a, str>>,
) -> Result<Attributes<'a>, Malformed> {
    let (source_ip, source_port) = socket(view.source.as_ref());
    let (destination_ip, destination_port) = socket(view.destination.as_ref());
    let (peer, names_are_complete) = peer(view.source.as_ref(), names);
    let sni = view.sni.map(lower);
    let mut exchange = Exchange { source_port, remote_port: source_port, ..Exchange::default() };
    let mut http = match view.request {
        None => None,
        Some(request) => {
            let http = request.http.ok_or(Malformed::NoHttp)?;
            exchange.protocol = Cow::Borrowed(http.protocol);
            exchange.start_time = request.time.and_then(|(seconds, nanoseconds)| {
                Some(StartTime { seconds, nanoseconds: nanoseconds.try_into().ok()? })
            });
            Some(from_http(http, settings)?)
        }
    };
    let lacks = |name| view.missing.headers.may_lack(name);
    let (remote_ip, no_client_address) = match (&settings.client_address_header, &mut http) {
        (Some(name), Some(http)) => {
            let told = client_address::told(&http.headers, name);
            http.headers.remove(name);
            exchange.remote_port = Some(0);
            (told, told.is_none())
        }
        // A connection has no headers; its client is the peer.
        (Some(_), None) => (source_ip, false),
        (None, http) => {
            let forwarded_for = view.forwarded_for.map(Cow::Borrowed).or_else(|| {
                http.as_ref()
                    .and_then(|http| http.headers.values("x-forwarded-for").next().map(header_text))
            });
            let forwarded = settings.client_address.remote_ip(None, forwarded_for.as_deref());
            if forwarded.is_some() {
                exchange.remote_port = Some(0);
            }
            let remote_ip = forwarded.or(source_ip);
            let is_unknown = forwarded_for.is_none() && lacks("x-forwarded-for")
                || remote_ip.is_none() && view.missing.source_address;
            (remote_ip, is_unknown)
        }
    };
    let filter_metadata = view
        .metadata
        .iter()
        .flat_map(|context| &context.filter_metadata)
        .map(|(filter, message)| (filter.into(), metadata::from_struct(message)))
        .collect();
    let missing = Missing {
        peer_certificate: view.missing.peer_certificate || !names_are_complete,
        tls_session: sni.is_none(),
        client_address: view.missing.client_address || no_client_address,
        ..view.missing
    };
    Ok(Attributes {
        source_ip,
        remote_ip,
        destination_ip,
        destination_port,
        sni: sni.unwrap_or_default(),
        peer,
        http,
        filter_metadata,
        exchange,
        missing,
    })
}

fn socket(peer: Option<&PeerView<'_>>) -> (Option<IpAddr>, Option<u16>) {
    match peer.map(|peer| &peer.address) {
        Some(AddressView::Socket { address, port }) => {
            (address.parse().ok(), port.and_then(|port| u16::try_from(port).ok()))
        }
        Some(AddressView::Absent | AddressView::Other) | None => (None, None),
    }
}

/// The peer's names, and whether they are all of them.
fn peer<'a>(
    peer: Option<&PeerView<'a>>,
    names: impl Iterator<Item = Cow<'a, str>>,
) -> (Peer<'a>, bool) {
    match peer {
        Some(peer) if !peer.certificate.is_empty() => (Peer { names: names.collect() }, true),
        // Envoy sends the first name only; the certificate would have the others.
        Some(peer) if !peer.principal.is_empty() => {
            (Peer { names: vec![Cow::Borrowed(peer.principal)] }, false)
        }
        Some(_) | None => (Peer::default(), true),
    }
}

fn from_http<'a>(
    mut http: HttpView<'a>,
    settings: &RequestSettings,
) -> Result<Http<'a>, Malformed> {
    let (headers, size) = http.take_headers();
    if size > settings.max_headers_size {
        return Err(Malformed::HeadersTooLarge);
    }
    if http.method.is_empty() {
        return Err(Malformed::NoMethod);
    }
    let has_path = http.path.starts_with('/')
        || http.path == "*" && http.method == "OPTIONS"
        || http.method == "CONNECT";
    if !has_path {
        return Err(Malformed::Path);
    }
    let path =
        settings.path_normalization.apply(http.path).map_err(|_| Malformed::PathNotNormalizable)?;
    Ok(Http {
        method: Cow::Borrowed(http.method),
        path,
        host: Cow::Borrowed(http.host),
        scheme: Cow::Borrowed(http.scheme),
        headers,
    })
}
