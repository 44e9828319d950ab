//! `postern replay`: what was logged by one Postern, decided by other policies.

#![expect(clippy::unwrap_used, reason = "test support functions")]

mod blackbox;

use std::process::Output;

use blackbox::Folder;

const OLD: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to: [{operation: {methods: [GET], paths: ["/orders*"]}}]
"#;

const RECORD: &str = r#"{"postern.schema":"decision/1","time":"2026-11-21T12:00:00.000001Z","postern.outcome":"allow","postern.reason":"allow_rule","postern.policy":"shop/readers","postern.rule":0,"postern.revision":1,"postern.workload":{"namespace":"shop","labels":{}},"network.peer.address":"10.1.2.3","client.address":"10.1.2.3","network.local.address":"10.0.0.7","network.local.port":8080,"http.request.method":"GET","url.scheme":"http","server.address":"shop.example.com","server.port":8080,"url.path":"/orders/7","http.request.header":{"x-request-id":["a1"]},"postern.authentication":{"result":"none","rules":"0000000000000000"},"postern.duration":0.000012000}
"#;

fn replay(folder: &Folder, arguments: &[&str]) -> Output {
    folder.postern().arg("replay").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn nothing_changes_by_the_same_policies() {
    let folder = Folder::new();
    folder.file("old.yaml", OLD);
    folder.file("log", RECORD);
    let output = replay(&folder, &["log", "--policies", "old.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}
