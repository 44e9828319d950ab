//! Everything that is refused, and in which order.

use std::fs;

use http::Method;
use rstest::rstest;
use serde_json::json;

use crate::server::{
    ADMIN, ARGUMENTS, Client, FORGED, JSON, KEYS, OBJECTS, Server, postern, scratch,
};

const WEIGHTS: &str = "/api/v1/istio/virtual-services/payments/payment-service/weights";

const GOOD: &str =
    r#"{"weights":[{"destination":"stable","weight":80},{"destination":"canary","weight":20}]}"#;

/// Every endpoint, well asked.
const PATHS: [&str; 10] = [
    "/status",
    "/virtual-services?namespace=payments",
    "/virtual-services/payments/payment-service",
    "/virtual-services/payments/payment-service/weights",
    "/peer-authentications?namespace=payments",
    "/authorization-policies?namespace=payments",
    "/metrics/rps?service=payment-service&namespace=payments",
    "/metrics/error-rate?service=payment-service&namespace=payments",
    "/metrics/latency?service=payment-service&namespace=payments",
    "/topology?namespace=payments",
];

#[tokio::test]
async fn nobody_gets_anything() {
    let server = Server::start(&[]);
    let nobody = server.anonymous();
    for path in PATHS {
        let method = if path.ends_with("/weights") { Method::PATCH } else { Method::GET };
        let path = format!("/api/v1/istio{path}");
        let message = nobody.call(method, &path, &[JSON], GOOD).await.bad(401);
        assert_eq!(message, "a valid bearer token is needed");
        // Nor does anybody learn what is wrong with it.
        nobody.call(Method::DELETE, &path, &[], "").await.bad(401);
        nobody.call(Method::GET, &format!("{path}&namespace="), &[], "").await.bad(401);
    }
    for path in ["/", "/api/v1/istio", "/api/v1/istio/unknown", "/api/v1/istio/openapi.json/"] {
        nobody.call(Method::GET, path, &[], "").await.bad(401);
    }
    nobody.call(Method::POST, "/api/v1/istio/openapi.json", &[], "").await.bad(401);
}

#[tokio::test]
async fn tokens_that_are_none() {
    let server = Server::start(&[]);
    let claims = ["iss=https://issuer.example", "sub=alice", "aud=mesh", "role=admin"];
    let with = |number: usize, claim: &'static str| {
        let mut claims = claims;
        claims[number] = claim;
        KEYS.sign(&claims, "1h")
    };
    let good = KEYS.sign(&claims, "1h");
    server.client(&good).get("/status").await.good();
    let unsigned = {
        let mut parts = good.split('.');
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{}.", parts.nth(1).unwrap())
    };
    let tokens = [
        ("garbage", "garbage".to_owned()),
        ("another key", FORGED.sign(&claims, "1h")),
        ("expired", KEYS.sign(&[&claims[..], &["exp=1000000000"]].concat(), "never")),
        ("endless", KEYS.sign(&claims, "never")),
        ("issuer", with(0, "iss=https://other.example")),
        ("no subject", with(1, "sub=")),
        ("audience", with(2, "aud=others")),
        ("unsigned", unsigned),
        ("cut", good.get(..good.len() - 8).unwrap().to_owned()),
    ];
    for (what, token) in tokens {
        let reply = server.client(&token).get("/status").await;
        assert_eq!(reply.status, 401, "{what}");
        reply.bad(401);
    }
    for lines in [
        vec![good.clone()],
        vec![format!("Basic {good}")],
        vec![format!("Bearer{good}")],
        vec![format!("Bearer {good}"), format!("Bearer {good}")],
        vec!["Bearer ".to_owned()],
    ] {
        let client = Client { authorization: lines, ..server.anonymous() };
        client.get("/status").await.bad(401);
    }
    // A token in a URL is in every log on its way.
    server.anonymous().get(&format!("/status?access_token={good}")).await.bad(401);
    server.anonymous().get(&format!("/status?token={good}")).await.bad(401);
}

#[tokio::test]
async fn paths_and_methods_come_after_tokens() {
    let server = Server::start(&[]);
    let viewer = server.viewer();
    for path in ["/unknown", "/status/", "", "/metrics/other?service=a&namespace=b"] {
        assert_eq!(viewer.get(path).await.bad(404), "there is no such path");
    }
    for path in PATHS {
        let right = if path.ends_with("/weights") { "PATCH" } else { "GET" };
        for wrong in ["GET", "PATCH", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
            if wrong == right {
                continue;
            }
            let method = Method::from_bytes(wrong.as_bytes()).unwrap();
            let path = format!("/api/v1/istio{path}");
            let reply = viewer.call(method, &path, &[], "").await;
            assert_eq!(reply.headers["allow"], right);
            if wrong == "HEAD" {
                assert_eq!(reply.status, 405);
            } else {
                reply.bad(405);
            }
        }
    }
}

