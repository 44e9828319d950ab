//! A request file as the question that Envoy would ask about it.
//!
//! Does what Envoy does to a request before it asks; normalising paths is left to `extauthz`, which
//! does it as configured.

use std::borrow::Cow;
use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, Metadata, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer as PeerMessage, Request, TlsSession,
};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};
use serde_json::Value as Json;

use super::RequestFile;
use crate::extauthz::{CertificateNames, ClientAddress, Malformed, RequestSettings, from_check};
use crate::model::{Attributes, Headers, Missing, Peer};

impl RequestFile {
    /// What Envoy asks about it, with raw headers, TLS session and metadata sent. Of the names of
    /// the peer's certificate it has the first only, as long as nobody puts the certificate in.
    pub fn check_request(&self, client_address: ClientAddress) -> CheckRequest {
        let request = (!self.connection).then(|| Request {
            http: Some(self.http_request(client_address)),
            ..Request::default()
        });
        let metadata = self.metadata.iter().map(|(filter, value)| (filter.clone(), object(value)));
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(PeerMessage {
                    address: self.source.ip.map(|ip| address(Some(ip), None)),
                    principal: self.source.principals.first().cloned().unwrap_or_default(),
                    ..PeerMessage::default()
                }),
                destination: Some(PeerMessage {
                    address: Some(address(self.destination.ip, self.destination.port)),
                    ..PeerMessage::default()
                }),
                request,
                metadata_context: Some(Metadata {
                    filter_metadata: metadata.collect(),
                    ..Metadata::default()
                }),
                tls_session: Some(TlsSession { sni: self.sni.clone() }),
                ..AttributeContext::default()
            }),
        }
    }

    /// What a decision looks at: what the service reads from `check`, which must be
    /// [`RequestFile::check_request`], with every name of the certificate.
    pub fn attributes<'a>(
        &'a self,
        check: &'a CheckRequest,
        settings: &RequestSettings,
    ) -> Result<Attributes<'a>, Malformed> {
        let mut attributes = from_check(check, settings, &CertificateNames::default())?;
        let names = self.source.principals.iter().map(|name| Cow::Borrowed(name.as_str()));
        attributes.peer = Peer { names: names.collect() };
        // The file says everything but what only a filter would.
        let Missing { client_address, .. } = attributes.missing;
        attributes.missing = Missing { client_address, ..Missing::default() };
        Ok(attributes)
    }

    fn http_request(&self, client_address: ClientAddress) -> HttpRequest {
        let pseudo = [
            (":authority", &self.host),
            (":path", &self.path),
            (":method", &self.method),
            (":scheme", &self.scheme),
        ];
        let pseudo = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        let headers = pseudo.chain(self.header_lines(client_address)).map(|(key, value)| {
            HeaderValue { key, raw_value: value.into(), ..HeaderValue::default() }
        });
        HttpRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            scheme: self.scheme.clone(),
            header_map: Some(HeaderMap { headers: headers.collect() }),
            protocol: "HTTP/1.1".to_owned(),
            ..HttpRequest::default()
        }
    }

    /// The lines as Envoy has them when it asks.
    fn header_lines(&self, client_address: ClientAddress) -> Vec<(String, String)> {
        let mut lines: Vec<(String, String)> = Vec::new();
        let peer = self.source.ip.filter(|_| client_address.use_remote_address);
        let appended = peer.map(|ip| ("x-forwarded-for".to_owned(), ip.to_string()));
        for (name, value) in self.headers.iter().cloned().chain(appended) {
            let joined = Headers::JOINED_BY_ENVOY.contains(&name.as_str());
            match lines.iter_mut().find(|(known, _)| joined && *known == name) {
                Some((_, first)) => *first = format!("{first},{value}"),
                None => lines.push((name, value)),
            }
        }
        lines
    }
}

fn address(ip: Option<IpAddr>, port: Option<u16>) -> Address {
    let socket = SocketAddress {
        address: ip.map(|ip| ip.to_string()).unwrap_or_default(),
        port_specifier: port.map(|port| PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    Address { address: Some(AddressKind::SocketAddress(socket)) }
}

fn object(value: &Json) -> Struct {
    let members = value.as_object().into_iter().flatten();
    Struct { fields: members.map(|(name, value)| (name.clone(), proto(value))).collect() }
}

fn proto(value: &Json) -> ProtoValue {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(proto).collect() })
        }
        Json::Object(_) => Kind::StructValue(object(value)),
    };
    ProtoValue { kind: Some(kind) }
}
