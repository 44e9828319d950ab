//! Who is answered, and with which headers.

use std::collections::HashSet;
use std::fs;

use http::Method;
use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;

use crate::keys;
use crate::running::{Answer, Running};
use crate::world;

/// Everything that holds data.
const DATA: [&str; 8] = [
    "/console/api/overview",
    "/console/api/workloads",
    "/console/api/workload?id=shop%3F",
    "/console/api/policies",
    "/console/api/policy?id=AuthorizationPolicy/shop/no-admin",
    "/console/api/decisions?outcome=x",
    "/console/api/topology",
    "/console/api/nothing",
];

const OPERATORS: &str = "https://ops.example";

fn small() -> TempDir {
    let folder = world::folder("https://login.shop.example/keys");
    fs::write(folder.path().join("config.yaml"), "{}\n").unwrap();
    folder
}

fn open() -> (TempDir, Running) {
    let folder = small();
    let running = Running::start(folder.path(), &[]);
    (folder, running)
}

/// With rules for tokens, and a token that they take.
fn guarded(admin: &str) -> (TempDir, Running, String) {
    let folder = small();
    let jwks = keys::make(folder.path());
    let rules = json!([{ "issuer": OPERATORS, "audiences": ["mesh"], "jwks": jwks }]);
    let text = format!("managementJwtRules: {rules}\n");
    fs::write(folder.path().join("config.yaml"), text).unwrap();
    let arguments =
        ["--config", "config.yaml", "--management", "127.0.0.1:0", "--management-insecure"];
    let running = Running::start_at(folder.path(), admin, &arguments);
    let token = keys::token(folder.path(), OPERATORS, "mesh");
    (folder, running, token)
}

