//! One Envoy process: started, watched until it is ready, ended.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::Setting;
use super::envoy_config;
use super::http_client;
use super::story::Service;

/// Loading a binary of 100 MB from a cold disk takes a while.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running Envoy. Killed when dropped; [`Envoy::end`] also waits for it.
#[derive(Debug)]
pub(super) struct Envoy {
    child: Child,
    listeners: Vec<(Service, SocketAddr)>,
    /// What it was started with.
    pub(super) configuration: PathBuf,
}

impl Envoy {
    /// Starts it and waits until its listeners accept.
    pub(super) async fn start(
        binary: &Path,
        setting: &Setting<'_>,
        out: &mut (dyn Write + Send),
    ) -> Result<Self> {
        let configuration = setting.folder.join("envoy.json");
        let text = format!("{:#}\n", envoy_config::bootstrap(setting));
        fs::write(&configuration, text).context("write Envoy's configuration")?;
        let (admin_file, log_file) =
            (setting.folder.join("envoy-admin"), setting.folder.join("envoy.log"));
        let log = File::create(&log_file).context("create Envoy's log")?;
        let child = Command::new(binary)
            .args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning", "-c"])
            .arg(&configuration)
            .arg("--admin-address-path")
            .arg(&admin_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run `{}`", binary.display()))?;
        let mut envoy = Self { child, listeners: Vec::new(), configuration };
        let started = Instant::now();
        let admin = loop {
            if let Some(admin) = ready(&admin_file).await {
                break admin;
            }
            if let Some(status) = envoy.child.try_wait()? {
                bail!("`{}` ended with {status}{}", binary.display(), last_line(&log_file));
            }
            if started.elapsed() > READY_WITHIN {
                bail!("`{}` does not get ready{}", binary.display(), last_line(&log_file));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        envoy.listeners = listeners(&http_client::get_json(admin, "/listeners?format=json").await?)
            .context("Envoy names its listeners otherwise than expected")?;
        let version = version(&http_client::get_json(admin, "/server_info").await?);
        writeln!(out, "  Envoy     {version}, {}", binary.display())?;
        for (service, address) in &envoy.listeners {
            writeln!(out, "            in front of {service} on {address}")?;
        }
        Ok(envoy)
    }

    /// Where it listens for a service.
    pub(super) fn listener(&self, service: Service) -> SocketAddr {
        let listener = self.listeners.iter().find(|(other, _)| *other == service);
        listener.map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |(_, address)| *address)
    }

    /// Ends it, and returns once it has ended.
    pub(super) async fn end(mut self) -> Result<()> {
        self.child.kill().await.context("end Envoy")
    }
}

/// The admin address, once everything is up.
async fn ready(admin_file: &Path) -> Option<SocketAddr> {
    let address = fs::read_to_string(admin_file).ok()?.parse().ok()?;
    http_client::is_ok(address, "/ready").await.then_some(address)
}

fn listeners(answer: &Value) -> Option<Vec<(Service, SocketAddr)>> {
    let statuses = answer.get("listener_statuses")?.as_array()?;
    let address_of = |service: Service| {
        let status = statuses
            .iter()
            .find(|status| status.get("name").and_then(Value::as_str) == Some(service.name()))?;
        let address = status.get("local_address")?.get("socket_address")?;
        let port = address.get("port_value")?.as_u64()?;
        let ip = address.get("address")?.as_str()?.parse().ok()?;
        Some((service, SocketAddr::new(ip, u16::try_from(port).ok()?)))
    };
    Service::ALL.into_iter().map(address_of).collect()
}

/// The number in `<commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn version(answer: &Value) -> String {
    let version = answer.get("version").and_then(Value::as_str).unwrap_or_default();
    version.split('/').nth(1).unwrap_or("of unknown version").to_owned()
}

/// What Envoy said last, where it said anything.
fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(String::new, |line| format!(": {}", line.trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_the_admin_answers() {
        let status = |name: &str, port: u16| {
            json!({"name": name, "local_address": {"socket_address": {
                "address": "127.0.0.1", "port_value": port,
            }}})
        };
        let all = [status("ratings", 3), status("reviews", 2), status("productpage", 1)];
        let found = listeners(&json!({ "listener_statuses": all })).unwrap();
        let ports: Vec<_> = found.iter().map(|(s, address)| (s.name(), address.port())).collect();
        assert_eq!(ports, [("productpage", 1), ("reviews", 2), ("ratings", 3)]);
        assert!(listeners(&json!({ "listener_statuses": [status("ratings", 3)] })).is_none());

        let info = json!({"version": "abc/1.40.0/Clean/RELEASE/BoringSSL"});
        assert_eq!(version(&info), "1.40.0");
    }
}
