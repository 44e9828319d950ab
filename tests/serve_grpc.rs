//! `postern serve` as Envoy meets it: the built binary, asked over gRPC.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

mod blackbox;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use blackbox::Folder;
use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::google::protobuf::value::Kind;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use postern::extauthz::ClientAddress;
use postern::request_file::RequestFile;
use rstest::rstest;
use serde_json::Value as Json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

const AUTHORIZATION: &str = "envoy.service.auth.v3.Authorization";

const SHOP: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: frontend, namespace: shop}
spec:
  rules:
  - to: [{operation: {paths: ["/orders*"]}}]
  - to: [{operation: {ports: ["3306"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-deletes, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {methods: [DELETE], ports: ["8080"]}}]
"#;

/// A running `postern serve`. Killed with its handle, if it has not ended before.
struct Server {
    child: Child,
    /// As tonic takes it: a URL, or `unix:PATH`.
    grpc: String,
    admin: String,
    folder: Folder,
}

impl Server {
    /// Waits for the lines that say where it listens.
    async fn start(folder: Folder, arguments: &[&str]) -> Self {
        let mut command = folder.postern();
        command.args(["serve", "--policies", "policies", "--namespace", "shop"]);
        command
            .args(["--admin", "127.0.0.1:0", "--http-listen", "off", "--log-format", "json"])
            .args(arguments);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        spawn_blocking(move || Self::spawn(command, folder)).await.unwrap()
    }

    fn spawn(mut command: Command, folder: Folder) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut grpc, mut admin, mut seen) = (None, None, String::new());
        while grpc.is_none() || admin.is_none() {
            let Some(line) = lines.next() else { panic!("ended before it listened:\n{seen}") };
            let line = line.unwrap();
            let event: Json = serde_json::from_str(&line).unwrap_or_default();
            let field = |name| event.get(name).and_then(Json::as_str).map(str::to_owned);
            if field("message").as_deref() == Some("listening on") {
                match field("listener").as_deref() {
                    Some("grpc") => grpc = field("address"),
                    Some("admin") => admin = field("address"),
                    other => panic!("listener {other:?}"),
                }
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        // A full pipe would stop it.
        thread::spawn(move || lines.for_each(drop));
        let grpc = match grpc.unwrap() {
            address if address.starts_with("unix:") => {
                format!(
                    "unix:{}",
                    folder.path().join(address.trim_start_matches("unix:")).display()
                )
            }
            address => format!("http://{address}"),
        };
        Self { child, grpc, admin: admin.unwrap(), folder }
    }

    async fn of_shop(arguments: &[&str]) -> Self {
        let folder = Folder::new();
        folder.file("policies/shop.yaml", SHOP);
        Self::start(folder, arguments).await
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.grpc.clone()).unwrap().connect().await.unwrap()
    }

    async fn check(&self, request: &str) -> CheckResponse {
        self.ask(check_request(request)).await.unwrap()
    }

    async fn ask(&self, check: CheckRequest) -> Result<CheckResponse, tonic::Status> {
        let mut client = AuthorizationClient::new(self.channel().await);
        client.check(check).await.map(tonic::Response::into_inner)
    }

    /// `decision` and `reason` of the dynamic metadata.
    async fn decision(&self, request: &str) -> String {
        let response = self.check(request).await;
        format!("{} {}", metadata(&response, "decision"), metadata(&response, "reason"))
    }

    /// Follows the health of the whole server.
    async fn watch_health(&self, service: &str) -> Streaming<HealthCheckResponse> {
        let request = HealthCheckRequest { service: service.to_owned() };
        HealthClient::new(self.channel().await).watch(request).await.unwrap().into_inner()
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let stream = TcpStream::connect(&self.admin).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = axum::http::Request::get(path).header("host", &self.admin);
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await;
        let response = response.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The value of one line of the metrics.
    async fn metric(&self, name_and_labels: &str) -> f64 {
        let (_, metrics) = self.get("/metrics").await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name_and_labels));
        value
            .unwrap_or_else(|| panic!("no {name_and_labels} in\n{metrics}"))
            .trim()
            .parse()
            .unwrap()
    }

    fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    async fn ended(mut self) -> ExitStatus {
        spawn_blocking(move || self.child.wait().unwrap()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn check_request(request: &str) -> CheckRequest {
    let request = RequestFile::read(request, None).unwrap_or_else(|found| panic!("{found:?}"));
    request.check_request(ClientAddress::default())
}

fn metadata(response: &CheckResponse, name: &str) -> String {
    let fields = &response.dynamic_metadata.as_ref().unwrap().fields;
    match &fields[name].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

fn number(response: &CheckResponse, name: &str) -> usize {
    let fields = &response.dynamic_metadata.as_ref().unwrap().fields;
    match &fields[name].kind {
        Some(Kind::NumberValue(number)) => number.to_string().parse().unwrap(),
        other => panic!("{name} is {other:?}"),
    }
}

fn denied(response: &CheckResponse) -> &DeniedHttpResponse {
    assert_ne!(response.status.as_ref().unwrap().code, i32::from(Code::Ok));
    match &response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied,
        other => panic!("not denied: {other:?}"),
    }
}

fn allowed(response: &CheckResponse) -> &OkHttpResponse {
    assert_eq!(response.status.as_ref().unwrap().code, i32::from(Code::Ok));
    match &response.http_response {
        Some(HttpResponse::OkResponse(ok)) => ok,
        other => panic!("not allowed: {other:?}"),
    }
}

/// The next change; `None` at the end of the stream.
async fn serving(health: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let message = timeout(Duration::from_secs(60), health.message()).await.unwrap();
    let message = message.ok().flatten();
    message.map(|message| message.status())
}

#[rstest]
#[case::tcp("127.0.0.1:0")]
#[case::unix("unix:grpc.sock")]
#[tokio::test]
async fn requests_and_connections_are_answered(#[case] listen: &str) {
    let server = Server::of_shop(&["--listen", listen]).await;

    let response = server.check("{path: /orders/1, destination: {port: 8080}}").await;
    assert_eq!(*allowed(&response), OkHttpResponse::default());
    assert_eq!(metadata(&response, "policy"), "shop/frontend");

    let request = "{method: DELETE, path: /orders/1, destination: {port: 8080}}";
    let response = server.check(request).await;
    assert_eq!(denied(&response).status.as_ref().unwrap().code, 403);
    assert_eq!(denied(&response).body, "RBAC: access denied");
    assert_eq!(metadata(&response, "policy"), "shop/no-deletes");

    let response = server.check("{connection: true, destination: {port: 3306}}").await;
    allowed(&response);
    let response = server.check("{connection: true, destination: {port: 8080}}").await;
    denied(&response);
    assert_eq!(metadata(&response, "reason"), "deny_rule");
    let response = server.check("{connection: true, destination: {port: 22}}").await;
    denied(&response);
    assert_eq!(metadata(&response, "reason"), "no_allow_rule");
}

/// What has no meaning is denied, and the connection lives on.
#[tokio::test]
async fn an_empty_message_is_denied() {
    let server = Server::of_shop(&[]).await;
    let response = server.ask(CheckRequest::default()).await.unwrap();
    assert_eq!(denied(&response).status.as_ref().unwrap().code, 403);
    assert_eq!(metadata(&response, "reason"), "malformed_request");
    assert_eq!(server.decision("path: /orders").await, "allow allow_rule");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_without_harm() {
    let server = Server::of_shop(&["--max-message-size", "128KiB"]).await;
    let mut client = AuthorizationClient::new(server.channel().await);
    let of_size = |size| {
        let value = "x".repeat(size);
        check_request(&format!("{{path: /orders, headers: {{x-large: {value}}}}}"))
    };
    allowed(client.check(of_size(120 * 1024)).await.unwrap().get_ref());
    let refused = client.check(of_size(130 * 1024)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    // The same connection still works.
    allowed(client.check(of_size(1)).await.unwrap().get_ref());
    let counted =
        server.metric(r#"postern_decisions_total{outcome="allow",reason="allow_rule"}"#).await;
    assert_eq!(counted, 2.0);
}

#[tokio::test]
async fn decisions_are_counted_by_reason() {
    let server = Server::of_shop(&[]).await;
    for (request, decision) in [
        ("{path: /orders}", "allow allow_rule"),
        ("{path: /orders}", "allow allow_rule"),
        ("{method: DELETE, destination: {port: 8080}}", "deny deny_rule"),
        ("{path: /other}", "deny no_allow_rule"),
        ("{path: other}", "deny malformed_request"),
    ] {
        assert_eq!(server.decision(request).await, decision, "{request}");
    }
    let counted = async |outcome: &str, reason: &str| {
        let labels = format!(r#"{{outcome="{outcome}",reason="{reason}"}}"#);
        server.metric(&format!("postern_decisions_total{labels}")).await
    };
    assert_eq!(counted("allow", "allow_rule").await, 2.0);
    assert_eq!(counted("deny", "deny_rule").await, 1.0);
    assert_eq!(counted("deny", "no_allow_rule").await, 1.0);
    assert_eq!(counted("deny", "malformed_request").await, 1.0);
    assert_eq!(counted("deny", "jwt").await, 0.0);
    assert_eq!(server.metric("postern_check_duration_seconds_count").await, 5.0);
    assert_eq!(server.metric("postern_snapshot_revision").await, 1.0);
}

/// What Envoy's filter could send and does not.
#[tokio::test]
async fn missing_inputs_are_counted() {
    let server = Server::of_shop(&[]).await;
    let mut check = check_request("{path: /orders, source: {principal: a/ns/b/sa/c}}");
    check.attributes.as_mut().unwrap().tls_session = None;
    allowed(&server.ask(check).await.unwrap());
    let (_, metrics) = server.get("/metrics").await;
    let missing: BTreeSet<_> =
        metrics.lines().filter(|l| l.starts_with("postern_missing_inputs_total")).collect();
    let counted = |input: &str, count: u8| {
        missing
            .contains(format!("postern_missing_inputs_total{{input=\"{input}\"}} {count}").as_str())
    };
    assert!(counted("include_peer_certificate", 1), "{missing:?}");
    assert!(counted("include_tls_session", 1), "{missing:?}");
    assert!(counted("encode_raw_headers", 0), "{missing:?}");
}

#[tokio::test]
async fn health_is_serving_and_then_not() {
    let server = Server::of_shop(&[]).await;
    let mut health = server.watch_health(AUTHORIZATION).await;
    while serving(&mut health).await.unwrap() != ServingStatus::Serving {}
    for service in ["", AUTHORIZATION] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let health = HealthClient::new(server.channel().await).check(request).await.unwrap();
        assert_eq!(health.get_ref().status(), ServingStatus::Serving, "`{service}`");
    }
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    let refused = HealthClient::new(server.channel().await).check(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);

    server.terminate();
    assert_eq!(serving(&mut health).await, Some(ServingStatus::NotServing));
    // Whoever watches does not keep it from ending.
    while let Some(status) = serving(&mut health).await {
        assert_eq!(status, ServingStatus::NotServing);
    }
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let server = Server::of_shop(&[]).await;
    let list = MessageRequest::ListServices(String::new());
    let MessageResponse::ListServicesResponse(list) = reflect(&server, list).await else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.iter().any(|name| name == AUTHORIZATION), "{names:?}");
    assert!(names.iter().any(|name| name == "grpc.health.v1.Health"), "{names:?}");

    let symbol = MessageRequest::FileContainingSymbol(AUTHORIZATION.to_owned());
    let MessageResponse::FileDescriptorResponse(files) = reflect(&server, symbol).await else {
        panic!("no description")
    };
    assert!(!files.file_descriptor_proto.is_empty());
}

async fn reflect(server: &Server, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

#[rstest]
#[case::these_labels("app=web,version=v1", "deny deny_rule")]
#[case::another_label("app=web,version=v2", "allow no_allow_policy")]
#[tokio::test]
async fn labels_select(#[case] labels: &str, #[case] decision: &str) {
    let folder = Folder::new();
    let policy = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web, version: v1}}
  action: DENY
  rules: [{}]
";
    folder.file("policies/web.yaml", policy);
    let server = Server::start(folder, &["--labels", labels]).await;
    assert_eq!(server.decision("{}").await, decision);
}

/// One server for several kinds of Envoy: each says which workload it stands before.
#[tokio::test]
async fn envoy_says_which_workload() {
    let folder = Folder::new();
    let policy = |namespace: &str, method: &str| {
        format!(
            "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: deny, namespace: {namespace}}}
spec: {{action: DENY, rules: [{{to: [{{operation: {{methods: [{method}]}}}}]}}]}}
"
        )
    };
    folder.file("policies/all.yaml", &(policy("shop", "GET") + &policy("bank", "POST")));
    let config = "
workloads:
- {namespace: bank, name: vault, labels: {app: vault}, addresses: [10.0.0.7], serviceAccount: vault}
- {namespace: shop, name: cart}
";
    folder.file("postern.yaml", config);
    let server = Server::start(folder, &["--config", "postern.yaml"]).await;

    let ask = async |extensions: &[(&str, &str)], method: &str| {
        let mut check = check_request(&format!("method: {method}"));
        let pairs = extensions.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        check.attributes.as_mut().unwrap().context_extensions = pairs.collect();
        metadata(&server.ask(check).await.unwrap(), "reason")
    };
    let bank = [("postern.namespace", "bank"), ("postern.labels", "app=vault")];
    assert_eq!(ask(&[], "GET").await, "deny_rule");
    assert_eq!(ask(&bank, "GET").await, "no_allow_policy");
    assert_eq!(ask(&bank, "POST").await, "deny_rule");
    assert_eq!(ask(&bank[..1], "GET").await, "unknown_workload");
    assert_eq!(ask(&[("postern.namespace", "nobody")], "GET").await, "unknown_workload");
    let name = |name| [("postern.workload", name)];
    assert_eq!(ask(&name("bank/vault"), "POST").await, "deny_rule");
    assert_eq!(ask(&name("bank/vault"), "GET").await, "no_allow_policy");
    assert_eq!(ask(&name("bank/nobody"), "POST").await, "unknown_workload");
    // Both, and they agree, or not.
    let both = [name("bank/vault").as_slice(), &bank].concat();
    assert_eq!(ask(&both, "POST").await, "deny_rule");
    let both = [name("shop/cart").as_slice(), &bank].concat();
    assert_eq!(ask(&both, "POST").await, "unknown_workload");
    let (_, metrics) = server.get("/metrics").await;
    for sample in [
        r#"postern_workload_decisions_total{workload="bank/vault",outcome="deny"} 3"#,
        r#"postern_decisions_total{outcome="deny",reason="unknown_workload"} 4"#,
    ] {
        assert!(metrics.contains(sample), "{sample}: {metrics}");
    }
}

/// One server for the Envoys of a node: each request says where it was sent to.
#[tokio::test]
async fn the_destination_says_which_workload() {
    let folder = Folder::new();
    let policy = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: bank}
spec:
  targetRefs: [{kind: Service, group: '', name: vault}]
  action: DENY
  rules: [{to: [{operation: {methods: [POST]}}]}]
";
    folder.file("policies/all.yaml", policy);
    let config = "
workloadFrom: destination
workloads:
- namespace: bank
  name: vault
  services: [vault]
  addresses: [10.0.0.7]
  serviceAccount: vault
- {namespace: bank, name: desk, addresses: [10.0.0.8]}
";
    folder.file("postern.yaml", config);
    let server = Server::start(folder, &["--config", "postern.yaml"]).await;
    let ask = async |destination: &str| {
        let check = check_request(&format!("{{method: POST, destination: {{{destination}}}}}"));
        metadata(&server.ask(check).await.unwrap(), "reason")
    };
    assert_eq!(ask("ip: 10.0.0.7, port: 80").await, "deny_rule");
    assert_eq!(ask("ip: 10.0.0.8, port: 80").await, "no_allow_policy");
    assert_eq!(ask("ip: 10.0.0.9, port: 80").await, "unknown_workload");
    let mut check = check_request("{method: POST, destination: {ip: 10.0.0.9, port: 80}}");
    let destination = check.attributes.as_mut().unwrap().destination.as_mut().unwrap();
    destination.principal = "spiffe://cluster.local/ns/bank/sa/vault".into();
    assert_eq!(metadata(&server.ask(check).await.unwrap(), "reason"), "deny_rule");
}

#[tokio::test]
async fn the_mesh_config_gives_meaning() {
    let folder = Folder::new();
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: everywhere, namespace: mesh}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin]}}]
  - from: [{source: {principals: [new.example/ns/shop/sa/web]}}]
