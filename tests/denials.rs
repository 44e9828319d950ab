//! What refused callers get through a real Envoy, as configured.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

#[path = "blackbox/behind_envoy.rs"]
mod behind_envoy;
mod blackbox;
#[path = "conformance/envoy_process.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod envoy_process;
#[path = "conformance/http1.rs"]
mod http1;
#[path = "blackbox/served.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod served;

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use behind_envoy::start;
use blackbox::Folder;
use http1::Body;
use served::Server;

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec: {rules: [{to: [{operation: {methods: [GET, POST]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-teapots
  namespace: shop
  annotations:
    postern.dev/deny-status: "404"
    postern.dev/deny-body: |
      {"error": "no such pot"}
    postern.dev/deny-headers: |
      content-type: application/json
      cache-control: no-store
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/teapot]}}]}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [{issuer: i, jwks: '{"keys": []}'}]}
"#;

const CONFIG: &str = r#"
denials:
  annotations: true
  body: "ask the shop\n"
  headers: {x-contact: shop@example.com, set-cookie: denied=1}
  workloads:
  - namespace: other
    status: 401
  reasonHeader: {addresses: [127.0.0.0/8]}
"#;

/// Status, headers and body of an answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(known, _)| known == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }
}

async fn ask(to: SocketAddr, line: &str, header: &str) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request =
        format!("{line} HTTP/1.1\r\nhost: shop.example\r\n{header}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = http1::read(&mut stream, Body::Response).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = text(&answer.first_line);
    Answer {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: answer.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        body: text(&answer.body),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_get_what_is_configured() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    folder.file("postern.yaml", CONFIG);
    let arguments = ["--use-remote-address", "true", "--config", "postern.yaml"];
    let postern = Server::start(&folder, &arguments).await;
    let (_envoy, listener) = start("tcp.yaml", &postern).await;

    let allowed = ask(listener, "GET /", "").await;
    assert_eq!(allowed.status, 200);
    assert!(
        allowed.header("x-contact").is_empty() && allowed.header("x-postern-reason").is_empty()
    );

    let not_allowed = ask(listener, "PUT /", "").await;
    assert_eq!((not_allowed.status, &*not_allowed.body), (403, "ask the shop\n"));
    assert_eq!(not_allowed.header("x-contact"), ["shop@example.com"]);
    assert_eq!(not_allowed.header("set-cookie"), ["denied=1"]);
    assert_eq!(not_allowed.header("x-postern-reason"), ["no_allow_rule"]);

    let hidden = ask(listener, "GET /teapot", "x-postern-reason: forged\r\n").await;
    assert_eq!((hidden.status, &*hidden.body), (404, "{\"error\": \"no such pot\"}\n"));
    assert_eq!(hidden.header("content-type"), ["application/json"]);
    assert_eq!(hidden.header("cache-control"), ["no-store"]);
    assert!(hidden.header("x-contact").is_empty());
    let why = "deny_rule; policy=shop/no-teapots; rule=0";
    assert_eq!(hidden.header("x-postern-reason"), [why]);

    let bad_token = ask(listener, "GET /", "authorization: Bearer x\r\n").await;
    assert_eq!(bad_token.status, 401);
    let challenge = "Bearer realm=\"http://shop.example/\", error=\"invalid_token\"";
    assert_eq!(bad_token.header("www-authenticate"), [challenge]);
    assert!(bad_token.body.starts_with("Jwt is not in the form"), "{bad_token:?}");

    // A client of gRPC learns its status from trailers, or from headers where there is nothing else.
    let grpc = ask(listener, "POST /teapot", "content-type: application/grpc\r\n").await;
    assert_eq!((grpc.status, &*grpc.body), (200, ""));
    // UNIMPLEMENTED is what Envoy makes of 404.
    assert_eq!(grpc.header("grpc-status"), ["12"]);
    assert_eq!(grpc.header("grpc-message").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_configuration_answers_are_native() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    let postern = Server::start(&folder, &["--use-remote-address", "true"]).await;
    let (_envoy, listener) = start("tcp.yaml", &postern).await;
    let hidden = ask(listener, "GET /teapot", "").await;
    assert_eq!((hidden.status, &*hidden.body), (403, "RBAC: access denied"));
    assert!(hidden.header("x-postern-reason").is_empty());
    assert_eq!(hidden.header("content-type"), ["text/plain"]);
}

#[test]
fn check_shows_what_the_caller_gets() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    folder.file("postern.yaml", CONFIG);
    let check = |url: &str, more: &[&str]| {
        let mut command = folder.postern();
        command.args(["check", "GET", url, "--policies", "policies", "--namespace", "shop"]);
        let output = command.args(["--config", "postern.yaml"]).args(more).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (code, text) = check("http://shop.example/teapot", &[]);
    assert_eq!(code, 1, "{text}");
    let refusal = "\nthe caller gets 404\n  content-type: application/json\n  \
                   cache-control: no-store\n  | {\"error\": \"no such pot\"}\n";
    assert!(text.ends_with(refusal), "{text}");
    let (_, text) = check("http://shop.example/", &[]);
    assert!(!text.contains("the caller gets"), "{text}");
    let (_, text) = check("http://shop.example/teapot", &["--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["refusal"]["status"], 404);
    assert_eq!(json["refusal"]["headers"]["cache-control"], "no-store");
}
