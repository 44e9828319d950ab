//! What values with command operators come to, held against Envoy's own formatter: one Envoy sets the
//! same values twice in the same request, once by itself and once as Postern says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

#[path = "conformance/envoy_process.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod envoy_process;
#[path = "conformance/http1.rs"]
mod http1;
#[path = "conformance/pki.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod pki;

use std::{collections::BTreeMap, fs, net::SocketAddr, process::Command, sync::Arc};

use postern::{
    authn::{NoKeys, clock::Clock},
    compile::{self, Settings},
    control::publish::{Publisher, SnapshotCell},
    extauthz::{AuthorizationService, CheckServer, ClientAddress, RequestSettings},
    model::{
        AccessPath, AccessRule, AccessStrategy, ApiRule, ApiRuleVersion, Mesh, Metadata, Position,
        RequestMutations, Resource, ServiceReference, Workload,
    },
    mutation::Format,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_stream::wrappers::TcpListenerStream;

use crate::{
    envoy_process::Envoy,
    http1::{Body, Message},
    pki::{Name, Pki},
};

/// Values that Envoy and Postern are to agree on.
const FORMATS: &[&str] = &[
    "some-data",
    "100%%",
    "%%REQ(x-user)%%",
    "a %REQ(x-none)% b",
    "%REQ(X-User)%",
    "%REQ(x-none)%",
    "%REQ(x-none?x-user)%",
    "%REQ(x-none?)%",
    "%REQ(x-empty?x-user)%",
    "%REQ(x-empty)%",
    "%REQ(x-user?x-url)%",
    "%REQ(x-user):3%",
    "%REQ(x-user):0%",
    "%REQ(x-user):300%",
    "%REQ(x-none?x-user):2%.",
    "%REQ(x-utf8)%",
    "%REQ(:path)%",
    "%REQ(:method)%",
    "%REQ(:authority)%",
    "%REQ(:scheme)%",
    "%REQ(host)%",
    "%REQ(Cookie)%",
    "%REQ(x-forwarded-for)%",
    "%REQ(accept)%",
    "%PATH%",
    "%PATH(WQ)%",
    "%PATH(NQ)%",
    "%PATH(NQ:PATH)%",
    "%PATH(WQ:ORIG)%",
    "%PATH(WQ:ORIG_OR_PATH):4%",
    "%QUERY_PARAM(c)%",
    "%QUERY_PARAM(d)%",
    "%QUERY_PARAM(e)%",
    "%QUERY_PARAM(none)%",
    "%QUERY_PARAM(d):1%",
    "%PROTOCOL%",
    "%START_TIME%",
    "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%",
    "%START_TIME(%s.%3f)%",
    "%START_TIME(%s.%6f %f %9f %1f)%",
    "%START_TIME(%a %A %b %B %e %j %y %I %p %F %T %R)%",
    "%START_TIME(%E3S %E6S)%",
    "%START_TIME(100%%)%",
    "%DOWNSTREAM_REMOTE_ADDRESS%",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "%DOWNSTREAM_REMOTE_PORT%",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "%DOWNSTREAM_DIRECT_REMOTE_PORT%",
    "%DOWNSTREAM_LOCAL_ADDRESS%",
    "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
    "%DOWNSTREAM_LOCAL_PORT%",
    "%DOWNSTREAM_PEER_URI_SAN%",
    "%REQUESTED_SERVER_NAME%",
    "%DYNAMIC_METADATA(my.filter:text)%",
    "%DYNAMIC_METADATA(my.filter:text):1%",
    "%DYNAMIC_METADATA(my.filter:number)%",
    "%DYNAMIC_METADATA(my.filter:fraction)%",
    "%DYNAMIC_METADATA(my.filter:large)%",
    "%DYNAMIC_METADATA(my.filter:flag)%",
    "%DYNAMIC_METADATA(my.filter:null)%",
    "%DYNAMIC_METADATA(my.filter:list)%",
    "%DYNAMIC_METADATA(my.filter:nested)%",
    "%DYNAMIC_METADATA(my.filter:nested:a)%",
    "%DYNAMIC_METADATA(my.filter:nested:b:c)%",
    "%DYNAMIC_METADATA(my.filter:none)%",
    "%DYNAMIC_METADATA(my.filter:text:none)%",
    "%DYNAMIC_METADATA(my.filter)%",
    "%DYNAMIC_METADATA(other:text)%",
    "%HOSTNAME%",
    "<%REQ(x-user)%:%PROTOCOL%:%REQ(x-none)%>",
];

#[tokio::test(flavor = "multi_thread")]
async fn values_are_those_of_envoy() {
    let pki = Pki::new();
    let folder = tempfile::tempdir().unwrap();
    let mut different = Vec::new();
    for use_remote_address in [false, true] {
        let postern = Postern::start(use_remote_address).await;
        let (upstream, mut seen) = Upstream::start().await;
        let config = configuration(
            postern.address,
            upstream.address,
            (&pki, folder.path()),
            use_remote_address,
        );
        let envoy = Envoy::start("envoy.json", &config.to_string()).await;
        let listeners = envoy.listeners().await;
        for (number, request) in REQUESTS.iter().enumerate() {
            let mut stream = TcpStream::connect(listeners["plain"].v4).await.unwrap();
            send(&mut stream, request).await;
            let plain = seen.recv().await.unwrap();
            let mut stream = TcpStream::connect(listeners["plain"].v6).await.unwrap();
            send(&mut stream, request).await;
            let plain_v6 = seen.recv().await.unwrap();
            let names = [Name::Uri("spiffe://td/ns/a/sa/b".into()), Name::Dns("b.a".into())];
            let stream = TcpStream::connect(listeners["tls"].v4).await.unwrap();
            let connector = TlsConnector::from(pki.tls(Some(&names)));
            let name = ServerName::try_from("shop.example").unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            send(&mut stream, request).await;
            let tls = seen.recv().await.unwrap();
            for (kind, seen) in [("plain", plain), ("v6", plain_v6), ("tls", tls)] {
                for (place, format) in FORMATS.iter().enumerate() {
                    let [envoy, postern] = ["e", "p"].map(|who| {
                        let name = format!("x-{who}-{place}");
                        let all = seen.headers.iter().filter(|(n, _)| *n == name);
                        let all = all.map(|(_, v)| String::from_utf8_lossy(v).into_owned());
                        all.collect::<Vec<_>>()
                    });
                    if envoy != postern {
                        different.push(format!(
                            "request {number}, {kind}, use_remote_address {use_remote_address}: \
                             {format}: Envoy {envoy:?}, Postern {postern:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// What is no value for Envoy is none for Postern, which refuses more: what it cannot know.
#[test]
fn what_envoy_refuses_is_refused() {
    const REFUSED: &[&str] = &[
        "%",
        "100%",
        "a % b",
        "%REQ(x-user",
        "%REQ(x-user)",
        "%REQ%",
        "%REQ()%",
        "%REQ(a?b?c)%",
        "%REQ(a):%",
        "%REQ(a):x%",
        "%NO_SUCH%",
        "%req(a)%",
        "%PROTOCOL(a)%",
        "%PROTOCOL:3%",
        "%START_TIME:3%",
        "%HOSTNAME():1%",
        "%DOWNSTREAM_REMOTE_ADDRESS(a)%",
        "%%%",
        "%PATH(XX)%",
        "%PATH(NQ:XX)%",
        "%QUERY_PARAM%",
    ];
    let pki = Pki::new();
    let folder = tempfile::tempdir().unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let file = folder.path().join("envoy.json");
    let mut different = Vec::new();
    let accepts = |format: &str| {
        let mut config = configuration(nowhere, nowhere, (&pki, folder.path()), false);
        let add = json!([added("x-a", format)]);
        for listener in config["static_resources"]["listeners"].as_array_mut().unwrap() {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["route_config"]["virtual_hosts"][0]["request_headers_to_add"] = add.clone();
        }
        fs::write(&file, config.to_string()).unwrap();
        let mut envoy = Command::new(envoy_process::binary());
        envoy.args(["--mode", "validate", "--disable-hot-restart", "-c"]).arg(&file);
        envoy.output().unwrap().status.success()
    };
    assert!(accepts("%REQ(a)%"));
    for format in REFUSED {
        let (envoy, postern) = (accepts(format), Format::parse(format).is_ok());
        if envoy || postern {
            different.push(format!("{format}: Envoy {envoy}, Postern {postern}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

const REQUESTS: &[&str] = &[
    "GET /a/b?c=1&d=%2Fx+y&c=2&e= HTTP/1.1\r\nHost: Shop.example:80\r\nx-user: alice\r\n\
     x-empty:\r\nx-url: /u?v=w?x\r\nx-utf8: caf\u{e9}\r\ncookie: a=1; b=2\r\naccept: a\r\n\
     accept: b\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nx-user: first\r\nx-user: second\r\n\
     x-forwarded-for: 203.0.113.7, 198.51.100.1\r\nx-p-1: forged\r\nx-p-5: forged\r\n\
     x-envoy-original-path: /orig?q\r\n",
    "POST /a%2fb?d HTTP/1.1\r\nHost: y\r\nx-forwarded-for: 2001:db8::7\r\ncontent-length: 0\r\n\
     cookie: c=3\r\ncookie: d=4\r\n",
];

async fn send(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) {
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let answer = http1::read(stream, Body::Response).await.unwrap().unwrap();
    let status = String::from_utf8_lossy(&answer.first_line).into_owned();
    let body = String::from_utf8_lossy(&answer.body);
    assert!(status.contains(" 200 "), "{request}: {status} {body}");
}

fn added(name: &str, format: &str) -> Value {
    json!({"header": {"key": name, "value": format}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
}

fn configuration(
    postern: SocketAddr,
    upstream: SocketAddr,
    (pki, folder): (&Pki, &std::path::Path),
    use_remote_address: bool,
) -> Value {
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("ca.crt"), pki.authority_pem()).unwrap();
    fs::write(at("tls.crt"), pki.server().certificate_pem()).unwrap();
    fs::write(at("tls.key"), pki.server().key_pem()).unwrap();
    let typed = |name: &str, mut config: Value| {
        config["@type"] = format!("type.googleapis.com/envoy.extensions.{name}").into();
        config
    };
    let metadata = json!({
        "text": "v", "number": 7, "fraction": 1.25, "large": 12345678901u64, "flag": true, "null": null,
        "list": [1, "a", null], "nested": {"b": {"c": "d"}, "a": "q\"\\"},
    });
    let filters = json!([
        {
            "name": "set_metadata",
            "typed_config": typed("filters.http.set_metadata.v3.Config", json!({
                "metadata": [{"metadata_namespace": "my.filter", "value": metadata}],
            })),
        },
        {
            "name": "ext_authz",
            "typed_config": typed("filters.http.ext_authz.v3.ExtAuthz", json!({
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": "postern"}, "timeout": "20s"},
                "include_peer_certificate": true,
                "include_tls_session": true,
                "encode_raw_headers": true,
                "metadata_context_namespaces": ["my.filter"],
            })),
        },
        {"name": "router", "typed_config": typed("filters.http.router.v3.Router", json!({}))},
    ]);
    let add: Vec<_> = FORMATS
        .iter()
        .enumerate()
        .map(|(place, format)| added(&format!("x-e-{place}"), format))
        .collect();
    let manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "in",
            "use_remote_address": use_remote_address,
            "http_filters": filters,
            "route_config": {"virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "request_headers_to_add": add,
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}],
            }]},
        }),
    );
    let chain = json!([{"name": "manager", "typed_config": manager}]);
    let tls = typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        json!({
            "require_client_certificate": true,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": at("tls.crt")},
                    "private_key": {"filename": at("tls.key")},
                }],
                "validation_context": {"trusted_ca": {"filename": at("ca.crt")}},
            },
        }),
    );
    let socket = |ip: &str| json!({"socket_address": {"address": ip, "port_value": 0}});
    let cluster = |name: &str, to: SocketAddr, http2: bool| {
        let endpoint = json!({"socket_address": {
            "address": to.ip().to_string(), "port_value": to.port(),
        }});
        let mut cluster = json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": endpoint}}]},
            ]},
        });
        if http2 {
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                    "upstreams.http.v3.HttpProtocolOptions",
                    json!({"explicit_http_config": {"http2_protocol_options": {}}}),
                ),
            });
        }
        cluster
    };
    json!({
        "admin": {"address": socket("127.0.0.1")},
        "static_resources": {
            "listeners": [
                {
                    "name": "plain",
                    "address": socket("127.0.0.1"),
                    "additional_addresses": [{"address": socket("::1")}],
                    "filter_chains": [{"filters": chain}],
                },
                {
                    "name": "tls",
                    "address": socket("127.0.0.1"),
                    // Without it Envoy's formatter does not know the server name, as Istio's does.
                    "listener_filters": [{
                        "name": "tls_inspector",
                        "typed_config":
                            typed("filters.listener.tls_inspector.v3.TlsInspector", json!({})),
                    }],
                    "filter_chains": [{
                        "filters": chain,
                        "transport_socket": {"name": "tls", "typed_config": tls},
                    }],
                },
            ],
            "clusters": [cluster("postern", postern, true), cluster("service", upstream, false)],
        },
    })
}

