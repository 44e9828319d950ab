//! The demo's Envoy configuration: a listener for each service, all guarded by Postern.
//!
//! `examples/envoy/mtls.yaml` is the one to start from for real use: it says what each setting is
//! for. Here, responses also tell the client why, which is good for a demo only.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::Setting;
use super::postern::NAMESPACE;
use super::story::Service;

/// The response header with Postern's dynamic metadata, as JSON.
pub(super) const METADATA_HEADER: &str = "x-postern";

/// The whole configuration. Listeners have their services' names, and ports that the system chooses.
pub(super) fn bootstrap(setting: &Setting<'_>) -> Value {
    let listeners: Vec<_> = Service::ALL.iter().map(|s| listener(*s, setting)).collect();
    json!({
        "admin": {"address": socket_address(any_port())},
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                cluster("postern", setting.postern, true),
                cluster("bookinfo", setting.upstream, false),
            ],
        },
    })
}

/// Takes TLS, with or without a client certificate, and plaintext on one port, told apart by the
/// first bytes. So it is Postern that enforces STRICT.
fn listener(service: Service, setting: &Setting<'_>) -> Value {
    let manager = connection_manager(service);
    json!({
        "name": service.name(),
        "address": socket_address(any_port()),
        "listener_filters": [{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {"@type": message("filters.listener.tls_inspector.v3.TlsInspector")},
        }],
        "filter_chains": [
            {
                "filter_chain_match": {"transport_protocol": "tls"},
                "transport_socket": transport_socket(setting),
                "filters": [manager],
            },
            {
                "filter_chain_match": {"transport_protocol": "raw_buffer"},
                "filters": [manager],
            },
        ],
    })
}

fn transport_socket(setting: &Setting<'_>) -> Value {
    let (certificate, key) = setting.identities.server_pem();
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": message("transport_sockets.tls.v3.DownstreamTlsContext"),
            "require_client_certificate": false,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": certificate},
                    "private_key": {"inline_string": key},
                }],
                "validation_context": {
                    "trusted_ca": {"inline_string": setting.identities.authority_pem()},
                },
            },
        },
    })
}

fn connection_manager(service: Service) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": message("filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": service.name(),
            "use_remote_address": true,
            "normalize_path": true,
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"uri": true},
            "http_filters": [
                {
                    "name": "envoy.filters.http.ext_authz",
                    "typed_config": {
                        "@type": message("filters.http.ext_authz.v3.ExtAuthz"),
                        "transport_api_version": "V3",
                        "grpc_service": {
                            "envoy_grpc": {"cluster_name": "postern"},
                            "timeout": "5s",
                        },
                        "failure_mode_allow": false,
                        "include_peer_certificate": true,
                        "include_tls_session": true,
                        "encode_raw_headers": true,
                    },
                },
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": message("filters.http.router.v3.Router")},
                },
            ],
            "route_config": {"virtual_hosts": [virtual_host(service)]},
        },
    })
}

fn virtual_host(service: Service) -> Value {
    json!({
        "name": service.name(),
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "bookinfo"}}],
        // Which workload is asked about: one Postern answers for several here.
        "typed_per_filter_config": {
            "envoy.filters.http.ext_authz": {
                "@type": message("filters.http.ext_authz.v3.ExtAuthzPerRoute"),
                "check_settings": {
                    "context_extensions": {
                        "postern.namespace": NAMESPACE,
                        "postern.labels": format!("app={service}"),
                    },
                },
            },
        },
        // For the demo only: clients need not know why. An access log takes the same operator.
        "response_headers_to_add": [{
            "header": {
                "key": METADATA_HEADER,
                "value": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%",
            },
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }],
    })
}

fn cluster(name: &str, address: SocketAddr, http2: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{
                "lb_endpoints": [{"endpoint": {"address": socket_address(address)}}],
            }],
        },
    });
    if http2 && let Some(members) = cluster.as_object_mut() {
        let options = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": message("upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
        members.insert("typed_extension_protocol_options".into(), options);
    }
    cluster
}

fn message(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
