//! A `CheckRequest` as attributes, borrowed where it can be.
//!
//! Strict: what Envoy never sends is malformed, and what is malformed is denied.

use std::borrow::Cow;
use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer as PeerMessage,
};

use super::CertificateNames;
use super::client_address;
use super::metadata;
use super::service::RequestSettings;
use crate::model::{Attributes, Headers, Http, Missing, Peer};

/// What is wrong with a CheckRequest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No `attributes`.
    #[error("the message has no attributes")]
    NoAttributes,
    /// `attributes.request` without `http`.
    #[error("the request has no http part")]
    NoHttp,
    /// No method.
    #[error("the request has no method")]
    NoMethod,
    /// A path that neither starts with a slash nor is one of HTTP's two exceptions.
    #[error("the path does not start with a slash")]
    Path,
    /// More bytes of headers than are read.
    #[error("the headers are larger than --max-headers-size")]
    HeadersTooLarge,
    /// A path that the configured normalisation refuses.
    #[error("the path cannot be normalised")]
    PathNotNormalizable,
    /// A certificate that cannot be read.
    #[error("the client certificate cannot be read")]
    Certificate,
}

/// Reads a CheckRequest.
pub fn from_check<'a>(
    check: &'a CheckRequest,
    settings: &RequestSettings,
    certificates: &CertificateNames,
) -> Result<Attributes<'a>, Malformed> {
    let attributes = check.attributes.as_ref().ok_or(Malformed::NoAttributes)?;
    let (source_ip, _) = socket(attributes.source.as_ref());
    let (destination_ip, destination_port) = socket(attributes.destination.as_ref());
    let (peer, names_are_complete) = peer(attributes.source.as_ref(), certificates)?;
    let sni = attributes.tls_session.as_ref().map(|session| lower(&session.sni));
    let mut http = match &attributes.request {
        None => None,
        Some(request) => {
            let http = request.http.as_ref().ok_or(Malformed::NoHttp)?;
            Some(from_http(http, settings)?)
        }
    };
    let (remote_ip, no_client_address) = match (&settings.client_address_header, &mut http) {
        (Some(name), Some(http)) => {
            let told = client_address::told(&http.headers, name);
            http.headers.remove(name);
            (told, told.is_none())
        }
        // A connection has no headers; its client is the peer.
        (Some(_), None) => (source_ip, false),
        (None, http) => {
            let forwarded_for = http.as_ref().and_then(|http| {
                http.headers.values("x-forwarded-for").next().map(String::from_utf8_lossy)
            });
            (settings.client_address.remote_ip(source_ip, forwarded_for.as_deref()), false)
        }
    };
    let filter_metadata = attributes
        .metadata_context
        .iter()
        .flat_map(|context| &context.filter_metadata)
        .map(|(filter, message)| (filter.into(), metadata::from_struct(message)))
        .collect();
    let missing = Missing {
        peer_certificate: !names_are_complete,
        tls_session: sni.is_none(),
        client_address: no_client_address,
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
        missing,
    })
}

fn socket(peer: Option<&PeerMessage>) -> (Option<IpAddr>, Option<u16>) {
    let Some(Address { address: Some(AddressKind::SocketAddress(socket)) }) =
        peer.and_then(|peer| peer.address.as_ref())
    else {
        return (None, None);
    };
    let port = match &socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(*port).ok(),
        Some(PortSpecifier::NamedPort(_)) | None => None,
    };
    (socket.address.parse().ok(), port)
}

/// The peer's names, and whether they are all of them.
fn peer<'a>(
    peer: Option<&'a PeerMessage>,
    certificates: &CertificateNames,
) -> Result<(Peer<'a>, bool), Malformed> {
    let Some(peer) = peer else { return Ok((Peer::default(), true)) };
    if !peer.certificate.is_empty() {
        let names = certificates.of(&peer.certificate).ok_or(Malformed::Certificate)?;
        let names = names.iter().map(|name| Cow::Owned(name.clone())).collect();
        return Ok((Peer { names }, true));
    }
    if peer.principal.is_empty() {
        return Ok((Peer::default(), true));
    }
    // Envoy sends the first name only; the certificate would have the others.
    Ok((Peer { names: vec![Cow::Borrowed(&peer.principal)] }, false))
}

fn from_http<'a>(http: &'a HttpRequest, settings: &RequestSettings) -> Result<Http<'a>, Malformed> {
    if headers_size(http) > settings.max_headers_size {
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
    let path = settings
        .path_normalization
        .apply(&http.path)
        .map_err(|_| Malformed::PathNotNormalizable)?;
    let headers = match &http.header_map {
        Some(map) if !map.headers.is_empty() => {
            Headers::new(map.headers.iter().filter_map(line).collect(), false)
        }
        _ => Headers::new(
            http.headers
                .iter()
                .filter(|(name, _)| !name.starts_with(':'))
                .map(|(name, value)| (lower(name), Cow::Borrowed(value.as_bytes())))
                .collect(),
            true,
        ),
    };
    Ok(Http {
        method: Cow::Borrowed(&http.method),
        path,
        host: Cow::Borrowed(&http.host),
        scheme: Cow::Borrowed(&http.scheme),
        headers,
    })
}

/// Without looking into any of them. The path is one of the headers.
fn headers_size(http: &HttpRequest) -> usize {
    // RFC 9113 section 10.5.1: so that empty lines have a size too.
    const LINE_OVERHEAD: usize = 32;
    let size = |name: &str, value: usize| name.len() + value + LINE_OVERHEAD;
    let map = http.headers.iter().map(|(name, value)| size(name, value.len()));
    let lines = http.header_map.iter().flat_map(|map| &map.headers);
    let lines = lines.map(|line| size(&line.key, line.value.len().max(line.raw_value.len())));
    http.path.len() + map.chain(lines).fold(0, usize::saturating_add)
}

/// One line of `header_map`; pseudo headers have fields of their own.
fn line(header: &HeaderValue) -> Option<(Cow<'_, str>, Cow<'_, [u8]>)> {
    let value =
        if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
    (!header.key.starts_with(':')).then(|| (lower(&header.key), Cow::Borrowed(value)))
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}
