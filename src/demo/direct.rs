//! The same requests without an Envoy: each as the `CheckRequest` that Envoy would send.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            Address, HeaderMap, HeaderValue, SocketAddress, address, socket_address::PortSpecifier,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse,
            attribute_context::{self, HttpRequest, TlsSession},
            authorization_client::AuthorizationClient,
            check_response::HttpResponse,
        },
    },
    google::protobuf::{Struct, Value as ProtoValue, value::Kind},
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::answer::Answer;
use super::identities::{Identities, SERVER_ID};
use super::postern::NAMESPACE;
use super::story::{Caller, Request};
use super::tokens::Tokens;

/// A connection to Postern.
#[derive(Debug)]
pub(super) struct Direct(AuthorizationClient<Channel>);

impl Direct {
    pub(super) async fn connect(postern: SocketAddr) -> Result<Self> {
        let client = AuthorizationClient::connect(format!("http://{postern}")).await;
        Ok(Self(client.context("connect to Postern")?))
    }

    pub(super) async fn ask(
        &self,
        request: &Request,
        identities: &Identities,
        tokens: &Tokens,
    ) -> Result<Answer> {
        let check = check_request(request, identities, tokens);
        let response = self.0.clone().check(check).await.context("ask Postern")?.into_inner();
        let metadata = response.dynamic_metadata.as_ref().map_or(Value::Null, json_of_struct);
        Answer::read(status(&response), &metadata).context("Postern gave no reason")
    }
}

/// The status that the client would see; 200 is the upstream's.
fn status(response: &CheckResponse) -> u16 {
    match &response.http_response {
        Some(HttpResponse::OkResponse(_)) => 200,
        Some(HttpResponse::DeniedResponse(denied)) => {
            let status = denied.status.as_ref().map(|status| u16::try_from(status.code));
            status.and_then(Result::ok).unwrap_or(403)
        }
        Some(HttpResponse::ErrorResponse(_)) | None => 500,
    }
}

fn check_request(request: &Request, identities: &Identities, tokens: &Tokens) -> CheckRequest {
    let tls = request.caller != Caller::Plaintext;
    let source = attribute_context::Peer {
        address: loopback(40_000),
        principal: request.caller.spiffe_id().unwrap_or_default().to_owned(),
        certificate: identities.encoded_certificate(request.caller).unwrap_or_default(),
        ..attribute_context::Peer::default()
    };
    let destination = attribute_context::Peer {
        address: loopback(9080),
        principal: if tls { SERVER_ID.to_owned() } else { String::new() },
        ..attribute_context::Peer::default()
    };
    let extensions = [
        ("postern.namespace".to_owned(), NAMESPACE.to_owned()),
        ("postern.labels".to_owned(), format!("app={}", request.to)),
    ];
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            destination: Some(destination),
            request: Some(attribute_context::Request {
                http: Some(http_request(request, tls, tokens)),
                ..attribute_context::Request::default()
            }),
            context_extensions: extensions.into(),
            tls_session: Some(TlsSession::default()),
            ..AttributeContext::default()
        }),
    }
}

fn http_request(request: &Request, tls: bool, tokens: &Tokens) -> HttpRequest {
    let host = request.to.name().to_owned();
    let scheme = if tls { "https" } else { "http" };
    let mut lines = vec![
        (":authority", host.clone()),
        (":path", request.path.to_owned()),
        (":method", request.method.to_owned()),
        (":scheme", scheme.to_owned()),
        ("x-forwarded-for", "127.0.0.1".to_owned()),
        ("x-forwarded-proto", scheme.to_owned()),
    ];
    lines.extend(request.token.map(|token| ("authorization", tokens.bearer(token))));
    lines.extend(request.headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let line = |(name, value): (&str, String)| HeaderValue {
        key: name.to_owned(),
        raw_value: value.into_bytes(),
        ..HeaderValue::default()
    };
    HttpRequest {
        method: request.method.to_owned(),
        path: request.path.to_owned(),
        host,
        scheme: scheme.to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        header_map: Some(HeaderMap { headers: lines.into_iter().map(line).collect() }),
        ..HttpRequest::default()
    }
}

fn loopback(port: u16) -> Option<Address> {
    let socket = SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}

/// As Envoy writes it in JSON.
fn json_of_struct(message: &Struct) -> Value {
    message.fields.iter().map(|(name, value)| (name.clone(), json_of(value))).collect()
}

fn json_of(value: &ProtoValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::BoolValue(value)) => json!(value),
        Some(Kind::StructValue(members)) => json_of_struct(members),
        Some(Kind::ListValue(list)) => list.values.iter().map(json_of).collect(),
    }
}