/// A Postern that lets everything pass and sets the values.
struct Postern {
    address: SocketAddr,
    _publisher: Publisher,
    task: JoinHandle<()>,
}

impl Postern {
    async fn start(use_remote_address: bool) -> Self {
        let headers = FORMATS.iter().enumerate();
        let headers =
            headers.map(|(place, format)| (format!("x-p-{place}"), (*format).to_owned().into()));
        let rule = AccessRule {
            position: Position::default(),
            path: AccessPath::Regex("/.*".to_owned().into()),
            methods: vec!["GET".to_owned().into(), "POST".to_owned().into()],
            service: ServiceReference { namespace: "shop".into(), name: "web".into(), port: 80 },
            strategies: vec![AccessStrategy::Allow],
            mutations: RequestMutations { headers: headers.collect(), cookies: BTreeMap::new() },
        };
        let hosts = ["shop.example", "x", "y"];
        let api_rule = ApiRule {
            metadata: Metadata {
                namespace: "shop".into(),
                name: "all".into(),
                ..Metadata::default()
            },
            version: ApiRuleVersion::V1beta1,
            hosts: hosts.iter().map(|host| (*host).to_owned().into()).collect(),
            rules: vec![rule],
        };
        let settings = Settings {
            mesh: Mesh::default(),
            workloads: vec![Workload { namespace: "shop".into(), ..Workload::default() }],
        };
        let resources = [Arc::new(Resource::ApiRule(Arc::new(api_rule)))];
        let (cell, mut publisher) = SnapshotCell::new();
        publisher.publish(Arc::new(compile::compile(1, &resources, &[], &settings)));
        let settings = RequestSettings {
            client_address: ClientAddress { use_remote_address, trusted_hops: 0 },
            ..RequestSettings::default()
        };
        let service = AuthorizationService::new(cell, Arc::new(NoKeys), settings, Clock::system());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(CheckServer::new(service, 4 << 20))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { server.await.unwrap() });
        Self { address, _publisher: publisher, task }
    }
}

impl Drop for Postern {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Remembers what it is sent.
struct Upstream {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Upstream {
    async fn start() -> (Self, UnboundedReceiver<Message>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    while let Ok(Some(request)) = http1::read(&mut stream, Body::Request).await {
                        drop(sender.send(request));
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (Self { address, task }, seen)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
