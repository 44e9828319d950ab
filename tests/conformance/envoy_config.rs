//! Writes Envoy's configuration: an Istio sidecar's inbound listeners, with the filters under test.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    cases::{ListenerSettings, PathNormalization},
    native::{Layer, MutualTls, Native, PeerModes},
    pki::Pki,
    world::World,
};

/// One listener.
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) settings: ListenerSettings,
    pub(crate) layer: Layer,
    pub(crate) decider: Decider,
}

/// What decides about requests.
#[derive(Debug, Clone)]
pub(crate) enum Decider {
    /// Postern behind this address, and what it is told of the listener in gRPC metadata.
    ExtAuthz(SocketAddr, Option<String>),
    /// Postern behind this address, asked over HTTP.
    Http(SocketAddr),
    /// Envoy's own filters.
    Native(Native),
}

/// The header in which Envoy says the rest to [`Decider::Http`].
pub(crate) const PROXY_HEADER: &str = "x-postern-proxy";

/// What Envoy puts before the path that it asks [`Decider::Http`] about.
pub(crate) const PATH_PREFIX: &str = "/postern/envoy";

/// gRPC metadata with the text of [`Decider::ExtAuthz`].
pub(crate) const LISTENER_METADATA: &str = "x-listener";

/// Response headers and log fields that say what native filters have found.
pub(crate) const EVIDENCE: [(&str, &str); 3] = [
    ("x-native-details", "%RESPONSE_CODE_DETAILS%"),
    ("x-native-rbac", "%DYNAMIC_METADATA(envoy.filters.http.rbac)%"),
    ("x-native-audit", "%DYNAMIC_METADATA(envoy.common:access_log_hint)%"),
];

/// The whole configuration.
pub(crate) fn bootstrap(listeners: &[Listener], world: &World) -> String {
    let mut clusters = vec![
        cluster("upstream", world.upstream.address, false),
        cluster("tcp-upstream", world.tcp_upstream.address, false),
    ];
    let mut written = Vec::new();
    for listener in listeners {
        if let Decider::ExtAuthz(address, _) = &listener.decider {
            let name = authorization_cluster(*address);
            if !clusters.iter().any(|cluster| cluster["name"] == name.as_str()) {
                clusters.push(cluster(&name, *address, true));
            }
        }
        if let Decider::Http(address) = &listener.decider {
            let name = authorization_cluster(*address);
            if !clusters.iter().any(|cluster| cluster["name"] == name.as_str()) {
                clusters.push(cluster(&name, *address, false));
            }
        }
        written.push(listener_from(listener, &world.pki));
    }
    json!({
        "admin": {"address": socket_address(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "static_resources": {"listeners": written, "clusters": clusters},
    })
    .to_string()
}

fn authorization_cluster(address: SocketAddr) -> String {
    format!("postern-{}", address.port())
}

/// An HTTP filter, by the last parts of its names.
fn filter(name: &str, type_name: &str, mut fields: Value) -> Value {
    fields["@type"] =
        format!("type.googleapis.com/envoy.extensions.filters.http.{type_name}").into();
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": fields})
}

fn network_filter(name: &str, type_name: &str, mut fields: Value) -> Value {
    fields["@type"] =
        format!("type.googleapis.com/envoy.extensions.filters.network.{type_name}").into();
    json!({"name": format!("envoy.filters.network.{name}"), "typed_config": fields})
}

fn http_filters(listener: &Listener) -> Vec<Value> {
    let mut filters = Vec::new();
    if matches!(listener.decider, Decider::Native(_)) {
        // First, so that it sees what the others answer.
        filters.push(evidence_filter());
    }
    filters.extend(metadata_filter(&listener.settings));
    match &listener.decider {
        Decider::ExtAuthz(address, told) => {
            filters.extend(client_address_filters(&listener.settings));
            let namespaces: Vec<_> = listener.settings.metadata.keys().collect();
            let fields = json!({
                "transport_api_version": "V3",
                "grpc_service": grpc_service(*address, told.as_deref()),
                "failure_mode_allow": false,
                "include_peer_certificate": true,
                "include_tls_session": true,
                "encode_raw_headers": true,
                "metadata_context_namespaces": namespaces,
            });
            filters.push(filter("ext_authz", "ext_authz.v3.ExtAuthz", fields));
        }
        Decider::Http(address) => {
            filters.extend(client_address_filters(&listener.settings));
            filters.push(http_service(*address));
        }
        Decider::Native(native) => filters.extend(native.http.iter().cloned()),
    }
    filters.push(filter("router", "router.v3.Router", json!({})));
    filters
}

fn network_filters(listener: &Listener) -> Vec<Value> {
    let mut filters = match &listener.decider {
        Decider::ExtAuthz(address, told) => {
            let fields = json!({
                "stat_prefix": "postern",
                "transport_api_version": "V3",
                "grpc_service": grpc_service(*address, told.as_deref()),
                "failure_mode_allow": false,
                "include_peer_certificate": true,
                "include_tls_session": true,
            });
            vec![network_filter("ext_authz", "ext_authz.v3.ExtAuthz", fields)]
        }
        // There is no such thing for connections.
        Decider::Http(_) => Vec::new(),
        Decider::Native(native) => native.network.clone(),
    };
    let log = json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": {
                "listener": listener.name,
                "port": "%DOWNSTREAM_REMOTE_PORT%",
                "details": "%CONNECTION_TERMINATION_DETAILS%",
                "rbac": "%DYNAMIC_METADATA(envoy.filters.network.rbac)%",
                "audit": "%DYNAMIC_METADATA(envoy.common:access_log_hint)%",
            }},
        },
    });
    let mut fields = json!({"stat_prefix": "inbound", "cluster": "tcp-upstream"});
    if matches!(listener.decider, Decider::Native(_)) {
        fields["access_log"] = json!([log]);
    }
    filters.push(network_filter("tcp_proxy", "tcp_proxy.v3.TcpProxy", fields));
    filters
}

