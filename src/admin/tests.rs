use std::{net::SocketAddr, time::Duration};

use axum::{body::Body, http::Request};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use rstest::rstest;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::control::{Problem, Rejection, Subject};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::model::{Kind, Position, ResourceId};
use crate::plan::CompiledSize;
use crate::source::{ReadError, SourceProblem};
use crate::telemetry::logging::LogFilter;
use crate::telemetry::metrics::Input;

use super::*;

/// The endpoints on a port of their own.
struct Served {
    address: SocketAddr,
    admin: Admin,
    control: watch::Sender<Arc<ControlStatus>>,
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Served {
    async fn start() -> Self {
        Self::at(true).await
    }

    /// On loopback, or as if not.
    async fn at(local: bool) -> Self {
        let (control, receiver) = watch::channel(Arc::new(ControlStatus::default()));
        let admin = Admin {
            readiness: Readiness::default(),
            control: receiver,
            key_sources: Arc::new(key_sources),
            metrics: Arc::new(Metrics::new("0.0.0")),
            config: Arc::new(serde_json::json!({ "listen": "127.0.0.1:0" })),
            log_level: LogLevel::detached(LogFilter::default()),
            explain: Explain::new(|Question { content, format, .. }| match *content {
                b"bad" => Err(NotExplained("no request".into())),
                _ if *format == ExplainFormat::Human => Ok(Explained::Text("ALLOW".into())),
                _ => Ok(Explained::Json(serde_json::json!({ "decision": "allow" }))),
            }),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(admin.clone(), local, Router::new());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, admin, control }
    }

    /// Those for kubelet and Prometheus in place of all.
    async fn probes() -> Self {
        let served = Self::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = probes_router(served.admin.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, ..served }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    fn ready(&self) {
        self.admin.readiness.update(|checks| {
            *checks = Checks { policies: true, grpc: true, key_sources: true, draining: false };
        });
    }
}

fn key_sources() -> Vec<KeySourceStatus> {
    vec![
        KeySourceStatus {
            issuer: "https://a.example".into(),
            uri: Some("https://a.example/keys?secret=1".into()),
            keys: 2,
            age: Some(Duration::from_secs(34)),
            error: None,
            last_failure: None,
            failures: 0,
        },
        KeySourceStatus {
            issuer: "https://b.example".into(),
            uri: None,
            keys: 0,
            age: None,
            error: Some("cannot connect".into()),
            last_failure: Some(Duration::from_secs(2)),
            failures: 3,
        },
    ]
}

fn refused() -> ControlStatus {
    let id = ResourceId {
        kind: Kind::AuthorizationPolicy,
        namespace: "shop".into(),
        name: "no-admin".into(),
    };
    let diagnostic = Diagnostic {
        severity: Severity::Error,
        code: Code(107),
        message: "`10.1.0.0/33` is not a usable ip block".into(),
        help: Some("write `10.1.0.0/16`".into()),
        file: Some("policies/shop.yaml".into()),
        position: Position { line: 14, column: 11 },
        excerpt: None,
        resource: Some(id.clone()),
        path: "spec.rules[0]".into(),
    };
    let unreadable = SourceProblem { path: "more".into(), error: ReadError::Missing };
    ControlStatus {
        revision: 3,
        size: CompiledSize { rules: 10, bytes: 1_555 },
        published: Some(Instant::now()),
        rejected: vec![
            Rejection {
                subject: Subject::Resource(id),
                kept: 1,
                problems: vec![Problem::Text(diagnostic)],
                since: Instant::now(),
            },
            Rejection {
                subject: Subject::Path("more".into()),
                kept: 0,
                problems: vec![Problem::Read(unreadable)],
                since: Instant::now(),
            },
        ],
        ..ControlStatus::default()
    }
}

#[rstest]
#[case::index("GET", "/", 200)]
#[case::live("GET", "/livez", 200)]
#[case::metrics("GET", "/metrics", 200)]
#[case::unknown("GET", "/admin", 404)]
#[case::below("GET", "/livez/x", 404)]
#[case::method("POST", "/livez", 405)]
#[case::delete("DELETE", "/log-level", 405)]
#[tokio::test]
async fn paths_and_methods(#[case] method: &str, #[case] path: &str, #[case] expected: u16) {
    let answer = Served::start().await.ask(method, path, "").await;
    assert_eq!(answer.status, expected);
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn readiness_says_what_it_waits_for() {
    let served = Served::start().await;
    let mut seen = Vec::new();
    let steps: [fn(&mut Checks); 5] = [
        |_| {},
        |checks| checks.policies = true,
        |checks| checks.grpc = true,
        |checks| checks.key_sources = true,
        |checks| checks.draining = true,
    ];
    for step in steps {
        served.admin.readiness.update(step);
        let answer = served.get("/readyz").await;
        seen.push(format!("{} {}", answer.status, answer.body.trim_end()));
    }
    assert_eq!(
        seen,
        [
            "503 not ready: no policies are in force yet",
            "503 not ready: the gRPC port does not accept calls",
            "503 not ready: key sets are being fetched for the first time",
            "200 ok",
            "503 not ready: shutting down",
        ]
    );
}

#[tokio::test]
async fn verbose_readiness_lists_what_is_refused_and_where() {
    let served = Served::start().await;
    served.ready();
    served.control.send_replace(Arc::new(refused()));
    let answer = served.get("/readyz?verbose").await;
    assert_eq!(answer.status, 200);
    insta::assert_snapshot!(answer.body, @"
    [+] policies: revision 3, 0 resources
    [+] gRPC port
    [+] first attempt of each key source
    [+] not shutting down
    ready

    refused for 0 s: AuthorizationPolicy/shop/no-admin; its last accepted form stays in force
      policies/shop.yaml:14:11: error[PST0107]: `10.1.0.0/33` is not a usable ip block
         = in AuthorizationPolicy/shop/no-admin at spec.rules[0]
         = help: write `10.1.0.0/16`

    refused for 0 s: more; nothing was ever accepted from it
      cannot read `more`: no such file or directory

    key source https://a.example (https://a.example/keys): 2 keys, fetched 34 s ago
    key source https://b.example (OIDC discovery): no keys, so every token of it is refused; newest attempt failed: cannot connect
    ");
}

#[tokio::test]
async fn the_dump_is_json_with_everything() {
    let served = Served::start().await;
    served.control.send_replace(Arc::new(refused()));
    served.admin.metrics.inputs().missing(Input::RawHeaders);
    let answer = served.get("/config_dump").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let dump: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(dump["configuration"]["listen"], "127.0.0.1:0");
    assert_eq!(dump["snapshot"]["revision"], 3);
    assert_eq!(dump["size"]["resources"], dump["resources"].as_array().unwrap().len());
    assert_eq!(dump["size"]["compiledBytes"], 1_555);
    assert_eq!(dump["size"]["bytesPerRule"], 156);
    assert_eq!(dump["rejected"][0]["problems"][0]["code"], "PST0107");
    assert_eq!(dump["rejected"][0]["problems"][0]["line"], 14);
    assert_eq!(dump["rejected"][1]["path"], "more");
    assert_eq!(dump["keySources"][1]["error"], "cannot connect");
    assert_eq!(dump["missingInputs"][0], "encode_raw_headers");
    assert!(!answer.body.contains("secret"));
}

#[tokio::test]
async fn metrics_have_their_content_type() {
    let answer = Served::start().await.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], metrics::CONTENT_TYPE);
    assert!(answer.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_log_level_is_shown_changed_and_checked() {
    let served = Served::start().await;
    assert_eq!(served.get("/log-level").await.body, "info\n");
    let changed = served.ask("PUT", "/log-level", "info,postern::decision=debug\n").await;
    assert_eq!((changed.status, &*changed.body), (200, "info,postern::decision=debug\n"));
    let refused = served.ask("PUT", "/log-level", "verbose").await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.starts_with("`verbose` is not a level"));
    assert_eq!(served.get("/log-level").await.body, "info,postern::decision=debug\n");
    assert_eq!(served.ask("PUT", "/log-level", &"x".repeat(10_000)).await.status, 413);
}

#[tokio::test]
async fn names_of_others_are_turned_away() {
    let served = Served::start().await;
    let request = Request::builder().uri("/config_dump").header("host", "attacker.example:8282");
    let answer = served.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 421);
}

#[tokio::test]
async fn probes_say_whether_and_not_why() {
    let served = Served::probes().await;
    served.control.send_replace(Arc::new(refused()));
    assert_eq!(served.get("/livez").await.body, "ok\n");
    let answer = served.get("/readyz?verbose").await;
    assert_eq!((answer.status, &*answer.body), (503, "not ready: no policies are in force yet\n"));
    served.ready();
    let answer = served.get("/readyz?verbose").await;
    assert_eq!((answer.status, &*answer.body), (200, "ok\n"));
    assert!(served.get("/metrics").await.body.contains("postern_build_info"));
}

/// What shows policies or changes anything is not for the network.
#[rstest]
#[case("GET", "/")]
#[case("GET", "/config_dump")]
#[case("GET", "/log-level")]
#[case("PUT", "/log-level")]
#[tokio::test]
async fn probes_have_nothing_else(#[case] method: &str, #[case] path: &str) {
    let served = Served::probes().await;
    assert_eq!(served.ask(method, path, "debug").await.status, 404);
    assert_eq!(served.admin.log_level.current().to_string(), "info");
}

#[tokio::test]
async fn requests_are_explained() {
    let served = Served::start().await;
    let answer = served.ask("POST", "/explain", "{}").await;
    assert_eq!((answer.status, answer.body.contains("\"allow\"")), (200, true));
    let answer = served.ask("POST", "/explain?output=human", "{}").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ALLOW\n"));
    assert_eq!(served.ask("POST", "/explain?output=xml", "{}").await.status, 400);
    let answer = served.ask("POST", "/explain", "bad").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "no request\n"));
    assert_eq!(served.ask("POST", "/explain", &"x".repeat(1024 * 1024 + 1)).await.status, 413);
    assert_eq!(served.get("/explain").await.status, 405);
    // Neither for the network nor for probes.
    assert_eq!(Served::probes().await.ask("POST", "/explain", "{}").await.status, 404);
    let network = Served::at(false).await;
    assert_eq!(network.ask("POST", "/explain", "{}").await.status, 404);
}
