//! Postern itself, as `serve` starts it: in this process, asked over gRPC like any other.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::http_client;
use super::story::Service;
use crate::app::{self, Drained};
use crate::config::{Address, Config, Environment, Flags};
use crate::shutdown::Shutdown;
use crate::telemetry::logging::LogLevel;

/// The namespace of the demo's services.
pub(super) const NAMESPACE: &str = "bookinfo";

/// The key set is on loopback.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// A running Postern. Told to end when dropped; [`Postern::end`] also waits for it.
#[derive(Debug)]
pub(super) struct Postern {
    /// Where gRPC listens.
    pub(super) address: SocketAddr,
    /// Where readiness, metrics and the configuration are.
    pub(super) admin: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<Result<Drained>>,
}

impl Postern {
    /// Starts it on policies that have been checked, with a workload for each service, and waits
    /// until it has its keys. Its configuration file is put into `folder`.
    pub(super) async fn start(policies: &Path, folder: &Path) -> Result<Self> {
        let file = folder.join("postern.json");
        fs::write(&file, format!("{:#}\n", configuration(policies)))
            .with_context(|| format!("write {}", file.display()))?;
        let mut flags = Flags::default();
        flags.policy.config = Some(file.display().to_string());
        // The user's own POSTERN_* variables are for another Postern.
        let config = Config::load(&flags, &Environment::default())?;
        // Nothing is logged: the demo has a table to show.
        let log_level = LogLevel::detached(config.log_level.clone());
        let running = app::start(config, log_level).await.context("start Postern")?;
        let Address::Tcp(address) = running.grpc_addr else { bail!("Postern has no TCP port") };
        let postern = Self {
            address,
            admin: running.admin_addr,
            shutdown: running.shutdown.clone(),
            ended: tokio::spawn(running.wait()),
        };
        let deadline = Instant::now() + READY_WITHIN;
        while !http_client::is_ok(postern.admin, "/readyz").await {
            if Instant::now() > deadline {
                bail!("Postern does not get ready");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(postern)
    }

    /// Ends it, and returns once it has ended.
    pub(super) async fn end(mut self) -> Result<()> {
        self.shutdown.begin();
        match (&mut self.ended).await.context("end Postern")?? {
            Drained::Fully | Drained::Partly => Ok(()),
        }
    }
}

impl Drop for Postern {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// What `serve --config` takes: one Postern for several workloads, on ports that the system chooses.
fn configuration(policies: &Path) -> serde_json::Value {
    let workload =
        |service: Service| json!({"namespace": NAMESPACE, "labels": {"app": service.name()}});
    json!({
        "policies": [policies],
        "listen": "127.0.0.1:0",
        "httpListen": "off",
        "admin": "127.0.0.1:0",
        "namespace": NAMESPACE,
        "labels": {"app": Service::Productpage.name()},
        "workloads": [workload(Service::Reviews), workload(Service::Ratings)],
        // As Envoy's listeners have it.
        "useRemoteAddress": true,
        "shutdownGrace": "2s",
    })
}
