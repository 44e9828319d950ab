//! Writes Envoy's configuration: an Istio sidecar's inbound listeners, with the filters under test.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    cases::{ListenerSettings, PathNormalization},
    pki::Pki,
};

/// What decides about requests.
pub(crate) enum Filters {
    /// Postern behind this address.
    ExtAuthz(SocketAddr),
    /// Envoy's own filters.
    Native(Vec<Value>),
}

/// The whole configuration. Listener `i` is named `i`.
pub(crate) fn bootstrap(
    listeners: &[(ListenerSettings, Filters)],
    upstream: SocketAddr,
    pki: &Pki,
) -> String {
    let mut clusters = vec![cluster("upstream", upstream, false)];
    let mut written = Vec::new();
    for (index, (settings, filters)) in listeners.iter().enumerate() {
        let name = index.to_string();
        let mut http_filters = metadata_filter(settings).into_iter().collect::<Vec<_>>();
        match filters {
            Filters::ExtAuthz(address) => {
                let cluster_name = format!("postern-{name}");
                clusters.push(cluster(&cluster_name, *address, true));
                http_filters.push(ext_authz(&cluster_name, settings));
            }
            Filters::Native(filters) => http_filters.extend(filters.iter().cloned()),
        }
        http_filters.push(filter("router", "router.v3.Router", json!({})));
        written.push(listener(&name, settings, &http_filters, pki));
    }
    json!({
        "admin": {"address": socket_address(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "static_resources": {"listeners": written, "clusters": clusters},
    })
    .to_string()
}

/// An HTTP filter, by the last parts of its names.
pub(crate) fn filter(name: &str, type_name: &str, mut fields: Value) -> Value {
    fields["@type"] =
        format!("type.googleapis.com/envoy.extensions.filters.http.{type_name}").into();
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": fields})
}

fn ext_authz(cluster_name: &str, settings: &ListenerSettings) -> Value {
    let namespaces: Vec<_> = settings.metadata.keys().collect();
    let fields = json!({
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": cluster_name}, "timeout": "10s"},
        "failure_mode_allow": false,
        "include_peer_certificate": true,
        "include_tls_session": true,
        "encode_raw_headers": true,
        "metadata_context_namespaces": namespaces,
    });
    filter("ext_authz", "ext_authz.v3.ExtAuthz", fields)
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

fn listener(name: &str, settings: &ListenerSettings, http_filters: &[Value], pki: &Pki) -> Value {
    let listener_filter = |short: &str, message: &str| {
        let url =
            format!("type.googleapis.com/envoy.extensions.filters.listener.{short}.v3.{message}");
        json!({"name": format!("envoy.filters.listener.{short}"), "typed_config": {"@type": url}})
    };
    let manager = connection_manager(settings, http_filters);
    // As PERMISSIVE does it: TLS and plaintext on one port, told apart by the first bytes.
    json!({
        "name": name,
        "address": socket_address(SocketAddr::from(([127, 0, 0, 1], 0))),
        "listener_filters": [
            listener_filter("proxy_protocol", "ProxyProtocol"),
            listener_filter("tls_inspector", "TlsInspector"),
        ],
        "filter_chains": [
            {
                "filter_chain_match": {"transport_protocol": "tls"},
                "transport_socket": transport_socket(pki),
                "filters": [manager],
            },
            {
                "filter_chain_match": {"transport_protocol": "raw_buffer"},
                "filters": [manager],
            },
        ],
    })
}

fn transport_socket(pki: &Pki) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": false,
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
    let normalization = settings.path_normalization;
    let escaped_slashes = match normalization {
        PathNormalization::DecodeAndMergeSlashes => "UNESCAPE_AND_FORWARD",
        _ => "KEEP_UNCHANGED",
    };
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "inbound",
            "use_remote_address": false,
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
