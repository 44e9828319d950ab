//! What is asked: requests as Envoy sends them, and their tokens.

use std::fmt;

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, Metadata, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request, TlsSession,
};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::google::protobuf::Timestamp;

use crate::scenarios::{Call, HEADERS};
use crate::signing::Algorithm;

/// As Envoy sends it.
pub(crate) fn check_request(call: &Call, token: Token) -> CheckRequest {
    let authorization = token.header().map(|header| ("authorization", header.to_owned()));
    let headers = HEADERS
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .chain([("x-tenant", call.tenant.clone())])
        .chain(authorization)
        .map(|(name, value)| HeaderValue {
            key: name.to_owned(),
            raw_value: value.into_bytes(),
            ..HeaderValue::default()
        });
    let http = HttpRequest {
        id: "1234567890".into(),
        method: "GET".into(),
        path: call.path.clone(),
        host: "shop.example.com".into(),
        scheme: "https".into(),
        protocol: "HTTP/2".into(),
        header_map: Some(HeaderMap { headers: headers.collect() }),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                address: address("10.1.2.3", 43_210),
                principal: format!("spiffe://{}", call.principal),
                ..Peer::default()
            }),
            destination: Some(Peer {
                address: address("10.9.8.7", 8080),
                principal: "spiffe://cluster.local/ns/shop/sa/api".into(),
                ..Peer::default()
            }),
            request: Some(Request {
                time: Some(Timestamp { seconds: 1_790_000_000, nanos: 123_456_789 }),
                http: Some(http),
            }),
            tls_session: Some(TlsSession { sni: "shop.example.com".into() }),
            metadata_context: Some(Metadata::default()),
            route_metadata_context: Some(Metadata::default()),
            ..AttributeContext::default()
        }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    None,
    Rs256,
    Es256,
}

impl Token {
    fn header(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Rs256 => Some(&Algorithm::Rs256.signed().header),
            Self::Es256 => Some(&Algorithm::Es256.signed().header),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        })
    }
}

fn address(ip: &str, port: u32) -> Option<Address> {
    Some(Address {
        address: Some(AddressKind::SocketAddress(SocketAddress {
            address: ip.into(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    })
}
