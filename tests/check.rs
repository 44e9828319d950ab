//! `postern check` as a user runs it: what it prints, and how it ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test support functions")]

mod blackbox;

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use axum::http::StatusCode;
use axum::routing::get;
use blackbox::Folder;
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::Value;
use tokio::net::TcpListener;

const SHOP: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: frontend, namespace: shop}
spec:
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/shop/sa/web, cluster.local/ns/shop/sa/app]
        notIpBlocks: [10.9.0.0/16]
    to:
    - operation: {methods: [GET], paths: ["/orders*"]}
  - to:
    - operation: {paths: [/health], ports: ["8080"]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/admin*"], ports: ["8080"]}}]
"#;

const WEB: &str = "{path: /orders/1, destination: {port: 8080}, \
                   source: {ip: 10.1.1.1, principal: cluster.local/ns/shop/sa/web}}";

/// A token of alice for the keys of [`TOKENS`], for ever.
const ALICE: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UifQ.t1lZAZaFxt1RN-m7W_pmiCd4Rgn5VN5s2f6hfs8qsW69xHofh3swXGeYj-6FFJ-1dXlKwonGAriFkHVlFNp1Ag";
/// The same, until June 2020.
const EXPIRED: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJleHAiOjE1OTA5Njk2MDB9.Ec8zhNDcyJ3wkAlBDqcB5ibXdf3cmRsamySrqaQAkYPX8gW0ADkaXgP0GUxt2E4CHrYXEgWQ04h0Qp2WqBQdBg";

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"ImjHZ8WJ0g5JgEDtIZvtesx1ly4KZNLlyNnA409_mY8"}]}"#;

fn tokens(source_of_keys: &str) -> String {
    format!(
        r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: shop}}
spec:
  jwtRules:
  - issuer: https://issuer.example
    {source_of_keys}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: members, namespace: shop}}
spec:
  rules:
  - from: [{{source: {{requestPrincipals: ["https://issuer.example/*"]}}}}]
"#
    )
}

