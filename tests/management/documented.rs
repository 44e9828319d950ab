//! The document's examples, shape for shape.

use serde_json::json;

use crate::server::{OBJECTS, Server, scratch};

#[tokio::test]
async fn the_examples_of_the_document() {
    let server = Server::start(&[]);
    let viewer = server.viewer();
    assert_eq!(viewer.get("/status").await.good(), json!({ "istioEnabled": true }));
    let virtual_service = json!({
        "name": "payment-service",
        "namespace": "payments",
        "hosts": ["payment-service"],
        "http": [{
            "route": [
                { "destination": { "host": "payment-service", "subset": "stable" }, "weight": 90 },
                { "destination": { "host": "payment-service", "subset": "canary" }, "weight": 10 },
            ],
        }],
    });
    let listed = viewer.get("/virtual-services?namespace=payments").await.good();
    assert_eq!(listed, json!([virtual_service]));
    let got = viewer.get("/virtual-services/payments/payment-service").await.good();
    assert_eq!(got, virtual_service);
    assert_eq!(
        viewer.get("/peer-authentications?namespace=payments").await.good(),
        json!([{
            "name": "default",
            "namespace": "payments",
            "mtlsMode": "STRICT",
            "createdAt": "2025-01-15T10:00:00Z",
        }])
    );
    assert_eq!(
        viewer.get("/authorization-policies?namespace=payments").await.good(),
        json!([{
            "name": "allow-frontend",
            "namespace": "payments",
            "action": "ALLOW",
            "rules": [{
                "from": [{ "source": { "principals": ["cluster.local/ns/frontend/sa/frontend"] } }],
            }],
            "createdAt": "2025-01-15T10:00:00Z",
        }])
    );
    for path in ["/virtual-services", "/peer-authentications", "/authorization-policies"] {
        let elsewhere = viewer.get(&format!("{path}?namespace=elsewhere")).await.good();
        assert_eq!(elsewhere, json!([]));
    }
}

/// The document's picture cannot come from one VirtualService alone.
const FRONTEND: &str = r#"
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: { name: frontend, namespace: payments }
spec:
  hosts: [frontend]
  http:
    - route: [{ destination: { host: payment-service.payments.svc.cluster.local } }]
---
apiVersion: v1
kind: List
items:
  - apiVersion: networking.istio.io/v1alpha3
    kind: VirtualService
    metadata: { name: database }
    spec:
      hosts: [payment-service]
      tcp:
        - route: [{ destination: { host: database } }]
"#;

#[tokio::test]
async fn the_topology_of_the_document() {
    let server = Server::start_in(scratch(FRONTEND), &["--namespace=payments"]);
    assert_eq!(
        server.viewer().get("/topology?namespace=payments").await.good(),
        json!([
            { "source": "frontend", "destination": "payment-service", "weight": 100 },
            { "source": "payment-service", "destination": "database", "weight": 100 },
        ])
    );
}

/// What is edited is shown; what cannot be read is not shown as nothing.
#[tokio::test]
async fn files_are_followed() {
    let server = Server::start(&[]);
    let viewer = server.viewer();
    server.write("policies/objects.yaml", &OBJECTS.replace("weight: 90", "weight: 91"));
    let path = "/virtual-services/payments/payment-service";
    // Until the server has seen it.
    loop {
        let weight = viewer.get(path).await.good()["http"][0]["route"][0]["weight"].clone();
        if weight == 91 {
            break;
        }
        assert_eq!(weight, 90);
        tokio::task::yield_now().await;
    }
    server.write("policies/objects.yaml", &format!("{OBJECTS}\n---\nkind: [\n"));
    loop {
        let reply = viewer.get(path).await;
        if reply.status == 503 {
            assert_eq!(
                reply.bad(503),
                "the policy files cannot all be read; `postern lint` says why"
            );
            break;
        }
        reply.good();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn files_are_changed_where_they_are() {
    let server = Server::start(&[]);
    let body = r#"{"weights":[{"destination":"stable","weight":80},{"destination":"canary","weight":20}]}"#;
    assert_eq!(
        server.admin().weigh("payment-service", body).await.bad(409),
        "it is read from the file `policies/objects.yaml`: change it there"
    );
}