#[tokio::test]
async fn weights_are_for_administrators() {
    let server = Server::start(&[]);
    let viewer = server.viewer();
    for (path, body) in [
        (WEIGHTS, GOOD),
        (WEIGHTS, "no JSON"),
        ("/api/v1/istio/virtual-services/payments/unknown/weights", GOOD),
        ("/api/v1/istio/virtual-services/Payments/x/weights?kubeconfig=x", ""),
    ] {
        let message = viewer.call(Method::PATCH, path, &[JSON], body).await.bad(403);
        assert_eq!(message, "the admin role is needed");
    }
}

#[tokio::test]
async fn bodies_come_before_objects() {
    let server = Server::start(&[]);
    let admin = server.admin();
    assert!(admin.weigh("unknown", "{}").await.bad(400).contains("`weights` must be a list"));
    assert_eq!(admin.weigh("unknown", GOOD).await.bad(404), "there is no such object");
    let half = GOOD.replace("80", "79.5").replace("20", "20.5");
    assert!(admin.weigh("payment-service", &half).await.bad(400).contains("whole number"));
    let other = GOOD.replace("canary", "other");
    assert_eq!(
        admin.weigh("payment-service", &other).await.bad(400),
        "no HTTP route has just these destinations; there are `stable`, `canary`"
    );
    let path = WEIGHTS.replace("payments", "Payments");
    admin.call(Method::PATCH, &path, &[JSON], GOOD).await.bad(400);
    let path = WEIGHTS.replace("payment-service", "a%2Fb");
    admin.call(Method::PATCH, &path, &[JSON], GOOD).await.bad(400);
    admin.call(Method::PATCH, WEIGHTS, &[], GOOD).await.bad(415);
    let patch = ("content-type", "application/json-patch+json");
    admin.call(Method::PATCH, WEIGHTS, &[patch], GOOD).await.bad(415);
    let utf8 = ("content-type", "Application/JSON; charset=utf-8");
    admin.call(Method::PATCH, WEIGHTS, &[utf8], GOOD).await.bad(409);
    let large = format!("{}{GOOD}", " ".repeat(64 * 1024));
    let message = admin.weigh("payment-service", &large).await.bad(413);
    assert_eq!(message, "the body has more than 65536 bytes");
}

#[rstest]
#[case("/virtual-services", "`namespace` is needed")]
#[case("/virtual-services?namespace=", "`namespace` is needed")]
#[case("/virtual-services?namespace=A", "`namespace` must be lower case")]
#[case("/virtual-services?namespace=a&namespace=a", "`namespace` is there twice")]
#[case("/virtual-services?namespace=a&limit=1", "unknown parameter: here are `namespace`")]
#[case("/virtual-services/a_b/c", "`namespace` must be lower case")]
#[case("/virtual-services/a/b_c", "`name` must be lower case")]
#[case("/virtual-services/a/", "`name` must be lower case")]
#[case("/virtual-services/a/%ff", "`name` must be lower case")]
#[case("/peer-authentications", "`namespace` is needed")]
#[case("/authorization-policies", "`namespace` is needed")]
#[case("/topology", "`namespace` is needed")]
#[case("/status?namespace=a", "unknown parameter")]
#[case("/metrics/rps", "`service` is needed")]
#[case("/metrics/rps?service=a", "`namespace` is needed")]
#[case("/metrics/error-rate?service=a%22%7D&namespace=b", "`service` must be lower case")]
#[case("/metrics/latency?service=a&namespace=b%22%7D%20or%20up", "`namespace` must be")]
#[case("/metrics/rps?service=a&namespace=b&range=1", "`range` must be a number with")]
#[case("/metrics/rps?service=a&namespace=b&range=31d", "at most 30d")]
#[case("/metrics/rps?service=a&namespace=b&range=", "`range` must be a number with")]
#[tokio::test]
async fn parameters(#[case] path: &str, #[case] expected: &str) {
    // Whatever comes after them is out of order.
    let folder = scratch(OBJECTS);
    let server = Server::start_in(folder, &["--prometheus-url=http://127.0.0.1:1"]);
    let message = server.viewer().get(path).await.bad(400);
    assert!(message.contains(expected), "{message}");
}

#[tokio::test]
async fn what_cannot_be_read_is_503() {
    let server = Server::start(&[]);
    server.write("policies/objects.yaml", "kind: [\n");
    let viewer = server.viewer();
    loop {
        let reply = viewer.get("/topology?namespace=payments").await;
        if reply.status == 503 {
            break;
        }
        reply.good();
    }
    for path in PATHS.iter().filter(|path| !path.ends_with("/weights") && **path != "/status") {
        viewer.get(path).await.bad(503);
    }
    server.admin().weigh("unknown", GOOD).await.bad(503);
    server.admin().weigh("unknown", "{}").await.bad(400);
    viewer.get("/topology").await.bad(400);
}