/// What a run that has ended left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Runs to the end.
    fn of(command: &mut Command, stdin: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who does not read it has ended already.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Self {
            code: output.status.code().expect("not ended by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// All of it as one text.
    fn shown(&self) -> String {
        let Self { code, stdout, stderr } = self;
        let mut shown = stdout.clone();
        if !stderr.is_empty() {
            shown.push_str("--- stderr\n");
            shown.push_str(stderr);
        }
        format!("{shown}--- {code}")
    }
}

/// `postern check` of a request in the namespace `shop`.
fn check(policies: &str, request: &str, arguments: &[&str]) -> Ran {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", policies);
    folder.file("request.yaml", request);
    check_in(&folder, arguments)
}

fn check_in(folder: &Folder, arguments: &[&str]) -> Ran {
    let mut command = folder.postern();
    command.args(["check", "--policies", "policies", "--request", "request.yaml"]);
    command.args(["--namespace", "shop"]).args(arguments);
    Ran::of(&mut command, "")
}

#[test]
fn help() {
    let ran = Ran::of(Folder::new().postern().args(["check", "--help"]), "");
    assert_snapshot!(ran.shown(), @r#"
    Decide one request by a set of policies, without a server

    Ends with 0 if the request is allowed, 1 if it is denied, 2 if that could not be found out.

    A request is YAML or JSON, and every field of it has a default; `{}` is a plain `GET /`:

      method: GET
      path: /orders?page=2
      host: shop.example.com
      scheme: https
      headers: {x-version: "2", x-role: [a, b]}  # values are strings; a list repeats the header
      token: eyJhbGciOi...                       # short for authorization: Bearer ...
      source:
        ip: 10.1.2.3
        principal: cluster.local/ns/shop/sa/web  # or principals: [URI, DNS name, CN=...]
      destination: {ip: 10.0.0.7, port: 8080}
      sni: shop.example.com
      metadata: {my.filter: {key: value}}        # dynamic metadata, by filter
      connection: true                           # no HTTP: then without method, path, ...
      now: 2026-05-01T12:00:00Z                  # for the times in tokens

    Usage: postern check [OPTIONS] [[METHOD] URL]...

    Options:
      -p, --policies <PATH>...
              Files and directories of policies (.yaml, .yml, .json), read below in name order

          --namespace <NS>
              Namespace of the workload that the policies protect [default: default]

          --labels <K=V,...>
              Labels of that workload, as `app=reviews,version=v2`

          --labels-file <FILE>
              A file with those labels instead, as the downward API writes it: `app="reviews"` on each
              line

          --config <FILE>
              A YAML file with any of these settings, in camelCase

          --explain
              Show how every rule fared, and what kept it from matching

          --output <OUTPUT>
              How the answer is written
              
              [default: human]
              [possible values: human, json]

      -h, --help
              Print help (see a summary with '-h')

    Mesh:
          --root-namespace <NS>
              Namespace whose policies hold in every namespace [default: istio-system]

          --trust-domain <TD>
              Trust domain of the mesh [default: cluster.local]

          --trust-domain-aliases <TD,...>
              Other names of the trust domain

          --mesh-config <FILE>
              A file with Istio's MeshConfig, for what is not set otherwise

    APIRules:
          --api-rule-default-domain <DOMAIN>
              What follows a host of one label in an APIRule [default: none, such hosts are refused]

          --api-rule-domains <DOMAIN,...>
              The domains that hosts of APIRules may be in [default: any]

          --api-rule-jwt-handler <HANDLER>
              Kyma's jwtHandler, ory or istio [default: the form that the oldest APIRule has]

          --api-rule-strict-scopes[=<BOOL>]
              Whether only the claim `scope` is split at blanks, as Istio does, and not `scp` and
              `scopes` [default: false]

    Requests:
          --use-remote-address <BOOL>
              `use_remote_address` of Envoy's listener [default: false]

          --xff-num-trusted-hops <N>
              `xff_num_trusted_hops` of Envoy's listener [default: 0]

          --client-address-header <NAME>
              The header in which Envoy says the client's address, instead of the two above

          --path-normalization <MODE>
              NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES [default: NONE, Envoy has done it]

          --workload-from <WHAT>
              What names the workload of a request where its context does not: context (the default
              workload) or destination (its address or certificate) [default: context]

          --max-headers-size <SIZE>
              The most bytes of headers of a request; larger ones are denied unread [default: 128KiB]

          --max-token-size <SIZE>
              The most bytes of a token; larger ones are refused unread [default: 64KiB]

    The request:
          --request <FILE>
              A file with the request, as shown above, or with a CheckRequest (JSON as of protobuf, or
              binary); `-` reads it from stdin

      -H, --header <NAME: VALUE>
              A header line; several times for several

          --token <TOKEN>
              A token: short for -H 'authorization: Bearer TOKEN'

          --from <PRINCIPAL>
              A name in the certificate of the peer, such as spiffe://cluster.local/ns/shop/sa/web;
              several times for several

          --source-ip <IP>
              The address of the peer

          --port <PORT>
              The port at which Envoy was asked

          --sni <NAME>
              The server name of the TLS handshake

          --connection
              There is no HTTP, only a connection

          --custom-answer <PROVIDER=ANSWER>
              What an extension provider that a CUSTOM rule asks says: allow, deny or error; several
              times for several providers. No provider is called, and one whose answer is not given
              denies

          --now <RFC 3339>
              The time of the request, for the times in tokens [default: the present]

      [[METHOD] URL]...
              The method, if it is not GET, and the URL: https://shop.example.com/orders, or only its
              path
    --- 0
    "#);
}

#[test]
fn allowed() {
    assert_snapshot!(check(SHOP, WEB, &[]).shown(), @"
    ALLOW  AuthorizationPolicy/shop/frontend rules[0]
           policies/shop.yaml:9:22: from.source.principals: `cluster.local/ns/shop/sa/web` matches `spiffe://cluster.local/ns/shop/sa/web`
           policies/shop.yaml:10:23: from.source.notIpBlocks: not `10.9.0.0/16`; the request has `10.1.1.1`
           policies/shop.yaml:12:29: to.operation.methods: `GET` matches `GET`
           policies/shop.yaml:12:43: to.operation.paths: `/orders*` matches `/orders/1`
    --- 0
    ");
}

#[test]
fn denied_by_a_rule() {
    let request = "{path: '/admin/users?x=1', destination: {port: 8080}}";
    assert_snapshot!(check(SHOP, request, &[]).shown(), @"
    DENY   AuthorizationPolicy/shop/no-admin rules[0]
           policies/shop.yaml:22:31: to.operation.paths: `/admin*` matches `/admin/users`
           policies/shop.yaml:22:51: to.operation.ports: `8080` matches `8080`
    --- 1
    ");
}

#[test]
fn denied_for_lack_of_a_rule() {
    let request = WEB.replace("10.1.1.1", "10.9.1.1");
    assert_snapshot!(check(SHOP, &request, &[]).shown(), @"
    DENY   ALLOW policies hold, and none of their rules matches
           nearest: AuthorizationPolicy/shop/frontend rules[0]
           policies/shop.yaml:10:23: from.source.notIpBlocks: `10.9.0.0/16` matches `10.9.1.1`, and must not
           would be allowed with source.ip `10.8.255.255`
    --- 1
    ");
}

#[test]
fn explained_allow() {
    assert_snapshot!(check(SHOP, WEB, &["--explain"]).shown(), @"
    ALLOW  AuthorizationPolicy/shop/frontend rules[0]
           policies/shop.yaml:9:22: from.source.principals: `cluster.local/ns/shop/sa/web` matches `spiffe://cluster.local/ns/shop/sa/web`
           policies/shop.yaml:10:23: from.source.notIpBlocks: not `10.9.0.0/16`; the request has `10.1.1.1`
           policies/shop.yaml:12:29: to.operation.methods: `GET` matches `GET`
           policies/shop.yaml:12:43: to.operation.paths: `/orders*` matches `/orders/1`

    mutual TLS (PERMISSIVE): the peer is `spiffe://cluster.local/ns/shop/sa/web`
    AuthorizationPolicy/shop/no-admin rules[0] (DENY): does not match
        policies/shop.yaml:22:31: to.operation.paths: wants `/admin*`; the request has `/orders/1`
    AuthorizationPolicy/shop/frontend rules[0] (ALLOW): matches
        policies/shop.yaml:9:22: from.source.principals: `cluster.local/ns/shop/sa/web` matches `spiffe://cluster.local/ns/shop/sa/web`
        policies/shop.yaml:10:23: from.source.notIpBlocks: not `10.9.0.0/16`; the request has `10.1.1.1`
        policies/shop.yaml:12:29: to.operation.methods: `GET` matches `GET`
        policies/shop.yaml:12:43: to.operation.paths: `/orders*` matches `/orders/1`
    AuthorizationPolicy/shop/frontend rules[1] (ALLOW): does not match
        policies/shop.yaml:14:27: to.operation.paths: wants `/health`; the request has `/orders/1`
    --- 0
    ");
}

#[test]
fn explained_deny() {
    let request = "{path: /admin, destination: {port: 8080}}";
    assert_snapshot!(check(SHOP, request, &["--explain"]).shown(), @"
    DENY   AuthorizationPolicy/shop/no-admin rules[0]
           policies/shop.yaml:22:31: to.operation.paths: `/admin*` matches `/admin`
           policies/shop.yaml:22:51: to.operation.ports: `8080` matches `8080`

    mutual TLS (PERMISSIVE): the peer has no identity
    AuthorizationPolicy/shop/no-admin rules[0] (DENY): matches
        policies/shop.yaml:22:31: to.operation.paths: `/admin*` matches `/admin`
        policies/shop.yaml:22:51: to.operation.ports: `8080` matches `8080`
    AuthorizationPolicy/shop/frontend rules[0] (ALLOW): does not match
        policies/shop.yaml:9:22: from.source.principals: wants `cluster.local/ns/shop/sa/web` or `cluster.local/ns/shop/sa/app`; the request has none
        policies/shop.yaml:12:43: to.operation.paths: wants `/orders*`; the request has `/admin`
    AuthorizationPolicy/shop/frontend rules[1] (ALLOW): does not match
        policies/shop.yaml:14:27: to.operation.paths: wants `/health`; the request has `/admin`
    --- 1
    ");
}

#[test]
fn explained_lack_of_a_rule() {
    let request = "{method: POST, path: /orders, source: {principal: other.example}}";
    assert_snapshot!(check(SHOP, request, &["--explain"]).shown(), @"
    DENY   ALLOW policies hold, and none of their rules matches
           nearest: AuthorizationPolicy/shop/frontend rules[0]
           policies/shop.yaml:9:22: from.source.principals: wants `cluster.local/ns/shop/sa/web` or `cluster.local/ns/shop/sa/app`; the request has `other.example`
           policies/shop.yaml:12:29: to.operation.methods: wants `GET`; the request has `POST`
           would be allowed with source.principal `spiffe://cluster.local/ns/shop/sa/web`, method `GET`

    nearest misses:
      1. AuthorizationPolicy/shop/frontend rules[0]
         policies/shop.yaml:9:22: from.source.principals: wants `cluster.local/ns/shop/sa/web` or `cluster.local/ns/shop/sa/app`; the request has `other.example`
         policies/shop.yaml:12:29: to.operation.methods: wants `GET`; the request has `POST`
         would be allowed with source.principal `spiffe://cluster.local/ns/shop/sa/web`, method `GET`
      2. AuthorizationPolicy/shop/frontend rules[1]
         policies/shop.yaml:14:27: to.operation.paths: wants `/health`; the request has `/orders`
         policies/shop.yaml:14:45: to.operation.ports: wants `8080`; the request has none
         would be allowed with path `/health`, destination.port `8080`

    mutual TLS (PERMISSIVE): the peer is `other.example`
    AuthorizationPolicy/shop/no-admin rules[0] (DENY): does not match
        policies/shop.yaml:22:31: to.operation.paths: wants `/admin*`; the request has `/orders`
        policies/shop.yaml:22:51: to.operation.ports: wants `8080`; the request has none
    AuthorizationPolicy/shop/frontend rules[0] (ALLOW): does not match
        policies/shop.yaml:9:22: from.source.principals: wants `cluster.local/ns/shop/sa/web` or `cluster.local/ns/shop/sa/app`; the request has `other.example`
        policies/shop.yaml:12:29: to.operation.methods: wants `GET`; the request has `POST`
    AuthorizationPolicy/shop/frontend rules[1] (ALLOW): does not match
        policies/shop.yaml:14:27: to.operation.paths: wants `/health`; the request has `/orders`
        policies/shop.yaml:14:45: to.operation.ports: wants `8080`; the request has none
    --- 1
    ");
}

#[test]
fn explained_bad_token() {
    let policies = tokens(&format!("jwks: '{KEYS}'"));
    let ran = check(&policies, &format!("token: {EXPIRED}"), &["--explain"]);
    assert_snapshot!(ran.shown(), @"
    DENY   the token is refused with 401: Jwt is expired

    mutual TLS (PERMISSIVE): the peer has no identity
    token: refused, Jwt is expired
    other rules were not looked at: tokens come first
    --- 1
    ");
}

#[test]
fn explained_good_token() {
    let policies = tokens(&format!("jwks: '{KEYS}'"));
    let ran = check(&policies, &format!("token: {ALICE}"), &["--explain"]);
    assert_snapshot!(ran.shown(), @"
    ALLOW  AuthorizationPolicy/shop/members rules[0]
           policies/shop.yaml:15:42: from.source.requestPrincipals: `https://issuer.example/*` matches `https://issuer.example/alice`

    mutual TLS (PERMISSIVE): the peer has no identity
    token: verified, issuer `https://issuer.example`, subject `alice`
    AuthorizationPolicy/shop/members rules[0] (ALLOW): matches
        policies/shop.yaml:15:42: from.source.requestPrincipals: `https://issuer.example/*` matches `https://issuer.example/alice`
    --- 0
    ");
}

/// The same token at another time.
#[test]
fn a_token_is_judged_at_the_time_of_the_request() {
    let policies = tokens(&format!("jwks: '{KEYS}'"));
    let request = format!("{{token: {EXPIRED}, now: 2020-05-01T00:00:00Z}}");
    assert_eq!(check(&policies, &request, &[]).code, 0);
}

#[test]
fn explained_strict() {
    let policies = format!(
        "{SHOP}---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: shop}}
spec: {{mtls: {{mode: STRICT}}}}
"
    );
    assert_snapshot!(check(&policies, "{}", &["--explain"]).shown(), @"
    DENY   mutual TLS is STRICT, and the peer has no identity

    mutual TLS (STRICT): the peer has no identity
    tokens and rules were not looked at: mutual TLS comes first
    --- 1
    ");
}

#[test]
fn explained_custom() {
    let policies = format!(
        "{SHOP}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: ask, namespace: shop}}
spec:
  action: CUSTOM
  provider: {{name: opa}}
  rules:
  - to: [{{operation: {{methods: [DELETE]}}}}]
"
    );
    assert_snapshot!(check(&policies, "method: DELETE", &["--explain"]).shown(), @"
    DENY   AuthorizationPolicy/shop/ask rules[0]: its provider `opa` is not defined
           policies/shop.yaml:31:33: to.operation.methods: `DELETE` matches `DELETE`

    mutual TLS (PERMISSIVE): the peer has no identity
    AuthorizationPolicy/shop/ask rules[0] (CUSTOM): matches
        policies/shop.yaml:31:33: to.operation.methods: `DELETE` matches `DELETE`
    tokens and other rules were not looked at: CUSTOM rules come first
    --- 1
    ");
}

#[test]
fn explained_dry_run_and_audit() {
    let policies = format!(
        "{SHOP}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: soon, namespace: shop, annotations: {{istio.io/dry-run: 'true'}}}}
spec:
  action: DENY
  rules:
  - to: [{{operation: {{paths: [/orders/1], ports: ['8080']}}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: watch, namespace: shop}}
spec:
  action: AUDIT
  rules:
  - when: [{{key: source.namespace, notValues: [ops]}}]
"
    );
    assert_snapshot!(check(&policies, WEB, &["--explain"]).shown(), @"
    ALLOW  AuthorizationPolicy/shop/frontend rules[0]
           policies/shop.yaml:9:22: from.source.principals: `cluster.local/ns/shop/sa/web` matches `spiffe://cluster.local/ns/shop/sa/web`
           policies/shop.yaml:10:23: from.source.notIpBlocks: not `10.9.0.0/16`; the request has `10.1.1.1`
           policies/shop.yaml:12:29: to.operation.methods: `GET` matches `GET`
           policies/shop.yaml:12:43: to.operation.paths: `/orders*` matches `/orders/1`
           audited by AuthorizationPolicy/shop/watch rules[0]
           with dry-run policies enforced: DENY, AuthorizationPolicy/shop/soon rules[0]

    mutual TLS (PERMISSIVE): the peer is `spiffe://cluster.local/ns/shop/sa/web`
    AuthorizationPolicy/shop/no-admin rules[0] (DENY): does not match
        policies/shop.yaml:22:31: to.operation.paths: wants `/admin*`; the request has `/orders/1`
    AuthorizationPolicy/shop/soon rules[0] (DENY, dry run): matches
        policies/shop.yaml:30:31: to.operation.paths: `/orders/1` matches `/orders/1`
        policies/shop.yaml:30:51: to.operation.ports: `8080` matches `8080`
    AuthorizationPolicy/shop/frontend rules[0] (ALLOW): matches
        policies/shop.yaml:9:22: from.source.principals: `cluster.local/ns/shop/sa/web` matches `spiffe://cluster.local/ns/shop/sa/web`
        policies/shop.yaml:10:23: from.source.notIpBlocks: not `10.9.0.0/16`; the request has `10.1.1.1`
        policies/shop.yaml:12:29: to.operation.methods: `GET` matches `GET`
        policies/shop.yaml:12:43: to.operation.paths: `/orders*` matches `/orders/1`
    AuthorizationPolicy/shop/frontend rules[1] (ALLOW): does not match
        policies/shop.yaml:14:27: to.operation.paths: wants `/health`; the request has `/orders/1`
    AuthorizationPolicy/shop/watch rules[0] (AUDIT): matches
        policies/shop.yaml:38:48: when[source.namespace].notValues: not `ops`; the request has `spiffe://cluster.local/ns/shop/sa/web`
    --- 0
    ");
}

#[test]
fn explained_connection() {
    let request = "{connection: true, destination: {port: 8080}}";
    assert_snapshot!(check(SHOP, request, &["--explain"]).shown(), @"
    DENY   AuthorizationPolicy/shop/no-admin rules[0]
           policies/shop.yaml:22:51: to.operation.ports: `8080` matches `8080`

    mutual TLS (PERMISSIVE): the peer has no identity
    AuthorizationPolicy/shop/no-admin rules[0] (DENY): matches
        policies/shop.yaml:22:51: to.operation.ports: `8080` matches `8080`
    AuthorizationPolicy/shop/frontend rules[0] (ALLOW): does not match
        policies/shop.yaml:9:22: from.source.principals: wants `cluster.local/ns/shop/sa/web` or `cluster.local/ns/shop/sa/app`; the request has none
    AuthorizationPolicy/shop/frontend rules[1] (ALLOW): does not match
        it has HTTP fields, and this is a connection without HTTP
    --- 1
    ");
}

#[test]
fn explained_malformed_request() {
    assert_snapshot!(check(SHOP, "path: admin", &["--explain"]).shown(), @"
    DENY   malformed: the path does not start with a slash

    policies were not looked at
    --- 1
    ");
}

#[test]
fn a_policy_without_rules() {
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-nothing, namespace: shop}
spec: {}
";
    assert_snapshot!(check(policies, "{}", &["--explain"]).shown(), @"
    DENY   ALLOW policies hold, and none of their rules matches
           AuthorizationPolicy/shop/allow-nothing has no rules, and so allows nothing

    mutual TLS (PERMISSIVE): the peer has no identity
    AuthorizationPolicy/shop/allow-nothing (ALLOW): has no rules
    --- 1
    ");
}

#[test]
fn json() {
    let request = "{path: /admin, destination: {port: 8080}}";
    assert_snapshot!(check(SHOP, request, &["--output", "json"]).shown(), @r#"
    {
      "version": 1,
      "decision": "deny",
      "reason": "deny_rule",
      "policy": "AuthorizationPolicy/shop/no-admin",
      "rule": 0,
      "matched": [
        {
          "field": "to.operation.paths",
          "holds": true,
          "entries": [
            "/admin*"
          ],
          "request": [
            "/admin"
          ],
          "matched": "/admin*",
          "file": "policies/shop.yaml",
          "line": 22,
          "column": 31
        },
        {
          "field": "to.operation.ports",
          "holds": true,
          "entries": [
            "8080"
          ],
          "request": [
            "8080"
          ],
          "matched": "8080",
          "file": "policies/shop.yaml",
          "line": 22,
          "column": 51
        }
      ]
    }
    --- 1
    "#);
}

#[test]
fn json_explained() {
    let policies = format!(
        "{}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: watch, namespace: shop}}
spec: {{action: AUDIT, rules: [{{}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: soon, namespace: shop, annotations: {{istio.io/dry-run: 'true'}}}}
spec: {{action: DENY, rules: [{{}}]}}
",
        tokens(&format!("jwks: '{KEYS}'"))
    );
    assert_snapshot!(check(&policies, "{}", &["--explain", "--output", "json"]).shown(), @r#"
    {
      "version": 1,
      "decision": "deny",
      "reason": "no_allow_rule",
      "nearest": {
        "policy": "AuthorizationPolicy/shop/members",
        "rule": 0,
        "action": "ALLOW",
        "dryRun": false,
        "matches": false,
        "fields": [
          {
            "field": "from.source.requestPrincipals",
            "holds": false,
            "entries": [
              "https://issuer.example/*"
            ],
            "request": [],
            "file": "policies/shop.yaml",
            "line": 15,
            "column": 42
          }
        ],
        "changes": [
          {
            "input": "token",
            "value": "https://issuer.example/x"
          }
        ],
        "then": {
          "decision": "allow"
        }
      },
      "misses": [
        {
          "policy": "AuthorizationPolicy/shop/members",
          "rule": 0,
          "action": "ALLOW",
          "dryRun": false,
          "matches": false,
          "fields": [
            {
              "field": "from.source.requestPrincipals",
              "holds": false,
              "entries": [
                "https://issuer.example/*"
              ],
              "request": [],
              "file": "policies/shop.yaml",
              "line": 15,
              "column": 42
            }
          ],
          "changes": [
            {
              "input": "token",
              "value": "https://issuer.example/x"
            }
          ],
          "then": {
            "decision": "allow"
          }
        }
      ],
      "auditedBy": [
        {
          "policy": "AuthorizationPolicy/shop/watch",
          "rule": 0
        }
      ],
      "shadow": {
        "decision": "deny",
        "reason": "deny_rule",
        "policy": "AuthorizationPolicy/shop/soon",
        "rule": 0
      },
      "rules": [
        {
          "policy": "AuthorizationPolicy/shop/soon",
          "rule": 0,
          "action": "DENY",
          "dryRun": true,
          "matches": true,
          "fields": []
        },
        {
          "policy": "AuthorizationPolicy/shop/members",
          "rule": 0,
          "action": "ALLOW",
          "dryRun": false,
          "matches": false,
          "fields": [
            {
              "field": "from.source.requestPrincipals",
              "holds": false,
              "entries": [
                "https://issuer.example/*"
              ],
              "request": [],
              "file": "policies/shop.yaml",
              "line": 15,
              "column": 42
            }
          ]
        },
        {
          "policy": "AuthorizationPolicy/shop/watch",
          "rule": 0,
          "action": "AUDIT",
          "dryRun": false,
          "matches": true,
          "fields": []
        }
      ]
    }
    --- 1
    "#);
}

#[test]
fn json_of_a_bad_token() {
    let policies = tokens(&format!("jwks: '{KEYS}'"));
    let ran = check(&policies, &format!("token: {EXPIRED}"), &["--output", "json"]);
    assert_snapshot!(ran.shown(), @r#"
    {
      "version": 1,
      "decision": "deny",
      "reason": "jwt",
      "error": "Jwt is expired",
      "status": 401
    }
    --- 1
    "#);
}

/// stdout is data: one document, whatever there is to say beside it.
#[test]
fn json_stands_alone_on_stdout() {
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: odd, namespace: shop}
spec: {action: DENY, rules: [{from: [{source: {ipBlocks: [10.1.2.3/16]}}]}]}
";
    let ran = check(policies, "{}", &["--output", "json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["decision"], "allow");
    assert!(ran.stderr.contains("1 warning"), "{}", ran.stderr);
}

#[test]
fn warnings_are_counted_and_shown_with_explain() {
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: odd, namespace: shop}
spec:
  action: DENY
  rules:
  - from: [{source: {ipBlocks: [10.1.2.3/16]}}]
  - to: [{operation: {paths: [/admin]}}]
";
    assert_snapshot!(check(policies, "{}", &[]).shown(), @"
    ALLOW  no DENY rule matches, and no ALLOW policy holds
    --- stderr
    2 warnings in the policies: --explain shows them

    --- 0
    ");
    assert_snapshot!(check(policies, "{}", &["--explain"]).shown(), @"
    ALLOW  no DENY rule matches, and no ALLOW policy holds

    mutual TLS (PERMISSIVE): the peer has no identity
    AuthorizationPolicy/shop/odd rules[0] (DENY): does not match
        policies/shop.yaml:8:33: from.source.ipBlocks: wants `10.1.2.3/16`; the request has none
    AuthorizationPolicy/shop/odd rules[1] (DENY): does not match
        policies/shop.yaml:9:31: to.operation.paths: wants `/admin`; the request has `/`
    --- stderr
    policies/shop.yaml:8:33: warning[PST0302]: `10.1.2.3/16` has bits set after its prefix
    policies/shop.yaml:9:5: warning[PST0301]: this DENY rule uses HTTP attributes only, so it denies all plain TCP traffic

    --- 0
    ");
}

#[test]
fn policies_of_another_workload() {
    let elsewhere = SHOP.replace("namespace: shop", "namespace: elsewhere");
    assert_snapshot!(check(&elsewhere, "{}", &["--labels", "app=web"]).shown(), @"
    ALLOW  no AuthorizationPolicy holds for a workload with labels `app=web` in namespace `shop`
    --- stderr
    warning: of 2 policies none holds for this workload; --namespace and --labels say which it is

    --- 0
    ");
}

#[test]
fn no_policies() {
    assert_snapshot!(check("", "{}", &[]).shown(), @"
    ALLOW  no AuthorizationPolicy holds for a workload without labels in namespace `shop`
    --- stderr
    warning: no policy was found, so everything is allowed

    --- 0
    ");
}

#[test]
fn from_stdin() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    let mut command = folder.postern();
    command.args(["check", "-p", "policies", "--request", "-"]).env("POSTERN_NAMESPACE", "shop");
    let ran = Ran::of(&mut command, r#"{"path": "/admin", "destination": {"port": 8080}}"#);
    assert!(ran.stdout.starts_with("DENY   AuthorizationPolicy/shop/no-admin"), "{ran:?}");
    let ran = Ran::of(&mut command, "pfad: /");
    assert_snapshot!(ran.shown(), @"
    --- stderr
    stdin:1:1: error[PST0102]: unknown field `pfad`
       |
     1 | pfad: /
       | ^^^^

    postern: 1 problem in the request
    --- 2
    ");
}

#[test]
fn mesh_config() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    folder.file("request.yaml", &WEB.replace("cluster.local", "old.example"));
    let mesh = "rootNamespace: mesh\ntrustDomain: new.example\ntrustDomainAliases: [old.example]\n";
    folder.file("mesh.yaml", mesh);
    assert_eq!(check_in(&folder, &[]).code, 1);
    assert_eq!(check_in(&folder, &["--mesh-config", "mesh.yaml"]).code, 0);
}

/// What a client sends must not drive the terminal of whoever looks into it.
#[test]
fn control_characters_are_not_printed() {
    let request = r#"{path: "/\e[31m\r\nDENY", method: "\a"}"#;
    let ran = check(SHOP, request, &["--explain"]);
    assert_eq!(ran.code, 1);
    let printed = ran.stdout + &ran.stderr;
    assert!(printed.chars().all(|c| c == '\n' || !c.is_control()), "{printed:?}");
}

#[test]
fn credentials_are_not_printed() {
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: basic, namespace: shop}
spec:
  rules:
  - when:
    - {key: 'request.headers[Authorization]', values: ['Basic *']}
    - {key: 'request.headers[cookie]', notValues: ['secret*']}
";
    let request = "headers: {authorization: Bearer secret-1, cookie: secret-2}";
    for output in ["human", "json"] {
        let ran = check(policies, request, &["--explain", "--output", output]);
        assert_eq!(ran.code, 1);
        assert!(!ran.stdout.contains("secret-"), "{}", ran.stdout);
        assert!(ran.stdout.contains("<not shown>"), "{}", ran.stdout);
    }
}

#[test]
fn long_lists_and_values_are_cut() {
    let principals: Vec<_> = (0..40).map(|n| format!("cluster.local/ns/shop/sa/s{n}")).collect();
    let policies = format!(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: many, namespace: shop}}
spec: {{rules: [{{from: [{{source: {{principals: [{}]}}}}], to: [{{operation: {{paths: [/a]}}}}]}}]}}
",
        principals.join(", ")
    );
    let request = format!("{{path: /{}, source: {{principal: a.example}}}}", "x".repeat(5000));
    assert_snapshot!(check(&policies, &request, &[]).shown(), @"
    DENY   ALLOW policies hold, and none of their rules matches
           nearest: AuthorizationPolicy/shop/many rules[0]
           policies/shop.yaml:5:47: from.source.principals: wants `cluster.local/ns/shop/sa/s0` or `cluster.local/ns/shop/sa/s1` or `cluster.local/ns/shop/sa/s2` or `cluster.local/ns/shop/sa/s3` or `cluster.local/ns/shop/sa/s4` or 35 more; the request has `a.example`
           policies/shop.yaml:5:1267: to.operation.paths: wants `/a`; the request has `/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...`
           would be allowed with source.principal `spiffe://cluster.local/ns/shop/sa/s0`, path `/a`
    --- 1
    ");
}

#[rstest]
#[case::no_such_request("nothing.yaml")]
#[case::a_folder("policies")]
fn a_request_that_cannot_be_read(#[case] name: &str) {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    let mut command = folder.postern();
    let ran = Ran::of(command.args(["check", "-p", "policies", "--request", name]), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let expect = format!("postern: cannot read the request `{name}`: ");
    assert!(ran.stderr.contains(&expect), "{}", ran.stderr);
}

#[test]
fn a_request_that_is_no_yaml() {
    assert_snapshot!(check(SHOP, "{path: /a", &[]).shown(), @"
    --- stderr
    request.yaml:1:10: error[PST0003]: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
       |
     1 | {path: /a
       |          ^

    postern: 1 problem in the request
    --- 2
    ");
}

#[test]
fn a_request_with_an_unknown_field() {
    let request = "path: /a\nsource:\n  principle: cluster.local/ns/shop/sa/web\n";
    assert_snapshot!(check(SHOP, request, &[]).shown(), @"
    --- stderr
    request.yaml:3:3: error[PST0102]: unknown field `principle`
       |
     3 |   principle: cluster.local/ns/shop/sa/web
       |   ^^^^^^^^^
       = help: did you mean `principal`?

    postern: 1 problem in the request
    --- 2
    ");
}

#[test]
fn two_requests() {
    assert_snapshot!(check(SHOP, "path: /a\n---\npath: /b\n", &[]).shown(), @"
    --- stderr
    request.yaml:3:1: error[PST0400]: a second document: only one request is decided at a time
       |
     3 | path: /b
       | ^
       = help: keep one of them, and put the other into a file of its own

    postern: 1 problem in the request
    --- 2
    ");
}

#[test]
fn bad_policies_and_a_bad_request() {
    let policies = SHOP
        .replace("notIpBlocks", "notIpBlock")
        .replace("ports: [\"8080\"]}\n---", "ports: [http]}\n---");
    assert_snapshot!(check(&policies, "metod: GET", &[]).shown(), @"
    --- stderr
    request.yaml:1:1: error[PST0102]: unknown field `metod`
       |
     1 | metod: GET
       | ^^^^^
       = help: did you mean `method`?

    policies/shop.yaml:10:9: error[PST0102]: unknown field `notIpBlock`
       |
    10 |         notIpBlock: [10.9.0.0/16]
       |         ^^^^^^^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].from[0].source.notIpBlock
       = help: did you mean `notIpBlocks`?

    policies/shop.yaml:14:45: error[PST0108]: `http` is not a port
       |
    14 |     - operation: {paths: [/health], ports: [http]}
       |                                             ^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[1].to[0].operation.ports[0]
       = help: write a number from 0 to 65535

    postern: 1 problem in the request, and 2 problems in the policies
    --- 2
    ");
}

#[test]
fn policies_that_cannot_be_read() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    symlink("nowhere", folder.path().join("policies/link.yaml")).unwrap();
    folder.file("request.yaml", "{}");
    let mut command = folder.postern();
    command.args(["check", "--request", "request.yaml", "--policies", "policies", "missing"]);
    let ran = Ran::of(&mut command, "");
    assert_snapshot!(ran.shown(), @"
    --- stderr
    cannot read `policies/link.yaml`: the symbolic link points nowhere

    cannot read `missing`: no such file or directory

    postern: 2 problems in the policies
    --- 2
    ");
}

#[rstest]
#[case::no_policies(&["--request", "request.yaml"], "--policies")]
#[case::no_request(&["-p", "."], "--request")]
#[case::unknown_flag(&["-p", ".", "--request", "r", "--explian"], "--explain")]
#[case::setting(&["-p", ".", "--request", "r", "--namespace", "No!"], "--namespace")]
fn a_command_line_that_cannot_be_used(#[case] arguments: &[&str], #[case] named: &str) {
    let ran = Ran::of(Folder::new().postern().arg("check").args(arguments), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains(named), "{}", ran.stderr);
}

/// Serves a key set at `/keys`, and nothing elsewhere; returns its port.
async fn serve_keys() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = axum::Router::new()
        .route("/keys", get(async || KEYS))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

async fn check_with_served_keys(path: &str) -> (Ran, u16) {
    let port = serve_keys().await;
    let policies = tokens(&format!("jwksUri: http://127.0.0.1:{port}{path}"));
    let request = format!("token: {ALICE}");
    let ran = tokio::task::spawn_blocking(move || check(&policies, &request, &[])).await.unwrap();
    (ran, port)
}

#[tokio::test]
async fn keys_are_fetched() {
    let (ran, _) = check_with_served_keys("/keys").await;
    assert_snapshot!(ran.shown(), @"
    ALLOW  AuthorizationPolicy/shop/members rules[0]
           policies/shop.yaml:15:42: from.source.requestPrincipals: `https://issuer.example/*` matches `https://issuer.example/alice`
    --- 0
    ");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched() {
    let (ran, port) = check_with_served_keys("/broken").await;
    let shown = ran.shown().replace(&port.to_string(), "PORT");
    assert_snapshot!(shown, @"
    DENY   the token is refused with 401: Jwt verification fails
    --- stderr
    warning: no keys for issuer `https://issuer.example`: `http://127.0.0.1:PORT/broken` answered with status 500

    --- 1
    ");
}

/// Services in files say which workloads they lead to.
#[test]
fn a_service_leads_to_its_workload() {
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: web}]
  action: DENY
  rules: [{}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
";
    assert_eq!(check(policies, "{}", &["--labels", "app=web"]).code, 1);
    assert_eq!(check(policies, "{}", &["--labels", "app=other"]).code, 0);
}

#[test]
fn an_api_rule_is_checked() {
    let policies = "
apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {name: orders, namespace: shop}
spec:
  gateway: kyma-system/kyma-gateway
  host: orders
  service: {name: orders, port: 80}
  rules:
  - path: /(?!admin).*
    methods: [GET]
    accessStrategies: [{handler: noop, config: {a: b}}]
";
    assert_snapshot!(check(policies, "{}", &[]).shown(), @r"
    --- stderr
    policies/shop.yaml:7:9: error[PST0250]: Host does not contain a domain name and no default domain name is configured
       |
     7 |   host: orders
       |         ^^^^^^
       = in APIRule/shop/orders at spec.host
       = help: write the whole name, or set --api-rule-default-domain

    policies/shop.yaml:10:11: error[PST0262]: `/(?!admin).*` cannot be used: it looks around (`(?=`, `(?!`, `(?<`), which takes more than linear time
       |
    10 |   - path: /(?!admin).*
       |           ^^^^^^^^^^^^
       = in APIRule/shop/orders at spec.rules[0].path
       = help: give what the lookaround excludes a rule of its own before this one: the first rule that fits a request decides

    policies/shop.yaml:12:48: error[PST0257]: strategy: noop does not support configuration
       |
    12 |     accessStrategies: [{handler: noop, config: {a: b}}]
       |                                                ^
       = in APIRule/shop/orders at spec.rules[0].accessStrategies[0].config
       = help: remove `config`

    postern: 3 problems in the policies
    --- 2
    ");
    let ran = check(policies, "{}", &["--api-rule-default-domain", "example.com"]);
    assert!(ran.code == 2 && !ran.stderr.contains("PST0250"), "{}", ran.shown());
}
