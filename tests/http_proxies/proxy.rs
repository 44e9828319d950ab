//! One proxy process, with its configuration of `deploy/proxies/` on ports of its own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::envoy_process::Envoy;
use crate::http1::{self, Body};
use crate::scene::{Answer, Asked, Scene};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Envoy,
    Nginx,
    Caddy,
}

impl Kind {
    pub(crate) fn flavour(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Nginx => "nginx",
            // It says the same in the same headers.
            Self::Caddy => "traefik",
        }
    }
}

/// Ends with its handle.
pub(crate) struct Proxy {
    address: SocketAddr,
    _process: Process,
}

enum Process {
    Envoy(#[expect(dead_code, reason = "held until it may end")] Envoy),
    Other(#[expect(dead_code, reason = "held until it may end")] Running),
}

impl Proxy {
    pub(crate) async fn start(kind: Kind, scene: &Scene) -> Self {
        let (postern, service) = (scene.postern.port(), scene.upstream.address.port());
        let read = |name: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/proxies");
            let text = fs::read_to_string(folder.join(name)).unwrap();
            let text = replaced(&text, "9192", &postern.to_string());
            replaced(&text, "8080", &service.to_string())
        };
        match kind {
            Kind::Envoy => {
                let text = replaced(&read("envoy-http.yaml"), "port_value: 9901", "port_value: 0");
                let text =
                    replaced(&text, "0.0.0.0, port_value: 10000", "127.0.0.1, port_value: 0");
                let envoy = Envoy::start("envoy.yaml", &text).await;
                let address = envoy.listeners().await["inbound"].v4;
                Self { address, _process: Process::Envoy(envoy) }
            }
            Kind::Nginx => {
                let start = |folder: &Path, address: SocketAddr| {
                    let text = replaced(&read("nginx.conf"), "0.0.0.0:10000", &address.to_string());
                    let pid = folder.join("pid").display().to_string();
                    let text = replaced(&text, "/run/nginx-postern.pid", &pid);
                    let text = replaced(&text, "worker_processes auto", "worker_processes 1");
                    // As packaged it keeps bodies where only root may write.
                    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                        .map(|what| format!("{what}_temp_path {}/{what};", folder.display()));
                    let text =
                        replaced(&text, "http {", &format!("http {{ {}", temporary.concat()));
                    fs::write(folder.join("nginx.conf"), text).unwrap();
                    let mut command = Command::new(binary("nginx"));
                    command.args(["-g", "daemon off;", "-e", "stderr", "-p"]).arg(folder);
                    command.arg("-c").arg(folder.join("nginx.conf"));
                    command
                };
                Self::of(Running::start(start).await)
            }
            Kind::Caddy => {
                let start = |folder: &Path, address: SocketAddr| {
                    let text = replaced(
                        &read("Caddyfile"),
                        "http://:10000",
                        &format!("http://:{}", address.port()),
                    );
                    fs::write(folder.join("Caddyfile"), text).unwrap();
                    let mut command = Command::new(binary("caddy"));
                    command.args(["run", "--adapter", "caddyfile", "--config"]);
                    command.arg(folder.join("Caddyfile"));
                    command.env("HOME", folder).env("XDG_DATA_HOME", folder);
                    command
                };
                Self::of(Running::start(start).await)
            }
        }
    }

    fn of(running: Running) -> Self {
        Self { address: running.address, _process: Process::Other(running) }
    }

    /// Sends one request.
    pub(crate) async fn ask(&self, asked: Asked<'_>) -> Answer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(asked.source.parse().unwrap(), 0)).unwrap();
        socket.set_zero_linger().unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let Asked { method, path, host, headers, body, .. } = asked;
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("connection: close\r\n\r\n");
        text.push_str(body);
        stream.write_all(text.as_bytes()).await.unwrap();
        let message = http1::read(&mut stream, Body::Response).await.unwrap().unwrap();
        let line = String::from_utf8_lossy(&message.first_line).into_owned();
        Answer {
            status: line.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: message
                .headers
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
                .collect(),
            body: String::from_utf8_lossy(&message.body).into_owned(),
        }
    }
}

/// A proxy that cannot be told to choose a port.
struct Running {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Running {
    async fn start(command: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        // Somebody else may take the port before the proxy does.
        loop {
            let folder = tempfile::tempdir().unwrap();
            let address = StdTcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let log = File::create(folder.path().join("log")).unwrap();
            let mut command = command(folder.path(), address);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            let child = child.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            let mut running = Self { child, address, _folder: folder };
            loop {
                if running.child.try_wait().unwrap().is_some() {
                    break;
                }
                if TcpStream::connect(address).await.is_ok() {
                    return running;
                }
                assert!(Instant::now() < deadline, "{}", running.log());
                sleep(Duration::from_millis(10)).await;
            }
            assert!(
                running.log().contains("ddress already in use") && Instant::now() < deadline,
                "it ended: {}",
                running.log()
            );
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self._folder.path().join("log")).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx passes SIGTERM on to its workers; SIGKILL would leave them.
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        drop(self.child.wait());
    }
}

/// Where Debian puts it, if it is not on the path.
fn binary(name: &str) -> String {
    let sbin = format!("/usr/sbin/{name}");
    if Path::new(&sbin).exists() { sbin } else { name.to_owned() }
}

/// Puts a text in the one place where `old` stands outside comments.
fn replaced(text: &str, old: &str, new: &str) -> String {
    let holds = |line: &&str| !line.trim_start().starts_with('#') && line.contains(old);
    assert_eq!(text.lines().filter(holds).count(), 1, "`{old}` in the configuration");
    let change = |line: &str| if holds(&line) { line.replace(old, new) } else { line.to_owned() };
    text.lines().map(change).collect::<Vec<_>>().join("\n")
}
