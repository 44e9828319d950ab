//! The decision log of the built binary: what is in it, what never is, and that none is lost.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

mod blackbox;
#[path = "blackbox/served.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod served;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use blackbox::Folder;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use postern::extauthz::DESCRIPTORS;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value as Json;

use served::{Server, check_request};

const SHOP: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to: [{operation: {methods: [GET], paths: ["/orders*"]}}]
    when: [{key: "request.headers[x-tenant]", values: [blue]}]
  - to: [{operation: {ports: ["3306"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: secrets, namespace: shop}
spec:
  action: DENY
  rules:
  - when: [{key: "request.headers[cookie]", values: [forbidden]}]
"#;

async fn of_shop(arguments: &[&str]) -> Server {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    Server::start(&folder, arguments).await
}

/// The next event, which is one of the schema.
async fn event(server: &mut Server) -> Json {
    of_schema(&server.line().await)
}

/// The line, which has no field that proto/postern/v1/decision.proto does not have.
fn of_schema(line: &str) -> Json {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let decision = pool.get_message_by_name("postern.v1.Decision").unwrap();
    let mut json = serde_json::Deserializer::from_str(line);
    DynamicMessage::deserialize(decision, &mut json).unwrap_or_else(|e| panic!("{e}\n{line}"));
    serde_json::from_str(line).unwrap()
}

fn without_times(said: &str) -> String {
    let word = |word: &str| {
        let is_time = word.starts_with("20") && word.ends_with('Z') && word.contains('T');
        if is_time { "TIME".to_owned() } else { word.to_owned() }
    };
    said.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Without what is different each time.
fn stable(mut event: Json) -> String {
    let members = event.as_object_mut().unwrap();
    assert!(members.remove("time").unwrap().as_str().unwrap().ends_with('Z'));
    assert!(members.remove("postern.duration").unwrap().as_f64().unwrap() < 10.0);
    format!("{event:#}")
}

#[tokio::test]
async fn an_event_has_all_that_decided_and_no_secret() {
    let mut server = of_shop(&["--decision-log", "stdout"]).await;
    server
        .check(
            "{method: GET, path: /orders/7?page=2, host: 'shop.example.com:8080', \
             headers: {x-tenant: [blue, red], cookie: 'session=s3cr3t', \
             authorization: 'Bearer t0k3n', x-request-id: a1, \
             traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01}, \
             source: {ip: 10.1.2.3, principal: cluster.local/ns/web/sa/frontend}, \
             destination: {ip: 10.0.0.7, port: 8080}, sni: Shop.Example.com}",
        )
        .await;
    let event = stable(event(&mut server).await);
    insta::assert_snapshot!(event, @r#"
    {
      "postern.schema": "decision/1",
      "postern.redacted": [
        "url.query",
        "http.request.header.cookie"
      ],
      "trace_id": "0af7651916cd43dd8448eb211c80319c",
      "span_id": "b7ad6b7169203331",
      "trace_flags": "01",
      "postern.outcome": "allow",
      "postern.reason": "allow_rule",
      "postern.policy": "shop/readers",
      "postern.rule": 0,
      "postern.revision": 1,
      "postern.workload": {
        "namespace": "shop",
        "labels": {}
      },
      "network.peer.address": "10.1.2.3",
      "client.address": "10.1.2.3",
      "network.local.address": "10.0.0.7",
      "network.local.port": 8080,
      "tls.client.server_name": "shop.example.com",
      "postern.peer.names": [
        "spiffe://cluster.local/ns/web/sa/frontend"
      ],
      "postern.missing_inputs": [
        "include_peer_certificate"
      ],
      "http.request.method": "GET",
      "url.scheme": "http",
      "server.address": "shop.example.com",
      "server.port": 8080,
      "url.path": "/orders/7",
      "http.request.header": {
        "x-tenant": [
          "blue",
          "red"
        ],
        "x-request-id": [
          "a1"
        ]
      },
      "postern.authentication": {
        "result": "none",
        "rules": "0000000000000000"
      }
    }
    "#);
}

#[tokio::test]
async fn every_kind_of_decision_is_logged() {
    let mut server = of_shop(&["--decision-log", "stdout"]).await;
    let fields = |event: &Json| {
        let shown =
            ["postern.outcome", "postern.reason", "http.response.status_code", "postern.error"];
        let shown = shown.map(|name| event.get(name).map(ToString::to_string).unwrap_or_default());
        shown.join(" ").replace('"', "")
    };
    let mut seen = Vec::new();
    for request in
        ["{path: /admin}", "{connection: true, destination: {port: 3306}}", "{path: admin}"]
    {
        server.check(request).await;
        seen.push(fields(&event(&mut server).await));
    }
    let mut unknown = check_request("{path: /orders}");
    let extensions = &mut unknown.attributes.as_mut().unwrap().context_extensions;
    extensions.insert("postern.namespace".into(), "elsewhere".into());
    server.ask(unknown).await;
    seen.push(fields(&event(&mut server).await));
    server.ask(CheckRequest::default()).await;
    seen.push(fields(&event(&mut server).await));
    assert_eq!(
        seen,
        [
            "deny no_allow_rule 403 ",
            // As Istio has it: without HTTP the condition on a header is none.
            "deny deny_rule 403 ",
            "deny malformed_request 403 the path does not start with a slash",
            "deny unknown_workload 403 ",
            "deny malformed_request 403 the message has no attributes",
        ]
    );
}

#[tokio::test]
async fn what_was_decided_is_written_before_it_ends() {
    let server = of_shop(&["--decision-log", "stdout"]).await;
    for number in 0..50 {
        server.check(&format!("{{path: /orders/{number}}}")).await;
    }
    let events: Vec<_> = server.ended().await.iter().map(|line| of_schema(line)).collect();
    let paths: Vec<_> = events.iter().map(|event| event["url.path"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..50).map(|number| format!("/orders/{number}")).collect();
    assert_eq!(paths, expected);
}

#[tokio::test]
async fn outcomes_are_sampled() {
    let arguments = ["--decision-log", "stdout", "--decision-log-sample", "allow=0"];
    let server = of_shop(&arguments).await;
    server.check("{path: /orders, headers: {x-tenant: blue}}").await;
    server.check("{path: /admin}").await;
    let events: Vec<_> = server.ended().await.iter().map(|line| of_schema(line)).collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["postern.outcome"], "deny");
}

#[tokio::test]
async fn into_a_file_that_only_its_owner_reads() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    let arguments = ["--decision-log", "file:decisions.log", "--decision-log-redact", "x-tenant"];
    let server = Server::start(&folder, &arguments).await;
    server.check("{path: /orders, headers: {x-tenant: blue}}").await;
    assert!(server.ended().await.is_empty(), "stdout is not where it goes");
    let path = folder.path().join("decisions.log");
    let line = fs::read_to_string(&path).unwrap();
    let event = of_schema(line.trim());
    assert_eq!(event["postern.redacted"], serde_json::json!(["http.request.header.x-tenant"]));
    assert!(!line.contains("blue"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_at_once() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    let mut command = folder.postern();
    command.args(["serve", "--policies", "policies", "--decision-log", "file:no/such/folder"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot write decisions to `no/such/folder` (--decision-log)"), "{said}");
}

#[tokio::test]
async fn what_was_logged_can_be_replayed() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    let server = Server::start(&folder, &["--decision-log", "file:decisions.log"]).await;
    let requests = [
        "{path: /orders/1, headers: {x-tenant: blue}}",
        "{path: /orders/2, headers: {x-tenant: red}}",
        "{path: /orders/3, headers: {x-tenant: [blue], cookie: s3cret}}",
        "{path: admin}",
        "{connection: true, destination: {port: 3306}}",
        "{connection: true, destination: {port: 3307}}",
    ];
    for request in requests {
        server.check(request).await;
    }
    drop(server.ended().await);
    folder.file("new.yaml", &SHOP.replace("values: [blue]", "values: [red]"));
    let replay = |policies: &str| {
        let mut command = folder.postern();
        let output = command.args(["replay", "decisions.log", "--policies", policies]).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let talk = String::from_utf8(output.stderr).unwrap();
        format!("{}{talk}exit {}", without_times(&said), output.status.code().unwrap())
    };
    insta::assert_snapshot!(replay("policies"), @r#"
    records      6 of decisions.log
    before       2 allowed, 4 denied
    after        1 allowed, 4 denied
    changed      0 lose access, 0 gain access
    unaffected   1 malformed, or of no known workload
    cannot tell  1 what decides was not recorded:
                 1 http.request.header.cookie
    exit 0
    "#);
    insta::assert_snapshot!(replay("new.yaml"), @r#"
    records      6 of decisions.log
    before       2 allowed, 4 denied
    after        1 allowed, 5 denied
    changed      2 lose access, 1 gain access
    unaffected   1 malformed, or of no known workload

    loses access
      1          allow_rule shop/readers rules[0] -> for a reason that was not recorded
                 line 3  TIME  GET /orders/3
      1          allow_rule shop/readers rules[0] -> no_allow_rule
                 line 1  TIME  GET /orders/1

    gains access
      1          no_allow_rule -> allow_rule shop/readers rules[0]
                 line 2  TIME  GET /orders/2
    exit 1
    "#);
}
