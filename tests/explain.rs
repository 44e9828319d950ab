//! `postern explain`, and requests that `postern check` takes from flags and from recordings.

#![expect(clippy::unwrap_used, reason = "test support functions")]

mod blackbox;
#[path = "blackbox/ran.rs"]
mod ran;

use blackbox::Folder;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use insta::assert_snapshot;
use postern::extauthz::ClientAddress;
use postern::request_file::{RequestFile, recorded};
use prost::Message as _;
use ran::{Ran, ran};
use rstest::rstest;

const POLICIES: &str = r#"apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [{issuer: https://issuer.example, jwks: '{"keys": []}'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], hosts: ["*.example.com"], paths: [/orders/*]}}]
  - from: [{source: {requestPrincipals: ["https://issuer.example/*"]}}]
    when: [{key: 'request.auth.claims[groups]', values: [admins]}]
  - to: [{operation: {paths: [/admin/metrics]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin*]}}]}]}
"#;

fn postern(arguments: &[&str]) -> Ran {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    in_folder(&folder, arguments)
}

fn in_folder(folder: &Folder, arguments: &[&str]) -> Ran {
    let mut command = folder.postern();
    command.args(arguments).args(["--namespace", "shop", "--policies", "policies"]);
    ran(&mut command)
}

const WEB: &str = "cluster.local/ns/shop/sa/web";
const ORDER: &str = "https://a.example.com/orders/1?page=2";

#[rstest]
#[case::url(&[ORDER], 0)]
#[case::method(&["GET", ORDER], 0)]
#[case::post(&["POST", ORDER], 1)]
#[case::host(&["/orders/1", "-H", "Host: b.example.com"], 0)]
#[case::no_host(&["/orders/1"], 1)]
#[case::port_in_host(&["https://a.example.com:8443/orders/1"], 1)]
#[case::no_path(&["http://a.example.com?x"], 1)]
fn requests_are_said_as_with_curl(#[case] request: &[&str], #[case] code: i32) {
    let arguments = [&["check", "--from", WEB], request].concat();
    let ran = postern(&arguments);
    assert_eq!(ran.code, code, "{}", ran.stderr);
}

#[rstest]
#[case::nothing(&[], "there is no request")]
#[case::no_url(&["shop.example.com"], "a URL begins with https://")]
#[case::other_scheme(&["ftp://a/b"], "a URL begins with https://")]
#[case::user(&["http://a@b/c"], "a URL begins with https://")]
#[case::header(&["/", "-H", "x-a"], "a header is `name: value`")]
#[case::no_name(&["/", "-H", ": a"], "a header is `name: value`")]
#[case::time(&["/", "--now", "noon"], "2026-05-01T12:00:00Z")]
#[case::from(&["/", "--from", ""], "a name is never empty")]
#[case::both(&["/", "--request", "x.yaml"], "cannot be used with")]
#[case::connection(&["/", "--connection"], "cannot be used with")]
#[case::after_policies(&["--policies", "policies", "GET", "http://a/b"], "before --policies")]
fn what_is_no_request_is_said_to_be_none(#[case] request: &[&str], #[case] problem: &str) {
    let ran = postern(&[&["check"], request].concat());
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains(problem), "{}", ran.stderr);
}

/// Ranked, and each with a change that allows, or with what stands in its way.
#[test]
fn misses_are_ranked() {
    let ran = postern(&["explain", "--from", WEB, "POST", ORDER]);
    assert_eq!(ran.code, 1);
    assert_snapshot!(ran.stdout, @"
    DENY   ALLOW policies hold, and none of their rules matches
           nearest: AuthorizationPolicy/shop/readers rules[0]
           policies/shop.yaml:12:33: to.operation.methods: wants `GET`; the request has `POST`
           would be allowed with method `GET`

    nearest misses:
      1. AuthorizationPolicy/shop/readers rules[0]
         policies/shop.yaml:12:33: to.operation.methods: wants `GET`; the request has `POST`
         would be allowed with method `GET`
      2. AuthorizationPolicy/shop/readers rules[2]
         policies/shop.yaml:15:31: to.operation.paths: wants `/admin/metrics`; the request has `/orders/1`
         would match with path `/admin/metrics`, and be denied: AuthorizationPolicy/shop/no-admin rules[0]
      3. AuthorizationPolicy/shop/readers rules[1]
         policies/shop.yaml:13:42: from.source.requestPrincipals: wants `https://issuer.example/*`; the request has none
         policies/shop.yaml:14:58: when[request.auth.claims[groups]].values: wants `admins`; the request has none
         would be allowed with token `https://issuer.example/x`, token claim groups `admins`

    mutual TLS (PERMISSIVE): the peer is `spiffe://cluster.local/ns/shop/sa/web`
    token: none
    AuthorizationPolicy/shop/no-admin rules[0] (DENY): does not match
        policies/shop.yaml:20:57: to.operation.paths: wants `/admin*`; the request has `/orders/1`
    AuthorizationPolicy/shop/readers rules[0] (ALLOW): does not match
        policies/shop.yaml:12:33: to.operation.methods: wants `GET`; the request has `POST`
    AuthorizationPolicy/shop/readers rules[1] (ALLOW): does not match
        policies/shop.yaml:13:42: from.source.requestPrincipals: wants `https://issuer.example/*`; the request has none
        policies/shop.yaml:14:58: when[request.auth.claims[groups]].values: wants `admins`; the request has none
    AuthorizationPolicy/shop/readers rules[2] (ALLOW): does not match
        policies/shop.yaml:15:31: to.operation.paths: wants `/admin/metrics`; the request has `/orders/1`
    ");
}

#[test]
fn misses_for_programs() {
    let ran = postern(&["explain", "--misses=1", "--output=json", "--from", WEB, "POST", ORDER]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["misses"].as_array().unwrap().len(), 1);
    assert_eq!(
        json["misses"][0]["changes"],
        serde_json::json!([{"input": "method", "value": "GET"}])
    );
    assert_eq!(json["misses"][0]["then"]["decision"], "allow");
}

fn recorded_request() -> CheckRequest {
    let text = format!("{{host: a.example.com, path: /orders/1, source: {{principal: {WEB}}}}}");
    RequestFile::read(&text, None).unwrap().check_request(ClientAddress::default())
}

#[test]
fn recorded_check_requests_are_read() {
    let check = recorded_request();
    let json = recorded::to_json(&check).unwrap();
    assert_eq!(recorded::from_json(json.as_bytes()).unwrap(), check);
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    folder.file("check.json", &json);
    std::fs::write(folder.path().join("check.bin"), check.encode_to_vec()).unwrap();
    for name in ["check.json", "check.bin"] {
        let ran = in_folder(&folder, &["check", "--request", name]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
    }
    let pieces = [("{\"attributes\": 7}", "no CheckRequest"), ("\u{1}\u{2}", "no CheckRequest")];
    for (content, problem) in pieces {
        folder.file("check.json", content);
        let ran = in_folder(&folder, &["check", "--request", "check.json"]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains(problem), "{}", ran.stderr);
    }
}