";
    folder.file("policies/mesh.yaml", policies);
    let mesh = "
rootNamespace: mesh
trustDomain: new.example
trustDomainAliases:
- old.example
pathNormalization:
  normalization: MERGE_SLASHES
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
";
    folder.file("mesh.yaml", mesh);
    let server = Server::start(folder, &["--mesh-config", "mesh.yaml"]).await;
    assert_eq!(server.decision("path: //x/../admin").await, "deny deny_rule");
    let alias = "source: {principal: old.example/ns/shop/sa/web}";
    assert_eq!(server.decision(alias).await, "deny deny_rule");
    assert_eq!(server.decision("{}").await, "allow no_allow_policy");
    let (_, dump) = server.get("/config_dump").await;
    assert!(dump.contains("MERGE_SLASHES") && dump.contains("old.example"), "{dump}");
}

/// Each path is allowed to one client.
const BY_CLIENT: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clients, namespace: shop}
spec:
  rules:
  - {to: [{operation: {paths: [/peer]}}], from: [{source: {remoteIpBlocks: [127.0.0.5]}}]}
  - {to: [{operation: {paths: [/nine]}}], from: [{source: {remoteIpBlocks: [9.9.9.9]}}]}
  - {to: [{operation: {paths: [/eight]}}], from: [{source: {remoteIpBlocks: [8.8.8.8]}}]}
  - {to: [{operation: {paths: [/one]}}], when: [{key: remote.ip, values: [1.1.1.1]}]}
  - {to: [{operation: {paths: [/two]}}], when: [{key: remote.ip, values: [2.2.2.2]}]}
  - {to: [{operation: {paths: [/three]}}], when: [{key: remote.ip, values: [3.3.3.3]}]}
  - {to: [{operation: {paths: [/six]}}], when: [{key: remote.ip, values: ['2001:db8::/32']}]}
