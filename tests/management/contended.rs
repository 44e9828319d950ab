//! Callers that get in each other's way: objects that change between a read and a write, and more
//! requests than are answered at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use http::{Method, Request, Response};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::server::{Client, OBJECTS, Server, scratch};

const WEIGHTS: &str =
    r#"{"weights":[{"destination":"stable","weight":80},{"destination":"canary","weight":20}]}"#;

const OBJECT: &str =
    "/apis/networking.istio.io/v1/namespaces/payments/virtualservices/payment-service";

/// What happens before a patch arrives.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    /// Somebody changes another part of the object.
    Touched,
    /// Somebody sets other weights.
    Weighed,
    /// Somebody calls a subset otherwise.
    Renamed,
    /// Somebody deletes the object.
    Deleted,
    /// The cluster says 409 by itself.
    Conflict,
}

/// A Postern's API as a cluster, and what happens there while somebody else asks.
#[derive(Clone)]
struct Busy {
    cluster: Client,
    events: Arc<Mutex<VecDeque<Meanwhile>>>,
    patches: Arc<Mutex<usize>>,
}

impl Busy {
    async fn start(cluster: Client, events: &[Meanwhile]) -> (Self, SocketAddr) {
        let events = Arc::new(Mutex::new(events.iter().copied().collect()));
        let busy = Self { cluster, events, patches: Arc::default() };
        let routes = Router::new().fallback(Self::relay).with_state(busy.clone());
        (busy, serve(routes).await)
    }

    async fn relay(State(busy): State<Self>, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        if parts.method == Method::PATCH {
            *busy.patches.lock().unwrap() += 1;
            let event = busy.events.lock().unwrap().pop_front();
            if let Some(Meanwhile::Conflict) = event {
                let status = json!({ "kind": "Status", "apiVersion": "v1", "code": 409 });
                return answer(409, &status);
            }
            if let Some(event) = event {
                busy.happen(event).await;
            }
        }
        let path = parts.uri.path_and_query().unwrap().as_str();
        let media_type = parts.headers.get("content-type").map(|it| it.to_str().unwrap());
        let headers = media_type.map(|it| ("content-type", it));
        let reply = busy.cluster.call(parts.method, path, headers.as_slice(), body).await;
        answer(reply.status, &reply.body)
    }

    async fn happen(&self, event: Meanwhile) {
        let at = |path: &str, value: Value| json!([{ "op": "add", "path": path, "value": value }]);
        let route = |of: u8, more: &str| format!("/spec/http/0/route/{of}/{more}");
        let patch = match event {
            Meanwhile::Touched => at("/metadata/annotations", json!({ "seen-by": "eve" })),
            Meanwhile::Weighed => json!([
                { "op": "add", "path": route(0, "weight"), "value": 50 },
                { "op": "add", "path": route(1, "weight"), "value": 50 },
            ]),
            Meanwhile::Renamed => at(&route(1, "destination/subset"), json!("next")),
            Meanwhile::Deleted => {
                let reply = self.cluster.call(Method::DELETE, OBJECT, &[], "").await;
                assert_eq!(reply.status, 200, "{}", reply.body);
                return;
            }
            Meanwhile::Conflict => return,
        };
        // A write that changes nothing would leave the version as it is.
        let undo = at("/metadata/annotations", json!({}));
        let media_type = [("content-type", "application/json-patch+json")];
        for patch in [undo, patch] {
            let body = patch.to_string();
            let reply = self.cluster.call(Method::PATCH, OBJECT, &media_type, body).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
        }
    }
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(Body::from(body.to_string())).unwrap()
}

async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

const CONFLICT: (u16, &str) = (409, "it has changed meanwhile");

