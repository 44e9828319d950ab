//! What Postern does on its own account: time, circuits, connections, metrics, what never fails open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Address as EnvoyAddress;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use postern::config::Address;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore};
use tonic::transport::Channel;

use crate::authorizers::Authorizers;
use crate::gate::{Gate, started};
use crate::http1::{self, Body};

struct Scene {
    authorizers: Authorizers,
    gate: Gate,
    client: AuthorizationClient<Channel>,
}

fn policy(name: &str, provider: &str, path: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "foo"},
        "spec": {
            "action": "CUSTOM",
            "provider": {"name": provider},
            "rules": [{"to": [{"operation": {"paths": [path]}}]}],
        },
    })
}

fn grpc(name: &str, address: SocketAddr, settings: Value) -> Value {
    defined(name, "envoyExtAuthzGrpc", address, settings)
}

fn http(name: &str, address: SocketAddr, settings: Value) -> Value {
    defined(name, "envoyExtAuthzHttp", address, settings)
}

fn defined(name: &str, kind: &str, address: SocketAddr, mut settings: Value) -> Value {
    settings["service"] = address.ip().to_string().into();
    settings["port"] = address.port().into();
    json!({"name": name, kind: settings})
}

impl Scene {
    async fn new(
        policies: &[Value],
        providers: impl FnOnce(&Authorizers) -> Vec<Value>,
        clients: Value,
    ) -> Self {
        let authorizers = Authorizers::start().await;
        let mesh_config = json!({"extensionProviders": providers(&authorizers)});
        let own = json!({"extensionProviderClients": clients});
        let policies: Vec<_> = policies.iter().map(ToString::to_string).collect();
        let gate = Gate::start(&policies.join("\n---\n"), &mesh_config, &own).await;
        let url = format!("http://127.0.0.1:{}", gate.port());
        let client = AuthorizationClient::connect(url).await.unwrap();
        Self { authorizers, gate, client }
    }

    async fn ask(&self, path: &str, want: &str) -> CheckResponse {
        self.ask_within(path, want, None).await
    }

    async fn ask_within(&self, path: &str, want: &str, within: Option<Duration>) -> CheckResponse {
        let headers = [("x-want".to_owned(), want.to_owned())];
        let http = HttpRequest {
            method: "GET".into(),
            path: path.into(),
            host: "h".into(),
            headers: headers.into_iter().collect(),
            ..HttpRequest::default()
        };
        let request = Request { http: Some(http), time: None };
        let mut request = tonic::Request::new(check(Some(request)));
        if let Some(within) = within {
            let milliseconds = format!("{}m", within.as_millis());
            request.metadata_mut().insert("grpc-timeout", milliseconds.parse().unwrap());
        }
        self.client.clone().check(request).await.unwrap().into_inner()
    }

    async fn metric(&self, name: &str) -> Option<String> {
        let admin = self.gate.postern.admin_addr;
        let mut stream = TcpStream::connect(admin).await.unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = http1::read(&mut stream, Body::Response).await.unwrap().unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map(str::to_owned)
    }
}