";

/// What clients send, and who they are by `use_remote_address` false and true with 0, 1 and 2 hops.
const CLIENTS: [(&str, [&str; 6]); 10] = [
    ("", ["peer", "peer", "peer", "peer", "peer", "peer"]),
    ("garbage", ["peer", "peer", "peer", "peer", "peer", "peer"]),
    ("9.9.9.9:1234", ["peer", "peer", "peer", "peer", "peer", "peer"]),
    ("9.9.9.9", ["nine", "peer", "peer", "peer", "nine", "peer"]),
    ("9.9.9.9, 8.8.8.8", ["eight", "nine", "peer", "peer", "eight", "nine"]),
    ("1.1.1.1,2.2.2.2,3.3.3.3", ["three", "two", "one", "peer", "three", "two"]),
    ("9.9.9.9, garbage", ["peer", "nine", "peer", "peer", "peer", "nine"]),
    ("9.9.9.9,", ["peer", "nine", "peer", "peer", "peer", "nine"]),
    ("9.9.9.9, [2001:db8::1]:80", ["peer", "nine", "peer", "peer", "peer", "nine"]),
    ("2001:db8::1", ["six", "peer", "peer", "peer", "six", "peer"]),
];

fn gateway_behind(proxies: u8) -> String {
    format!("defaultConfig: {{gatewayTopology: {{numTrustedProxies: {proxies}}}}}")
}