fn grpc_service(address: SocketAddr, told: Option<&str>) -> Value {
    let mut service = json!({
        "envoy_grpc": {"cluster_name": authorization_cluster(address)},
        "timeout": "10s",
    });
    if let Some(told) = told {
        service["initial_metadata"] = json!([{"key": LISTENER_METADATA, "value": told}]);
    }
    service
}

/// As `deploy/proxies/envoy-http.yaml` has it, with every header that any case sets.
fn http_service(address: SocketAddr) -> Value {
    let said = "headers=raw;scheme=%REQ(:SCHEME)%;source=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%;\
                destination=%DOWNSTREAM_LOCAL_ADDRESS%;certificate=%DOWNSTREAM_PEER_CERT%;\
                sni=%REQUESTED_SERVER_NAME%";
    let all = json!({"patterns": [{"safe_regex": {"regex": ".*"}}]});
    let fields = json!({
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "encode_raw_headers": true,
        "allowed_headers": all,
        "http_service": {
            "server_uri": {
                "uri": "http://postern",
                "cluster": authorization_cluster(address),
                "timeout": "10s",
            },
            "path_prefix": PATH_PREFIX,
            "authorization_request": {
                "headers_to_add": [{"key": PROXY_HEADER, "value": said}],
            },
            "authorization_response": {
                "allowed_upstream_headers": {
                    "patterns": [{"safe_regex": {"regex": "x-.*|authorization"}}],
                },
                "allowed_client_headers": {
                    "patterns": [{"exact": "www-authenticate"}, {"exact": "content-type"}],
                },
            },
        },
    });
    filter("ext_authz", "ext_authz.v3.ExtAuthz", fields)
}

