//! Endpoints that do not do what they should, which a real provider does not produce.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::any,
    serve::Listener as _,
};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    issuer::bearer,
    tls_listener::{Authority, TlsListener},
    world::World,
};

/// An endpoint that answers what its path says, and remembers what it was asked.
struct Endpoint {
    address: SocketAddr,
    authority: Authority,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Asked {
    path: String,
    authorization: String,
    forwarded_host: String,
    own: String,
    form: String,
}

impl Endpoint {
    async fn start() -> Self {
        let authority = Authority::new();
        let listener = TlsListener::bind(&authority).await;
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let routes = Router::new().fallback(any(answer)).with_state(asked.clone());
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, authority, asked, task }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn world(&self, path: &str, more: Value) -> World {
        let mut config = json!({
            "introspection_url": self.url(path), "retry": {"give_up_after": "1ms"},
        });
        for (name, value) in more.as_object().unwrap() {
            config[name] = value.clone();
        }
        self.asked_by(&api_rule(&config)).await
    }

    /// With what may be asked, and whose word it takes that this is it.
    async fn asked_by(&self, resources: &str) -> World {
        let destinations = format!("--introspection-destinations={}", self.url("/"));
        let flags = [&*destinations, "--jwks-ca-certificates={ca}"];
        World::start(resources, &self.authority.pem(), &flags).await
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(asked): State<Arc<Mutex<Vec<Asked>>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        let value = parts.headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let form = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    let path = parts.uri.path().to_owned();
    asked.lock().unwrap().push(Asked {
        path: path.clone(),
        authorization: header("authorization"),
        forwarded_host: header("x-forwarded-host"),
        own: header("x-own"),
        form: String::from_utf8_lossy(&form).into_owned(),
    });
    let json = |body: Value| ([(header::CONTENT_TYPE, "application/json")], body.to_string());
    match path.as_str() {
        "/good" => json(json!({"active": true, "scope": "a b", "sub": "alice"})).into_response(),
        "/refresh" => json(json!({"active": true, "token_use": "refresh_token"})).into_response(),
        "/expired" => json(json!({"active": true, "exp": 1})).into_response(),
        "/token" => {
            let token = json!({"access_token": "own", "token_type": "bearer", "expires_in": 60});
            json(token).into_response()
        }
        "/busy" => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")], "busy").into_response()
        }
        "/broken" => (StatusCode::INTERNAL_SERVER_ERROR, "broken").into_response(),
        "/redirect" => (StatusCode::FOUND, [(header::LOCATION, "/good")], "").into_response(),
        "/text" => "active".into_response(),
        "/list" => "[true]".into_response(),
        "/endless" => " ".repeat(4 << 20).into_response(),
        "/half" => {
            let begun = tokio_stream::iter([Ok("{\"active\":"), Err("that is all")]);
            Body::from_stream(begun).into_response()
        }
        other => panic!("{other}"),
    }
}

fn api_rule(config: &Value) -> String {
    format!(
        "apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {{name: faults, namespace: shop}}
spec:
  gateway: kyma-system/kyma-gateway
  host: httpbin.example.com
  service: {{name: httpbin, port: 8000}}
  rules:
  - path: /.*
    methods: [GET]
    accessStrategies:
    - handler: oauth2_introspection
      config: {config}
"
    )
}

#[rstest]
#[case::good("/good", 200)]
#[case::refresh_token("/refresh", 403)]
#[case::expired("/expired", 401)]
#[case::broken("/broken", 500)]
#[case::redirect("/redirect", 500)]
#[case::no_json("/text", 500)]
#[case::no_object("/list", 500)]
#[case::endless("/endless", 500)]
#[case::half("/half", 500)]
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_good_answer_lets_nothing_through(#[case] path: &str, #[case] status: u16) {
    let endpoint = Endpoint::start().await;
    let world = endpoint.world(path, json!({})).await;
    let token = bearer("secret");
    assert_eq!(world.status("/", &[("authorization", &token)]).await, status);
    let asked = endpoint.asked();
    assert_eq!(asked[0].form, "token=secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_questions_are_told_to_the_caller() {
    let endpoint = Endpoint::start().await;
    let world = endpoint.world("/busy", json!({})).await;
    let answer = world.get("/", &[("authorization", "Bearer secret")]).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after").as_deref(), Some("7"));
    assert_eq!(answer.body, "too many requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let endpoint = Endpoint::start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = json!({
        "introspection_url": format!("http://{free}/"), "retry": {"give_up_after": "1ms"},
    });
    let destinations = format!("--introspection-destinations=http://{free}");
    let world = World::start(&api_rule(&config), "", &[&destinations]).await;
    assert_eq!(world.status("/", &[("authorization", "Bearer secret")]).await, 500);
    drop(endpoint);
}

/// A token is a secret: it goes to nobody who cannot show that it is the endpoint.
#[rstest]
#[case::other_authority(|it: &Endpoint| (it.url("/good"), Authority::new().pem()))]
#[case::other_name(|it: &Endpoint| (format!("https://{}/good", it.address), it.authority.pem()))]
#[case::no_tls(|it: &Endpoint| (it.url("/good").replace("https", "http"), it.authority.pem()))]
#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_the_endpoint_gets_no_token(#[case] make: fn(&Endpoint) -> (String, String)) {
    let endpoint = Endpoint::start().await;
    let (url, authority) = make(&endpoint);
    let config = json!({"introspection_url": url, "retry": {"give_up_after": "1ms"}});
    let destinations = format!("--introspection-destinations={url}");
    let flags = [&*destinations, "--jwks-ca-certificates={ca}"];
    let world = World::start(&api_rule(&config), &authority, &flags).await;
    assert_eq!(world.status("/", &[("authorization", "Bearer secret")]).await, 500);
    assert!(endpoint.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_asking_is_counted() {
    let endpoint = Endpoint::start().await;
    let world =
        endpoint.world("/good", json!({"required_scope": ["a"], "scope_strategy": "exact"}));
    let world = world.await;
    let token = [("authorization", "Bearer secret")];
    assert_eq!(world.status("/", &token).await, 200);
    assert_eq!(world.status("/", &token).await, 200);
    assert_eq!(world.status("/", &[]).await, 401, "nobody is asked");
    let count = |result: &str| format!("postern_introspected_tokens_total{{result=\"{result}\"}}");
    let samples = world.metrics().await;
    let shows = |line: String| samples.lines().any(|sample| sample == line);
    assert!(shows(count("active") + " 2"), "{samples}");
    assert!(shows(count("error") + " 0"), "{samples}");
    assert!(shows("postern_introspection_duration_seconds_count 2".to_owned()), "{samples}");
}

/// Whoever writes an APIRule cannot have tokens sent to a place of their own.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_sent_only_where_the_operator_allows() {
    let endpoint = Endpoint::start().await;
    let token = [("authorization", "Bearer secret")];
    for flags in [&[][..], &["--introspection-destinations=http://127.0.0.1:1"]] {
        let config = json!({"introspection_url": endpoint.url("/good")});
        let world = World::start(&api_rule(&config), "", flags).await;
        assert_eq!(world.status("/", &token).await, 500);
    }
    // Nor the client's own secret.
    let elsewhere = Endpoint::start().await;
    let pre_authorization = json!({"pre_authorization": {
        "enabled": true, "client_id": "a", "client_secret": "b", "token_url": elsewhere.url("/token"),
    }});
    let world = endpoint.world("/good", pre_authorization).await;
    assert_eq!(world.status("/", &token).await, 500);
    assert!(endpoint.asked().is_empty());
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_reaches_the_endpoint() {
    let endpoint = Endpoint::start().await;
    let world = endpoint
        .world(
            "/good",
            json!({
                "scope_strategy": "none",
                "required_scope": ["a", "c"],
                "prefix": "tok_",
                "token_from": {"header": "X-Token"},
                "preserve_host": true,
                "introspection_request_headers": {"X-Own": "1"},
                "pre_authorization": {
                    "enabled": true, "client_id": "a", "client_secret": "b:c",
                    "token_url": endpoint.url("/token"), "scope": ["introspect"], "audience": "x",
                },
            }),
        )
        .await;
    assert_eq!(world.status("/", &[("x-token", "tok_1")]).await, 200);
    let asked = endpoint.asked();
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/token", "/good"]);
    assert_eq!(asked[0].form, "grant_type=client_credentials&scope=introspect&audience=x");
    assert_eq!(asked[0].authorization, "Basic YTpiJTNBYw==");
    assert_eq!(asked[1].form, "token=tok_1&scope=a+c");
    assert_eq!(asked[1].authorization, "Bearer own");
    assert_eq!(asked[1].forwarded_host, "httpbin.example.com");
    assert_eq!(asked[1].own, "1");
    // Not responsible: nothing is sent.
    assert_eq!(world.status("/", &[("x-token", "other")]).await, 401);
    assert_eq!(world.status("/", &[("authorization", "Bearer tok_1")]).await, 401);
    assert!(endpoint.asked().is_empty());
}

/// A request that something else decides asks nobody.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_it_does_not_matter() {
    let endpoint = Endpoint::start().await;
    let config = json!({"introspection_url": endpoint.url("/good")});
    let policies = api_rule(&config)
        + "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/denied]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: shop}
spec: {rules: [{to: [{operation: {paths: [/allowed]}}]}]}
";
    let world = endpoint.asked_by(&policies).await;
    let token = [("authorization", "Bearer secret")];
    assert_eq!(world.status("/denied", &token).await, 403);
    assert_eq!(world.status("/allowed", &token).await, 200);
    assert!(endpoint.asked().is_empty());
    assert_eq!(world.status("/other", &token).await, 200);
    assert_eq!(endpoint.asked().len(), 1);
}
