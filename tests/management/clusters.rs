//! Objects of clusters: the one that policies come from, and those of kubeconfigs that administrators
//! send. The cluster is another Postern with a store, which speaks Kubernetes' API.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::server::{JSON, OBJECTS, Server, scratch};

const PATH: &str = "/virtual-services/payments/payment-service";

const WEIGHTS: &str =
    r#"{"weights":[{"destination":"stable","weight":80},{"destination":"canary","weight":20}]}"#;

/// The first weight of the document's example.
fn stable(reply: &Value) -> &Value {
    &reply["http"][0]["route"][0]["weight"]
}

#[tokio::test]
async fn the_cluster_that_policies_come_from() {
    let mut cluster = Server::start_stored(OBJECTS, &[]);
    let folder = scratch("");
    std::fs::write(folder.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
    let more = ["--kube", "--kubeconfig=kubeconfig", "--kube-status=false"];
    let mut server = Server::spawn(folder, &[&more[..], &["--management-ca=ca.pem"]].concat());
    let viewer = server.viewer();
    assert_eq!(viewer.get("/status").await.good(), json!({ "istioEnabled": true }));
    assert_eq!(stable(&viewer.get(PATH).await.good()), 90);
    for path in ["/virtual-services", "/peer-authentications", "/authorization-policies"] {
        let listed = viewer.get(&format!("{path}?namespace=payments")).await.good();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    }
    assert_eq!(stable(&server.admin().weigh("payment-service", WEIGHTS).await.good()), 80);
    assert_eq!(stable(&cluster.viewer().get(PATH).await.good()), 80);
    server.line("traffic weights changed");
    server.admin().weigh("unknown", WEIGHTS).await.bad(404);
    viewer.get("/virtual-services/payments/unknown").await.bad(404);
    // It goes away.
    drop(cluster);
    for path in ["/status", PATH, "/topology?namespace=payments"] {
        viewer.get(path).await.bad(503);
    }
    viewer.get("/topology").await.bad(400);
    server.admin().weigh("payment-service", WEIGHTS).await.bad(503);
}

/// A server on files whose administrators may send kubeconfigs that lead there.
fn open(destinations: &str) -> Server {
    let destinations = format!("--management-inline-kubeconfig-destinations={destinations}");
    let weighed = OBJECTS.replace("weight: 90", "weight: 70").replace("weight: 10", "weight: 30");
    Server::start_in(
        scratch(&weighed),
        &["--management-inline-kubeconfig", &destinations, "--log-level=trace"],
    )
}

#[tokio::test]
async fn kubeconfigs_of_administrators() {
    let mut cluster = Server::start_stored(OBJECTS, &[]);
    let text = cluster.kubeconfig();
    let (sent, in_url) = (STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text));
    let mut server = open("127.0.0.0/8");
    let admin = server.admin();
    let base = "/api/v1/istio";

    // By query, by header, or by body; without one, what is configured.
    assert_eq!(stable(&admin.get(PATH).await.good()), 70);
    assert_eq!(stable(&admin.get(&format!("{PATH}?kubeconfig={in_url}")).await.good()), 90);
    let header = ("x-kubeconfig", sent.as_str());
    let by_header = admin.call(Method::GET, &format!("{base}{PATH}"), &[header], "").await;
    assert_eq!(stable(&by_header.good()), 90);
    let status = admin.get(&format!("/status?kubeconfig={in_url}")).await.good();
    assert_eq!(status, json!({ "istioEnabled": true }));
    for path in ["virtual-services", "peer-authentications", "authorization-policies"] {
        let listed = admin.get(&format!("/{path}?namespace=payments&kubeconfig={in_url}")).await;
        assert_eq!(listed.good().as_array().unwrap().len(), 1);
    }
    admin.get(&format!("/topology?namespace=payments&kubeconfig={in_url}")).await.good();
    let mut body: Value = serde_json::from_str(WEIGHTS).unwrap();
    body["kubeconfig"] = json!(sent);
    let reply = admin.weigh("payment-service", &body.to_string()).await.good();
    assert_eq!(stable(&reply), 80);
    assert_eq!(stable(&cluster.viewer().get(PATH).await.good()), 80);
    assert_eq!(stable(&admin.get(PATH).await.good()), 70);
    server.line("traffic weights changed");

    // More than one is none.
    let path = format!("{base}{PATH}?kubeconfig={in_url}");
    let message = admin.call(Method::GET, &path, &[header], "").await.bad(400);
    assert_eq!(message, "there is more than one kubeconfig");
    let path = format!("{base}{PATH}/weights");
    admin.call(Method::PATCH, &path, &[JSON, header], body.to_string()).await.bad(400);
    admin.call(Method::GET, &format!("{base}{PATH}"), &[header, header], "").await.bad(400);

    // Metrics are from Prometheus.
    let path = format!("/metrics/rps?service=a&namespace=b&kubeconfig={in_url}");
    assert!(admin.get(&path).await.bad(400).contains("not read from a cluster"));

    // Others than administrators do not get as far as that.
    let viewer = server.viewer();
    for path in ["/status", PATH, "/topology", "/metrics/rps"] {
        for sent in ["kubeconfig=%00", "kubeconfig", &format!("a=b&kube%63onfig={in_url}")] {
            viewer.get(&format!("{path}?{sent}")).await.bad(403);
        }
    }
    viewer.call(Method::GET, &format!("{base}{PATH}"), &[header], "").await.bad(403);
    server.anonymous().get(&format!("{PATH}?kubeconfig={in_url}")).await.bad(401);

    let document = server.anonymous().get("/openapi.json").await.good();
    assert!(document["components"]["parameters"]["kubeconfig"].is_object());

    let log = server.end();
    let used = log.lines().find(|line| line.contains("a caller's kubeconfig is used")).unwrap();
    let used: Value = serde_json::from_str(used).unwrap();
    assert_eq!(used["user"], "https://issuer.example#alice");
    assert_eq!(used["kubeconfig_sha256"].as_str().unwrap().len(), 64);
    let secret = text.lines().find_map(|line| line.trim().strip_prefix("client-key-data: "));
    for secret in [sent.as_str(), in_url.as_str(), secret.unwrap()] {
        assert!(!log.contains(secret.get(..40).unwrap()));
    }
}

#[rstest]
#[case::base64("!", "the kubeconfig is not base64")]
#[case::empty("", "the kubeconfig is not one document")]
#[case::no_cluster("e30", "the kubeconfig has no `")]
#[tokio::test]
async fn kubeconfigs_that_are_none(#[case] text: &str, #[case] expected: &str) {
    let server = open("127.0.0.0/8");
    let message = server.admin().get(&format!("{PATH}?kubeconfig={text}")).await.bad(400);
    assert!(message.starts_with(expected), "{message}");
}

/// Wherever it leads, and whatever answers there, nothing is told of it.
#[tokio::test]
async fn kubeconfigs_that_lead_elsewhere() {
    let mut cluster = Server::start_stored(OBJECTS, &[]);
    let text = URL_SAFE_NO_PAD.encode(cluster.kubeconfig());
    let server = open("10.0.0.0/8,kubernetes.example");
    let path = format!("{PATH}?kubeconfig={text}");
    let message = server.admin().get(&path).await.bad(503);
    assert!(!message.contains("127.0.0.1"), "{message}");
    // What cannot be asked is no answer about parameters.
    server.admin().get(&format!("/topology?kubeconfig={text}")).await.bad(400);
}