fn evidence_filter() -> Value {
    let mutations: Vec<_> = EVIDENCE
        .iter()
        .map(|(name, value)| {
            json!({"append": {
                "header": {"key": name, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }})
        })
        .collect();
    let fields = json!({"mutations": {"response_mutations": mutations}});
    filter("header_mutation", "header_mutation.v3.HeaderMutation", fields)
}

/// The header is the client's own until the first of these has taken it out.
fn client_address_filters(settings: &ListenerSettings) -> Vec<Value> {
    let Some(name) = &settings.client_address_header else { return Vec::new() };
    let header = json!({"key": name, "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"});
    let set = json!({"append": {
        "header": header,
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }});
    let fields = json!({"mutations": {"request_mutations": [{"remove": name}, set]}});
    vec![filter("header_mutation", "header_mutation.v3.HeaderMutation", fields)]
}

fn metadata_filter(settings: &ListenerSettings) -> Option<Value> {
    let entries: Vec<_> = settings
        .metadata
        .iter()
        .map(|(namespace, value)| json!({"metadata_namespace": namespace, "value": value}))
        .collect();
    let fields = json!({ "metadata": entries });
    (!entries.is_empty()).then(|| filter("set_metadata", "set_metadata.v3.Config", fields))
}

fn listener_from(listener: &Listener, pki: &Pki) -> Value {
    let listener_filter = |short: &str, message: &str| {
        let url =
            format!("type.googleapis.com/envoy.extensions.filters.listener.{short}.v3.{message}");
        json!({"name": format!("envoy.filters.listener.{short}"), "typed_config": {"@type": url}})
    };
    let filters = match listener.layer {
        Layer::Http => vec![connection_manager(&listener.settings, &http_filters(listener))],
        Layer::L4 => network_filters(listener),
    };
    let permissive = PeerModes::default();
    let peers = match &listener.decider {
        Decider::Native(native) => &native.peers,
        Decider::ExtAuthz(..) | Decider::Http(_) => &permissive,
    };
    let ports = peers.ports.iter().map(|(port, mode)| (Some(*port), *mode));
    let mut chains = Vec::new();
    for (port, mode) in [(None, peers.mode)].into_iter().chain(ports) {
        chains.extend(filter_chains(port, mode, &filters, pki));
    }
    json!({
        "name": listener.name,
        "address": socket_address(SocketAddr::from(([127, 0, 0, 1], 0))),
        "additional_addresses": [
            {"address": socket_address("[::1]:0".parse().expect("an address"))},
        ],
        "listener_filters": [
            listener_filter("proxy_protocol", "ProxyProtocol"),
            listener_filter("tls_inspector", "TlsInspector"),
        ],
        "filter_chains": chains,
    })
}

/// PERMISSIVE takes TLS and plaintext on one port, told apart by the first bytes.
fn filter_chains(port: Option<u16>, mode: MutualTls, filters: &[Value], pki: &Pki) -> Vec<Value> {
    let chain = |transport: &str| {
        let mut matching = json!({ "transport_protocol": transport });
        if let Some(port) = port {
            matching["destination_port"] = port.into();
        }
        json!({"filter_chain_match": matching, "filters": filters})
    };
    let mut chains = Vec::new();
    if mode != MutualTls::Disable {
        let mut tls = chain("tls");
        tls["transport_socket"] = transport_socket(pki, mode == MutualTls::Strict);
        chains.push(tls);
    }
    if mode != MutualTls::Strict {
        chains.push(chain("raw_buffer"));
    }
    chains
}

fn transport_socket(pki: &Pki, needs_certificate: bool) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": needs_certificate,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": pki.server().certificate_pem()},
                    "private_key": {"inline_string": pki.server().key_pem()},
                }],
                "validation_context": {"trusted_ca": {"inline_string": pki.authority_pem()}},
            },
        },
    })
}

fn connection_manager(settings: &ListenerSettings, http_filters: &[Value]) -> Value {
    let normalization = match settings.postern_normalizes {
        true => PathNormalization::None,
        false => settings.path_normalization,
    };
    let escaped_slashes = match normalization {
        PathNormalization::DecodeAndMergeSlashes => "UNESCAPE_AND_FORWARD",
        _ => "KEEP_UNCHANGED",
    };
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "inbound",
            "use_remote_address": settings.use_remote_address,
            "xff_num_trusted_hops": settings.xff_num_trusted_hops,
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"subject": true, "dns": true, "uri": true},
            "normalize_path": normalization >= PathNormalization::Base,
            "merge_slashes": normalization >= PathNormalization::MergeSlashes,
            "path_with_escaped_slashes_action": escaped_slashes,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "http_filters": http_filters,
            "route_config": {
                "name": "inbound",
                "validate_clusters": false,
                "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }],
            },
        },
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
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
    }
    cluster
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
