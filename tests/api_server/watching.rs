//! Watches.

use http::Method;
use serde_json::json;

use crate::server::{Client, POLICIES, Server, policy};

#[tokio::test]
async fn every_change_in_order() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let first = admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let mut fresh = admin.watch(&format!("{POLICIES}?watch=true")).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut resumed = admin.watch(&format!("{POLICIES}?watch=1&resourceVersion={version}")).await;
    assert_eq!(fresh.next_names(1).await, ["ADDED a"]);
    admin.post(POLICIES, &policy("b", "ALLOW")).await.good();
    admin.merge(&format!("{POLICIES}/b"), &json!({ "spec": { "action": "DENY" } })).await.good();
    admin.delete(&format!("{POLICIES}/b")).await.good();
    admin.post(POLICIES, &policy("c", "ALLOW")).await.good();
    for events in [&mut fresh, &mut resumed] {
        let mut seen = events.next_names(3).await;
        // The status may have been written between the change of the spec and the delete.
        seen.extend(events.next_names(1).await);
        assert_eq!(seen, ["ADDED b", "MODIFIED b", "DELETED b", "ADDED c"]);
    }
}

#[tokio::test]
async fn what_a_selector_lets_in_and_out() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let label = async |name: &str, value: &str| {
        let patch = json!({ "metadata": { "labels": { "tier": value } } });
        admin.merge(&format!("{POLICIES}/{name}"), &patch).await.good()
    };
    admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let mut events = admin.watch(&format!("{POLICIES}?watch=true&labelSelector=tier%3Done")).await;
    label("a", "one").await;
    label("a", "two").await;
    label("a", "one").await;
    admin.delete(&format!("{POLICIES}/a")).await.good();
    assert_eq!(events.next_names(4).await, ["ADDED a", "DELETED a", "ADDED a", "DELETED a"]);
}

#[tokio::test]
async fn a_deleted_object_has_the_version_of_its_end() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let made = admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let mut events = admin.watch(&format!("{POLICIES}?watch=true")).await;
    admin.delete(&format!("{POLICIES}/a")).await.good();
    let gone = loop {
        let event = events.next().await.unwrap();
        if event["type"] == "DELETED" {
            break event;
        }
    };
    let version = |object: &serde_json::Value| -> u64 {
        object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    assert!(version(&gone["object"]) > version(&made));
    assert_eq!(gone["object"]["spec"], made["spec"]);
}

#[tokio::test]
async fn lists_that_are_streamed_say_where_they_end() {
    let server = Server::start(&[]);
    let admin = server.admin();
    admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                 &allowWatchBookmarks=true&resourceVersion=0";
    let mut events = admin.watch(&format!("{POLICIES}?{query}")).await;
    assert_eq!(events.next().await.unwrap()["type"], "ADDED");
    let mark = loop {
        let event = events.next().await.unwrap();
        if event["type"] == "BOOKMARK" {
            break event;
        }
    };
    let annotations = &mark["object"]["metadata"]["annotations"];
    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
    admin.post(POLICIES, &policy("b", "ALLOW")).await.good();
    assert_eq!(events.next_names(1).await, ["ADDED b"]);
}

#[tokio::test]
async fn the_past_ends() {
    let server = Server::start(&["--store-history=2"]);
    let admin = server.admin();
    let first = admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let page = {
        admin.post(POLICIES, &policy("b", "ALLOW")).await.good();
        admin.get(&format!("{POLICIES}?limit=1")).await.good()
    };
    for name in ["c", "d", "e"] {
        admin.post(POLICIES, &policy(name, "ALLOW")).await.good();
    }
    assert_is_too_old(&admin, version).await;
    // Of another life of the store.
    assert_is_too_old(&admin, "999999").await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    let next = admin.get(&format!("{POLICIES}?limit=1&continue={token}")).await.bad();
    assert_eq!((next.0, next.1.as_str()), (410, "Expired"));
    let exact = format!("{POLICIES}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(admin.get(&exact).await.bad().0, 410);
}

/// Not another answer: an event and the end, as of kube-apiserver.
async fn assert_is_too_old(client: &Client, version: &str) {
    let path = format!("{POLICIES}?watch=true&resourceVersion={version}");
    let mut events = client.watch(&path).await;
    let event = events.next().await.unwrap();
    let status = &event["object"];
    assert_eq!((&event["type"], &status["kind"]), (&json!("ERROR"), &json!("Status")));
    assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")));
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("too old resource version: {version} (")), "{message}");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn there_may_be_so_many() {
    let server = Server::start(&["--api-most-watches=1"]);
    let admin = server.admin();
    admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let path = format!("{POLICIES}?watch=true");
    let mut events = admin.watch(&path).await;
    assert_eq!(events.next_names(1).await, ["ADDED a"]);
    let reply = admin.get(&path).await;
    assert!(reply.headers.contains_key("retry-after"));
    let (code, reason, _) = reply.bad();
    assert_eq!((code, reason.as_str()), (429, "TooManyRequests"));
    drop(events);
    // The place is free when the server has seen that nobody reads.
    loop {
        let response = admin.send(admin.request(Method::GET, &path, &[], "")).await;
        if response.status() == 200 {
            break;
        }
        admin.post(POLICIES, &policy("b", "ALLOW")).await;
        admin.delete(&format!("{POLICIES}/b")).await;
    }
}

/// Who reads too slowly, here not at all while more happens than is kept, is told to begin anew.
#[tokio::test]
async fn who_is_too_slow_begins_anew() {
    let server = Server::start(&["--store-history=20"]);
    let admin = server.admin();
    let mut large = policy("a", "ALLOW");
    large["metadata"]["annotations"] = json!({ "ballast": "x".repeat(200_000) });
    admin.post(POLICIES, &large).await.good();
    let mut events = admin.watch(&format!("{POLICIES}?watch=true")).await;
    for round in 0..70 {
        let patch = json!({ "metadata": { "labels": { "round": round.to_string() } } });
        admin.merge(&format!("{POLICIES}/a"), &patch).await.good();
    }
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!(last["type"], "ERROR");
    assert_eq!(
        (&last["object"]["code"], &last["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
}

#[tokio::test]
async fn watches_end_with_the_server_and_at_their_time() {
    let server = Server::start(&["--shutdown-grace=30s"]);
    let admin = server.admin();
    let mut short = admin
        .watch(&format!("{POLICIES}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true"))
        .await;
    assert_eq!(short.next().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(short.next().await, None);
    let mut long = admin.watch(&format!("{POLICIES}?watch=true")).await;
    server.signal("TERM");
    assert_eq!(long.next().await, None);
    assert_eq!(server.end().0, Some(0));
}
