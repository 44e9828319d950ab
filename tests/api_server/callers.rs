//! Who may call: tokens, certificates, roles.

use http::Method;
use serde_json::json;

use crate::server::{JSON, POLICIES, Server, policy};

#[tokio::test]
async fn nobody_is_told_nothing_but_health() {
    let server = Server::start(&[]);
    for client in [server.anonymous(), server.client("guessed-0123456789")] {
        for path in [POLICIES, "/apis", "/openapi/v3", "/version", "/nowhere"] {
            let reply = client.get(path).await;
            assert!(reply.headers.contains_key("www-authenticate"));
            let (code, reason, message) = reply.bad();
            assert_eq!(
                (code, reason.as_str(), message.as_str()),
                (401, "Unauthorized", "Unauthorized")
            );
        }
        for path in ["/livez", "/readyz", "/healthz"] {
            assert_eq!(client.get(path).await.good(), "ok");
        }
    }
}

#[tokio::test]
async fn roles_hold_where_they_are_given() {
    let server = Server::start(&[]);
    let (editor, viewer) = (server.client("editor-0123456789"), server.client("viewer-0123456789"));
    let nobody = server.client("nobody-0123456789");
    editor.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let elsewhere = POLICIES.replace("default", "istio-system");
    let (code, reason, message) = editor.post(&elsewhere, &policy("a", "ALLOW")).await.bad();
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "authorizationpolicies.security.istio.io is forbidden: User \"ann\" cannot create resource \
         \"authorizationpolicies\" in API group \"security.istio.io\" in the namespace \"istio-system\""
    );
    let status = format!("{POLICIES}/a/status");
    assert_eq!(editor.merge(&status, &json!({ "status": {} })).await.bad().0, 403);
    let all = "/apis/security.istio.io/v1/authorizationpolicies";
    assert_eq!(editor.get(all).await.bad().0, 403);
    assert_eq!(viewer.get(all).await.good()["items"].as_array().unwrap().len(), 1);
    assert_eq!(viewer.delete(&format!("{POLICIES}/a")).await.bad().0, 403);
    assert_eq!(nobody.get(POLICIES).await.bad().0, 403);
    assert_eq!(nobody.get("/apis").await.status, 200, "discovery is for everybody known");
}

#[tokio::test]
async fn the_kubeconfig_is_for_the_operator() {
    let server = Server::start(&[]);
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let reply = server.certified().post(path, &body).await;
    assert_eq!(reply.status, 201);
    let info = &reply.good()["status"]["userInfo"];
    assert_eq!(info["username"], "postern-admin");
    assert_eq!(info["groups"], json!(["system:masters", "system:authenticated"]));
    server.certified().post(POLICIES, &policy("a", "ALLOW")).await.good();
}

#[tokio::test]
async fn without_tls_a_browser_is_nobody() {
    let mut server = Server::start(&["--api-insecure"]);
    let api = server.address("api");
    let get = async |headers: &[(&str, &str)]| {
        let stream = tokio::net::TcpStream::connect(&api).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::builder().method(Method::GET).uri(POLICIES);
        for (name, value) in [&[("host", "localhost"), JSON], headers].concat() {
            request = request.header(name, value);
        }
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap().status().as_u16()
    };
    assert_eq!(get(&[]).await, 200);
    assert_eq!(get(&[("origin", "https://attacker.example")]).await, 401);
    assert_eq!(get(&[("sec-fetch-site", "cross-site")]).await, 401);
    assert_eq!(get(&[("authorization", "Bearer guessed-0123456789")]).await, 401);
}

/// As requests' tokens are verified, with rules of the API's own.
#[cfg(feature = "sign")]
#[tokio::test]
async fn tokens_of_an_issuer_are_callers() {
    let folder = crate::server::scratch();
    let run = |arguments: &[&str]| {
        let output =
            crate::server::postern(folder.path()).arg("jwt").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    run(&["keygen", "--algorithm", "ES256", "--key", "key.json", "--jwks", "jwks.json"]);
    let signed_by = |issuer: &str, more: &[&str]| {
        let issuer = format!("iss={issuer}");
        let claims = ["--claim", &issuer, "--claim", "sub=alice"];
        run(&[&["sign", "--key", "key.json"], &claims[..], more].concat())
    };
    let sign = |more: &[&str]| signed_by("https://idp.example", more);
    let ours = ["--claim", "aud=postern-api", "--claim", r#"groups=["auditors","system:masters"]"#];
    let known = sign(&ours);
    let others = [
        ("for another service", sign(&["--claim", "aud=shop"])),
        ("for nobody", sign(&[])),
        ("without an end", sign(&[&ours[..], &["--expires-in", "never"]].concat())),
        ("expired", sign(&[&ours[..], &["--now", "2020-01-01T00:00:00Z"]].concat())),
        ("of another issuer", signed_by("https://other.example", &ours)),
        ("forged", format!("{}AAAA", &known.split_at(known.len() - 4).0)),
    ];
    let jwks = std::fs::read_to_string(folder.path().join("jwks.json")).unwrap();
    let config = json!({
        "apiRoles": [{ "role": "viewer", "namespaces": ["*"], "groups": ["auditors"] }],
        "apiJwtRules":
            [{ "issuer": "https://idp.example", "audiences": ["postern-api"], "jwks": jwks }],
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let server = Server::start_in(folder, &[]);
    let alice = server.client(&known);
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let who = alice.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &body).await.good();
    let info = &who["status"]["userInfo"];
    assert_eq!(info["username"], "https://idp.example#alice");
    assert_eq!(info["groups"], json!(["auditors", "system:authenticated"]));
    assert_eq!(alice.get(POLICIES).await.status, 200);
    assert_eq!(alice.post(POLICIES, &policy("a", "ALLOW")).await.status, 403);
    for (name, token) in others {
        assert_eq!(server.client(&token).get(POLICIES).await.status, 401, "{name}");
    }
}
