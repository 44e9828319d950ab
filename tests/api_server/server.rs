//! A Postern with a store and an API, and clients of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::running::{PATIENCE, Running};

pub(crate) const ADMIN: &str = "admin-0123456789";

const TOKENS: &str = r#"admin-0123456789,adam,1,"system:masters"
editor-0123456789,ann,2
viewer-0123456789,vic,3,"auditors"
nobody-0123456789,noa,4
"#;

const CONFIG: &str = r#"{
  "apiRoles": [
    { "role": "editor", "namespaces": ["default"], "users": ["ann"] },
    { "role": "viewer", "namespaces": ["*"], "groups": ["auditors"] }
  ]
}"#;

pub(crate) const POLICIES: &str =
    "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies";

/// A running server. Killed when dropped.
pub(crate) struct Server {
    running: Running,
    pub(crate) api: String,
    folder: TempDir,
}

/// What is there before a server is.
pub(crate) fn scratch() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens"), TOKENS).unwrap();
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    folder
}

/// The binary, without anything of this process's environment.
pub(crate) fn postern(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.current_dir(folder).env_clear();
    command
}

impl Server {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_in(scratch(), more)
    }

    pub(crate) fn start_in(folder: TempDir, more: &[&str]) -> Self {
        let arguments = [
            "serve",
            "--listen=127.0.0.1:0",
            "--admin=127.0.0.1:0",
            "--http-listen=off",
            "--store=store",
            "--api=127.0.0.1:0",
        ];
        let given = ["--api-tokens=tokens", "--config=config.json"];
        let mut command = postern(folder.path());
        let mut running = Running::start(command.args(arguments).args(given).args(more));
        let api = running.address("api");
        Self { running, api, folder }
    }

    pub(crate) fn address(&mut self, listener: &str) -> String {
        self.running.address(listener)
    }

    pub(crate) fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    /// Waits for the end, and gives the folder back.
    pub(crate) fn end(mut self) -> (Option<i32>, TempDir) {
        let (code, _) = self.running.end();
        (code, std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A member of the kubeconfig that the server wrote.
    fn kubeconfig(&self, member: &str) -> Vec<u8> {
        let text = fs::read_to_string(self.path("store/kubeconfig")).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{member}: ")));
        STANDARD.decode(line.unwrap()).unwrap()
    }

    /// With a token.
    pub(crate) fn client(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.anonymous() }
    }

    pub(crate) fn admin(&self) -> Client {
        self.client(ADMIN)
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client { api: self.api.clone(), tls: self.tls(false), token: None }
    }

    /// With the certificate of the kubeconfig.
    pub(crate) fn certified(&self) -> Client {
        Client { tls: self.tls(true), ..self.anonymous() }
    }

    fn tls(&self, certified: bool) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authority = self.kubeconfig("certificate-authority-data");
        roots.add(CertificateDer::from_pem_slice(&authority).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(if certified {
            let certificate = self.kubeconfig("client-certificate-data");
            let key = self.kubeconfig("client-key-data");
            let certificate = CertificateDer::from_pem_slice(&certificate).unwrap();
            let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        } else {
            builder.with_no_client_auth()
        })
    }
}

/// Calls, each over a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    api: String,
    tls: Arc<ClientConfig>,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// The object, where the call went well.
    pub(crate) fn good(self) -> Value {
        assert!(self.status.is_success(), "{} {:#}", self.status, self.body);
        self.body
    }

    /// Code, reason and message of a Status.
    #[track_caller]
    pub(crate) fn bad(self) -> (u16, String, String) {
        let Self { status, body, .. } = self;
        assert_eq!((&body["kind"], &body["apiVersion"]), (&"Status".into(), &"v1".into()));
        assert_eq!(body["status"], "Failure");
        assert_eq!(body["code"], status.as_u16());
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (status.as_u16(), text("reason"), text("message"))
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

impl Client {
    /// A connection; `None` where nobody is there any more.
    pub(crate) async fn connect(
        &self,
    ) -> Option<hyper::client::conn::http1::SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.api).await.ok()?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.ok()?;
        let io = TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.connect().await.unwrap().send_request(request).await.unwrap()
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let response = self.send(self.request(method, path, headers, body)).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::POST, path, &[JSON], body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::PUT, path, &[JSON], body.to_string()).await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/merge-patch+json")];
        self.call(Method::PATCH, path, &headers, body.to_string()).await
    }

    pub(crate) async fn apply(&self, path: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/apply-patch+yaml")];
        self.call(Method::PATCH, path, &headers, body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, &[], "").await
    }

    /// Begins a watch.
    pub(crate) async fn watch(&self, path: &str) -> Events {
        let response = self.send(self.request(Method::GET, path, &[], "")).await;
        assert_eq!(response.status(), 200);
        Events::of(response)
    }
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// The events of a watch.
pub(crate) struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) fn of(response: http::Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.try_next().await.unwrap()
    }

    /// The next, unless the connection breaks.
    pub(crate) async fn try_next(&mut self) -> Result<Option<Value>, hyper::Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).unwrap()));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.unwrap();
            let Some(frame) = frame.transpose()? else { return Ok(None) };
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }

    /// The next that are no status updates of the server's own, as `TYPE name`.
    pub(crate) async fn next_names(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        while names.len() < count {
            let event = self.next().await.unwrap();
            if event["type"] == "MODIFIED"
                && event["object"]["status"]["observedGeneration"]
                    == event["object"]["metadata"]["generation"]
            {
                continue;
            }
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            names.push(format!("{} {name}", event["type"].as_str().unwrap()));
        }
        names
    }
}

pub(crate) fn policy(name: &str, action: &str) -> Value {
    serde_json::json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": name },
        "spec": { "action": action, "rules": [{ "to": [{ "operation": { "ports": ["8080"] } }] }] },
    })
}
