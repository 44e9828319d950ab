//! Clusters for tests: our own API over TLS, and servers that say what a test wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use http::{Request, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::api::access::{MASTERS, Pki, Roles, StaticTokens, kubeconfig};
use crate::api::server::{ApiServer, Settings, Transport, serve, server_config};
use crate::authn::clock::Clock;
use crate::shutdown::Shutdown;
use crate::store::{History, Key, Store, StoreError};

const GRACE: Duration = Duration::from_secs(5);

/// Our own API over TLS. Ends with its folder.
pub(super) struct Embedded {
    folder: TempDir,
    pub(super) store: Store,
    pub(super) kubeconfig: String,
    pub(super) url: String,
    shutdown: Shutdown,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Embedded {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), History { changes: 100 }).unwrap();
        let settings = Settings {
            roles: Roles::default(),
            tokens: StaticTokens::parse("token-0123456789,adam,1,\"system:masters\"\n").unwrap(),
            jwt: None,
            create_namespaces: true,
            permanent_namespaces: vec!["shop".into()],
            most_watches: 10,
            open: false,
        };
        let (clock, shutdown) = (Clock::system(), Shutdown::default());
        let server = ApiServer::new(store.clone(), settings, clock, shutdown.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let now = clock.now();
        let pki = Pki::ephemeral(now).unwrap();
        let hosts = ["127.0.0.1", "localhost", "api.example"].map(str::to_owned);
        let leaf = pki.server(&hosts, now).unwrap();
        let tls = server_config(&leaf.certificate, &leaf.key, &[pki.pem()]).unwrap();
        let ending = shutdown.clone();
        tokio::spawn(serve(server, listener, Transport::Tls(tls), ending, GRACE));
        let url = format!("https://{address}");
        let client = pki.client("adam", MASTERS, now).unwrap();
        let kubeconfig = kubeconfig(&url, pki.pem(), &client);
        Self { folder, store, kubeconfig, url, shutdown }
    }

    /// As a file.
    #[cfg(feature = "kube")]
    pub(super) fn file(&self) -> std::path::PathBuf {
        let path = self.folder.path().join("kubeconfig");
        std::fs::write(&path, &self.kubeconfig).unwrap();
        path
    }

    /// Puts an object into the store, past the API.
    pub(super) fn put(&self, resource: &str, name: &str, object: &Value) {
        let key = Key::new(resource, "shop", name);
        self.store.write::<_, StoreError>(|it| Ok(it.put(&key, object.clone()))).unwrap();
    }
}

/// Routes for reviews with these weights.
pub(super) fn routes(name: &str, weights: [i64; 2]) -> Value {
    let [first, second] = weights;
    let to = |subset: &str, weight: i64| json!({ "destination": { "host": "reviews", "subset": subset }, "weight": weight });
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": name, "namespace": "shop", "uid": format!("u-{name}"), "generation": 1 },
        "spec": { "hosts": ["reviews"], "http": [{ "route": [to("v1", first), to("v2", second)] }] },
    })
}

/// What is asked, as `METHOD path?query`.
pub(super) type Asked = Arc<Mutex<Vec<String>>>;

/// A server that says what a test wants.
pub(super) struct Scripted {
    pub(super) url: String,
    pub(super) asked: Asked,
}

type Script = Arc<dyn Fn(&str, &str) -> Response<Body> + Send + Sync>;

/// What it said, as a status and a body.
pub(super) fn says(status: u16, body: &Value) -> Response<Body> {
    Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
}

impl Scripted {
    /// `answer` gets the method with the path and query, and the body.
    pub(super) async fn start(
        answer: impl Fn(&str, &str) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let asked = Asked::default();
        let script: Script = Arc::new(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(reply).with_state((script, asked.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn reply(
    State((script, asked)): State<(Script, Asked)>,
    request: Request<Body>,
) -> Response<Body> {
    let what = format!("{} {}", request.method(), request.uri());
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    asked.lock().unwrap().push(what.clone());
    script(&what, &String::from_utf8_lossy(&body))
}