async fn with(running: &Running, path: &str, headers: &[(&str, &str)]) -> Answer {
    running.send(Method::GET, path, headers, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_hardened() {
    let (_folder, running) = open();
    for path in
        ["/console/", "/console/main.js", "/console/none.js", "/console/api/overview", DATA[7]]
    {
        let answer = running.get(path).await;
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        assert_eq!(
            header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            "{path}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
        assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        let is_data = path.starts_with("/console/api") || answer.status == 404;
        assert_eq!(
            header("cache-control"),
            if is_data { "no-store" } else { "no-cache" },
            "{path}"
        );
    }
    // The rest of the port is as it was.
    let config = running.get("/livez").await;
    assert!(!config.headers.contains_key("content-security-policy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_whole_and_asks_nobody_else() {
    let (_folder, running) = open();
    let page = running.get("/console/").await;
    assert_eq!(
        (page.status, page.headers["content-type"].to_str().unwrap()),
        (200, "text/html; charset=utf-8")
    );
    let names = page.text.split('"').filter(|part| part.contains('.') && !part.contains(' '));
    let mut files: Vec<String> = names.map(str::to_owned).collect();
    assert!(files.contains(&"main.js".to_owned()) && files.contains(&"console.css".to_owned()));
    let mut seen = HashSet::new();
    while let Some(name) = files.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let file = running.get(&format!("/console/{name}")).await;
        assert_eq!(file.status, 200, "{name}");
        let imports = file.text.lines().filter(|line| line.starts_with("import "));
        files.extend(
            imports
                .filter_map(|line| Some(line.split("'./").nth(1)?.split('\'').next()?.to_owned())),
        );
        for outside in ["http://", "https://", "innerHTML", "eval(", "document.write"] {
            let found = file.text.replace("http://www.w3.org/", "").contains(outside);
            assert!(!found, "{name} has {outside}");
        }
    }
    assert!(
        !page.text.contains("<style")
            && !page.text.contains("style=")
            && !page.text.contains("onclick")
    );
    let tag = page.headers["etag"].to_str().unwrap();
    let again = with(&running, "/console/", &[("if-none-match", tag)]).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    let moved = running.get("/console").await;
    assert_eq!((moved.status, moved.headers["location"].to_str().unwrap()), (308, "/console/"));
}

#[rstest]
#[case::rebound(&[("host", "attacker.example:8282")], 421)]
#[case::cross_site(&[("sec-fetch-site", "cross-site")], 403)]
#[case::other_port(&[("sec-fetch-site", "same-site")], 403)]
#[case::twice(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 403)]
#[case::own(&[("sec-fetch-site", "same-origin")], 200)]
#[case::typed(&[("sec-fetch-site", "none")], 200)]
#[case::program(&[], 200)]
#[case::token_for_nothing(&[("authorization", "Bearer x")], 200)]
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_learn_nothing(#[case] headers: &[(&str, &str)], #[case] status: u16) {
    let (_folder, running) = open();
    let answer = with(&running, "/console/api/overview", headers).await;
    assert_eq!((answer.status, answer.text.contains("revision")), (status, status == 200));
    let body = r#"{"request": {}}"#;
    let answer = running.send(Method::POST, "/console/api/explain", headers, body).await;
    assert_eq!((answer.status, answer.text.contains("decision")), (status, status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_here() {
    let (_folder, running) = open();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        for path in ["/console/", "/console/main.js", "/console/api/overview"] {
            let answer =
                running.send(method.clone(), path, &[("origin", "http://x.example")], "").await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
        }
    }
    assert_eq!(running.get("/console/api/explain").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_rules_data_needs_a_token() {
    let (folder, running, token) = guarded("127.0.0.1:0");
    assert_eq!(running.get("/console/").await.status, 200, "the page has no data");
    assert_eq!(running.get("/console/overview.js").await.status, 200);
    let other_issuer = keys::token(folder.path(), "https://other.example", "mesh");
    let other_audience = keys::token(folder.path(), OPERATORS, "other");
    let wrong = [
        vec![],
        vec![("authorization", "Bearer".to_owned())],
        vec![("authorization", "Bearer ".to_owned())],
        vec![("authorization", "Bearer not.a.token".to_owned())],
        vec![("authorization", format!("Basic {token}"))],
        vec![("authorization", format!("Bearer {other_issuer}"))],
        vec![("authorization", format!("Bearer {other_audience}"))],
        vec![
            ("authorization", format!("Bearer {token}")),
            ("authorization", format!("Bearer {token}")),
        ],
        vec![("cookie", format!("token={token}"))],
    ];
    for path in DATA {
        for headers in &wrong {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = with(&running, path, &headers).await;
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            assert!(!answer.text.contains("shop"), "{}", answer.text);
        }
    }
    assert_eq!(with(&running, &format!("{}?access_token={token}", DATA[0]), &[]).await.status, 401);
    let line = format!("Bearer {token}");
    let good = [("authorization", line.as_str())];
    for path in &DATA[..5] {
        assert_eq!(with(&running, path, &good).await.status, 200, "{path}");
    }
    let answer = running.send(Method::POST, "/console/api/explain", &[], "{}").await;
    assert_eq!(answer.status, 401);
    let answer =
        running.send(Method::POST, "/console/api/explain", &good, r#"{"request":{}}"#).await;
    assert_eq!(answer.status, 200);
    // Another name for this machine is still not let in.
    let rebound = [good[0], ("host", "attacker.example")];
    assert_eq!(with(&running, DATA[0], &rebound).await.status, 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_network_there_is_a_console_only_with_rules() {
    let folder = small();
    let running = Running::start_at(folder.path(), "0.0.0.0:0", &[]);
    for path in ["/console", "/console/", "/console/main.js", "/console/api/overview"] {
        let answer = running.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text.contains("bind --admin to loopback"), "{}", answer.text);
    }
    let answer = running.send(Method::POST, "/console/api/explain", &[], "{}").await;
    assert_eq!(answer.status, 404);

    let (_folder, running, token) = guarded("0.0.0.0:0");
    assert_eq!(running.get("/console/").await.status, 200);
    let by_name = ("host", "postern.mesh.example");
    assert_eq!(with(&running, DATA[0], &[by_name]).await.status, 401);
    let line = format!("Bearer {token}");
    let answer = with(&running, DATA[0], &[by_name, ("authorization", &line)]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_turned_off() {
    let folder = small();
    let running = Running::start(folder.path(), &["--console", "false"]);
    for path in ["/console", "/console/", "/console/api/overview"] {
        assert_eq!(running.get(path).await.status, 404);
    }
    assert_eq!(running.get("/livez").await.status, 200);
    let dump = running.get("/config_dump").await.json();
    assert_eq!(dump["configuration"]["console"], false);
}

/// A token in a question is in no log, in no answer, and in no error.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_questions_are_nowhere_else() {
    let folder = small();
    let mut running = Running::start(folder.path(), &["--log-level", "trace"]);
    let secret = "eyJhbGciOiJub25lIn0.c2VjcmV0LXBheWxvYWQ.c2VjcmV0";
    for body in [
        json!({ "request": { "token": secret }, "workload": null }).to_string(),
        json!({ "request": { "token": secret, "ip": "x" } }).to_string(),
        json!({ "request": format!("token: {secret}\nipp: x\n") }).to_string(),
        json!({ "request": { "headers": { "authorization": format!("Bearer {secret}") } } })
            .to_string(),
        json!({ "request": {}, "token": secret }).to_string(),
        format!(r#"{{"request": {{}}, "workload": {secret}}}"#),
    ] {
        let answer = running.send(Method::POST, "/console/api/explain", &[], &body).await;
        assert!(!answer.text.contains("c2VjcmV0"), "{body}: {}", answer.text);
    }
    running.decide(None, &format!("{{token: {secret}}}")).await;
    let said = running.said();
    assert!(said.contains("listening on") && !said.contains("c2VjcmV0"), "{said}");
}
