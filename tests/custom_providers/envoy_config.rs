//! One Envoy with two listeners: one that asks Postern, and one that does itself what Istio would have
//! it do about CUSTOM policies.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::providers::{Kind, Provider, RULES};

const STAT_PREFIX: &str = "istio_ext_authz_";

pub(crate) fn bootstrap(
    providers: &[Provider],
    postern: SocketAddr,
    upstream: SocketAddr,
) -> Value {
    let mut clusters =
        vec![cluster("postern", postern, true), cluster("upstream", upstream, false)];
    let mut native = Vec::new();
    for provider in providers {
        clusters.push(cluster(provider.name, provider.address, provider.kind == Some(Kind::Grpc)));
        native.extend(filters(provider));
    }
    native.push(deny_by_header());
    json!({
        "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "static_resources": {
            "listeners": [listener("native", native), listener("postern", vec![asking_postern()])],
            "clusters": clusters,
        },
    })
}

/// As Istio makes them: RBAC that only says which rule matches, and a filter that acts on that. Of a
/// provider that is not defined, RBAC that denies.
fn filters(provider: &Provider) -> Vec<Value> {
    let name = provider.name;
    let prefixes = RULES.iter().filter(|(_, names)| names.contains(&name));
    let policies = prefixes.enumerate().map(|(number, (prefix, _))| {
        let policy = json!({
            "permissions": [{"url_path": {"path": {"prefix": prefix}}}],
            "principals": [{"any": true}],
        });
        (format!("istio-ext-authz-{name}-ns[foo]-policy[p]-rule[{number}]"), policy)
    });
    let policies: serde_json::Map<String, Value> = policies.collect();
    let rules = json!({"action": "DENY", "policies": policies});
    let Some(kind) = provider.kind else {
        return vec![rbac(json!({"rules": rules}))];
    };
    let shadow = rbac(json!({"shadow_rules": rules, "shadow_rules_stat_prefix": STAT_PREFIX}));
    let settings = &provider.settings;
    let mut ext_authz = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": settings.get("failOpen").cloned().unwrap_or(false.into()),
        "filter_enabled_metadata": {
            "filter": "envoy.filters.http.rbac",
            "path": [{"key": format!("{STAT_PREFIX}shadow_effective_policy_id")}],
            "value": {"string_match": {"prefix": format!("istio-ext-authz-{name}-")}},
        },
    });
    if let Some(status) = settings["statusOnError"].as_str() {
        ext_authz["status_on_error"] = json!({"code": status.parse::<u16>().unwrap()});
    }
    if let Some(body) = settings["includeRequestBodyInCheck"].as_object() {
        ext_authz["with_request_body"] = json!({
            "max_request_bytes": body["maxRequestBytes"],
            "allow_partial_message": body.get("allowPartialMessage").cloned().unwrap_or(false.into()),
        });
    }
    match kind {
        Kind::Grpc => {
            ext_authz["grpc_service"] =
                json!({"envoy_grpc": {"cluster_name": name}, "timeout": settings["timeout"]});
        }
        Kind::Http => {
            let include = settings
                .get("includeRequestHeadersInCheck")
                .unwrap_or(&settings["includeHeadersInCheck"]);
            let added = settings["includeAdditionalHeadersInCheck"].as_object();
            let added = added.into_iter().flatten();
            let added: Vec<_> = added.map(|(k, v)| json!({"key": k, "value": v})).collect();
            let mut service = json!({
                "server_uri": {"uri": "http://x", "cluster": name, "timeout": settings["timeout"]},
                "path_prefix": settings["pathPrefix"].as_str().unwrap_or_default(),
                "authorization_request": {
                    "allowed_headers": patterns(include),
                    "headers_to_add": added,
                },
            });
            if settings.get("headersToUpstreamOnAllow").is_some() {
                service["authorization_response"] = json!({
                    "allowed_upstream_headers": patterns(&settings["headersToUpstreamOnAllow"]),
                    "allowed_client_headers": patterns(&settings["headersToDownstreamOnDeny"]),
                    "allowed_client_headers_on_success":
                        patterns(&settings["headersToDownstreamOnAllow"]),
                });
            }
            ext_authz["http_service"] = service;
        }
    }
    let ext_authz = json!({"name": "envoy.filters.http.ext_authz", "typed_config": ext_authz});
    vec![shadow, ext_authz]
}

fn patterns(names: &Value) -> Value {
    let names = names.as_array().into_iter().flatten().map(|name| name.as_str().unwrap());
    let patterns = names.map(|name| match (name.strip_prefix('*'), name.strip_suffix('*')) {
        (Some(suffix), _) => json!({"suffix": suffix, "ignore_case": true}),
        (None, Some(prefix)) => json!({"prefix": prefix, "ignore_case": true}),
        (None, None) => json!({"exact": name, "ignore_case": true}),
    });
    let patterns: Vec<_> = patterns.collect();
    if patterns.is_empty() { Value::Null } else { json!({"patterns": patterns}) }
}

fn deny_by_header() -> Value {
    let header = json!({"name": "x-user", "string_match": {"exact": "mallory"}});
    let policy = json!({"permissions": [{"any": true}], "principals": [{"header": header}]});
    rbac(json!({"rules": {"action": "DENY", "policies": {"not-mallory": policy}}}))
}

fn rbac(mut rules: Value) -> Value {
    rules["@type"] = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC".into();
    json!({"name": "envoy.filters.http.rbac", "typed_config": rules})
}

fn asking_postern() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "postern"}, "timeout": "10s"},
            "encode_raw_headers": true,
            "with_request_body": {
                "max_request_bytes": 1000,
                "allow_partial_message": true,
                "pack_as_bytes": true,
            },
        },
    })
}

fn listener(name: &str, mut filters: Vec<Value>) -> Value {
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    }));
    json!({
        "name": name,
        "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                          http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "normalize_path": true,
                "http_filters": filters,
                "route_config": {"virtual_hosts": [{
                    "name": name,
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                    "response_headers_to_add": [{
                        "header": {
                            "key": "x-tenant",
                            "value": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:tenant)%",
                        },
                    }],
                }]},
            },
        }]}],
    })
}

fn cluster(name: &str, address: SocketAddr, is_http2: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "connect_timeout": "5s",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}],
        },
    });
    if is_http2 {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.\
                          HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
    }
    cluster
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {
        "address": address.ip().to_string(),
        "port_value": address.port(),
    }})
}