#[rstest]
#[case::default(0, &[], "{}")]
#[case::flag(1, &["--xff-num-trusted-hops", "1"], "{}")]
#[case::mesh_config_of_a_sidecar(0, &["--mesh-config", "file"], &gateway_behind(2))]
#[case::config_file(2, &["--config", "file"], "xffNumTrustedHops: 2")]
#[case::edge(3, &["--use-remote-address", "true"], "{}")]
#[case::mesh_config_without_proxies(
    3,
    &["--use-remote-address", "true", "--mesh-config", "file"],
    &gateway_behind(0)
)]
#[case::mesh_config(
    4,
    &["--use-remote-address", "true", "--mesh-config", "file"],
    &gateway_behind(1)
)]
#[case::mesh_config_and_two_proxies(
    5,
    &["--use-remote-address", "true", "--mesh-config", "file"],
    &gateway_behind(2)
)]
#[case::flag_over_mesh_config(
    4,
    &["--use-remote-address", "true", "--xff-num-trusted-hops", "1", "--mesh-config", "file"],
    &gateway_behind(2)
)]
#[tokio::test]
async fn the_client_is_who_the_settings_say(
    #[case] column: usize,
    #[case] arguments: &[&str],
    #[case] file: &str,
) {
    let folder = Folder::new();
    folder.file("policies/clients.yaml", BY_CLIENT);
    folder.file("file", file);
    let server = Server::start(folder, arguments).await;
    let appends = arguments.contains(&"--use-remote-address");
    for (sent, clients) in CLIENTS {
        for path in ["peer", "nine", "eight", "one", "two", "three", "six"] {
            // As Envoy has it when it asks.
            let header = match (sent, appends) {
                ("", true) => "127.0.0.5".to_owned(),
                (sent, true) => format!("{sent},127.0.0.5"),
                (sent, false) => sent.to_owned(),
            };
            let request = format!(
                "{{path: /{path}, source: {{ip: 127.0.0.5}}, \
                 headers: {{x-forwarded-for: '{header}'}}}}"
            );
            let is_client = clients.get(column) == Some(&path);
            let expected = if is_client { "allow allow_rule" } else { "deny no_allow_rule" };
            assert_eq!(server.decision(&request).await, expected, "`{sent}` at {path}");
        }
    }
}

