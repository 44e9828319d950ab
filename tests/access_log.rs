//! Access logs of a real Envoy: in the form of `examples/envoy/access-log.yaml` they can be replayed, in
//! that of `audit-log.yaml` they have what AUDIT policies ask for.

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
mod envoy_process;
#[path = "conformance/http1.rs"]
mod http1;
#[path = "blackbox/served.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod served;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern::authn::clock::Clock;
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use behind_envoy::{read, start, start_text};
use blackbox::Folder;
use envoy_process::Envoy;
use http1::Body;
use served::Server;

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to: [{operation: {methods: [GET], paths: ["/orders*"], hosts: ["shop.example:81"]}}]
    from: [{source: {ipBlocks: [127.0.0.0/8]}}]
    when: [{key: "request.headers[x-tenant]", values: [blue]}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_logs_is_decided_again() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    let postern = Server::start(&folder, &["--use-remote-address", "true"]).await;
    let (envoy, listener) = start("access-log.yaml", &postern).await;
    let requests = [
        ("GET /orders/1?token=s3cret", "x-tenant: blue"),
        ("GET /orders/2", "x-tenant: red"),
        ("GET /orders/3", "x-other: blue"),
        ("PUT /orders/4", "x-tenant: blue"),
        ("GET /orders/5", "x-tenant: blue\r\nx-tenant: red"),
    ];
    let mut statuses = Vec::new();
    for (line, header) in requests {
        statuses.push(ask(listener, line, header).await);
    }
    assert_eq!(statuses, [200, 403, 403, 403, 200]);

    let log = logged(&envoy, requests.len()).await;
    assert!(!log.contains("s3cret"));
    folder.file("access.log", &log);
    folder.file("new.yaml", &POLICIES.replace("[blue]", "[red]"));
    let replay = |policies: &str| {
        let mut command = folder.postern();
        command.args(["replay", "access.log", "--policies", policies, "--namespace", "shop"]);
        let output = command.args(["--output", "json"]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}\n{log}", String::from_utf8_lossy(&output.stderr));
        let found: Json = serde_json::from_slice(&output.stdout).unwrap();
        let count = |name: &str| found[name].as_u64().unwrap();
        let names = [
            "records",
            "losesAccess",
            "gainsAccess",
            "otherCause",
            "cannotTell",
            "malformed",
            "assumedOneLine",
        ];
        (names.map(count), output.status.code().unwrap(), found)
    };
    let (same, code, found) = replay("policies");
    assert_eq!((same, code), ([5, 0, 0, 0, 0, 0, 4], 0), "{found:#}\n{log}");
    // The last one had a second line, which Envoy does not log: that there is none is said to be an
    // assumption, and is wrong here.
    let (other, code, found) = replay("new.yaml");
    assert_eq!((other, code), ([5, 2, 1, 0, 0, 0, 4], 1), "{found:#}\n{log}");
}