#[tokio::test]
async fn kubeconfigs_are_refused_and_never_logged() {
    let server = Server::start(&["--log-level=trace"]);
    let admin = server.admin();
    const SECRET: &str = "c2VjcmV0LWt1YmVjb25maWc";
    for path in PATHS.iter().filter(|path| !path.ends_with("/weights")) {
        let and = if path.contains('?') { '&' } else { '?' };
        let message = admin.get(&format!("{path}{and}kubeconfig={SECRET}")).await.bad(400);
        assert_eq!(message, "inline kubeconfig is disabled");
        let path = format!("/api/v1/istio{path}");
        let reply = admin.call(Method::GET, &path, &[("x-kubeconfig", SECRET)], "").await;
        assert_eq!(reply.bad(400), "inline kubeconfig is disabled");
    }
    let body = json!({ "weights": [{ "destination": "a", "weight": 100 }], "kubeconfig": SECRET });
    let message = admin.weigh("payment-service", &body.to_string()).await.bad(400);
    assert_eq!(message, "inline kubeconfig is disabled");
    let path = format!("{WEIGHTS}?kubeconfig={SECRET}");
    admin.call(Method::PATCH, &path, &[JSON], GOOD).await.bad(400);
    admin.call(Method::PATCH, WEIGHTS, &[JSON, ("x-kubeconfig", SECRET)], GOOD).await.bad(400);
    drop(admin.get("/metrics/rps?service=only-in-a-query&namespace=b").await);
    let log = server.end();
    for secret in [SECRET, "only-in-a-query", ADMIN.rsplit('.').next().unwrap()] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[rstest]
#[case::no_rules(&["--management=127.0.0.1:0"], "nobody could call it")]
#[case::no_audience(
    &["--management=127.0.0.1:0", "--management-issuer=https://i.example"],
    "needs both"
)]
#[case::no_issuer(&["--management=127.0.0.1:0", "--management-audiences=a"], "needs both")]
#[case::reachable(
    &["--management=0.0.0.0:0", "--management-insecure", "--management-issuer=i", "--management-audiences=a"],
    "can be reached from elsewhere"
)]
#[case::half_a_certificate(
    &["--management=127.0.0.1:0", "--management-key=k", "--management-issuer=i", "--management-audiences=a"],
    "a certificate needs its key"
)]
#[case::nothing_to_be_for(&["--management-issuer=i"], "is for --management, which is not set")]
#[case::prometheus_alone(&["--prometheus-url=http://p"], "is for --management, which is not set")]
#[case::prometheus(
    &["--management=127.0.0.1:0", "--management-issuer=i", "--management-audiences=a", "--prometheus-url=p:9090"],
    "must be a URL"
)]
#[case::reporter(
    &["--management=127.0.0.1:0", "--management-issuer=i", "--management-audiences=a", "--prometheus-url=http://p", "--prometheus-reporter=both"],
    "is not `source|waypoint` or `destination`"
)]
#[case::inline(
    &["--management=127.0.0.1:0", "--management-issuer=i", "--management-audiences=a", "--management-inline-kubeconfig"],
    "needs --management-inline-kubeconfig-destinations"
)]
fn configurations(#[case] arguments: &[&str], #[case] expected: &str) {
    let folder = scratch(OBJECTS);
    let mut command = postern(folder.path());
    command.args(&ARGUMENTS[..4]).args(["--policies=policies"]).args(arguments);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn there_is_nothing_without_tls() {
    let server = Server::start(&[]);
    let mut stream = tokio::net::TcpStream::connect(&server.management).await.unwrap();
    let request = "GET /api/v1/istio/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said).await);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
}

/// On loopback, on request. Tokens are needed all the same.
#[tokio::test]
async fn plain_http_needs_tokens_too() {
    let folder = scratch(OBJECTS);
    let server = Server::spawn(folder, &["--policies=policies", "--management-insecure"]);
    let nobody = Client::to(&server.management, None);
    nobody.get("/status").await.bad(401);
    let admin = Client { authorization: vec![format!("Bearer {}", *ADMIN)], ..nobody };
    admin.get("/status").await.good();
}

#[tokio::test]
async fn a_certificate_of_ones_own() {
    let folder = scratch(OBJECTS);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let identity = ["--management-certificate=cert.pem", "--management-key=key.pem"];
    let server = Server::spawn(folder, &[&["--policies=policies"], &identity[..]].concat());
    let client = Client::to(&server.management, Some(certificate.pem().as_bytes()));
    client.get("/status").await.bad(401);
}
