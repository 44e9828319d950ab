//! Authorizers that nobody here wrote, or that speak by means that nothing here is made of.
//!
//! Over HTTP: Envoy's own RBAC filter, in front of nothing but a status. It says what it denies in its
//! own words. Over gRPC: `@grpc/grpc-js` of npm, which has HTTP/2 and protobuf of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use crate::envoy_process::Envoy;
use crate::gate::Gate;
use crate::like_native::ask;
use crate::providers::{Kind, Provider};
use crate::{envoy_config, packages, providers, servers};

/// An Envoy that answers each check by RBAC: readers may read.
fn authorizer() -> Value {
    let reads = json!({
        "permissions": [{"and_rules": {"rules": [
            {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
            {"url_path": {"path": {"prefix": "/check/k/"}}},
        ]}}],
        "principals": [{"header": {"name": "x-want", "string_match": {"exact": "reader"}}}],
    });
    let rbac = json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"reads": reads}},
        },
    });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    let route = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200},
        "response_headers_to_add": [{
            "header": {"key": "x-user", "value": "%REQ(x-want)% of %REQ(:authority)%"},
        }],
    });
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                      http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "authorizer",
            "http_filters": [rbac, router],
            "route_config": {"virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [route]},
            ]},
        },
    });
    let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    json!({
        "admin": {"address": any_port},
        "static_resources": {"listeners": [{
            "name": "authorizer",
            "address": any_port,
            "filter_chains": [{"filters": [manager]}],
        }]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_rbac_is_an_authorizer() {
    let authorizer = Envoy::start("authorizer.json", &authorizer().to_string()).await;
    let provider = Provider {
        name: "k-rbac",
        kind: Some(Kind::Http),
        address: authorizer.listeners().await["authorizer"].v4,
        settings: json!({
            "timeout": "5s",
            "pathPrefix": "/check",
            "includeRequestHeadersInCheck": ["x-want"],
            "headersToUpstreamOnAllow": ["x-user"],
        }),
    };
    let providers = [provider];
    let mesh_config = providers::mesh_config(&providers);
    let gate = Gate::start(&providers::policies(), &mesh_config, &json!({})).await;
    let upstream = servers::echo().await;
    let postern = SocketAddr::from(([127, 0, 0, 1], gate.port()));
    let config = envoy_config::bootstrap(&providers, postern, upstream.address);
    let envoy = Envoy::start("envoy.json", &config.to_string()).await;
    let listeners = envoy.listeners().await;
    for (method, path, want, status) in [
        ("GET", "/k/x", "reader", "200 OK"),
        ("POST", "/k/x", "reader", "403 Forbidden"),
        ("GET", "/k/x", "writer", "403 Forbidden"),
        ("GET", "/k/", "reader", "200 OK"),
    ] {
        let native = ask(listeners["native"].v4, method, path, want, "").await;
        let postern = ask(listeners["postern"].v4, method, path, want, "").await;
        assert_eq!(native, postern, "{method} {path} {want}");
        assert!(native.status.ends_with(status), "{native:?}");
        if status == "200 OK" {
            let (_, headers) = native.upstream.unwrap();
            assert!(headers.contains(&"x-user: reader of shop.example".to_owned()), "{headers:?}");
        } else {
            assert_eq!(native.body, "RBAC: access denied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_grpc_is_spoken_with() {
    let modules = spawn_blocking(packages::node_modules).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("authorizer.mjs");
    fs::write(&script, include_str!("authorizer.mjs")).unwrap();
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    let mut process = Command::new("node")
        .args([&script, &Path::new(env!("CARGO_MANIFEST_DIR")).join("proto")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node starts");
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    let port: u16 = said.next_line().await.unwrap().expect("its port").parse().unwrap();
    let provider = Provider {
        name: "l-grpc-js",
        kind: Some(Kind::Grpc),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        settings: json!({"timeout": "5s", "statusOnError": "503"}),
    };
    let providers = [provider];
    let gate =
        Gate::start(&providers::policies(), &providers::mesh_config(&providers), &json!({})).await;
    let upstream = servers::echo().await;
    let postern = SocketAddr::from(([127, 0, 0, 1], gate.port()));
    let config = envoy_config::bootstrap(&providers, postern, upstream.address);
    let envoy = Envoy::start("envoy.json", &config.to_string()).await;
    let listeners = envoy.listeners().await;
    for (want, status) in
        [("allow", "200 OK"), ("deny", "418 Unknown"), ("strange", "503 Service Unavailable")]
    {
        let native = ask(listeners["native"].v4, "GET", "/l/x", want, "").await;
        let postern = ask(listeners["postern"].v4, "GET", "/l/x", want, "").await;
        assert_eq!(native, postern, "{want}");
        assert_eq!(native.status, format!("HTTP/1.1 {status}"));
    }
}
