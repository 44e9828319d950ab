//! A Postern, configured as a user would.

use std::fs;

use postern::app::{self, Running};
use postern::config::{Address, Config, Environment, Flags};
use postern::telemetry::logging::{LogFilter, LogLevel};
use serde_json::Value;
use tempfile::TempDir;

/// A running Postern.
pub(crate) struct Gate {
    pub(crate) postern: Running,
    _folder: TempDir,
}

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    flags: Flags,
}

impl Gate {
    /// With these policies, this MeshConfig, and these settings of ours.
    pub(crate) async fn start(policies: &str, mesh_config: &Value, own: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let arguments = [
            "postern",
            "--policies",
            &file("policies.yaml", policies.to_owned()),
            "--mesh-config",
            &file("mesh.json", mesh_config.to_string()),
            "--config",
            &file("postern.json", own.to_string()),
            "--namespace",
            "foo",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--workers",
            "2",
        ];
        let postern = started(&arguments).await;
        Self { postern, _folder: folder }
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.postern.grpc_addr {
            Address::Tcp(address) => address.port(),
            Address::Unix(path) => panic!("{}", path.display()),
        }
    }
}

/// A Postern with these arguments.
pub(crate) async fn started(arguments: &[&str]) -> Running {
    let arguments = arguments.iter().chain(&["--http-listen", "127.0.0.1:0"]);
    let flags = <CommandLine as clap::Parser>::try_parse_from(arguments).unwrap().flags;
    let config = Config::load(&flags, &Environment::default()).unwrap();
    let log = LogLevel::detached(LogFilter::default());
    let postern = app::start(config, log).await.unwrap();
    postern.ready().await;
    postern
}
