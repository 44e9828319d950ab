//! Postern, the policies that these tests ask it about, and the service behind the proxy.

use std::fs;
use std::net::SocketAddr;

use postern::app::{self, Running};
use postern::config::{Address, Config, Environment, Flags};
use postern::shutdown::Shutdown;
use postern::telemetry::logging::{LogFilter, LogLevel};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::keys::Keys;
use crate::proxy::Kind;
use crate::servers::{self, Server, Upstream};
use crate::tokens;

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
  rules:
  - to: [{ operation: { paths: ["/public/*"], methods: [GET] } }]
  - to: [{ operation: { paths: ["/write"] } }]
  - to: [{ operation: { paths: ["/host"], hosts: [admin.example] } }]
  - to: [{ operation: { paths: ["/near"] } }]
    from: [{ source: { ipBlocks: [127.0.0.5] } }]
  - to: [{ operation: { paths: ["/private"] } }]
    from: [{ source: { requestPrincipals: ["issuer-a/alice"] } }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: web, namespace: shop }
spec:
  jwtRules:
  - issuer: issuer-a
    jwks: 'JWKS'
    outputPayloadToHeader: x-jwt-payload
    outputClaimToHeaders: [{ header: x-jwt-claim-sub, claim: sub }]
"#;

pub(crate) struct Scene {
    pub(crate) upstream: Server,
    pub(crate) postern: SocketAddr,
    keys: Keys,
    shutdown: Shutdown,
    serving: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Scene {
    /// A Postern that this kind of proxy asks.
    pub(crate) async fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::default();
        let policies = POLICIES.replace("JWKS", &keys.jwks("rsa1"));
        fs::write(folder.path().join("policies.yaml"), policies).unwrap();
        let mut flags = Flags::default();
        flags.policy.policies = vec![folder.path().join("policies.yaml")];
        flags.policy.namespace = Some("shop".into());
        let any = || Some("127.0.0.1:0".to_owned());
        (flags.server.listen, flags.server.admin, flags.server.http_listen) = (any(), any(), any());
        flags.server.http_flavour = Some(kind.flavour().into());
        match kind {
            Kind::Envoy => {
                flags.server.http_path_prefix = Some("/postern/envoy".into());
                flags.policy.use_remote_address = Some("true".into());
            }
            Kind::Nginx | Kind::Caddy => flags.policy.path_normalization = Some("BASE".into()),
        }
        if kind != Kind::Caddy {
            flags.server.http_proxy_header = Some("x-postern-proxy".into());
        }
        let config = Config::load(&flags, &Environment::default()).unwrap();
        let log = LogLevel::detached(LogFilter::default());
        let running: Running = app::start(config, log).await.unwrap();
        let Some(Address::Tcp(postern)) = running.http_addr.clone() else { panic!("no port") };
        running.ready().await;
        let shutdown = running.shutdown.clone();
        let serving = tokio::spawn(async move {
            running.wait().await.unwrap();
        });
        let upstream = servers::echo().await;
        Self { upstream, postern, keys, shutdown, serving: Some(serving), _folder: folder }
    }

    /// A good one, of `issuer-a/alice`.
    pub(crate) fn token(&self) -> String {
        tokens::mint(&self.keys, &json!({}))
    }

    pub(crate) async fn end_postern(&mut self) {
        self.shutdown.begin();
        self.serving.take().unwrap().await.unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// A request of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
    pub(crate) source: &'a str,
}

impl<'a> Asked<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        let (method, host, source) = ("GET", "shop.example", "127.0.0.1");
        Self { method, path, host, headers: &[], body: "", source }
    }
}

/// What the client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// What the service got.
    pub(crate) fn passed(&self) -> Upstream {
        assert_eq!(self.status, 200, "{self:?}");
        servers::echoed(&self.body).unwrap()
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let mut found = headers.iter().filter(|(n, _)| n == name);
    let first = found.next();
    assert!(found.next().is_none(), "two of {name}");
    first.map(|(_, value)| value.as_str())
}

impl Upstream {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}
