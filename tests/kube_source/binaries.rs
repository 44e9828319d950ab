//! Two built binaries: one is the cluster, the other serves what is there.

use std::{
    io::Read as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::process::Process;

fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn post(api: SocketAddr, plural: &str, object: &Value) -> String {
    let (path, body) =
        (format!("/apis/security.istio.io/v1/namespaces/default/{plural}"), object.to_string());
    ask(
        api,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: api\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

#[test]
fn one_postern_serves_the_policies_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--store=store", "--api=127.0.0.1:0", "--api-insecure"];
    let mut cluster = Process::start(folder.path(), &arguments);
    let api = cluster.listens("api");
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{api}") } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    std::fs::write(folder.path().join("kubeconfig.json"), kubeconfig.to_string()).unwrap();
    let arguments = ["--kube", "--kubeconfig=kubeconfig.json"];
    let mut postern = Process::start(folder.path(), &arguments);
    let admin = postern.listens("admin");
    postern.logs(|event| event["message"] == "policy snapshot published");
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": "nobody" },
        "spec": {},
    });
    let created = post(api, "authorizationpolicies", &policy);
    assert!(created.starts_with("HTTP/1.0 201"), "{created}");
    let published = postern.logs(|event| event["message"] == "policy snapshot published");
    assert_eq!(published["policies"], 1);
    let begun = Instant::now();
    while !get(admin, "/readyz").starts_with("HTTP/1.0 200") {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never gets ready");
    }
    let metrics = get(admin, "/metrics");
    // The policy, and perhaps already the status that the other one wrote to it.
    let changes = r#"postern_kube_changes_total{kind="AuthorizationPolicy"} "#;
    assert!(metrics.contains(changes) && !metrics.contains(&format!("{changes}0")), "{metrics}");
    // The embedded API has no leases, so nothing is written to it.
    assert!(!metrics.contains("postern_kube_status_writes_total{"), "{metrics}");
}
