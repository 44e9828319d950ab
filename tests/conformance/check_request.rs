//! The `CheckRequest` that Envoy would send for a case, for runs without an Envoy.
//!
//! The test `built_requests_are_what_envoy_sends` compares it with those of a real one.

use std::collections::HashMap;

use aws_lc_rs::digest;
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            Address, HeaderMap, HeaderValue, Metadata, SocketAddress, address,
            socket_address::PortSpecifier,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest,
            attribute_context::{self, HttpRequest, TlsSession},
        },
    },
    google::protobuf::{ListValue, Struct, Timestamp, Value as ProtoValue, value::Kind},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{
    cases::{ListenerSettings, Peer, Request, bytes_of},
    normalize::normalize,
    pki::{Leaf, Name, Pki, SERVER_URI},
};

/// What Envoy asks about this request; `None` where it answers by itself.
pub(crate) fn build(
    request: &Request,
    listener: &ListenerSettings,
    pki: &Pki,
) -> Option<CheckRequest> {
    if [400, 404].contains(&request.expect.status) {
        return None;
    }
    let tls = request.peer != Peer::Plaintext;
    let client = match &request.peer {
        Peer::Plaintext | Peer::Tls => None,
        Peer::Certificate(names) => Some((names.as_slice(), pki.client(names))),
    };
    let http = (!request.is_l4)
        .then(|| http(request, listener, client.as_ref().map(|(names, leaf)| (*names, &**leaf))));
    let source = attribute_context::Peer {
        address: address(&request.proxied.unwrap_or(request.source).to_string(), 40_000),
        principal: client.as_ref().map(|(names, _)| principal(names)).unwrap_or_default(),
        service: http.as_ref().map(service).unwrap_or_default(),
        certificate: client
            .as_ref()
            .map(|(_, leaf)| url_encoded(&leaf.certificate_pem()))
            .unwrap_or_default(),
        ..attribute_context::Peer::default()
    };
    let destination = attribute_context::Peer {
        address: address(&request.destination.ip().to_string(), request.destination.port()),
        principal: if tls { SERVER_URI.into() } else { String::new() },
        service: request
            .sni
            .as_ref()
            .filter(|_| request.is_l4)
            .map_or("".into(), |sni| sni.to_ascii_lowercase()),
        ..attribute_context::Peer::default()
    };
    // No filter sets any for connections.
    let of_requests = listener.metadata.iter().filter(|_| !request.is_l4);
    let metadata: HashMap<_, _> =
        of_requests.map(|(name, value)| (name.clone(), proto_struct(value))).collect();
    Some(CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            destination: Some(destination),
            route_metadata_context: http.is_some().then(Metadata::default),
            request: http.map(|http| attribute_context::Request {
                time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
                http: Some(http),
            }),
            metadata_context: Some(Metadata { filter_metadata: metadata, ..Metadata::default() }),
            // It is there on plaintext, too.
            tls_session: Some(TlsSession { sni: request.sni.clone().unwrap_or_default() }),
            ..AttributeContext::default()
        }),
    })
}

/// What the client calls itself.
fn service(http: &HttpRequest) -> String {
    let lines = http.header_map.iter().flat_map(|map| &map.headers);
    let mut named = lines.filter(|header| header.key == "x-envoy-downstream-service-cluster");
    named.next().map(|h| String::from_utf8_lossy(&h.raw_value).into_owned()).unwrap_or_default()
}

fn http(
    request: &Request,
    listener: &ListenerSettings,
    client: Option<(&[Name], &Leaf)>,
) -> HttpRequest {
    let mut hosts: Vec<&str> = request.host.iter().map(String::as_str).collect();
    let mut lines: Vec<(String, String)> = Vec::new();
    for (name, value) in &request.headers {
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if name == "host" {
            // In HTTP/2 the authority is the one that counts.
            hosts.extend((!request.is_http2).then_some(value));
            continue;
        }
        // Envoy keeps one line of these and joins what comes later to it.
        const JOINED: [&str; 7] = [
            "accept",
            "authorization",
            "content-type",
            "origin",
            "referer",
            "user-agent",
            "x-forwarded-for",
        ];
        if request.is_http2
            && name == "cookie"
            && let Some((_, first)) = lines.iter_mut().find(|(n, _)| n == "cookie")
        {
            *first = format!("{first}; {value}");
            continue;
        }
        match lines.iter_mut().find(|(n, _)| *n == name && JOINED.contains(&name.as_str())) {
            Some((_, first)) => *first = format!("{first},{value}"),
            None => lines.push((name, value.to_owned())),
        }
    }
    if let Some((_, connection)) = lines.iter().find(|(name, _)| name == "connection").cloned()
        && !lines.iter().any(|(name, _)| name == "upgrade")
    {
        // It is about this connection alone, and so is what it names.
        lines.retain(|(name, _)| *name != "connection" && *name != connection);
    }
    if listener.use_remote_address {
        let peer = request.proxied.unwrap_or(request.source).to_string();
        match lines.iter_mut().find(|(name, _)| name == "x-forwarded-for") {
            Some((_, value)) if value.is_empty() => *value = peer,
            Some((_, value)) => *value = format!("{value},{peer}"),
            None => lines.push(("x-forwarded-for".into(), peer)),
        }
        lines.retain(|(name, _)| name != "x-forwarded-proto");
    }
    if !request.body.is_empty() {
        lines.push(("content-length".into(), request.body.len().to_string()));
    }
    let (host, path) = match request.path.split_once("://") {
        // The target of an absolute form is the host, whatever the header says.
        Some((_, rest)) if !request.path.starts_with('/') => match rest.find('/') {
            Some(at) => (rest[..at].to_owned(), rest[at..].to_owned()),
            None => (rest.to_owned(), "/".to_owned()),
        },
        _ => (hosts.join(","), request.path.clone()),
    };
    let path = normalize(&path, listener.path_normalization);

    let sent_scheme = lines.iter().find(|(name, _)| name == "x-forwarded-proto");
    let transport = if request.peer == Peer::Plaintext { "http" } else { "https" };
    let sent = sent_scheme.map(|(_, value)| value.to_ascii_lowercase());
    let scheme =
        sent.filter(|s| s == "http" || s == "https").unwrap_or_else(|| transport.to_owned());
    if sent_scheme.is_none() {
        lines.push(("x-forwarded-proto".into(), scheme.clone()));
    }
    lines.push(("x-request-id".into(), "00000000-0000-4000-8000-000000000000".into()));
    if client.is_none() {
        // Whoever brings no certificate cannot have been forwarded by a trusted proxy.
        lines.retain(|(name, _)| name != "x-forwarded-client-cert");
    }
    if let Some((names, leaf)) = client {
        let own = forwarded_client_cert(names, leaf);
        match lines.iter_mut().find(|(name, _)| name == "x-forwarded-client-cert") {
            Some((_, value)) => *value = format!("{value},{own}"),
            None => lines.push(("x-forwarded-client-cert".into(), own)),
        }
    }
    let pseudo = [
        (":authority", &host),
        (":path", &path),
        (":method", &request.method),
        (":scheme", &scheme),
    ];
    let headers = pseudo
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .chain(lines)
        .map(|(key, value)| HeaderValue { key, value: String::new(), raw_value: bytes_of(&value) })
        .collect();
    HttpRequest {
        id: "1".into(),
        method: request.method.clone(),
        header_map: Some(HeaderMap { headers }),
        path,
        host,
        scheme,
        protocol: if request.is_http2 { "HTTP/2" } else { "HTTP/1.1" }.into(),
        ..HttpRequest::default()
    }
}

