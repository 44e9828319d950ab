//! The management API, put together as configured.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::key_sources::{KeySources, certificates};
use crate::api::access::{JwtCallers, JwtRules, Pki};
use crate::api::server::{Transport, serve, server_config};
use crate::authn::clock::Clock;
use crate::config::{Config, ManagementConfig, PrometheusConfig};
use crate::management::access::Callers;
use crate::management::mesh::{Cluster, Destinations, Files, MeshObjects, Stored};
use crate::management::prometheus::Prometheus;
use crate::management::server::{Management, Settings};
use crate::outbound::{BODY_LIMIT, Client, DialGuard};
use crate::shutdown::Shutdown;
use crate::source::Corpus;
use crate::store::Store;
use crate::telemetry::metrics::{ManagementMetrics, Metrics};

/// The rules for tokens of its callers.
pub(super) fn jwt_rules(config: &Config) -> Result<Option<JwtRules>> {
    let rules = config.management.as_ref().map(|management| &management.jwt_rules);
    rules.map(|rules| JwtRules::parse(rules).context("managementJwtRules")).transpose()
}

/// The objects of the mesh: those of the cluster, the store, or these files.
pub(super) fn objects(
    config: &Config,
    cluster: Option<Cluster>,
    store: Option<Store>,
    corpora: watch::Receiver<Arc<Corpus>>,
) -> MeshObjects {
    match (cluster, store) {
        (Some(cluster), _) => MeshObjects::Cluster(cluster),
        (None, Some(store)) => MeshObjects::Store(Stored::new(store, Clock::system())),
        (None, None) => {
            let workload = config.settings.workloads.first();
            let namespace = workload.map_or("default", |workload| &workload.namespace);
            MeshObjects::Files(Files::new(corpora, namespace))
        }
    }
}

/// A management API with a port, which nobody is answered on yet.
pub(super) struct Port {
    listener: TcpListener,
    transport: Transport,
    callers: Callers,
    metrics: ManagementMetrics,
    prometheus: Option<Prometheus>,
    cluster: Option<Cluster>,
    inline_kubeconfig: Option<Destinations>,
    /// With the port that was given for 0.
    pub(super) address: SocketAddr,
}

impl Port {
    /// Binds the port.
    pub(super) async fn bind(
        config: &Config,
        management: &ManagementConfig,
        rules: JwtRules,
        keys: &KeySources,
        metrics: &Metrics,
    ) -> Result<Self> {
        let prometheus = management.prometheus.as_ref().map(prometheus).transpose()?;
        let inline_kubeconfig = management.inline_kubeconfig.as_ref();
        let inline_kubeconfig = inline_kubeconfig.map(Destinations::parse).transpose();
        let inline_kubeconfig =
            inline_kubeconfig.context("managementInlineKubeconfigDestinations")?;
        let cluster = cluster(config).await?;
        let sets = Arc::new(keys.sets.clone());
        let jwt = JwtCallers::new(rules, sets, keys.clock, config.max_token_size);
        let callers = Callers::new(jwt, management.admin_claims.clone());
        let listener = TcpListener::bind(management.address)
            .await
            .with_context(|| format!("cannot listen on {} (--management)", management.address))?;
        let address = listener.local_addr()?;
        let transport = if management.insecure {
            Transport::Plain
        } else {
            let folder = config.store.as_ref().map(|store| store.folder.as_path());
            tls(management, folder, address)?
        };
        Ok(Self {
            listener,
            transport,
            callers,
            metrics: metrics.management(),
            prometheus,
            cluster,
            inline_kubeconfig,
            address,
        })
    }

    /// Whose tokens it takes.
    #[cfg(feature = "console")]
    pub(super) fn callers(&self) -> Callers {
        self.callers.clone()
    }

    /// Where its objects are, if in a cluster.
    pub(super) fn cluster(&self) -> Option<Cluster> {
        self.cluster.clone()
    }

    /// Answers until the shutdown begins, about these objects.
    pub(super) fn start(
        self,
        config: &Config,
        objects: MeshObjects,
        drain: Shutdown,
    ) -> JoinHandle<()> {
        let Self {
            listener,
            transport,
            callers,
            metrics,
            prometheus,
            inline_kubeconfig,
            address,
            cluster: _,
        } = self;
        let clock = Clock::system();
        let server = Management::new(Settings {
            callers,
            objects,
            prometheus,
            inline_kubeconfig,
            clock,
            metrics,
        });
        tracing::info!(listener = "management", %address, "listening on");
        tokio::spawn(serve(server, listener, transport, drain, config.shutdown_grace))
    }
}

/// The cluster that policies come from, where they come from one.
#[cfg(feature = "kube")]
async fn cluster(config: &Config) -> Result<Option<Cluster>> {
    let Some(kube) = &config.kube else { return Ok(None) };
    let cluster = Cluster::connect(&super::policies::cluster(kube)).await;
    Ok(Some(cluster.context("reach the cluster for the management API")?))
}

#[cfg(not(feature = "kube"))]
async fn cluster(_: &Config) -> Result<Option<Cluster>> {
    Ok(None)
}

fn prometheus(config: &PrometheusConfig) -> Result<Prometheus> {
    let also_trusted = match &config.ca_certificates {
        Some(file) => certificates(file).context("--prometheus-ca-certificates")?,
        None => Vec::new(),
    };
    let client = Client::new(DialGuard::default(), &also_trusted, Vec::new())
        .context("set up the client that asks Prometheus")?;
    let authorization = match &config.token_file {
        Some(file) => {
            let token = read(file, "--prometheus-token-file")?;
            let line = HeaderValue::try_from(format!("Bearer {}", token.trim()));
            let mut line = line.ok().with_context(|| {
                format!("--prometheus-token-file: `{}` holds no token", file.display())
            })?;
            line.set_sensitive(true);
            Some(line)
        }
        None => None,
    };
    Ok(Prometheus {
        client: client.reading_all(BODY_LIMIT),
        target: Prometheus::target(&config.url).context("--prometheus-url")?,
        authorization,
        telemetry: config.telemetry,
        timeout: config.timeout,
    })
}

/// Its own certificate is signed by the authority of the store; without a store, by one that ends with
/// this process.
fn tls(config: &ManagementConfig, store: Option<&Path>, address: SocketAddr) -> Result<Transport> {
    let now = Clock::system().now();
    let (certificate, key) = match &config.identity {
        Some((certificate, key)) => {
            (read(certificate, "--management-certificate")?, read(key, "--management-key")?)
        }
        None => {
            let pki = match store {
                Some(folder) => Pki::open(folder, now),
                None => Pki::ephemeral(now),
            };
            let pki = pki.context("the authority of the management API")?;
            if let Some(file) = &config.ca {
                fs::write(file, pki.pem()).with_context(|| {
                    format!("--management-ca: cannot write `{}`", file.display())
                })?;
                tracing::info!(file = %file.display(), "wrote the authority of the management API");
            }
            let leaf = pki.server(&super::store::names(&config.hosts, address), now)?;
            (leaf.certificate, leaf.key)
        }
    };
    let config = server_config(&certificate, &key, &[])
        .context("TLS of the management API (--management-certificate, --management-key)")?;
    Ok(Transport::Tls(config))
}

fn read(file: &Path, setting: &str) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("{setting}: cannot read `{}`", file.display()))
}
