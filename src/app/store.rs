//! The embedded store and its API, put together as configured.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::access::{JwtCallers, JwtRules, Leaf, Pki, StaticTokens};
use crate::api::server::{ApiServer, POLICIES, Settings, Transport, serve, server_config};
use crate::authn::clock::Clock;
use crate::config::{ApiConfig, Config, StoreConfig};
use crate::shutdown::Shutdown;
use crate::source::local::LocalSource;
use crate::store::{History, Store};
use crate::telemetry::metrics::{Metrics, StoreSample};

/// Opens the store that is configured.
pub(super) fn open(config: &StoreConfig) -> Result<Store> {
    Store::open(&config.folder, History { changes: config.history })
        .with_context(|| format!("cannot open the store in `{}`", config.folder.display()))
}

/// The policies in a store.
pub(super) fn source(store: Store) -> LocalSource {
    LocalSource::new(store, POLICIES.map(|resource| resource.to_string().into()))
}

/// The rules for tokens of the API's callers.
pub(super) fn jwt_rules(config: &Config) -> Result<Option<JwtRules>> {
    let api = config.store.as_ref().and_then(|store| store.api.as_ref());
    let rules = api.map(|api| &api.jwt_rules).filter(|rules| !rules.is_null());
    rules.map(|rules| JwtRules::parse(rules).context("apiJwtRules")).transpose()
}

/// An API with a port, which nobody is answered on yet.
pub(super) struct Api {
    listener: TcpListener,
    server: ApiServer,
    transport: Transport,
    /// With the port that was given for 0.
    pub(super) address: SocketAddr,
}

impl Api {
    /// Binds the port and writes the kubeconfig.
    pub(super) async fn bind(
        config: &Config,
        folder: &Path,
        api: &ApiConfig,
        store: Store,
        jwt: Option<JwtCallers>,
        drain: &Shutdown,
        metrics: &Metrics,
    ) -> Result<Self> {
        let clock = Clock::system();
        let counted = store.clone();
        let settings = settings(config, api, jwt)?;
        let listener = TcpListener::bind(api.address)
            .await
            .with_context(|| format!("cannot listen on {} (--api)", api.address))?;
        let address = listener.local_addr()?;
        let transport =
            if api.insecure { Transport::Plain } else { tls(api, folder, address, clock)? };
        let drain = drain.clone();
        let server =
            tokio::task::spawn_blocking(move || ApiServer::new(store, settings, clock, drain));
        let server = server.await?.context("the store cannot be written")?;
        let server = server.with_metrics(metrics.api());
        metrics.register_store({
            let server = server.clone();
            move || StoreSample {
                objects: counted.objects(),
                revision: counted.revision(),
                watches: server.watches(),
            }
        });
        Ok(Self { listener, server, transport, address })
    }

    /// Answers until the shutdown begins.
    pub(super) fn start(self, drain: Shutdown, grace: Duration) -> JoinHandle<()> {
        let Self { listener, server, transport, address } = self;
        tracing::info!(listener = "api", %address, "listening on");
        tokio::spawn(serve(server, listener, transport, drain, grace))
    }
}

fn settings(config: &Config, api: &ApiConfig, jwt: Option<JwtCallers>) -> Result<Settings> {
    let tokens = match &api.tokens {
        Some(file) => StaticTokens::parse(&read(file, "--api-tokens")?)
            .with_context(|| format!("--api-tokens: `{}`", file.display()))?,
        None => StaticTokens::default(),
    };
    let workloads = config.settings.workloads.iter().map(|workload| workload.namespace.clone());
    let root = config.settings.mesh.root_namespace.clone();
    let mut namespaces: Vec<_> =
        ["default".to_owned(), root].into_iter().chain(workloads).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    Ok(Settings {
        roles: api.roles.clone(),
        tokens,
        jwt,
        create_namespaces: api.create_namespaces,
        permanent_namespaces: namespaces,
        most_watches: api.most_watches,
        open: api.insecure,
    })
}

fn tls(api: &ApiConfig, folder: &Path, address: SocketAddr, clock: Clock) -> Result<Transport> {
    let now = clock.now();
    let pki = Pki::open(folder, now).context("the API's own authority")?;
    let client_ca =
        api.client_ca.as_deref().map(|file| read(file, "--api-client-ca")).transpose()?;
    let (leaf, server_ca) = match &api.identity {
        Some((certificate, key)) => {
            let certificate = read(certificate, "--api-certificate")?;
            let key = read(key, "--api-key")?;
            // Whoever signed it, it is what the kubeconfig can name.
            (Leaf { certificate: certificate.clone(), key }, certificate)
        }
        None => (pki.server(&names(&api.hosts, address), now)?, pki.pem().to_owned()),
    };
    let authorities: Vec<_> =
        [Some(pki.pem()), client_ca.as_deref()].into_iter().flatten().collect();
    let config = server_config(&leaf.certificate, &leaf.key, &authorities)
        .context("TLS of the API (--api-certificate, --api-key, --api-client-ca)")?;
    let file = api.kubeconfig.clone().unwrap_or_else(|| folder.join("kubeconfig"));
    write_kubeconfig(&pki, &file, &server_ca, &url(api, address), clock)?;
    tracing::info!(file = %file.display(), "wrote a kubeconfig for the operator");
    Ok(Transport::Tls(config))
}

fn write_kubeconfig(
    pki: &Pki,
    file: &Path,
    server_ca: &str,
    url: &str,
    clock: Clock,
) -> Result<()> {
    pki.write_kubeconfig_for(file, url, server_ca, clock.now())
        .with_context(|| format!("write the kubeconfig `{}`", file.display()))
}

/// What the certificate is for: this machine, and what is configured.
pub(super) fn names(hosts: &[String], address: SocketAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    names.extend(hosts.iter().cloned());
    names.sort_unstable();
    names.dedup();
    names
}

/// Where the operator's kubectl looks for it.
fn url(api: &ApiConfig, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    let named = api.hosts.iter().find(|host| !host.starts_with('*'));
    let host = match (ip.is_unspecified(), named) {
        (true, Some(host)) => match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            Ok(IpAddr::V4(_)) | Err(_) => host.clone(),
        },
        (true, None) => "127.0.0.1".to_owned(),
        (false, _) => match ip {
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        },
    };
    format!("https://{host}:{port}")
}

fn read(file: &Path, setting: &str) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("{setting}: cannot read `{}`", file.display()))
}
