//! Keys change while requests come: no valid token is ever refused, through a real Envoy.
//!
//! The identity provider is a real HTTPS server with an authority of its own; Postern is configured
//! as a user would.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

#[path = "../conformance/envoy_process.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod envoy_process;
#[path = "../conformance/http1.rs"]
mod http1;
mod load;
mod provider;
mod tls_listener;

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use postern::{
    app::{self, Running},
    config::{Address, Config, Environment, Flags},
    telemetry::logging::{LogFilter, LogLevel},
};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use envoy_process::Envoy;
use load::{Load, get};
use provider::{Provider, SigningKey};

/// What keys that tokens ask for are fetched at most once in.
const INTERVAL: Duration = Duration::from_millis(400);

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Postern, and an Envoy that asks it.
struct Gate {
    _scratch: TempDir,
    _upstream: load::Upstream,
    envoy: Envoy,
    listener: SocketAddr,
    postern: Running,
}

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    flags: Flags,
}

impl Gate {
    /// Lets through who has a token of this provider.
    async fn start(provider: &Provider) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).display().to_string();
        fs::write(at("ca.pem"), provider.authority_pem()).unwrap();
        fs::write(at("policies.yaml"), policies(provider)).unwrap();
        let (policies, ca) = (at("policies.yaml"), at("ca.pem"));
        let interval = format!("{}ms", INTERVAL.as_millis());
        let arguments = [
            ["--policies", &policies],
            ["--namespace", "shop"],
            ["--listen", "127.0.0.1:0"],
            ["--admin", "127.0.0.1:0"],
            ["--http-listen", "off"],
            ["--jwks-ca-certificates", &ca],
            ["--jwks-unknown-kid-interval", &interval],
            // This machine may be slow; that a wait is bounded is tested elsewhere.
            ["--jwks-unknown-kid-wait", "5s"],
        ];
        let arguments = ["postern"].into_iter().chain(arguments.into_iter().flatten());
        let CommandLine { flags } = clap::Parser::try_parse_from(arguments).unwrap();
        let config = Config::load(&flags, &Environment::default()).unwrap();
        let postern = app::start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
        let Address::Tcp(grpc) = postern.grpc_addr else { panic!("a port was asked for") };

        let upstream = load::Upstream::start().await;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy/tcp.yaml");
        let text = fs::read_to_string(example)
            .unwrap()
            .replace("port_value: 9901", "port_value: 0")
            .replace("0.0.0.0, port_value: 10000", "127.0.0.1, port_value: 0")
            .replace("port_value: 9191", &format!("port_value: {}", grpc.port()))
            .replace("port_value: 8080", &format!("port_value: {}", upstream.address.port()))
            .replace("timeout: 1s", "timeout: 30s");
        let envoy = Envoy::start("envoy.yaml", &text).await;
        let listener = envoy.listeners().await["inbound"].v4;
        let gate = Self { _scratch: scratch, _upstream: upstream, envoy, listener, postern };
        timeout(PATIENCE, gate.ready()).await.expect("ready");
        gate
    }

    async fn ready(&self) {
        while get(self.postern.admin_addr, "/readyz").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    }
}

fn policies(provider: &Provider) -> String {
    format!(
        r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: shop}}
spec:
  jwtRules:
  - issuer: {issuer}
    jwksUri: {issuer}/keys
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: tokens, namespace: shop}}
spec:
  rules:
  - from:
    - source: {{requestPrincipals: ["{issuer}/alice"]}}
"#,
        issuer = provider.issuer()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_refuse_no_valid_token() {
    let provider = Provider::start(SigningKey::new("first")).await;
    let gate = Gate::start(&provider).await;
    let load = Load::start(gate.listener, &provider);
    for name in ["second", "third", "fourth"] {
        rotate(&provider, &load, name).await;
    }
    let answers = timeout(PATIENCE, load.end()).await.expect("answers");
    assert_eq!(answers.refused, Vec::<String>::new(), "{}", gate.envoy.log());
    assert!(answers.allowed > 500, "only {} requests", answers.allowed);
}

/// A new key is published and signs at once; the old one goes when its last token is answered.
async fn rotate(provider: &Provider, load: &Load, name: &str) {
    let published = Instant::now();
    provider.publish(SigningKey::new(name));
    timeout(PATIENCE, load.answered_anew(200)).await.expect("answers");
    provider.withdraw_old();
    timeout(PATIENCE, load.answered_anew(200)).await.expect("answers");
    // A rotation within the interval of the last one is the provider's haste.
    while published.elapsed() < INTERVAL {
        timeout(PATIENCE, load.answered_anew(1)).await.expect("answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_gone_refuses_nobody() {
    let provider = Provider::start(SigningKey::new("only")).await;
    let gate = Gate::start(&provider).await;
    provider.stop().await;
    let load = Load::start(gate.listener, &provider);
    // Somebody asks for keys that cannot be had, too.
    let attack = Load::attack(gate.listener, &provider);
    timeout(PATIENCE, load.answered_anew(1000)).await.expect("answers");
    let answers = timeout(PATIENCE, load.end()).await.expect("answers");
    assert_eq!(answers.refused, Vec::<String>::new());
    assert_eq!(attack.end().await.allowed, 0);
    let (_, sources) = get(gate.postern.admin_addr, "/readyz?verbose").await;
    assert!(sources.contains("cannot connect"), "{sources}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_key_ids_cause_one_fetch_an_interval() {
    let provider = Provider::start(SigningKey::new("first")).await;
    let gate = Gate::start(&provider).await;
    let (start, before) = (Instant::now(), provider.fetches());
    let load = Load::start(gate.listener, &provider);
    let attack = Load::attack(gate.listener, &provider);
    timeout(PATIENCE, load.answered_anew(300)).await.expect("answers");
    while start.elapsed() < 4 * INTERVAL {
        timeout(PATIENCE, load.answered_anew(50)).await.expect("answers");
    }
    let answers = timeout(PATIENCE, load.end()).await.expect("answers");
    let attacked = timeout(PATIENCE, attack.end()).await.expect("answers");
    let (fetches, elapsed) = (provider.fetches() - before, start.elapsed());
    assert_eq!(answers.refused, Vec::<String>::new());
    assert!(attacked.allowed == 0 && attacked.refused.len() > 20, "{attacked:?}");
    let intervals = elapsed.as_millis() / INTERVAL.as_millis() + 1;
    assert!(fetches >= 2 && fetches <= intervals, "{fetches} fetches in {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_key_ends_its_tokens() {
    let provider = Provider::start(SigningKey::new("first")).await;
    let gate = Gate::start(&provider).await;
    let old = provider.token();
    assert_eq!(load::ask(gate.listener, &old).await, 200);
    assert_eq!(load::ask(gate.listener, &old).await, 200, "now by the cache");
    provider.publish(SigningKey::new("second"));
    provider.withdraw_old();
    // The new set is seen with the first token of the new key.
    assert_eq!(load::ask(gate.listener, &provider.token()).await, 200);
    assert_eq!(load::ask(gate.listener, &old).await, 401);
}
