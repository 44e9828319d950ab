//! One Envoy process: started with a configuration, watched through its admin port, ended with its
//! handle.

use std::{
    env,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use postern::demo::envoy_binary::{Search, find_or_fetch};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};

use crate::http1::{self, Body};

/// A running Envoy.
pub(crate) struct Envoy {
    child: Child,
    folder: TempDir,
    admin: SocketAddr,
}

/// The Envoy binary of this machine, fetched if need be.
pub(crate) fn binary() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let search =
        Search { envoy: env::var_os("ENVOY"), path: env::var_os("PATH"), cache: target.to_owned() };
    find_or_fetch(&search).unwrap_or_else(|error| panic!("no Envoy to test with: {error}"))
}

impl Envoy {
    /// Starts Envoy and waits until its listeners accept. `file_name` says by its ending how the
    /// configuration is written; its admin port must be 0.
    pub(crate) async fn start(file_name: &str, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(file_name);
        fs::write(&file, configuration).unwrap();
        let admin_file = folder.path().join("admin-address");
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(binary())
            .args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning", "-c"])
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Envoy starts");
        let mut envoy = Self { child, folder, admin: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !envoy.is_ready(&admin_file).await {
            let ended = envoy.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "Envoy does not get ready (ended: {ended:?}):\n{}",
                envoy.log()
            );
            sleep(Duration::from_millis(10)).await;
        }
        envoy
    }

    /// The address that a listener got.
    pub(crate) async fn listener(&self, name: &str) -> SocketAddr {
        let (_, body) = get(self.admin, "/listeners?format=json").await.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let statuses = body["listener_statuses"].as_array().unwrap();
        let status = statuses.iter().find(|status| status["name"] == name);
        let address = &status.expect("a listener of that name")["local_address"]["socket_address"];
        let port = address["port_value"].as_u64().unwrap();
        SocketAddr::new(
            address["address"].as_str().unwrap().parse().unwrap(),
            port.try_into().unwrap(),
        )
    }

    /// What Envoy has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn is_ready(&mut self, admin_file: &Path) -> bool {
        let address = fs::read_to_string(admin_file).ok().and_then(|text| text.parse().ok());
        let Some(address) = address else { return false };
        self.admin = address;
        get(address, "/ready").await.is_ok_and(|(status, _)| status == 200)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Both fail only if it has ended before.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A plain `GET`: status and body.
pub(crate) async fn get(to: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(to).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let answer = http1::read(&mut stream, Body::Response).await?;
    let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
    let line = String::from_utf8_lossy(&answer.first_line).into_owned();
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok((status, String::from_utf8_lossy(&answer.body).into_owned()))
}
