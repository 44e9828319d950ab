//! Objects of the embedded store: what a patch changes, and what it never does.

use http::Method;
use serde_json::{Value, json};

use crate::server::{JSON, OBJECTS, Server};

const STORED: &str =
    "/apis/networking.istio.io/v1/namespaces/payments/virtualservices/payment-service";

fn weights(stable: u32) -> String {
    let canary = 100 - stable;
    json!({ "weights": [
        { "destination": "stable", "weight": stable },
        { "destination": "canary", "weight": canary },
    ] })
    .to_string()
}

#[tokio::test]
async fn weights_change_and_nothing_else() {
    let mut server = Server::start_stored(OBJECTS, &[]);
    let api = server.api();
    let before = api.call(Method::GET, STORED, &[], "").await.body;
    let reply = server.admin().weigh("payment-service", &weights(80)).await.good();
    let expected = json!({
        "name": "payment-service",
        "namespace": "payments",
        "hosts": ["payment-service"],
        "http": [{
            "route": [
                { "destination": { "host": "payment-service", "subset": "stable" }, "weight": 80 },
                { "destination": { "host": "payment-service", "subset": "canary" }, "weight": 20 },
            ],
        }],
    });
    assert_eq!(reply, expected);
    let shown = server.viewer().get("/virtual-services/payments/payment-service").await.good();
    assert_eq!(shown, expected);
    let mut after = api.call(Method::GET, STORED, &[], "").await.body;
    assert_ne!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    let route = &mut after["spec"]["http"][0]["route"];
    (route[0]["weight"], route[1]["weight"]) = (json!(90), json!(10));
    assert_eq!(after["spec"], before["spec"]);
    let line = server.line("traffic weights changed");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["user"], "https://issuer.example#alice");
    assert_eq!(
        (&event["namespace"], &event["name"]),
        (&json!("payments"), &json!("payment-service"))
    );
    assert_eq!(
        (&event["before"], &event["after"]),
        (&json!("stable=90 canary=10"), &json!("stable=80 canary=20"))
    );
}

#[tokio::test]
async fn the_owner_of_weights_is_written_down() {
    let mut server = Server::start_stored(OBJECTS, &[]);
    let api = server.api();
    let mut object = api.call(Method::GET, STORED, &[], "").await.body;
    object["metadata"] = json!({ "name": "other", "namespace": "payments" });
    let collection = STORED.trim_end_matches("/payment-service");
    let made = api.call(Method::POST, collection, &[JSON], object.to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    server.admin().weigh("other", &weights(80)).await.good();
    let object = api.call(Method::GET, &format!("{collection}/other"), &[], "").await.body;
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    let ours = |it: &&Value| it["manager"] == "postern-management:alice";
    assert_eq!(managers.iter().filter(ours).count(), 1, "{managers:#?}");
}

#[tokio::test]
async fn the_store_says_when_things_were_made() {
    let server = Server::start_stored(OBJECTS, &[]);
    let viewer = server.viewer();
    for path in ["/peer-authentications", "/authorization-policies"] {
        let listed = viewer.get(&format!("{path}?namespace=payments")).await.good();
        let created = listed[0]["createdAt"].as_str().unwrap();
        assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    }
    assert_eq!(viewer.get("/status").await.good(), json!({ "istioEnabled": true }));
    viewer.get("/virtual-services/payments/unknown").await.bad(404);
}

/// Everybody writes at once: no write of others is lost, and weights are never mixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_others_is_lost() {
    let mut server = Server::start_stored(OBJECTS, &[]);
    let (admin, api) = (server.admin(), server.api());
    let mut writers = Vec::new();
    for number in 0..12_u32 {
        let admin = admin.clone();
        writers.push(tokio::spawn(async move {
            let reply = admin.weigh("payment-service", &weights(number)).await;
            assert!([200, 409].contains(&reply.status), "{reply:?}");
            false
        }));
        let api = api.clone();
        writers.push(tokio::spawn(async move {
            let annotation =
                json!({ "metadata": { "annotations": { format!("a{number}"): "x" } } });
            let merge = [("content-type", "application/merge-patch+json")];
            let reply = api.call(Method::PATCH, STORED, &merge, annotation.to_string()).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            true
        }));
    }
    let mut annotated = 0;
    for writer in writers {
        annotated += usize::from(writer.await.unwrap());
    }
    let object = api.call(Method::GET, STORED, &[], "").await.body;
    assert_eq!(object["metadata"]["annotations"].as_object().unwrap().len(), annotated);
    let route = &object["spec"]["http"][0]["route"];
    let weight = |number: usize| route[number]["weight"].as_u64().unwrap();
    assert_eq!(weight(0) + weight(1), 100);
    assert_eq!(route[0]["headers"]["request"]["set"]["x-track"], "stable");
}

#[tokio::test]
async fn one_of_several_routes() {
    const TWICE: &str = r"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: pay, namespace: payments }
spec:
  hosts: [pay]
  http:
    - name: beta
      match: [{ headers: { x-beta: { exact: 'yes' } } }]
      route: &both
        - { destination: { host: pay, subset: stable }, weight: 50 }
        - { destination: { host: pay, subset: canary }, weight: 50 }
    - route: *both
";
    let server = Server::start_stored(TWICE, &[]);
    let admin = server.admin();
    let message = admin.weigh("pay", &weights(80)).await.bad(400);
    assert!(message.contains("`route` must name one"), "{message}");
    let with = |route: Value| {
        let mut body: Value = serde_json::from_str(&weights(80)).unwrap();
        body["route"] = route;
        body.to_string()
    };
    let first = |reply: &Value, route: usize| reply["http"][route]["route"][0]["weight"].clone();
    let reply = admin.weigh("pay", &with(json!("beta"))).await.good();
    assert_eq!((first(&reply, 0), first(&reply, 1)), (json!(80), json!(50)));
    let reply = admin.weigh("pay", &with(json!(1))).await.good();
    assert_eq!((first(&reply, 0), first(&reply, 1)), (json!(80), json!(80)));
    admin.weigh("pay", &with(json!(2))).await.bad(400);
}

/// What the store would not take from kubectl it does not take here.
#[tokio::test]
async fn the_object_is_held_to_admission() {
    let mut server = Server::start_stored(OBJECTS, &[]);
    let api = server.api();
    let patch = [("content-type", "application/json-patch+json")];
    let negative = r#"[{"op":"replace","path":"/spec/http/0/route/0/weight","value":-1}]"#;
    let reply = api.call(Method::PATCH, STORED, &patch, negative).await;
    assert_eq!(reply.status, 422, "{reply:?}");
    drop(api.call(Method::DELETE, STORED, &[JSON], "").await);
    server.admin().weigh("payment-service", &weights(80)).await.bad(404);
}
