//! One Envoy with a listener for each way to decide.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use postern::config::Address;
use postern::demo::envoy_binary::{Search, find_or_fetch};
use serde_json::{Value, json};

/// A running Envoy, ended with this.
pub(crate) struct Envoy {
    child: Child,
    _folder: tempfile::TempDir,
    admin: String,
}

impl Envoy {
    /// One thread, and listeners by name with their filters before the router.
    pub(crate) fn start(listeners: &[(&str, Vec<Value>)], authorization: &Address) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("envoy.json"), configuration(listeners, authorization)).unwrap();
        let child = Command::new(binary())
            .args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"])
            .arg(path("envoy.json"))
            .arg("--admin-address-path")
            .arg(path("admin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .expect("Envoy starts");
        let mut envoy = Self { child, _folder: folder, admin: String::new() };
        let begun = Instant::now();
        loop {
            let folder = envoy._folder.path();
            if let Ok(admin) = fs::read_to_string(folder.join("admin"))
                && try_get(&admin, "/ready").is_ok_and(|answer| answer.contains("LIVE"))
            {
                envoy.admin = admin;
                return envoy;
            }
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(envoy.child.try_wait().unwrap().is_none(), "Envoy has ended:\n{}", log());
            assert!(begun.elapsed() < Duration::from_secs(120), "Envoy is not ready:\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let listeners: Value =
            serde_json::from_str(&get(&self.admin, "/listeners?format=json")).unwrap();
        let statuses = listeners["listener_statuses"].as_array().unwrap();
        let status = statuses.iter().find(|status| status["name"] == name).expect("a listener");
        let socket = &status["local_address"]["socket_address"];
        let port = socket["port_value"].as_u64().unwrap();
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Fetched once, as for the tests.
fn binary() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let target = program.ancestors().nth(3).expect("the target folder");
    let variable = |name| std::env::var_os(name);
    let search = Search { envoy: variable("ENVOY"), path: variable("PATH"), cache: target.into() };
    find_or_fetch(&search).unwrap_or_else(|error| panic!("no Envoy to measure: {error}"))
}

/// The filter as the README tells it.
pub(crate) fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "failure_mode_allow": false,
            "include_peer_certificate": true,
            "include_tls_session": true,
            "encode_raw_headers": true,
            "grpc_service": {"envoy_grpc": {"cluster_name": "postern"}, "timeout": "10s"},
        },
    })
}

fn configuration(listeners: &[(&str, Vec<Value>)], authorization: &Address) -> String {
    let Address::Tcp(authorization) = authorization else { panic!("a TCP port is wanted") };
    let listeners: Vec<_> =
        listeners.iter().map(|(name, filters)| listener(name, filters)).collect();
    json!({
        "admin": {"address": address("127.0.0.1:0".parse().unwrap())},
        "static_resources": {
            "listeners": listeners,
            "clusters": [{
                "name": "postern",
                "type": "STATIC",
                "connect_timeout": "5s",
                "load_assignment": {
                    "cluster_name": "postern",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(*authorization)}}]}],
                },
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": {"http2_protocol_options": {}},
                    },
                },
            }],
        },
    })
    .to_string()
}

/// Envoy answers itself what is let through: no upstream takes part.
fn listener(name: &str, filters: &[Value]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    let filters: Vec<_> = filters.iter().cloned().chain([router]).collect();
    json!({
        "name": name,
        "address": address("127.0.0.1:0".parse().unwrap()),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "http_filters": filters,
                "route_config": {
                    "name": name,
                    "virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{
                            "match": {"prefix": "/"},
                            "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
                        }],
                    }],
                },
            },
        }]}],
    })
}

fn address(of: SocketAddr) -> Value {
    json!({"socket_address": {"address": of.ip().to_string(), "port_value": of.port()}})
}

/// The body of a plain `GET`.
pub(crate) fn get(from: &str, path: &str) -> String {
    try_get(from, path).unwrap_or_else(|error| panic!("{from}{path}: {error}"))
}

fn try_get(from: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(from)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {from}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok(body.to_owned());
    }
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        let (chunk, after) = after.split_at(size);
        whole.push_str(chunk);
        rest = after.trim_start_matches("\r\n");
    }
    Ok(whole)
}