impl Scene {
    /// As a proxy asks that does so over HTTP.
    async fn ask_over_http(&self, path: &str, want: &str) -> http1::Message {
        let Some(Address::Tcp(address)) = &self.gate.postern.http_addr else { panic!("no port") };
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: h\r\nx-want: {want}\r\nx-secret: s\r\n\
             x-forwarded-proto: http\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        http1::read(&mut stream, Body::Response).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn proxies_that_ask_over_http_get_what_providers_say() {
    let policies = [policy("a", "a", "/x"), policy("b", "nobody", "/undefined")];
    let providers = |them: &Authorizers| vec![grpc("a", them.grpc, json!({"timeout": "5s"}))];
    let scene = Scene::new(&policies, providers, json!([])).await;
    let status = |answer: &http1::Message| {
        let line = String::from_utf8(answer.first_line.clone()).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let lines = |answer: &http1::Message, name: &str| {
        let lines = answer.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect::<Vec<_>>()
    };
    let allowed = scene.ask_over_http("/x", "headers").await;
    assert_eq!(status(&allowed), "200");
    assert_eq!(lines(&allowed, "x-user"), ["alice"]);
    assert_eq!(lines(&allowed, "x-down"), ["1", "2"]);
    assert_eq!(lines(&allowed, "x-envoy-auth-headers-to-remove"), ["x-secret"]);

    let denied = scene.ask_over_http("/x", "deny").await;
    assert_eq!((status(&denied).as_str(), &*denied.body), ("401", &b"{\"error\": \"no\"}"[..]));
    assert_eq!(lines(&denied, "www-authenticate"), ["Basic"]);
    assert_eq!(lines(&denied, "content-type"), ["application/json"]);
    assert_eq!(lines(&denied, "set-cookie"), ["a=1", "b=2"]);

    assert_eq!(status(&scene.ask_over_http("/x", "error").await), "403");
    // Decided about a path that the upstream would not get.
    for want in ["path", "query"] {
        assert_eq!(status(&scene.ask_over_http("/x", want).await), "403", "{want}");
    }
    assert_eq!(status(&scene.ask_over_http("/undefined", "allow").await), "403");
    assert_eq!(status(&scene.ask_over_http("/other", "deny").await), "200");
    // Each was asked about as it came.
    let asked = scene.authorizers.take();
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(asked.iter().all(|it| it.contains("gRPC GET h/x") && it.contains("x-secret: s")));
}

#[tokio::test]
async fn a_dry_run_asks_nobody_and_is_reported() {
    let mut dry_run = policy("a", "a", "/x");
    dry_run["metadata"]["annotations"] = json!({"istio.io/dry-run": "true"});
    let providers = |them: &Authorizers| vec![grpc("a", them.grpc, json!({}))];
    let scene = Scene::new(&[dry_run], providers, json!([])).await;
    let answer = scene.ask("/x", "deny").await;
    assert_eq!((status(&answer), reason(&answer)), (200, "no_allow_policy"));
    assert_eq!(scene.authorizers.take(), [] as [&str; 0]);
    let metadata = format!("{:?}", answer.dynamic_metadata.unwrap());
    for said in ["custom_dry_run", "not_asked", "custom_policy", "foo/a", "custom_provider"] {
        assert!(metadata.contains(said), "{said}: {metadata}");
    }
    let sample =
        r#"postern_shadow_decisions_total{enforced="allow",outcome="allow",rule="custom"}"#;
    assert_eq!(scene.metric(sample).await.as_deref(), Some("1"));
    let other = scene.ask("/y", "deny").await;
    assert!(!format!("{other:?}").contains("not_asked"), "{other:?}");
}

fn check(request: Option<Request>) -> CheckRequest {
    let source = Peer { address: Some(EnvoyAddress::default()), ..Peer::default() };
    let attributes = AttributeContext { source: Some(source), request, ..Default::default() };
    CheckRequest { attributes: Some(attributes) }
}

fn reason(response: &CheckResponse) -> &str {
    let metadata = response.dynamic_metadata.as_ref().unwrap();
    let Some(ValueKind::StringValue(reason)) = &metadata.fields["reason"].kind else {
        panic!("{metadata:?}")
    };
    reason
}

fn status(response: &CheckResponse) -> i32 {
    match response.http_response.as_ref().unwrap() {
        HttpResponse::OkResponse(_) => 200,
        HttpResponse::DeniedResponse(denied) => denied.status.as_ref().unwrap().code,
        HttpResponse::ErrorResponse(_) => panic!("Postern never says so"),
    }
}

/// A provider's own time is longer than Envoy's: an answer that comes too late is none.
#[tokio::test(flavor = "multi_thread")]
async fn envoys_time_is_the_providers_time() {
    let policies = [policy("a", "a", "/a"), policy("b", "b", "/b")];
    let providers = |at: &Authorizers| {
        vec![
            grpc("a", at.grpc, json!({"timeout": "60s", "statusOnError": "504"})),
            grpc("b", at.grpc, json!({"timeout": "60s", "failOpen": true})),
        ]
    };
    let scene = Scene::new(&policies, providers, json!([])).await;
    let started = Instant::now();
    let within = Some(Duration::from_millis(300));
    let denied = scene.ask_within("/a", "slow", within).await;
    assert_eq!((reason(&denied), status(&denied)), ("custom_error", 504));
    let passed = scene.ask_within("/b", "slow", within).await;
    assert_eq!(status(&passed), 200);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// Two that take their whole time together take it once.
#[tokio::test(flavor = "multi_thread")]
async fn providers_are_asked_at_the_same_time() {
    let policies = [policy("a", "a", "/*"), policy("b", "b", "/*")];
    let open = json!({"timeout": "1s", "failOpen": true});
    let providers =
        |at: &Authorizers| vec![grpc("a", at.grpc, open.clone()), grpc("b", at.grpc, open.clone())];
    let scene = Scene::new(&policies, providers, json!([])).await;
    let started = Instant::now();
    assert_eq!(status(&scene.ask("/", "slow").await), 200);
    let elapsed = started.elapsed();
    assert!(
        elapsed >= Duration::from_secs(1) && elapsed < Duration::from_millis(1_900),
        "{elapsed:?}"
    );
    assert_eq!(scene.authorizers.take().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_left_alone_and_tried_again() {
    let policies = [policy("a", "a", "/*")];
    let providers = |at: &Authorizers| vec![grpc("a", at.grpc, json!({}))];
    let clients = json!([{"name": "a", "consecutiveErrors": 2, "circuitOpenFor": "300ms"}]);
    let scene = Scene::new(&policies, providers, clients).await;
    let circuit = |state: &str| {
        format!("postern_custom_provider_circuit{{provider=\"a\",state=\"{state}\"}}")
    };
    for _ in 0..2 {
        assert_eq!(reason(&scene.ask("/", "error").await), "custom_error");
    }
    assert_eq!(scene.authorizers.take().len(), 2);
    assert_eq!(scene.metric(&circuit("open")).await.as_deref(), Some("1"));
    assert_eq!(reason(&scene.ask("/", "allow").await), "custom_error");
    assert_eq!(scene.authorizers.take().len(), 0, "nobody was asked");
    let deadline = Instant::now() + Duration::from_secs(30);
    while status(&scene.ask("/", "allow").await) != 200 {
        assert!(Instant::now() < deadline, "it is never tried again");
    }
    assert_eq!(scene.metric(&circuit("closed")).await.as_deref(), Some("1"));
    let counted = |result: &str| {
        format!("postern_custom_provider_requests_total{{provider=\"a\",result=\"{result}\"}}")
    };
    assert_eq!(scene.metric(&counted("allow")).await.as_deref(), Some("1"));
    assert_eq!(scene.metric(&counted("fail_open")).await.as_deref(), Some("0"));
    assert!(scene.metric(&counted("error")).await.unwrap().parse::<u32>().unwrap() >= 3);
}

/// No more are under way than may be, whoever waits.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_at_once_are_not_asked_about() {
    let policies = [policy("a", "a", "/*")];
    let providers = |at: &Authorizers| vec![grpc("a", at.grpc, json!({"timeout": "2s"}))];
    let clients = json!([{"name": "a", "maxRequests": 1, "consecutiveErrors": 0}]);
    let scene = Arc::new(Scene::new(&policies, providers, clients).await);
    let slow = tokio::spawn({
        let scene = scene.clone();
        async move { scene.ask("/", "slow").await }
    });
    while scene.authorizers.take().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(reason(&scene.ask("/", "allow").await), "custom_error");
    assert_eq!(reason(&slow.await.unwrap()), "custom_error");
    assert_eq!(status(&scene.ask("/", "allow").await), 200);
}

/// What a client can bring about is no trouble of the provider's, and lets nobody in.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_put_never_fails_open() {
    let policies = [policy("b", "b", "/*")];
    let providers = |at: &Authorizers| {
        let body = json!({"maxRequestBytes": 10});
        let settings = json!({"failOpen": true, "includeRequestHeadersInCheck": ["x-want"]});
        let mut with_body = settings;
        with_body["includeRequestBodyInCheck"] = body;
        vec![http("b", at.http, with_body)]
    };
    let scene = Scene::new(&policies, providers, json!([])).await;
    assert_eq!(status(&scene.ask("/x", "allow").await), 200);
    for path in ["/<x>", "/x#y", "/`"] {
        let denied = scene.ask(path, "allow").await;
        assert_eq!((reason(&denied), status(&denied)), ("custom_error", 403), "{path}");
    }
    // A body that Envoy was not told to send.
    let http = HttpRequest {
        method: "POST".into(),
        path: "/x".into(),
        headers: [("content-length".to_owned(), "5".to_owned())].into_iter().collect(),
        ..HttpRequest::default()
    };
    let request = Request { http: Some(http), time: None };
    let denied = scene.client.clone().check(check(Some(request))).await.unwrap().into_inner();
    assert_eq!(reason(&denied), "custom_error");
    assert_eq!(scene.authorizers.take().len(), 1);
}

/// Istio has no HTTP providers for connections, and leaves such rules out.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_asked_about_over_grpc_only() {
    let everything = |name: &str| {
        let mut policy = policy(name, name, "/");
        policy["spec"]["rules"] = json!([{}]);
        policy
    };
    let nobody = |at: &Authorizers| vec![http("b", at.nobody, json!({}))];
    let scene = Scene::new(&[everything("b")], nobody, json!([])).await;
    let passed = scene.client.clone().check(check(None)).await.unwrap().into_inner();
    assert_eq!(passed.status.unwrap().code, 0);
    let nobody = |at: &Authorizers| vec![grpc("a", at.nobody, json!({}))];
    let scene = Scene::new(&[everything("a")], nobody, json!([])).await;
    let denied = scene.client.clone().check(check(None)).await.unwrap().into_inner();
    assert_eq!(reason(&denied), "custom_error");
}

/// A way to a server, which counts connections and can be shut.
async fn relay(to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                drop(copy_bidirectional(&mut from, &mut to).await);
            });
        }
    });
    (address, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept() {
    let at = Authorizers::start().await;
    let ((to_grpc, of_grpc), (to_http, of_http)) = (relay(at.grpc).await, relay(at.http).await);
    let policies = [policy("a", "a", "/a"), policy("b", "b", "/b")];
    let include = json!({"includeRequestHeadersInCheck": ["x-want"]});
    let providers =
        |_: &Authorizers| vec![grpc("a", to_grpc, json!({})), http("b", to_http, include)];
    let scene = Scene::new(&policies, providers, json!([])).await;
    for path in ["/a", "/b"].repeat(20) {
        assert_eq!(status(&scene.ask(path, "allow").await), 200);
    }
    assert_eq!(of_grpc.load(Ordering::SeqCst), 1);
    assert_eq!(of_http.load(Ordering::SeqCst), 1);
}

/// A provider that starts later than Postern is found, and one that came back is, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_start_later() {
    let at = Authorizers::start().await;
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let policies = [policy("a", "a", "/*")];
    let providers = |_: &Authorizers| vec![grpc("a", address, json!({}))];
    let clients = json!([{"name": "a", "consecutiveErrors": 0}]);
    let scene = Scene::new(&policies, providers, clients).await;
    assert_eq!(reason(&scene.ask("/", "allow").await), "custom_error");
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        // The first connection is taken and left without a word for a moment.
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = TcpStream::connect(at.grpc).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    assert_eq!(status(&scene.ask("/", "allow").await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_is_never_asked() {
    let policies = [policy("a", "a", "/*")];
    let providers =
        |_: &Authorizers| vec![http("a", "169.254.169.254:80".parse().unwrap(), json!({}))];
    let scene = Scene::new(&policies, providers, json!([])).await;
    let started = Instant::now();
    assert_eq!(reason(&scene.ask("/", "allow").await), "custom_error");
    assert!(started.elapsed() < Duration::from_secs(5), "somebody was waited for");
}

/// TLS with an authority of one's own, and a client certificate; and a unix socket.
#[tokio::test(flavor = "multi_thread")]
async fn providers_are_reached_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let authority_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, authority_key).unwrap();
    let leaf = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        (parameters.signed_by(&key, &authority).unwrap(), key)
    };
    let (server, server_key) = leaf("opa.example");
    let (client, client_key) = leaf("postern.example");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![server.der().clone()],
            PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let at = Authorizers::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let encrypted = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut from) = acceptor.accept(from).await else { return };
                let mut to = TcpStream::connect(at.grpc).await.unwrap();
                drop(copy_bidirectional(&mut from, &mut to).await);
            });
        }
    });
    let socket = folder.path().join("authorizer.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut to = TcpStream::connect(at.http).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let names = ["a", "b", "strange", "unknown"];
    let policies = names.map(|name| policy(name, name, &format!("/{name}")));
    let include = json!({"includeRequestHeadersInCheck": ["x-want"]});
    let providers = |_: &Authorizers| {
        vec![
            grpc("a", encrypted, json!({})),
            http("b", "127.0.0.1:1".parse().unwrap(), include),
            grpc("strange", encrypted, json!({})),
            grpc("unknown", encrypted, json!({})),
        ]
    };
    let trusted = file("ca.pem", authority.pem());
    let (chain, key) =
        (file("client.pem", client.pem()), file("client.key", client_key.serialize_pem()));
    let tls = |name: &str| {
        json!({
            "serverName": name,
            "caCertificates": trusted,
            "clientCertificate": chain,
            "clientKey": key,
        })
    };
    let clients = json!([
        {"name": "a", "tls": tls("opa.example")},
        {"name": "b", "address": format!("unix:{}", socket.display())},
        {"name": "strange", "tls": tls("other.example")},
        {"name": "unknown", "tls": {"serverName": "opa.example", "caCertificates": trusted}},
    ]);
    let scene = Scene::new(&policies, providers, clients).await;
    assert_eq!(status(&scene.ask("/a", "allow").await), 200);
    assert_eq!(status(&scene.ask("/b", "allow").await), 200);
    assert_eq!(reason(&scene.ask("/strange", "allow").await), "custom_error");
    assert_eq!(reason(&scene.ask("/unknown", "allow").await), "custom_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_is_one_to_start_from() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/custom");
    let at = |name: &str| format!("{folder}/{name}");
    let postern = started(&[
        "postern",
        "--policies",
        &at("policies.yaml"),
        "--mesh-config",
        &at("mesh-config.yaml"),
        "--config",
        &at("postern.yaml"),
        "--namespace",
        "shop",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ])
    .await;
    let snapshot = postern.snapshots.load();
    let custom = &snapshot.workloads[0].layers[0].layer.http.custom;
    let names: Vec<_> = custom.iter().map(|custom| &*custom.provider).collect();
    assert_eq!(names, ["oauth2-proxy", "opa"]);
}
