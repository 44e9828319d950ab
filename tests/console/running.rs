//! A running server: its console over HTTP, its decisions over gRPC.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use postern::extauthz::ClientAddress;
use postern::request_file::RequestFile;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running binary. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    pub(crate) admin: SocketAddr,
    grpc: String,
}

/// What an endpoint says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Running {
    /// In this folder, with what is below `policies` there.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        Self::start_at(folder, "127.0.0.1:0", more)
    }

    pub(crate) fn start_at(folder: &Path, admin: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .current_dir(folder)
            .env_clear()
            .args(["serve", "--policies", "policies", "--namespace", "shop", "--workers", "2"])
            .args(["--listen", "127.0.0.1:0", "--admin", admin, "--http-listen", "off"])
            .args(["--log-format", "json"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let talk = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || talk.lines().map_while(Result::ok).try_for_each(|l| sender.send(l)));
        let (admin, grpc) = (SocketAddr::from(([127, 0, 0, 1], 0)), String::new());
        let mut running = Self { child, lines, seen: Vec::new(), admin, grpc };
        running.grpc = format!("http://{}", running.address("grpc"));
        running.admin = running.address("admin").parse().unwrap();
        running
    }

    fn address(&mut self, listener: &str) -> String {
        let wanted = format!(r#""listening on","listener":"{listener}""#);
        let latest = Instant::now() + PATIENCE;
        loop {
            let left = latest.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("never listened:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(&wanted) {
                let event: Value = serde_json::from_str(&line).unwrap();
                return event["address"].as_str().unwrap().to_owned();
            }
        }
    }

    /// Everything that it has said so far.
    pub(crate) fn said(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    pub(crate) fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end, which has to come within this time.
    pub(crate) async fn ended_within(mut self, time: Duration) {
        let latest = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status:?}\n{}", self.said());
                return;
            }
            assert!(Instant::now() < latest, "it does not end:\n{}", self.said());
            tokio::task::yield_now().await;
        }
    }

    /// Where the page is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/console/", self.admin)
    }

    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        let stream = TcpStream::connect(("127.0.0.1", self.admin.port())).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
    }

    /// With these headers; `host` is the address unless it is among them.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let request = request(self, method, path, headers, body);
        let (head, body) = self.request(request).await.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// Asks for data until it satisfies.
    pub(crate) async fn get_until(&self, path: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
        let latest = Instant::now() + PATIENCE;
        loop {
            let json = self.get(path).await.json();
            if satisfies(&json) {
                return json;
            }
            assert!(Instant::now() < latest, "{path} stays {json}");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn envoy(&self) -> AuthorizationClient<Channel> {
        let endpoint = Endpoint::from_shared(self.grpc.clone()).unwrap();
        AuthorizationClient::new(endpoint.connect().await.unwrap())
    }

    /// Has a request decided as Envoy would, for the workload of this name.
    pub(crate) async fn decide(&self, workload: Option<&str>, request: &str) -> bool {
        let request = RequestFile::read(request, None).unwrap_or_else(|found| panic!("{found:?}"));
        let mut check = request.check_request(ClientAddress::default());
        if let Some(name) = workload {
            let attributes = check.attributes.as_mut().unwrap();
            attributes.context_extensions.insert("postern.workload".into(), name.into());
        }
        let answer = self.envoy().await.check(check).await.unwrap().into_inner();
        answer.status.is_none_or(|status| status.code == 0)
    }
}

pub(crate) fn request(
    running: &Running,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", running.admin.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