#[rstest]
#[case::touched(&[Meanwhile::Touched], (200, "stable=90 canary=10"), [80, 20])]
#[case::weighed(&[Meanwhile::Weighed], (200, "stable=50 canary=50"), [80, 20])]
#[case::conflict(&[Meanwhile::Conflict], (200, "stable=90 canary=10"), [80, 20])]
#[case::touched_twice(&[Meanwhile::Touched, Meanwhile::Touched], CONFLICT, [90, 10])]
#[case::weighed_twice(&[Meanwhile::Touched, Meanwhile::Weighed], CONFLICT, [50, 50])]
#[case::conflict_twice(&[Meanwhile::Conflict, Meanwhile::Conflict], CONFLICT, [90, 10])]
#[case::renamed(
    &[Meanwhile::Renamed],
    (400, "no HTTP route has just these destinations; there are `stable`, `next`"),
    [90, 10]
)]
#[tokio::test]
async fn weights_are_set_on_what_was_read_or_once_more(
    #[case] events: &[Meanwhile],
    #[case] (status, expected): (u16, &str),
    #[case] weights: [u64; 2],
) {
    let mut cluster = Server::start_stored(OBJECTS, &[]);
    let (busy, address) = Busy::start(cluster.api(), events).await;
    let server = on(address);
    let reply = server.admin().weigh("payment-service", WEIGHTS).await;
    let log = if status == 200 {
        let route = &reply.good()["http"][0]["route"];
        assert_eq!([&route[0]["weight"], &route[1]["weight"]], [80, 20]);
        let log = server.end();
        let changed: Vec<_> = log.lines().filter(|it| it.contains("weights changed")).collect();
        assert_eq!(changed.len(), 1, "{log}");
        assert!(changed[0].contains(&format!(r#""before":"{expected}""#)), "{log}");
        log
    } else {
        let message = reply.bad(status);
        assert!(message.contains(expected), "{message}");
        let log = server.end();
        assert!(!log.contains("weights changed"), "{log}");
        log
    };
    // Once more, and no more; not at all where it makes no sense any longer.
    let attempts = if status == 400 { 1 } else { 2 };
    assert_eq!(*busy.patches.lock().unwrap(), attempts, "{log}");
    assert!(busy.events.lock().unwrap().is_empty());
    let now = busy.cluster.call(Method::GET, OBJECT, &[], "").await.body;
    let route = &now["spec"]["http"][0]["route"];
    assert_eq!([&route[0]["weight"], &route[1]["weight"]], weights, "{now}");
    // What others wrote is still there.
    if let Some(Meanwhile::Touched) = events.last() {
        assert_eq!(now["metadata"]["annotations"]["seen-by"], "eve", "{now}");
    }
}

#[tokio::test]
async fn what_is_deleted_meanwhile_is_not_there() {
    let mut cluster = Server::start_stored(OBJECTS, &[]);
    let (busy, address) = Busy::start(cluster.api(), &[Meanwhile::Deleted]).await;
    let server = on(address);
    let message = server.admin().weigh("payment-service", WEIGHTS).await.bad(404);
    assert_eq!(message, "there is no such object");
    assert_eq!(*busy.patches.lock().unwrap(), 1);
}

/// A server on that cluster.
fn on(cluster: SocketAddr) -> Server {
    let folder = scratch("");
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{cluster}") } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let kube = ["--kube", "--kubeconfig=kubeconfig", "--kube-status=false"];
    Server::spawn(folder, &[&kube[..], &["--management-ca=ca.pem"]].concat())
}

/// As the documentation has it.
const AT_A_TIME: usize = 100;

/// A Prometheus that tells of each query, and answers when it may.
#[derive(Clone)]
struct Slow {
    asked: mpsc::UnboundedSender<()>,
    may: watch::Receiver<bool>,
}

impl Slow {
    async fn answer(State(mut slow): State<Self>) -> Response<Body> {
        slow.asked.send(()).unwrap();
        slow.may.wait_for(|may| *may).await.unwrap();
        let data = json!({ "resultType": "matrix", "result": [] });
        answer(200, &json!({ "status": "success", "data": data }))
    }
}

#[tokio::test]
async fn only_so_many_are_answered_at_a_time() {
    let (asked, mut queries) = mpsc::unbounded_channel();
    let (let_go, may) = watch::channel(false);
    let routes = Router::new().fallback(Slow::answer).with_state(Slow { asked, may });
    let url = format!("--prometheus-url=http://{}", serve(routes).await);
    let server = Server::start(&[&url, "--prometheus-timeout=2m"]);
    let viewer = server.viewer();
    let path = "/metrics/rps?service=a&namespace=b";
    let waiting: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let viewer = viewer.clone();
            tokio::spawn(async move { viewer.get(path).await })
        })
        .collect();
    for _ in 0..AT_A_TIME {
        queries.recv().await.unwrap();
    }
    for path in [path, "/status", "/topology?namespace=payments"] {
        let message = viewer.get(path).await.bad(503);
        assert_eq!(message, "too many requests at a time; try again");
    }
    // Other answers take nobody's place.
    viewer.get("/topology").await.bad(400);
    viewer.get("/unknown").await.bad(404);
    server.anonymous().get("/status").await.bad(401);
    server.anonymous().get("/openapi.json").await.good();
    assert!(queries.try_recv().is_err());
    let_go.send(true).unwrap();
    for reply in waiting {
        assert_eq!(reply.await.unwrap().good()["timeseries"], json!([]));
    }
    viewer.get(path).await.good();
    viewer.get("/status").await.good();
}