#[tokio::test]
async fn the_client_is_who_the_header_says() {
    let folder = Folder::new();
    folder.file("policies/clients.yaml", BY_CLIENT);
    let server = Server::start(folder, &["--client-address-header", "X-Client"]).await;
    let nine = "{path: /nine, headers: {x-client: 9.9.9.9}}";
    let response = server.check(nine).await;
    assert_eq!(allowed(&response).headers_to_remove, ["x-client"]);
    let unknown = "{path: /nine, headers: {x-forwarded-for: 9.9.9.9}}";
    assert_eq!(server.decision(unknown).await, "deny no_allow_rule");
    let missing = "postern_missing_inputs_total{input=\"client_address_header\"}";
    assert_eq!(server.metric(missing).await, 1.0);
}

/// What becomes of paths, in the words of the mesh config and of the flag.
#[rstest]
#[case::none("NONE", ["//a//b", "/a/../b", "/a%2fb", "/%61", "/a\\b", "/a%00b"])]
#[case::base("BASE", ["//a//b", "/b", "/a%2fb", "/a", "/a/b", "400"])]
#[case::default("DEFAULT", ["//a//b", "/b", "/a%2fb", "/a", "/a/b", "400"])]
#[case::merge("MERGE_SLASHES", ["/a/b", "/b", "/a%2fb", "/a", "/a/b", "400"])]
#[case::decode("DECODE_AND_MERGE_SLASHES", ["/a/b", "/b", "/a/b", "/a", "/a/b", "400"])]
#[tokio::test]
async fn paths_are_normalised_as_the_settings_say(
    #[case] mode: &str,
    #[case] expected: [&str; 6],
    #[values("flag", "mesh config", "config file")] set_by: &str,
) {
    let folder = Folder::new();
    // Each path denied by a rule of its own, whose number then says what became of it.
    let all = ["//a//b", "/a/../b", "/a%2fb", "/%61", "/a\\b", "/a%00b", "/b", "/a", "/a/b"];
    let rules: String = all
        .iter()
        .map(|path| format!("  - to: [{{operation: {{paths: ['{path}']}}}}]\n"))
        .collect();
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                  metadata: {name: all, namespace: shop}\nspec:\n  action: DENY\n  rules:\n";
    folder.file("policies/all.yaml", &format!("{policy}{rules}"));
    folder.file("mesh", &format!("pathNormalization: {{normalization: {mode}}}"));
    folder.file("config", &format!("pathNormalization: {mode}"));
    let arguments = match set_by {
        "flag" => ["--path-normalization", mode],
        "mesh config" => ["--mesh-config", "mesh"],
        _ => ["--config", "config"],
    };
    let server = Server::start(folder, &arguments).await;
    for (sent, expected) in all.into_iter().zip(expected) {
        let response = server.check(&format!("path: '{sent}'")).await;
        let denied = denied(&response);
        let found = match denied.status.as_ref().unwrap().code {
            403 => {
                let rule = number(&response, "rule");
                all.into_iter().nth(rule).unwrap()
            }
            400 => "400",
            other => panic!("{other}"),
        };
        assert_eq!(found, expected, "{sent}");
    }
}