const WATCHED: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: writes, namespace: shop}
spec:
  action: AUDIT
  rules:
  - to: [{operation: {methods: [PUT]}}]
  - to: [{operation: {paths: [/orders/9]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-nines, namespace: shop}
spec:
  action: AUDIT
  rules: [{to: [{operation: {paths: [/orders/9]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-writes, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec:
  action: DENY
  rules: [{to: [{operation: {methods: [PUT]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-eights, namespace: shop}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/orders/8]}}]}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_is_audited_is_logged() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", WATCHED);
    let postern = Server::start(&folder, &["--use-remote-address", "true"]).await;
    let (envoy, listener) = start("audit-log.yaml", &postern).await;
    let requests =
        ["GET /orders/1", "PUT /orders/2?a=b", "GET /orders/8", "PUT /orders/8", "GET /orders/9"];
    let mut statuses = Vec::new();
    for line in requests {
        statuses.push(ask(listener, line, "x-a: b").await);
    }
    assert_eq!(statuses, [200, 200, 403, 403, 200]);

    // They come in order, so what is not before the last of them will not come.
    let log = logged(&envoy, 3).await;
    let events: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<_> = events.iter().map(|event| event["request"].as_str().unwrap()).collect();
    let host = "shop.example:81";
    assert_eq!(
        requests,
        [
            format!("PUT {host}/orders/2"),
            format!("PUT {host}/orders/8"),
            format!("GET {host}/orders/9"),
        ]
    );
    assert_eq!(events[0]["audited_by"], json!(["shop/writes"]));
    assert_eq!(events[2]["audited_by"], json!(["shop/no-nines", "shop/writes"]));
    let shadow = json!({
        "decision": "deny", "reason": "deny_rule", "policy": "shop/no-writes", "rule": 0,
        "changes": true, "deny_policy": "shop/no-writes", "deny_rule": 0,
    });
    assert_eq!(events[0]["shadow"], shadow);
    assert_eq!(events[1]["shadow"]["changes"], false);
}

const SHADOWED: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-eights, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/orders/8]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-writes, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec: {rules: [{to: [{operation: {methods: [HEAD]}}]}, {to: [{operation: {methods: [GET]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nines, namespace: shop}
spec: {action: AUDIT, rules: [{to: [{operation: {paths: [/orders/9]}}]}]}
"#;

/// The same policies as Istio gives them to Envoy: AUDIT, DENY, ALLOW.
fn native_filters() -> Json {
    let rbac = |members: Json| {
        let mut config = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        });
        config.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!({"name": "envoy.filters.http.rbac", "typed_config": config})
    };
    let rules = |action: &str, policies: &[(&str, Json)]| {
        let policy =
            |permission: &Json| json!({"permissions": [permission], "principals": [{"any": true}]});
        let policies: serde_json::Map<_, _> = policies
            .iter()
            .map(|(id, permission)| ((*id).to_owned(), policy(permission)))
            .collect();
        json!({"action": action, "policies": policies})
    };
    let method =
        |name: &str| json!({"header": {"name": ":method", "string_match": {"exact": name}}});
    let path = |path: &str| json!({"url_path": {"path": {"exact": path}}});
    let readers = [
        ("ns[shop]-policy[readers]-rule[0]", method("HEAD")),
        ("ns[shop]-policy[readers]-rule[1]", method("GET")),
    ];
    json!([
        rbac(
            json!({"rules": rules("LOG", &[("ns[shop]-policy[nines]-rule[0]", path("/orders/9"))])})
        ),
        rbac(json!({
            "rules": rules("DENY", &[("ns[shop]-policy[no-eights]-rule[0]", path("/orders/8"))]),
            "shadow_rules": rules("DENY", &[("ns[shop]-policy[no-writes]-rule[0]", method("PUT"))]),
            "shadow_rules_stat_prefix": "istio_dry_run_deny_",
        })),
        rbac(json!({
            "shadow_rules": rules("ALLOW", &readers),
            "shadow_rules_stat_prefix": "istio_dry_run_allow_",
        })),
    ])
}

/// What native filters leave in dynamic metadata for AUDIT policies and dry runs, Postern does, too.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_that_of_native_filters() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHADOWED);
    let postern = Server::start(&folder, &["--use-remote-address", "true"]).await;
    let line = |names: [&str; 2]| {
        format!(
            "json_format:\n                  a: \"%DYNAMIC_METADATA({})%\"\n                  \
             b: \"%DYNAMIC_METADATA({})%\"\n",
            names[0], names[1]
        )
    };
    let example = read("audit-log.yaml");
    // All requests are logged.
    let (head, rest) = example.split_once("            filter:\n").unwrap();
    let (_, rest) = rest.split_once("            typed_config:\n").unwrap();
    let (middle, rest) = rest.split_once("json_format:\n").unwrap();
    let at = rest.find("          # Clients connect").unwrap();
    let (_, rest) = rest.split_at(at);
    let text = |names| format!("{head}            typed_config:\n{middle}{}{rest}", line(names));
    let ours =
        text(["envoy.filters.http.ext_authz", "envoy.filters.http.ext_authz:access_log_hint"]);
    let theirs = text(["envoy.filters.http.rbac", "envoy.common:access_log_hint"]);
    let start_of = theirs.find("          - name: envoy.filters.http.ext_authz").unwrap();
    let end_of = theirs.find("          - name: envoy.filters.http.router").unwrap();
    let filters = native_filters();
    let filters: String =
        filters.as_array().unwrap().iter().map(|f| format!("          - {f}\n")).collect();
    let (before, after) = (theirs.get(..start_of).unwrap(), theirs.get(end_of..).unwrap());
    let theirs = format!("{before}{filters}{after}");
    let requests =
        ["GET /orders/1", "PUT /orders/2", "GET /orders/8", "PUT /orders/8", "GET /orders/9"];
    let mut found = Vec::new();
    for text in [ours, theirs] {
        let (envoy, listener) = start_text(&text, &postern).await;
        let mut statuses = Vec::new();
        for line in requests {
            statuses.push(ask(listener, line, "x-a: b").await);
        }
        let mut events = Vec::new();
        for line in logged(&envoy, requests.len()).await.lines() {
            let event: Json = serde_json::from_str(line).unwrap();
            let mut shadow = event["a"].as_object().unwrap().clone();
            shadow.retain(|name, _| name.contains("shadow_e"));
            events.push((shadow, event["b"].clone()));
        }
        found.push((statuses, events));
    }
    let (statuses, events) = &found[0];
    assert_eq!(*statuses, [200, 200, 403, 403, 200]);
    assert_eq!(events[0].0.len(), 3, "{events:?}");
    assert_eq!(events[1].0["istio_dry_run_deny_shadow_engine_result"], "denied");
    assert_eq!(events[4].1, true);
    assert_eq!(found[0], found[1]);
}

/// A filter before ours, or a cache beside it, can read for whom and until when an answer holds.
#[tokio::test(flavor = "multi_thread")]
async fn envoy_learns_for_whom_an_answer_holds() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    let arguments = ["--use-remote-address", "true", "--cache-hint", "30s"];
    let postern = Server::start(&folder, &arguments).await;
    let before = Clock::system().unix_seconds();
    let request = "{method: GET, path: /orders/1, host: shop.example}";
    let answer = postern.check(request).await;
    let after = Clock::system().unix_seconds();
    let metadata = format!("{:?}", answer.dynamic_metadata.unwrap().fields["cache"]);
    for name in ["source.ip", "request.method", "request.host", "request.path"] {
        assert!(metadata.contains(&format!("{name:?}")), "{metadata}");
    }
    assert!(metadata.contains("\"request.headers[x-tenant]\""), "{metadata}");
    let is_until = |second: u64| metadata.contains(&format!("NumberValue({second}.0)"));
    assert!((before + 30..=after + 30).any(is_until), "{metadata}");
}

async fn ask(to: SocketAddr, line: &str, header: &str) -> u16 {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: shop.example:81\r\n{header}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = http1::read(&mut stream, Body::Response).await.unwrap().unwrap();
    let line = String::from_utf8_lossy(&answer.first_line).into_owned();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The access log, once it has so many lines.
async fn logged(envoy: &Envoy, lines: usize) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let log = envoy.output();
        if log.lines().count() >= lines && log.ends_with('\n') {
            return log;
        }
        assert!(Instant::now() < deadline, "{log}\n{}", envoy.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
