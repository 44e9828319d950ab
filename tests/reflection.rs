//! The API that reflection describes is the one Envoy speaks.

#![expect(clippy::unwrap_used, reason = "test support functions")]

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, HeaderValueOption, Metadata, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request, TlsSession,
};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Timestamp, Value};
use envoy_types::pb::google::rpc::Status;
use postern::extauthz::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value as Reflected};

/// Reads a message by the description: every field known, and the same bytes' worth when written.
fn is_described(name: &str, message: &(impl Message + Default + PartialEq + std::fmt::Debug)) {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name(name).unwrap();
    let read = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).unwrap();
    assert_known(&read);
    let back = Message::decode(read.encode_to_vec().as_slice()).unwrap();
    assert!(*message == back, "{message:?}\n{back:?}");
}

fn assert_known(message: &DynamicMessage) {
    let unknown: Vec<_> = message.unknown_fields().collect();
    assert!(unknown.is_empty(), "{}: {unknown:?}", message.descriptor().full_name());
    for (_, value) in message.fields() {
        assert_known_value(value);
    }
}

fn assert_known_value(value: &Reflected) {
    if let Some(message) = value.as_message() {
        assert_known(message);
    }
    value.as_list().into_iter().flatten().for_each(assert_known_value);
    value.as_map().into_iter().flat_map(|map| map.values()).for_each(assert_known_value);
}

fn text(s: &str) -> String {
    s.to_owned()
}

fn metadata() -> Struct {
    let value = Value { kind: Some(Kind::StringValue(text("v"))) };
    Struct { fields: [(text("k"), value)].into() }
}

fn peer() -> Peer {
    Peer {
        address: Some(Address {
            address: Some(AddressKind::SocketAddress(SocketAddress {
                address: text("127.0.0.1"),
                port_specifier: Some(PortSpecifier::PortValue(80)),
                ..SocketAddress::default()
            })),
        }),
        service: text("s"),
        labels: [(text("a"), text("b"))].into(),
        principal: text("p"),
        certificate: text("c"),
    }
}

fn header() -> HeaderValue {
    HeaderValue { key: text("k"), value: text("v"), raw_value: b"r".to_vec() }
}

#[test]
fn check_request() {
    let message = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer()),
            destination: Some(peer()),
            request: Some(Request {
                time: Some(Timestamp { seconds: 1, nanos: 2 }),
                http: Some(HttpRequest {
                    id: text("1"),
                    method: text("GET"),
                    headers: [(text("a"), text("b"))].into(),
                    header_map: Some(HeaderMap { headers: vec![header()] }),
                    path: text("/"),
                    host: text("h"),
                    scheme: text("http"),
                    query: text("q"),
                    fragment: text("f"),
                    size: -1,
                    protocol: text("HTTP/1.1"),
                    body: text("b"),
                    raw_body: b"b".to_vec(),
                }),
            }),
            context_extensions: [(text("a"), text("b"))].into(),
            metadata_context: Some(Metadata {
                filter_metadata: [(text("f"), metadata())].into(),
                ..Metadata::default()
            }),
            route_metadata_context: Some(Metadata::default()),
            tls_session: Some(TlsSession { sni: text("s") }),
        }),
    };
    is_described("envoy.service.auth.v3.CheckRequest", &message);
}

#[test]
fn check_response() {
    let option = HeaderValueOption {
        header: Some(header()),
        append_action: 2,
        keep_empty_value: true,
        ..HeaderValueOption::default()
    };
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: 403 }),
        headers: vec![option.clone()],
        body: text("b"),
    };
    let ok = OkHttpResponse {
        headers: vec![option.clone()],
        headers_to_remove: vec![text("r")],
        response_headers_to_add: vec![option],
        ..OkHttpResponse::default()
    };
    for response in [HttpResponse::DeniedResponse(denied), HttpResponse::OkResponse(ok)] {
        let message = CheckResponse {
            status: Some(Status { code: 7, message: text("m"), details: vec![] }),
            dynamic_metadata: Some(metadata()),
            http_response: Some(response),
        };
        is_described("envoy.service.auth.v3.CheckResponse", &message);
    }
}
