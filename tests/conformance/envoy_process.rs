//! One Envoy process: started with a configuration, watched through its admin port, ended with its
//! handle.

use std::{
    collections::BTreeMap,
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

/// Where a listener listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) v4: SocketAddr,
    /// The same as `v4` where it has no other.
    pub(crate) v6: SocketAddr,
}

/// A running Envoy.
pub(crate) struct Envoy {
    child: Child,
    folder: TempDir,
    admin: SocketAddr,
}

/// The Envoy binary of this machine, fetched if need be.
pub(crate) fn binary() -> PathBuf {
    let search =
        Search { envoy: env::var_os("ENVOY"), path: env::var_os("PATH"), cache: target_folder() };
    find_or_fetch(&search).unwrap_or_else(|error| panic!("no Envoy to test with: {error}"))
}

/// Cargo's target folder: that of the running program, which is in its `debug/deps` or
/// `debug/examples`.
pub(crate) fn target_folder() -> PathBuf {
    let program = env::current_exe().expect("the path of this program");
    program.ancestors().nth(3).expect("the target folder").to_owned()
}

impl Envoy {
    /// Starts Envoy and waits until its listeners accept. `file_name` says by its ending how the
    /// configuration is written; its admin port must be 0.
    pub(crate) async fn start(file_name: &str, configuration: &str) -> Self {
        Self::try_start(file_name, configuration).await.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// As [`Envoy::start`]; where Envoy ends instead, what it said.
    pub(crate) async fn try_start(file_name: &str, configuration: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(file_name);
        fs::write(&file, configuration).unwrap();
        let admin_file = folder.path().join("admin-address");
        let log = File::create(folder.path().join("log")).unwrap();
        let out = File::create(folder.path().join("out")).unwrap();
        let child = Command::new(binary())
            .args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"])
            .args(["--file-flush-interval-msec", "20", "-c"])
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin_file)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .expect("Envoy starts");
        let mut envoy = Self { child, folder, admin: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !envoy.is_ready(&admin_file).await {
            let ended = envoy.child.try_wait().unwrap();
            if ended.is_some() {
                return Err(format!("Envoy ended ({ended:?}):\n{}", envoy.log()));
            }
            assert!(Instant::now() < deadline, "Envoy does not get ready:\n{}", envoy.log());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(envoy)
    }

    /// The addresses that the listeners got, by their names.
    pub(crate) async fn listeners(&self) -> BTreeMap<String, Address> {
        let (_, body) = get(self.admin, "/listeners?format=json").await.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let socket = |value: &Value| {
            let address = &value["socket_address"];
            let port = address["port_value"].as_u64()?;
            let ip = address["address"].as_str()?.parse().ok()?;
            Some(SocketAddr::new(ip, port.try_into().ok()?))
        };
        let listeners = body["listener_statuses"].as_array().unwrap().iter().map(|status| {
            let v4 = socket(&status["local_address"]).expect("an address");
            let v6 = socket(&status["additional_local_addresses"][0]).unwrap_or(v4);
            (status["name"].as_str().unwrap().to_owned(), Address { v4, v6 })
        });
        listeners.collect()
    }

    /// What it has written to its standard output: access logs.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// What Envoy has written so far, without its wishes for other configurations.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.contains("Deprecated field"));
        lines.collect::<Vec<_>>().join("\n")
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
