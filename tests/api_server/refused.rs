//! Bad input: a Status that says what is wrong, and nothing stored.

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::server::{JSON, POLICIES, Server, policy};

const GOOD: &str = r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"a"},"spec":{}}"#;

/// Every refusal of a POST in one go: a server takes a while to start.
#[tokio::test]
async fn bodies_that_are_none() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let nested = format!("{}{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
    let large = GOOD.replace("\"spec\":{}", &format!("\"spec\":\"{}\"", "x".repeat(4 << 20)));
    let cases: Vec<(&str, String, &str, u16, &str)> = vec![
        ("empty", String::new(), "application/json", 400, "cannot be handled"),
        ("cut off", "{\"kind\":".into(), "application/json", 400, "cannot be handled"),
        ("no object", "[]".into(), "application/json", 400, "must be of type AuthorizationPolicy"),
        ("no kind", "{}".into(), "application/json", 400, "Object 'Kind' is missing"),
        (
            "other kind",
            GOOD.replace("AuthorizationPolicy", "Pod"),
            "application/json",
            400,
            "does not match the expected kind",
        ),
        (
            "other version",
            GOOD.replace("io/v1", "io/v1beta1"),
            "application/json",
            400,
            "does not match the expected API version",
        ),
        (
            "other namespace",
            GOOD.replace("\"name\"", "\"namespace\":\"x\",\"name\""),
            "application/json",
            400,
            "does not match the namespace",
        ),
        (
            "no name",
            GOOD.replace("\"name\":\"a\"", ""),
            "application/json",
            422,
            "name or generateName is required",
        ),
        (
            "bad name",
            GOOD.replace("\"a\"", "\"A_\""),
            "application/json",
            422,
            "metadata.name: Invalid value",
        ),
        (
            "version set",
            GOOD.replace("\"name\"", "\"resourceVersion\":\"7\",\"name\""),
            "application/json",
            400,
            "resourceVersion should not be set",
        ),
        ("nested", nested, "application/json", 400, "cannot be handled"),
        ("large", large, "application/json", 413, "Request entity too large"),
        ("media type", GOOD.into(), "text/plain", 415, "unknown format"),
        ("protobuf", "k8s\0".into(), "application/vnd.kubernetes.protobuf", 415, "unknown format"),
        ("yaml", "{{".into(), "application/yaml", 400, "yaml"),
    ];
    for (name, body, media_type, code, message) in cases {
        let reply = admin.call(Method::POST, POLICIES, &[("content-type", media_type)], body).await;
        let (found, _, text) = reply.bad();
        assert_eq!(found, code, "{name}: {text}");
        assert!(text.contains(message), "{name}: {text}");
    }
    let list = admin.get(POLICIES).await.good();
    assert_eq!(list["items"], json!([]), "nothing half written");
}

#[tokio::test]
async fn unknown_and_duplicate_fields() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let body = GOOD.replace("{}", r#"{"acton":"DENY","action":"DENY","action":"ALLOW"}"#);
    let post = async |validation: &str| {
        let path = format!("{POLICIES}?dryRun=All&fieldValidation={validation}");
        admin.call(Method::POST, &path, &[JSON], body.clone()).await
    };
    let (code, reason, message) = post("Strict").await.bad();
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert!(
        message.ends_with(
            r#"strict decoding error: unknown field "spec.acton", duplicate field "spec.action""#
        ),
        "{message}"
    );
    let warned = post("Warn").await;
    assert!(warned.warnings().contains(&r#"299 - "unknown field \"spec.acton\"""#), "{warned:?}");
    let ignored = post("Ignore").await;
    assert!(!ignored.warnings().iter().any(|warning| warning.contains("acton")));
    assert_eq!(ignored.good()["spec"], json!({ "action": "ALLOW" }));
    assert_eq!(post("Maybe").await.bad().0, 422);
}

#[tokio::test]
async fn what_kubernetes_and_istio_would_refuse() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let reply = admin.post(POLICIES, &policy("a", "BLOCK")).await;
    assert_eq!(reply.body["details"]["causes"][0]["field"], "spec.action");
    let (code, reason, message) = reply.bad();
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(message.contains("spec.action: Unsupported value: \"BLOCK\""), "{message}");
    let mut empty = policy("a", "ALLOW");
    empty["spec"]["rules"][0]["to"] = json!([]);
    assert_eq!(admin.post(POLICIES, &empty).await.bad().0, 422);
    assert_eq!(admin.get(POLICIES).await.good()["items"], json!([]));
}

#[tokio::test]
async fn stale_writes() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let object = format!("{POLICIES}/a");
    let missing = admin.put(&object, &policy("a", "ALLOW")).await.bad();
    assert_eq!((missing.0, missing.1.as_str()), (404, "NotFound"));
    assert_eq!(missing.2, "authorizationpolicies.security.istio.io \"a\" not found");
    let first = admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let again = admin.post(POLICIES, &policy("a", "ALLOW")).await.bad();
    assert_eq!((again.0, again.1.as_str()), (409, "AlreadyExists"));
    let unversioned = admin.put(&object, &policy("a", "DENY")).await.bad();
    assert_eq!(unversioned.0, 422, "{}", unversioned.2);
    admin.merge(&object, &json!({ "metadata": { "labels": { "x": "y" } } })).await.good();
    let mut stale = first.clone();
    stale["spec"]["action"] = "DENY".into();
    let (code, reason, message) = admin.put(&object, &stale).await.bad();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.contains("the object has been modified"), "{message}");
    let version = json!({ "metadata": { "resourceVersion": "1" } });
    assert_eq!(admin.merge(&object, &version).await.bad().0, 409);
    let options = json!({ "preconditions": { "resourceVersion": "1" } });
    let delete = admin.call(Method::DELETE, &object, &[JSON], options.to_string()).await;
    assert_eq!(delete.bad().0, 409);
    let options = json!({ "preconditions": { "uid": "another" } });
    let delete = admin.call(Method::DELETE, &object, &[JSON], options.to_string()).await;
    assert_eq!(delete.bad().0, 409);
    assert_eq!(admin.get(&object).await.good()["spec"]["action"], "ALLOW");
}

