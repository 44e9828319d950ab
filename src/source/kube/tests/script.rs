//! An API server whose every answer the test gives.

use std::{collections::VecDeque, time::Duration};

use axum::{Router, body::Body, extract::State};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::super::{Cluster, Pace};

/// Fails where it never happens.
pub(super) async fn within<T>(happens: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), happens).await.expect("it never happens")
}

pub(super) struct Server {
    calls: mpsc::UnboundedReceiver<Call>,
    /// Those that the test did not ask for yet.
    waiting: VecDeque<Call>,
    kubeconfig: tempfile::NamedTempFile,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Value,
    answer: oneshot::Sender<Response<Body>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let router = Router::new().fallback(hand_over).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "u", "user": {} }],
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u", "namespace": "home" } }],
            "current-context": "x",
        });
        std::fs::write(kubeconfig.path(), text.to_string()).unwrap();
        Self { calls, waiting: VecDeque::new(), kubeconfig }
    }

    pub(super) fn cluster(&self) -> Cluster {
        Cluster { kubeconfig: Some(self.kubeconfig.path().to_owned()), ..Cluster::default() }
    }

    /// The next call that is meant.
    pub(super) async fn call(&mut self, is_meant: impl Fn(&Call) -> bool) -> Call {
        if let Some(at) = self.waiting.iter().position(&is_meant) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let call = within(self.calls.recv()).await.unwrap();
            if is_meant(&call) {
                return call;
            }
            self.waiting.push_back(call);
        }
    }

    /// Whether such a call has come, answered by nobody.
    pub(super) fn seen(&mut self, is_meant: impl Fn(&Call) -> bool) -> bool {
        while let Ok(call) = self.calls.try_recv() {
            self.waiting.push_back(call);
        }
        self.waiting.iter().any(is_meant)
    }

    /// The next list of `plural`.
    pub(super) async fn list(&mut self, plural: &str) -> Call {
        self.call(|call| call.is_get(plural) && !call.is_watch()).await
    }

    /// The next watch of `plural`.
    pub(super) async fn watch(&mut self, plural: &str) -> Call {
        self.call(|call| call.is_get(plural) && call.is_watch()).await
    }

    /// Lists nothing of `plural`, and gives its watch.
    pub(super) async fn nothing_of(&mut self, plural: &str) -> Watch {
        self.list(plural).await.items(&[], "1");
        self.watch(plural).await.stream()
    }
}

async fn hand_over(
    State(calls): State<mpsc::UnboundedSender<Call>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let (answer, answered) = oneshot::channel();
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        answer,
    };
    if calls.send(call).is_err() {
        return std::future::pending().await;
    }
    match answered.await {
        Ok(answer) => answer,
        // The test is over, or wants this one to hang.
        Err(_) => std::future::pending().await,
    }
}

impl Call {
    fn is_get(&self, plural: &str) -> bool {
        self.method == Method::GET && self.path.ends_with(plural)
    }

    pub(super) fn is_watch(&self) -> bool {
        self.has("watch=true")
    }

    pub(super) fn has(&self, parameter: &str) -> bool {
        self.query.split('&').any(|found| found == parameter)
    }

    pub(super) fn answer(self, status: u16, body: &Value) {
        self.send(status, Body::from(body.to_string()));
    }

    fn send(self, status: u16, body: Body) {
        let response = Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        // The client may have given up.
        drop(self.answer.send(response));
    }

    /// Whatever it is.
    pub(super) fn answer_text(self, text: &str) {
        self.send(200, Body::from(text.to_owned()));
    }

    /// A whole list.
    pub(super) fn items(self, items: &[Value], version: &str) {
        self.page(items, version, "");
    }

    /// Part of a list.
    pub(super) fn page(self, items: &[Value], version: &str, token: &str) {
        let metadata = json!({ "resourceVersion": version, "continue": token });
        self.answer(
            200,
            &json!({
                "apiVersion": "security.istio.io/v1",
                "kind": "List",
                "metadata": metadata,
                "items": items,
            }),
        );
    }

    /// An error as Kubernetes has it.
    pub(super) fn refuse(self, code: u16, reason: &str, message: &str) {
        self.answer(code, &status(code, reason, message));
    }

    /// The beginning of an answer, and then the connection is gone.
    pub(super) fn break_off(self, beginning: &str) {
        let beginning = Bytes::from(beginning.to_owned());
        let pieces: [Result<Bytes, std::io::Error>; 2] =
            [Ok(beginning), Err(std::io::ErrorKind::ConnectionReset.into())];
        self.send(200, Body::from_stream(stream::iter(pieces)));
    }

    /// A watch that goes on.
    pub(super) fn stream(self) -> Watch {
        let (events, received) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
        let body = stream::unfold(received, |mut received| async {
            let event = received.recv().await?;
            Some((event, received))
        });
        self.send(200, Body::from_stream(body));
        Watch(events)
    }
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    })
}

/// A watch that was answered; it ends in order when it is dropped.
#[derive(Debug)]
pub(super) struct Watch(mpsc::UnboundedSender<Result<Bytes, std::io::Error>>);

impl Watch {
    pub(super) fn event(&self, kind: &str, object: &Value) {
        self.line(&json!({ "type": kind, "object": object }).to_string());
    }

    pub(super) fn line(&self, line: &str) {
        self.0.send(Ok(format!("{line}\n").into())).unwrap();
    }

    /// The connection is gone.
    pub(super) fn break_off(self) {
        self.0.send(Err(std::io::ErrorKind::ConnectionReset.into())).unwrap();
    }
}

pub(super) fn fast() -> Pace {
    Pace {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(10),
        status_interval: Duration::from_millis(1),
        lease: Duration::from_secs(1),
        ..Pace::default()
    }
}

/// A policy as the server has it.
pub(super) fn policy(name: &str, version: u32) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": format!("uid-{name}"),
            "resourceVersion": version.to_string(),
            "generation": version,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "app": "web" },
            "managedFields": [{ "manager": "kubectl", "operation": "Update" }],
        },
        "spec": { "rules": [{ "to": [{ "operation": { "paths": ["/x"], "unheard": 1 } }] }] },
        "status": { "conditions": [] },
    })
}