/// `x-forwarded-client-cert` of APPEND_FORWARD with subject, URI and DNS names.
fn forwarded_client_cert(names: &[Name], leaf: &Leaf) -> String {
    let hash = digest::digest(&digest::SHA256, leaf.certificate_der());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let subject = subject(names);
    let mut out = format!("By={SERVER_URI};Hash={hash};Subject=\"{subject}\"");
    let uris: Vec<_> = names
        .iter()
        .filter_map(|name| if let Name::Uri(uri) = name { Some(uri.as_str()) } else { None })
        .collect();
    // Envoy writes the key without a value where there is none.
    for uri in if uris.is_empty() { vec![""] } else { uris } {
        out.push_str(&format!(";URI={uri}"));
    }
    for name in names {
        if let Name::Dns(dns) = name {
            out.push_str(&format!(";DNS={dns}"));
        }
    }
    out
}

/// The first URI name, else the first DNS name, else the subject.
fn principal(names: &[Name]) -> String {
    let uri = names.iter().find_map(|name| if let Name::Uri(n) = name { Some(n) } else { None });
    let dns = names.iter().find_map(|name| if let Name::Dns(n) = name { Some(n) } else { None });
    uri.or(dns).cloned().unwrap_or_else(|| subject(names))
}

fn subject(names: &[Name]) -> String {
    let escaped = |text: &str| text.replace(',', "\\,");
    let parts: Vec<_> = names
        .iter()
        .rev()
        .filter_map(|name| match name {
            Name::Subject(cn) => Some(format!("CN={}", escaped(cn))),
            Name::Unit(unit) => Some(format!("OU={}", escaped(unit))),
            Name::Uri(_) | Name::Dns(_) | Name::Email(_) => None,
        })
        .collect();
    parts.join(",")
}

fn url_encoded(pem: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(pem, &KEPT).to_string()
}

fn address(ip: &str, port: u16) -> Option<Address> {
    Some(Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: ip.into(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    })
}

fn proto_struct(value: &Value) -> Struct {
    let map = value.as_object().expect("a map");
    Struct { fields: map.iter().map(|(name, value)| (name.clone(), proto_value(value))).collect() }
}

fn proto_value(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().expect("a double")),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(proto_value).collect() })
        }
        Value::Object(_) => Kind::StructValue(proto_struct(value)),
    };
    ProtoValue { kind: Some(kind) }
}

/// The request without what no two runs have in common, header lines sorted by name.
pub(crate) fn comparable(mut request: CheckRequest) -> CheckRequest {
    let attributes = request.attributes.as_mut().unwrap();
    let source = attributes.source.as_mut().unwrap();
    source.address = source.address.take().map(without_port);
    let Some(inner) = attributes.request.as_mut() else { return request };
    inner.time = None;
    let http = inner.http.as_mut().unwrap();
    http.id.clear();
    let headers = &mut http.header_map.as_mut().unwrap().headers;
    // Envoy's own idea of the client, which is what is worked out anew.
    headers.retain(|header| header.key != "x-envoy-external-address");
    headers.sort_by(|a, b| a.key.cmp(&b.key));
    for header in headers {
        if header.key == "x-request-id" {
            header.raw_value.clear();
        }
        // In `value` it can be read when they differ.
        header.value = std::mem::take(&mut header.raw_value).escape_ascii().to_string();
    }
    request
}

fn without_port(mut address: Address) -> Address {
    if let Some(address::Address::SocketAddress(socket)) = &mut address.address {
        socket.port_specifier = None;
    }
    address
}
