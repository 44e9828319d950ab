//! What is written is in force.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::gate::Gate;
use crate::server::{POLICIES, Server, policy};

fn all(action: &str) -> serde_json::Value {
    let mut policy = policy("a", action);
    policy["spec"]["rules"] = json!([{}]);
    policy
}

#[tokio::test]
async fn a_write_is_live_and_its_status_says_so() {
    let mut server = Server::start(&[]);
    let mut gate = Gate::of(&mut server).await;
    assert!(gate.allows("/").await, "nothing is there yet");
    let admin = server.admin();
    let mut events = admin.watch(&format!("{POLICIES}?watch=true")).await;
    admin.post(POLICIES, &all("DENY")).await.good();
    gate.until("/", false).await;
    let object = format!("{POLICIES}/a");
    admin.merge(&object, &json!({ "spec": { "action": "ALLOW" } })).await.good();
    gate.until("/", true).await;
    admin.delete(&object).await.good();
    admin.post(POLICIES, &all("DENY")).await.good();
    gate.until("/", false).await;

    // The status is about the newest form, and was not written again and again.
    let mut writes = 0;
    let accepted = loop {
        let event = events.next().await.unwrap();
        let object = &event["object"];
        writes += 1;
        let condition = &object["status"]["conditions"][0];
        let is_latest = object["spec"]["action"] == "DENY" && writes > 3;
        if is_latest && condition["status"] == "True" {
            break object.clone();
        }
    };
    let condition = &accepted["status"]["conditions"][0];
    assert_eq!(condition["type"], "Accepted");
    assert_eq!(condition["observedGeneration"], accepted["metadata"]["generation"]);
    let owners = accepted["metadata"]["managedFields"].as_array().unwrap();
    assert!(
        owners
            .iter()
            .any(|owner| owner["manager"] == "postern" && owner["subresource"] == "status")
    );
    assert!(writes < 12, "{writes} writes");
    admin.post(POLICIES, &policy("last", "ALLOW")).await.good();
    assert_eq!(events.next_names(1).await, ["ADDED last"]);
}

#[tokio::test]
async fn what_was_written_is_in_force_after_a_restart() {
    let mut server = Server::start(&[]);
    server.admin().post(POLICIES, &all("DENY")).await.good();
    Gate::of(&mut server).await.until("/", false).await;
    server.signal("KILL");
    let (_, folder) = server.end();
    let mut server = Server::start_in(folder, &[]);
    assert!(!Gate::of(&mut server).await.allows("/").await);
}

#[tokio::test]
async fn requests_are_counted() {
    let mut server = Server::start(&[]);
    let admin = server.admin();
    admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let _events = admin.watch(&format!("{POLICIES}?watch=true")).await;
    server.anonymous().get("/apis/x/y").await.bad();
    let address = server.address("admin");
    let text = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let text = text.await.unwrap();
    for line in [
        r#"postern_api_requests_total{method="POST",resource="authorizationpolicies",code="201"} 1"#,
        r#"postern_api_requests_total{method="GET",resource="authorizationpolicies",code="200"} 1"#,
        r#"postern_api_requests_total{method="GET",resource="",code="401"} 1"#,
        "postern_api_watches 1",
        // The policy, and the namespaces that are always there.
        "postern_store_objects 3",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