#[tokio::test]
async fn paths_methods_and_media_types() {
    let server = Server::start(&[]);
    let admin = server.admin();
    admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let object = format!("{POLICIES}/a");
    let all = "/apis/security.istio.io/v1/authorizationpolicies";
    let strategic = "application/strategic-merge-patch+json";
    let cases = [
        (Method::GET, "/apis/security.istio.io/v2/authorizationpolicies", "", 404),
        (Method::GET, "/apis/security.istio.io/v1/namespaces/default/gateways", "", 404),
        (Method::GET, "/", "", 404),
        (Method::GET, "/api/v1/namespaces/default/pods", "", 404),
        (Method::POST, object.as_str(), "application/json", 405),
        (Method::PUT, POLICIES, "application/json", 405),
        (Method::POST, all, "application/json", 405),
        (Method::DELETE, all, "", 405),
        (Method::PATCH, object.as_str(), strategic, 415),
        (Method::PATCH, object.as_str(), "", 415),
        (Method::DELETE, "/api/v1/namespaces", "application/json", 405),
        (Method::POST, "/version", "", 405),
        (Method::GET, "/api/v1/namespaces/nowhere", "", 404),
    ];
    for (method, path, media_type, expected) in cases {
        let headers = [("content-type", media_type)];
        let headers = if media_type.is_empty() { &headers[..0] } else { &headers[..] };
        let (code, _, message) = admin.call(method.clone(), path, headers, "{}").await.bad();
        assert_eq!(code, expected, "{method} {path}: {message}");
    }
    let accept = [("accept", "application/vnd.kubernetes.protobuf")];
    let (code, reason, _) = admin.call(Method::GET, &object, &accept, "").await.bad();
    assert_eq!((code, reason.as_str()), (406, "NotAcceptable"));
    let nowhere = POLICIES.replace("default", "nowhere");
    let (code, _, message) = admin.post(&nowhere, &policy("a", "ALLOW")).await.bad();
    assert_eq!((code, message.as_str()), (404, "namespaces \"nowhere\" not found"));
}

#[tokio::test]
async fn queries_that_make_no_sense() {
    let server = Server::start(&[]);
    let admin = server.admin();
    for (query, expected, message) in [
        ("labelSelector=a%3D%3D%3Db", 400, "unable to parse requirement"),
        ("fieldSelector=spec.action%3DDENY", 400, "field label not supported: spec.action"),
        ("limit=many", 400, "strconv.ParseInt"),
        ("continue=%21", 400, "invalid continue token"),
        ("resourceVersion=x", 400, "invalid resource version"),
        ("resourceVersion=999999", 504, "Too large resource version"),
        ("resourceVersionMatch=Exact", 422, "forbidden unless resourceVersion"),
        ("sendInitialEvents=true", 422, "forbidden for list"),
        ("watch=true&sendInitialEvents=true", 422, "requires setting resourceVersionMatch"),
        ("labelSelector=%zz", 400, "not valid"),
    ] {
        let (code, _, text) = admin.get(&format!("{POLICIES}?{query}")).await.bad();
        assert_eq!(code, expected, "{query}: {text}");
        assert!(text.contains(message), "{query}: {text}");
    }
    let post = format!("{POLICIES}?dryRun=Some");
    assert_eq!(admin.post(&post, &policy("a", "ALLOW")).await.bad().0, 422);
    let apply = admin.apply(&format!("{POLICIES}/a"), &policy("a", "ALLOW")).await;
    let (code, _, message) = apply.bad();
    assert_eq!(code, 422);
    assert!(message.contains("fieldManager: Required value"), "{message}");
}

#[rstest]
#[case::store_of_nothing(&["serve", "--api=127.0.0.1:0", "--policies=p"], "--api: there is no store")]
#[case::both(&["serve", "--store=s", "--policies=p"], "--policies: policies come from --store already")]
#[case::plain_to_the_world(
    &["serve", "--store=s", "--api=0.0.0.0:0", "--api-insecure"],
    "--api: `0.0.0.0:0` can be reached from elsewhere"
)]
#[case::half_an_identity(
    &["serve", "--store=s", "--api=127.0.0.1:0", "--api-key=k"],
    "a certificate needs its key"
)]
#[case::no_tokens(
    &["serve", "--store=s", "--api=127.0.0.1:0", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--http-listen=off", "--api-tokens=none"],
    "--api-tokens: cannot read `none`"
)]
fn settings_that_make_no_sense(#[case] arguments: &[&str], #[case] expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = crate::server::postern(folder.path()).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn a_store_has_one_owner() {
    let server = Server::start(&[]);
    let check =
        crate::server::postern(&server.path(".")).args(["store", "check", "store"]).output();
    let check = check.unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(2));
    assert!(said.contains("is open in another process"), "{said}");
    let _: Value = server.admin().get("/version").await.good();
}
