//! A Postern with APIRules, the Envoy that asks it, and the service behind.

use std::{fs, net::SocketAddr, path::Path};

use postern::{
    app::{self, Running},
    config::{Config, Environment, Flags},
    telemetry::logging::{LogFilter, LogLevel},
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, unbounded_channel},
    },
    task::JoinHandle,
};

use crate::{
    envoy_process::Envoy,
    http1::{self, Body, Message},
};

/// The host of most examples.
pub(crate) const HOST: &str = "httpbin.example.com";

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    flags: Flags,
}

/// What runs. All of it ends with its handle.
pub(crate) struct World {
    pub(crate) postern: Running,
    envoy: Envoy,
    listener: SocketAddr,
    upstream: JoinHandle<()>,
    seen: Mutex<UnboundedReceiver<Message>>,
    _folder: TempDir,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// What the service saw of it.
    pub(crate) seen: Option<Message>,
}

impl Answer {
    /// Every line of that name that the service saw.
    pub(crate) fn upstream(&self, name: &str) -> Vec<String> {
        let seen = self.seen.as_ref().expect("the request passed");
        let lines = seen.headers.iter().filter(|(n, _)| n == name);
        lines.map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

impl World {
    /// With these resources, and flags beside the usual ones. `{ca}` in a flag is the file of this
    /// authority.
    pub(crate) async fn start(resources: &str, ca: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("resources.yaml"), resources).unwrap();
        fs::write(at("ca.pem"), ca).unwrap();
        let policies = at("resources.yaml");
        let mut arguments = vec![
            "postern".to_owned(),
            "--policies".to_owned(),
            policies,
            "--namespace=shop".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            "--admin=127.0.0.1:0".to_owned(),
            "--http-listen=127.0.0.1:0".to_owned(),
            "--jwks-unknown-kid-interval=100ms".to_owned(),
            // This machine may be slow; that a wait is bounded is tested elsewhere.
            "--jwks-unknown-kid-wait=10s".to_owned(),
            "--introspection-timeout=10s".to_owned(),
        ];
        arguments.extend(more.iter().map(|flag| flag.replace("{ca}", &at("ca.pem"))));
        let CommandLine { flags } = clap::Parser::try_parse_from(arguments).unwrap();
        let config = Config::load(&flags, &Environment::default()).unwrap();
        let postern = app::start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
        postern.ready().await;

        let (service, upstream, seen) = upstream().await;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy/tcp.yaml");
        let text = fs::read_to_string(example).unwrap();
        let postern::config::Address::Tcp(grpc) = &postern.grpc_addr else { panic!("a port") };
        let text = text
            .replace("port_value: 9901", "port_value: 0")
            .replace("0.0.0.0, port_value: 10000", "127.0.0.1, port_value: 0")
            .replace("port_value: 9191", &format!("port_value: {}", grpc.port()))
            .replace("port_value: 8080", &format!("port_value: {}", service.port()))
            .replace("timeout: 1s\n", "timeout: 20s\n");
        let envoy = Envoy::start("envoy.yaml", &text).await;
        let listener = envoy.listeners().await["inbound"].v4;
        let seen = Mutex::new(seen);
        Self { postern, envoy, listener, upstream, seen, _folder: folder }
    }

    /// A `GET` to the host of most examples.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", HOST, path, headers).await
    }

    /// The status of that.
    pub(crate) async fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.get(path, headers).await.status
    }

    /// `/metrics`
    pub(crate) async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.postern.admin_addr).await.unwrap();
        let head = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = http1::read(&mut stream, Body::Response).await.unwrap().unwrap();
        String::from_utf8(answer.body).unwrap()
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(self.listener).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let body = if method == "HEAD" { Body::Never } else { Body::Response };
        let answer = http1::read(&mut stream, body).await.unwrap().unwrap();
        let line = String::from_utf8_lossy(&answer.first_line).into_owned();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let seen = self.seen.lock().await.try_recv().ok();
        assert_eq!(seen.is_some(), status == 200, "{line}\n{}", self.envoy.log());
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Answer { status, body, headers: answer.headers, seen }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.upstream.abort();
        self.postern.shutdown.begin();
    }
}

/// Tells what it is sent before it answers.
async fn upstream() -> (SocketAddr, JoinHandle<()>, UnboundedReceiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = unbounded_channel();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Ok(Some(request)) = http1::read(&mut stream, Body::Request).await {
                    drop(sender.send(request));
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, task, seen)
}
