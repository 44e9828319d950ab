//! A running server, asked over gRPC, and what it writes to stdout.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use postern::extauthz::ClientAddress;
use postern::request_file::RequestFile;
use serde_json::Value as Json;
use tokio::task::spawn_blocking;
use tonic::transport::Endpoint;

use crate::blackbox::Folder;

/// A running `postern serve`, whose stdout is read.
pub(crate) struct Server {
    child: Child,
    grpc: String,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Server {
    pub(crate) async fn start(folder: &Folder, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[]).await
    }

    /// With these variables.
    pub(crate) async fn start_with(
        folder: &Folder,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = folder.postern();
        command.args(["serve", "--policies", "policies", "--namespace", "shop"]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--http-listen", "off"]);
        command.args(["--log-format", "json"]).args(arguments);
        command.envs(variables.iter().copied());
        spawn_blocking(move || Self::spawn(command)).await.unwrap()
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let grpc = loop {
            let Some(line) = talk.next() else { panic!("ended before it listened:\n{seen}") };
            let line = line.unwrap();
            let event: Json = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "listening on" && event["listener"] == "grpc" {
                break format!("http://{}", event["address"].as_str().unwrap());
            }
            seen.push_str(&line);
            seen.push('\n');
        };
        // A full pipe would stop it.
        thread::spawn(move || talk.for_each(drop));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, grpc, lines: Some(lines) }
    }

    pub(crate) async fn ask(&self, check: CheckRequest) -> CheckResponse {
        let channel = Endpoint::from_shared(self.grpc.clone()).unwrap().connect().await.unwrap();
        AuthorizationClient::new(channel).check(check).await.unwrap().into_inner()
    }

    pub(crate) async fn check(&self, request: &str) -> CheckResponse {
        self.ask(check_request(request)).await
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> &str {
        self.grpc.rsplit(':').next().unwrap()
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> String {
        let mut lines = self.lines.take().unwrap();
        let (line, lines) =
            spawn_blocking(move || (lines.next().unwrap().unwrap(), lines)).await.unwrap();
        self.lines = Some(lines);
        line
    }

    /// Ends it, and gives what is left of its lines.
    pub(crate) async fn ended(mut self) -> Vec<String> {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let lines = self.lines.take().unwrap();
        let rest = move || lines.map(Result::unwrap).collect();
        let rest = spawn_blocking(rest).await.unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn check_request(request: &str) -> CheckRequest {
    let request = RequestFile::read(request, None).unwrap_or_else(|found| panic!("{found:?}"));
    request.check_request(ClientAddress::default())
}
