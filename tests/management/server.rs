//! A Postern with a management API, its callers' tokens, and a client.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::running::Running;

pub(crate) const ISSUER: &str = "https://issuer.example";

/// A token of the embedded API, for a look at what is stored.
pub(crate) const API_TOKEN: &str = "adam-0123456789abc";

/// The objects of the document's examples.
pub(crate) const OBJECTS: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: payment-service, namespace: payments }
spec:
  hosts: [payment-service]
  http:
    - timeout: 5s
      route:
        - destination: { host: payment-service, subset: stable }
          weight: 90
          headers: { request: { set: { x-track: stable } } }
        - destination: { host: payment-service, subset: canary }
          weight: 10
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: payments, creationTimestamp: "2025-01-15T10:00:00Z" }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-frontend, namespace: payments, creationTimestamp: "2025-01-15T10:00:00Z" }
spec:
  rules:
    - from: [{ source: { principals: ["cluster.local/ns/frontend/sa/frontend"] } }]
"#;

/// A key of the issuer, and the keys that it publishes.
pub(crate) struct Keys {
    _folder: TempDir,
    key: PathBuf,
    jwks: String,
}

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, jwks) = (folder.path().join("key.json"), folder.path().join("jwks.json"));
        let mut command = postern(folder.path());
        command.args(["jwt", "keygen", "--algorithm", "ES256", "--key"]).arg(&key);
        assert!(command.arg("--jwks").arg(&jwks).output().unwrap().status.success());
        let jwks = fs::read_to_string(jwks).unwrap();
        Self { _folder: folder, key, jwks }
    }

    /// A token with these claims, beside issuer, subject and audience.
    pub(crate) fn token(&self, more: &[&str]) -> String {
        self.sign(&[&["iss=https://issuer.example", "sub=alice", "aud=mesh"], more].concat(), "1h")
    }

    /// A token with just these claims.
    pub(crate) fn sign(&self, claims: &[&str], expires_in: &str) -> String {
        let mut command = postern(self.key.parent().unwrap());
        command.args(["jwt", "sign", "--key"]).arg(&self.key);
        command.arg(format!("--expires-in={expires_in}"));
        command.args(claims.iter().flat_map(|claim| ["--claim", claim]));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// The issuer's own.
pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(Keys::new);

/// Somebody else's.
pub(crate) static FORGED: LazyLock<Keys> = LazyLock::new(Keys::new);

pub(crate) static ADMIN: LazyLock<String> =
    LazyLock::new(|| KEYS.token(&[r#"realm_access={"roles":["viewer","admin"]}"#]));

pub(crate) static VIEWER: LazyLock<String> = LazyLock::new(|| KEYS.token(&["role=viewer"]));

/// The binary, without anything of this process's environment.
pub(crate) fn postern(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.current_dir(folder).env_clear();
    command
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    running: Running,
    pub(crate) management: String,
    folder: TempDir,
}

/// What a server finds.
pub(crate) fn scratch(objects: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    write("policies/objects.yaml", objects);
    let rule = serde_json::json!({ "issuer": ISSUER, "audiences": ["mesh"], "jwks": KEYS.jwks });
    write("config.json", &serde_json::json!({ "managementJwtRules": [rule] }).to_string());
    write("tokens", &format!("{API_TOKEN},adam,1,\"system:masters\"\n"));
    folder
}

/// What every server is told.
pub(crate) const ARGUMENTS: [&str; 6] = [
    "serve",
    "--listen=127.0.0.1:0",
    "--admin=127.0.0.1:0",
    "--http-listen=off",
    "--management=127.0.0.1:0",
    "--config=config.json",
];

impl Server {
    /// On files.
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_in(scratch(OBJECTS), more)
    }

    pub(crate) fn start_in(folder: TempDir, more: &[&str]) -> Self {
        let more = [&["--policies=policies", "--management-ca=ca.pem"], more].concat();
        Self::spawn(folder, &more)
    }

    /// On a store, with these objects in it.
    pub(crate) fn start_stored(objects: &str, more: &[&str]) -> Self {
        let folder = scratch(objects);
        let mut import = postern(folder.path());
        import.args(["store", "import", "store", "policies/objects.yaml"]);
        let output = import.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stored = ["--store=store", "--api=127.0.0.1:0", "--api-tokens=tokens"];
        Self::spawn(folder, &[&stored[..], &["--management-ca=ca.pem"], more].concat())
    }

    pub(crate) fn spawn(folder: TempDir, more: &[&str]) -> Self {
        let mut running = Running::start(postern(folder.path()).args(ARGUMENTS).args(more));
        let management = running.address("management");
        Self { running, management, folder }
    }

    /// The first line that contains this.
    pub(crate) fn line(&mut self, part: &str) -> String {
        self.running.line(part)
    }

    pub(crate) fn address(&mut self, listener: &str) -> String {
        self.running.address(listener)
    }

    /// Ends it, and gives all that it wrote.
    pub(crate) fn end(mut self) -> String {
        self.running.signal("TERM");
        let (code, log) = self.running.end();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        // As careful tools do: never half a file.
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.persist(self.path(name)).unwrap();
    }

    /// With a token.
    pub(crate) fn client(&self, token: &str) -> Client {
        Client { authorization: vec![format!("Bearer {token}")], ..self.anonymous() }
    }

    pub(crate) fn admin(&self) -> Client {
        self.client(&ADMIN)
    }

    pub(crate) fn viewer(&self) -> Client {
        self.client(&VIEWER)
    }

    pub(crate) fn anonymous(&self) -> Client {
        let authority = fs::read(self.path("ca.pem")).unwrap();
        Client::to(&self.management, Some(&authority))
    }

    /// The kubeconfig of the embedded API.
    pub(crate) fn kubeconfig(&mut self) -> String {
        self.address("api");
        fs::read_to_string(self.path("store/kubeconfig")).unwrap()
    }

    /// Of the embedded API.
    pub(crate) fn api(&mut self) -> Client {
        let authority = fs::read(self.path("ca.pem")).unwrap();
        let address = self.address("api");
        let authorization = vec![format!("Bearer {API_TOKEN}")];
        Client { authorization, ..Client::to(&address, Some(&authority)) }
    }
}

/// Calls, each over a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) authorization: Vec<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// What was asked for, where the call went well.
    #[track_caller]
    pub(crate) fn good(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        self.body
    }

    /// The message, where it went wrong in this way.
    #[track_caller]
    pub(crate) fn bad(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/json");
        let members: Vec<_> = self.body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["statusCode", "message", "error"]);
        assert_eq!(self.body["statusCode"], status);
        let reason = http::StatusCode::from_u16(status).unwrap().canonical_reason().unwrap();
        assert_eq!(self.body["error"], reason);
        if status == 401 {
            assert_eq!(self.headers["www-authenticate"], "Bearer realm=\"postern\"");
        }
        self.body["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    /// Over TLS, where there is an authority.
    pub(crate) fn to(address: &str, authority: Option<&[u8]>) -> Self {
        let tls = authority.map(|authority| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
            let provider = Arc::new(aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider);
            let builder = builder.with_safe_default_protocol_versions().unwrap();
            Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
        });
        Self { address: address.to_owned(), tls, authorization: Vec::new() }
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for authorization in &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let response = match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from("localhost").unwrap();
                send(TlsConnector::from(tls.clone()).connect(name, stream).await.unwrap(), request)
                    .await
            }
            None => send(stream, request).await,
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Below `/api/v1/istio`.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, &format!("/api/v1/istio{path}"), &[], "").await
    }

    /// Sets weights of a VirtualService in `payments`.
    pub(crate) async fn weigh(&self, name: &str, body: &str) -> Reply {
        let path = format!("/api/v1/istio/virtual-services/payments/{name}/weights");
        self.call(Method::PATCH, &path, &[JSON], body.to_owned()).await
    }
}

async fn send(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> http::Response<hyper::body::Incoming> {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
