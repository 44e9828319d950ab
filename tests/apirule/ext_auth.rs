//! v2: `noAuth`, path templates, `request`, and `extAuth` with a provider of the mesh config.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::any,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    issuer::{Issuer, bearer},
    world::World,
};

fn api_rule(rules: &Value) -> String {
    let api_rule = json!({
        "apiVersion": "gateway.kyma-project.io/v2",
        "kind": "APIRule",
        "metadata": {"name": "second", "namespace": "shop"},
        "spec": {
            "gateway": "kyma-system/kyma-gateway",
            "hosts": ["httpbin.example.com"],
            "service": {"name": "httpbin", "port": 8000},
            "rules": rules,
        },
    });
    format!("{api_rule}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_tokens_and_headers() {
    let issuer = Issuer::start("https://one.example", "ec256a").await;
    let jwt = json!({"authentications": [{"issuer": issuer.name, "jwksUri": issuer.jwks_uri}]});
    let rules = json!([
        {"path": "/open/{*}", "methods": ["GET"], "noAuth": true},
        {
            "path": "/orders/{**}", "methods": ["GET"], "jwt": jwt,
            "request": {
                "headers": {"X-Who": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:sub)%"},
                "cookies": {"path": "%PATH(NQ)%"},
            },
        },
        {"path": "/*", "methods": ["GET"], "noAuth": true},
    ]);
    let world = World::start(&api_rule(&rules), "", &[]).await;
    assert_eq!(world.status("/open/a", &[]).await, 200);
    assert_eq!(world.status("/any/where", &[]).await, 200);
    assert_eq!(world.status("/orders/1", &[]).await, 403);
    let token = bearer(&issuer.token(&json!({"sub": "bob"})));
    let headers = [("authorization", &*token), ("x-who", "mallory"), ("cookie", "path=/")];
    let answer = world.get("/orders/1/2?x", &headers).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.upstream("x-who"), ["bob"]);
    assert_eq!(answer.upstream("cookie"), ["path=/orders/1/2"]);
}

/// Allows whoever says so, and remembers what it was asked.
struct Authorizer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Authorizer {
    async fn start() -> Self {
        async fn answer(
            State(asked): State<Arc<Mutex<Vec<String>>>>,
            request: Request,
        ) -> Response {
            asked.lock().unwrap().push(request.uri().path().to_owned());
            if request.headers().contains_key("x-let-me-in") {
                (StatusCode::OK, [("x-authorizer", "yes")]).into_response()
            } else {
                (StatusCode::UNAUTHORIZED, "who are you").into_response()
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let routes = Router::new().fallback(any(answer)).with_state(asked.clone());
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { port, asked, task }
    }
}

impl Drop for Authorizer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authorizers_are_asked_for_their_rules_and_no_others() {
    let issuer = Issuer::start("https://one.example", "ec256a").await;
    let authorizer = Authorizer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mesh = folder.path().join("mesh.json");
    let provider = json!({
        "name": "mine",
        "envoyExtAuthzHttp": {
            "service": "127.0.0.1", "port": authorizer.port,
            "includeRequestHeadersInCheck": ["x-let-me-in"],
            "headersToUpstreamOnAllow": ["x-authorizer"],
        },
    });
    fs::write(&mesh, json!({"extensionProviders": [provider]}).to_string()).unwrap();
    let jwt = json!({"authentications": [{"issuer": issuer.name, "jwksUri": issuer.jwks_uri}]});
    let rules = json!([
        {"path": "/asked", "methods": ["GET"], "extAuth": {"authorizers": ["mine"]}},
        {
            "path": "/both", "methods": ["GET"],
            "extAuth": {"authorizers": ["mine"], "restrictions": jwt},
        },
        {"path": "/*", "methods": ["GET"], "noAuth": true},
    ]);
    let mesh = format!("--mesh-config={}", mesh.display());
    let world = World::start(&api_rule(&rules), "", &[&mesh]).await;
    let asked = || std::mem::take(&mut *authorizer.asked.lock().unwrap());

    assert_eq!(world.status("/other", &[]).await, 200);
    assert!(asked().is_empty());
    let refused = world.get("/asked", &[]).await;
    assert_eq!((refused.status, &*refused.body), (401, "who are you"));
    let passed = world.get("/asked", &[("x-let-me-in", "1")]).await;
    assert_eq!(passed.status, 200);
    assert_eq!(passed.upstream("x-authorizer"), ["yes"]);
    assert_eq!(asked(), ["/asked", "/asked"]);

    // The authorizer first, then the token.
    let token = bearer(&issuer.token(&json!({})));
    let both = [("x-let-me-in", "1"), ("authorization", &*token)];
    assert_eq!(world.status("/both", &both).await, 200);
    assert_eq!(world.status("/both", &both[..1]).await, 403);
    assert_eq!(world.status("/both", &both[1..]).await, 401);
    assert_eq!(asked().len(), 3);
}
