use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, attribute_context::HttpRequest,
    authorization_client::AuthorizationClient,
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::config::{Environment, Flags};
use crate::telemetry::logging::LogFilter;

use super::*;

mod http;

const DENY_ADMIN: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-admin
spec:
  action: DENY
  rules:
  - to:
    - operation:
        paths: ["/admin*"]
"#;

/// A Postern on ports of its own.
struct Postern {
    scratch: TempDir,
    running: Option<Running>,
    grpc_addr: Address,
}

impl Postern {
    async fn start(policy: &str) -> Self {
        Self::listening("127.0.0.1:0", policy).await
    }

    async fn listening(listen: &str, policy: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let listen = listen.replace("SCRATCH", scratch.path().to_str().unwrap());
        fs::create_dir(scratch.path().join("policies")).unwrap();
        fs::write(scratch.path().join("policies/shop.yaml"), policy).unwrap();
        let config = config(&scratch.path().join("policies"), &listen);
        let running = start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
        let grpc_addr = running.grpc_addr.clone();
        Self { scratch, running: Some(running), grpc_addr }
    }

    fn edit(&self, policy: &str) {
        let new = self.scratch.path().join("new");
        fs::write(&new, policy).unwrap();
        fs::rename(new, self.scratch.path().join("policies/shop.yaml")).unwrap();
    }

    async fn channel(&self) -> Channel {
        let target = match &self.grpc_addr {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix(path) => format!("unix://{}", path.display()),
        };
        Endpoint::from_shared(target).unwrap().connect().await.unwrap()
    }

    /// The gRPC status in the answer: 0 allows, 7 denies.
    async fn check(&self, path: &str) -> i32 {
        let http = HttpRequest {
            method: "GET".into(),
            path: path.into(),
            host: "shop".into(),
            ..HttpRequest::default()
        };
        let mut attributes = AttributeContext::default();
        attributes.request.get_or_insert_default().http = Some(http);
        let request = CheckRequest { attributes: Some(attributes) };
        let mut client = AuthorizationClient::new(self.channel().await);
        client.check(request).await.unwrap().into_inner().status.unwrap().code
    }

    async fn health(&self, service: &str) -> ServingStatus {
        let mut client = HealthClient::new(self.channel().await);
        let request = HealthCheckRequest { service: service.into() };
        client.check(request).await.unwrap().into_inner().status()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    async fn becomes_ready(&self) {
        let mut checks = self.running().parts.readiness.subscribe();
        within(checks.wait_for(|checks| checks.ready())).await.unwrap();
        // Health follows in a task of its own.
        within(async {
            while self.health("").await != ServingStatus::Serving {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn end(&mut self) -> Drained {
        let running = self.running.take().unwrap();
        running.shutdown.begin();
        running.wait().await.unwrap()
    }
}

/// Fails where it never happens.
async fn within<T>(happens: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), happens).await.unwrap()
}

fn config(policies: &std::path::Path, listen: &str) -> Config {
    Config::load(&flags(policies, listen), &Environment::default()).unwrap()
}

fn flags(policies: &std::path::Path, listen: &str) -> Flags {
    let mut flags = Flags::default();
    flags.policy.policies = vec![policies.to_owned()];
    flags.server.listen = Some(listen.into());
    flags.server.http_listen = Some("127.0.0.1:0".into());
    flags.server.admin = Some("127.0.0.1:0".into());
    flags
}

#[tokio::test]
async fn answers_and_follows_edits() {
    let postern = Postern::start(DENY_ADMIN).await;
    postern.becomes_ready().await;
    assert_eq!(postern.check("/admin").await, 7);
    assert_eq!(postern.check("/").await, 0);
    postern.edit(&DENY_ADMIN.replace("/admin*", "/*"));
    within(async {
        while postern.check("/").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(postern.running().snapshots.load().revision, 2);
}

#[tokio::test]
async fn health_agrees_with_readiness() {
    let mut postern = Postern::start(DENY_ADMIN).await;
    postern.becomes_ready().await;
    let authorization = "envoy.service.auth.v3.Authorization";
    assert_eq!(postern.health(authorization).await, ServingStatus::Serving);
    // One who watches is told, and does not keep the server from ending.
    let mut client = HealthClient::new(postern.channel().await);
    let request = HealthCheckRequest { service: authorization.into() };
    let mut seen = client.watch(request).await.unwrap().into_inner();
    assert_eq!(seen.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(postern.end().await, Drained::Fully);
    assert_eq!(seen.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(seen.message().await.unwrap().is_none());
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end() {
    let mut postern = Postern::start(DENY_ADMIN).await;
    let mut client = HealthClient::new(postern.channel().await);
    client.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(postern.end().await, Drained::Fully);
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_goes_with_the_server() {
    let mut postern = Postern::listening("unix:SCRATCH/postern.sock", DENY_ADMIN).await;
    let socket = postern.scratch.path().join("postern.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(postern.check("/admin").await, 7);
    assert_eq!(postern.end().await, Drained::Fully);
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_socket_file_left_behind_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("postern.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    Listener::bind(&Address::Unix(socket), 0o600).await.unwrap();
}

#[tokio::test]
async fn a_socket_in_use_and_a_file_that_is_none_are_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let bind = async |path: PathBuf| {
        let error = Listener::bind(&Address::Unix(path), 0o600).await.unwrap_err();
        error.to_string()
    };
    let used = scratch.path().join("used.sock");
    let _listening = std::os::unix::net::UnixListener::bind(&used).unwrap();
    assert_eq!(bind(used.clone()).await, "another process listens there");
    assert!(used.exists());
    let file = scratch.path().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    assert_eq!(bind(file.clone()).await, "there is a file that is not a socket");
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let config = config(scratch.path(), &listen);
    let error = start(config, LogLevel::detached(LogFilter::default())).await.unwrap_err();
    let expected = format!("cannot listen on {listen} (--listen): Address already in use");
    assert!(format!("{error:#}").starts_with(&expected), "{error:#}");
}

#[tokio::test]
async fn probes_are_served_to_the_end() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("shop.yaml"), DENY_ADMIN).unwrap();
    let mut config = config(scratch.path(), "127.0.0.1:0");
    config.probes = Some("127.0.0.1:0".parse().unwrap());
    let running = start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
    let address = running.probes_addr.unwrap();
    assert_ne!(address, running.admin_addr);
    tokio::net::TcpStream::connect(address).await.unwrap();
    running.shutdown.begin();
    running.wait().await.unwrap();
    within(async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
