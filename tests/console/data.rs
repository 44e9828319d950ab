//! What the endpoints show.

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::running::Running;
use crate::world::{self, CROWD, DENIED, TRAFFIC};

fn start() -> (TempDir, Running) {
    let folder = world::folder("https://login.shop.example/keys");
    let running = Running::start(folder.path(), &["--config", "config.yaml"]);
    (folder, running)
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_counts_what_was_decided() {
    let (folder, running) = start();
    let before = running.get("/console/api/overview").await.json();
    assert_eq!(before["snapshot"]["revision"], 1);
    assert!(before["snapshot"]["publishedAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(before["workloads"], CROWD + 4);
    assert_eq!(before["resources"]["AuthorizationPolicy"], 5);
    assert_eq!(before["rejected"]["total"], 0);
    for (workload, request) in TRAFFIC {
        running.decide(Some(workload), request).await;
    }
    running.decide(Some(DENIED.0), DENIED.1).await;
    let counted = |json: &Value| {
        let decisions = json["counts"]["decisions"].as_array().unwrap().clone();
        let some = decisions.into_iter().filter(|it| it["count"] != 0);
        some.map(|it| {
            format!("{} {} {}", it["outcome"], it["reason"], it["count"]).replace('"', "")
        })
        .collect::<Vec<_>>()
    };
    // An answer is counted after it is sent.
    let after = running
        .get_until("/console/api/overview", |json| {
            let buckets = json["counts"]["durations"]["buckets"].as_array().unwrap();
            buckets.iter().map(|it| it["count"].as_u64().unwrap()).sum::<u64>() == 6
        })
        .await;
    let expected = ["allow allow_rule 3", "deny deny_rule 1", "deny no_allow_rule 1", "deny jwt 1"];
    assert_eq!(counted(&after), expected);
    assert_eq!(after["counts"]["durations"]["buckets"][17]["le"], Value::Null);

    world::break_policies(folder.path());
    let refused = |json: &Value| json["rejected"]["total"] == 1;
    let refused = running.get_until("/console/api/overview", refused).await;
    let refused = &refused["rejected"]["items"][0];
    assert_eq!(refused["resource"], "AuthorizationPolicy/shop/offices");
    let problem = &refused["problems"][0];
    assert_eq!(
        [&problem["code"], &problem["file"], &problem["line"], &problem["column"]],
        [&json!("PST0107"), &json!("policies/broken.yaml"), &json!(9), &json!(33)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_workloads_come_in_pages() {
    let (_folder, running) = start();
    let list = running.get("/console/api/workloads").await.json();
    assert_eq!([&list["total"], &list["matching"], &list["pages"]], [CROWD + 4, CROWD + 4, 41]);
    assert_eq!(list["items"].as_array().unwrap().len(), 50);
    assert_eq!(list["items"][0]["isDefault"], true);
    let last = running.get("/console/api/workloads?page=40").await.json();
    assert_eq!(
        ids(&last["items"]),
        ["crowd/w1996", "crowd/w1997", "crowd/w1998", "crowd/w1999"].map(String::from)
    );
    let beyond = running.get("/console/api/workloads?page=99999999999999999999").await.json();
    assert_eq!(beyond["page"], 0);
    let beyond = running.get("/console/api/workloads?page=4000").await.json();
    assert_eq!(beyond["page"], 40);
    for (filter, expected) in [
        ("shop+CART", vec!["shop/cart"]),
        ("app%3Dcart", vec!["shop/cart"]),
        ("crowd%20w0007", vec!["crowd/w0007"]),
        ("nobody", vec![]),
    ] {
        let list = running.get(&format!("/console/api/workloads?filter={filter}")).await.json();
        assert_eq!(ids(&list["items"]), expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_has_what_holds_for_it_in_order() {
    let (_folder, running) = start();
    let cart = running.get("/console/api/workload?id=shop/cart").await.json();
    let policies = &cart["authorizationPolicies"];
    assert_eq!(
        ids(&policies["items"]),
        ["cart-next", "no-admin", "cart-callers"]
            .map(|name| format!("AuthorizationPolicy/shop/{name}"))
    );
    assert_eq!(policies["items"][0]["dryRun"], true);
    assert_eq!(policies["items"][1]["ruleList"][1]["to"], json!(["path is `/admin*`"]));
    assert_eq!(policies["items"][1]["line"], 24);
    let peer = &cart["peer"];
    assert_eq!([&peer["mode"], &peer["from"]["id"]], ["STRICT", "PeerAuthentication/shop/cart"]);
    assert_eq!(
        [&peer["ports"][0]["port"], &peer["ports"][0]["mode"]],
        [&json!(9090), &json!("DISABLE")]
    );
    assert_eq!(ids(&cart["requestAuthentications"]), ["RequestAuthentication/shop/customers"]);
    assert_eq!(cart["contextExtensions"], json!({ "postern.workload": "shop/cart" }));

    // The default one has no name.
    let default = running.get("/console/api/workloads").await.json()["items"][0].clone();
    assert_eq!(default["id"], "shop?");
    let default = running.get("/console/api/workload?id=shop%3F").await.json();
    assert_eq!(
        [&default["peer"]["mode"], &default["peer"]["from"]["id"]],
        ["PERMISSIVE", "PeerAuthentication/istio-system/default"]
    );

    for path in [
        "workload?id=shop/none",
        "workload",
        "policy?id=x",
        "policy?id=AuthorizationPolicy/shop/none",
    ] {
        assert_eq!(running.get(&format!("/console/api/{path}")).await.status, 404, "{path}");
    }
}

/// Both directions say the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_covers_whom_it_holds_for() {
    let (_folder, running) = start();
    let list = running.get("/console/api/policies").await.json();
    assert_eq!(list["total"], 8);
    let mut covered = Vec::new();
    for id in ids(&list["items"]) {
        let policy = running.get(&format!("/console/api/policy?id={id}")).await.json();
        let of = policy["covers"]["total"].as_u64().unwrap();
        for workload in ids(&policy["covers"]["items"]) {
            let workload = workload.replace('?', "%3F");
            let there = running.get(&format!("/console/api/workload?id={workload}")).await.text;
            assert!(there.contains(&format!("\"{id}\"")), "{id} is not at {workload}: {there}");
        }
        covered.push(format!("{id} {of}"));
    }
    assert_eq!(
        covered,
        [
            "AuthorizationPolicy/shop/audit-payments 1",
            "AuthorizationPolicy/shop/cart-callers 1",
            "AuthorizationPolicy/shop/cart-next 1",
            "AuthorizationPolicy/shop/catalogue-readers 1",
            "AuthorizationPolicy/shop/no-admin 1",
            "RequestAuthentication/shop/customers 4",
            &format!("PeerAuthentication/istio-system/default {}", CROWD + 4),
            "PeerAuthentication/shop/cart 1",
        ]
    );
}

async fn explained(running: &Running, body: &Value) -> (u16, Value) {
    let answer = running.send(Method::POST, "/console/api/explain", &[], &body.to_string()).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_is_decided() {
    let (_folder, running) = start();
    for (workload, request) in TRAFFIC.into_iter().chain([DENIED]) {
        let allowed = running.decide(Some(workload), request).await;
        let (status, said) =
            explained(&running, &json!({ "request": request, "workload": workload })).await;
        let decision = if allowed { "allow" } else { "deny" };
        assert_eq!((status, &said["decision"]), (200, &json!(decision)), "{request}");
        let text = said["text"].as_str().unwrap();
        assert!(text.starts_with(&decision.to_uppercase()), "{text}");
    }
    let object =
        json!({ "path": "/admin", "source": { "principal": "cluster.local/ns/web/sa/front" } });
    let (_, said) =
        explained(&running, &json!({ "request": object, "workload": "shop/cart" })).await;
    assert_eq!(
        [&said["policy"], &said["rule"]],
        [&json!("AuthorizationPolicy/shop/no-admin"), &json!(1)]
    );
    let (_, said) = explained(&running, &json!({ "request": object, "workload": "shop?" })).await;
    assert_eq!(said["reason"], "no_allow_policy");
    let check = json!({ "attributes": { "request": { "http": { "method": "TRACE", "path": "/" } },
        "source": { "principal": "spiffe://cluster.local/ns/web/sa/front" } } });
    let (_, said) =
        explained(&running, &json!({ "request": check, "workload": "shop/cart" })).await;
    assert_eq!(said["rule"], 0, "{said}");
}

#[rstest]
#[case(json!({}), "missing field")]
#[case(json!({ "request": {}, "more": 1 }), "no question")]
#[case(json!({ "request": {}, "workload": "shop/none" }), "there is no workload `shop/none`")]
#[case(json!({ "request": { "source": { "ip": "x" } } }), "is not an IP address")]
#[case(json!({ "request": "- 1" }), "error[")]
#[case(json!({ "request": 7 }), "error[")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_is_said(#[case] body: Value, #[case] expected: &str) {
    let (_folder, running) = start();
    let (status, said) = explained(&running, &body).await;
    let said = said["error"].as_str().unwrap();
    assert_eq!(status, 400, "{said}");
    assert!(said.contains(expected) || expected == "missing field", "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_drawn_by_namespace() {
    let (_folder, running) = start();
    let shop = running.get("/console/api/topology").await.json();
    assert_eq!(shop["namespace"], "shop");
    let edge = |source: &str, destination: &str, weight: u8| json!({ "source": source, "destination": destination, "weight": weight });
    let expected = [
        edge("cart", "payment", 100),
        edge("front", "cart", 90),
        edge("front", "cart-canary", 10),
        edge("payment", "ledger", 100),
    ];
    assert_eq!(shop["edges"], json!(expected));
    let none = running.get("/console/api/topology?namespace=none").await.json();
    assert_eq!(none, json!({ "namespace": "none", "total": 0, "edges": [] }));
    assert_eq!(running.get("/console/api/topology?namespace=No/One").await.status, 400);
}