/// A key source that answers when told to, with this status.
async fn slow_keys() -> (String, watch::Sender<Option<StatusCode>>) {
    let (answer, asked) = watch::channel(None);
    let handler = async move || {
        let mut asked = asked.clone();
        let status = asked.wait_for(Option::is_some).await.unwrap().unwrap();
        (status, r#"{"keys":[]}"#)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/keys", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/keys", get(handler));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (uri, answer)
}

#[rstest]
#[case::well(StatusCode::OK)]
#[case::badly(StatusCode::INTERNAL_SERVER_ERROR)]
#[tokio::test]
async fn readiness_waits_for_the_first_keys(#[case] status: StatusCode) {
    let (uri, answer) = slow_keys().await;
    let folder = Folder::new();
    let policies = format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: shop}}
spec:
  jwtRules:
  - issuer: https://issuer.example
    jwksUri: {uri}
    timeout: 60s
"
    );
    folder.file("policies/tokens.yaml", &policies);
    let server = Server::start(folder, &[]).await;

    let mut health = server.watch_health(AUTHORIZATION).await;
    assert_eq!(serving(&mut health).await, Some(ServingStatus::NotServing));
    let (ready, why) = server.get("/readyz").await;
    assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("key sets are being fetched"), "{why}");
    assert_eq!(server.get("/livez").await.0, StatusCode::OK);
    // Who asks all the same gets an answer, and a closed one.
    assert_eq!(server.decision("{}").await, "allow no_allow_policy");
    assert_eq!(server.decision("token: a.b.c").await, "deny jwt");

    answer.send(Some(status)).unwrap();
    assert_eq!(serving(&mut health).await, Some(ServingStatus::Serving));
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);
    drop(server);
}

/// A file that changes while Envoy asks.
#[tokio::test]
async fn a_new_policy_is_enforced() {
    let server = Server::of_shop(&[]).await;
    let mut client = AuthorizationClient::new(server.channel().await);
    let check = check_request("path: /orders");
    allowed(client.check(check.clone()).await.unwrap().get_ref());
    server.folder.file("policies/shop.yaml", &SHOP.replace("/orders*", "/nothing"));
    let until_denied =
        async { while allows(client.check(check.clone()).await.unwrap().get_ref()) {} };
    timeout(Duration::from_secs(60), until_denied).await.unwrap();
    assert_eq!(server.metric("postern_snapshot_revision").await, 2.0);
}

fn allows(response: &CheckResponse) -> bool {
    response.status.as_ref().unwrap().code == i32::from(Code::Ok)
}
