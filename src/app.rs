//! The server, put together: configuration in, a running Postern out.
//!
//! Reads as a list of what is connected with what; every part's work is its own.

#[cfg(feature = "console")]
mod console;
#[cfg(not(feature = "console"))]
#[path = "app/no_console.rs"]
mod console;
mod decision_log;
mod decoding;
mod explain;
mod extension_providers;
mod health;
mod http;
mod key_sources;
mod listener;
#[cfg(feature = "management")]
mod management;
mod policies;
mod services;
#[cfg(feature = "api")]
mod statuses;
#[cfg(feature = "api")]
mod store;
mod traces;
mod workers;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};
use tonic::service::Routes;

use crate::admin::{self, Admin, Explain, Readiness};
#[cfg(feature = "api")]
use crate::api::access::JwtCallers;
use crate::authn::KeyLookup;
#[cfg(feature = "api")]
use crate::config::StoreConfig;
use crate::config::{Address, Config};
use crate::control::publish::SnapshotCell;
use crate::control::{Controller, Parts};
use crate::extauthz::AuthorizationService;
#[cfg(feature = "management")]
use crate::plan::KeySource;
use crate::shutdown::Shutdown;
use crate::telemetry::decision_log::Writer;
use crate::telemetry::logging::LogLevel;
use crate::telemetry::metrics::Metrics;

pub(crate) use services::{decode, request_settings};
pub(crate) use workers::THREAD_NAME as WORKER_THREAD_NAME;

use explain::Explainer;
use health::Health;
use http::HttpListener;
use key_sources::KeySources;
use listener::Listener;
use policies::PolicySource;
use traces::Traces;
use workers::Workers;

/// For what was decided by then to be logged.
const LOG_GRACE: Duration = Duration::from_secs(5);

/// Starts everything, or says why it cannot. Must be called in a tokio runtime.
///
/// Nothing is bound before the configuration and the policies are good.
pub async fn start(config: Config, log_level: LogLevel) -> Result<Running> {
    // The whole line that support will ask for.
    tracing::info!(config = %config.to_json(), version = env!("CARGO_PKG_VERSION"), "configured");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }

    // Policies.
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let (snapshots, publisher) = SnapshotCell::new();
    let keys = KeySources::new(&config.key_sources, &metrics)?;
    #[cfg(feature = "api")]
    let jwt_rules = store::jwt_rules(&config)?;
    #[cfg(feature = "api")]
    let own_sources = jwt_rules.iter().flat_map(|rules| rules.key_sources.clone()).collect();
    #[cfg(not(feature = "api"))]
    let own_sources = Vec::new();
    #[cfg(feature = "management")]
    let (management_rules, own_sources) = {
        let rules = management::jwt_rules(&config)?;
        let mut own: Vec<KeySource> = own_sources;
        for source in rules.iter().flat_map(|rules| &rules.key_sources) {
            if !own.iter().any(|known| known.id == source.id) {
                own.push(source.clone());
            }
        }
        (rules, own)
    };
    let mut controller = Controller::new(Parts {
        settings: config.settings.clone(),
        decode: services::decode(&config),
        publisher,
        sync_keys: keys.sync(own_sources),
        metrics: metrics.snapshot(),
        workload_metrics: metrics.workloads(),
    });
    let control = controller.status();
    let source = PolicySource::open(&config, &metrics).await?;
    #[cfg(feature = "api")]
    let store = source.store();
    let (source, corpus) = source.read().await?;
    match &corpus {
        Some(corpus) if source.must_be_good() => controller.start(corpus.clone()).await?,
        Some(corpus) => {
            controller.apply(corpus.clone()).await;
            anyhow::ensure!(control.borrow().revision > 0, "compiling the policies failed");
        }
        // Until they come, every request is denied.
        None => {}
    }

    // A file that cannot be written is known before anything is served.
    let (decision_log, log_writer) = decision_log::open(&config, keys.clock, &metrics)?.unzip();
    let tap = console::tap(&config, keys.clock);
    let traces = Traces::open(&config)?;

    // Ports.
    let listener = Listener::bind(&config.listen, config.socket_mode)
        .await
        .with_context(|| format!("cannot listen on {} (--listen)", config.listen))?;
    let http_listener = http::bind(&config).await?;
    let admin_listener = TcpListener::bind(config.admin)
        .await
        .with_context(|| format!("cannot listen on {} (--admin)", config.admin))?;
    let probes_listener = match config.probes {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} (--probes)"))?,
        ),
        None => None,
    };
    let shutdown = Shutdown::default();
    let drain = Shutdown::default();
    #[cfg(feature = "api")]
    let api = match (&config.store, store.clone()) {
        (Some(StoreConfig { folder, api: Some(api), .. }), Some(store)) => {
            let jwt = jwt_rules.map(|rules| {
                let sets = Arc::new(keys.sets.clone());
                JwtCallers::new(rules, sets, keys.clock, config.max_token_size)
            });
            Some(store::Api::bind(&config, folder, api, store, jwt, &drain, &metrics).await?)
        }
        _ => None,
    };
    #[cfg(feature = "management")]
    let management = match (&config.management, management_rules) {
        (Some(management), Some(rules)) => {
            Some(management::Port::bind(&config, management, rules, &keys, &metrics).await?)
        }
        _ => None,
    };
    let grpc_addr = listener.address()?;
    let admin_addr = admin_listener.local_addr()?;

    // Readiness.
    let readiness = Readiness::default();
    readiness.update(|checks| checks.policies = control.borrow().revision > 0);
    let (health, health_service) = Health::follow(&readiness).await;
    let wait = {
        let (keys, readiness, mut control) = (keys.clone(), readiness.clone(), control.clone());
        let within = config.key_sources.startup_timeout;
        async move {
            if control.wait_for(|control| control.revision > 0).await.is_err() {
                return;
            }
            readiness.update(|checks| checks.policies = true);
            keys.settled(within).await;
            readiness.update(|checks| checks.key_sources = true);
        }
    };

    // Serving.
    let (corpora, changes) = watch::channel(corpus.unwrap_or_default());
    #[cfg(feature = "management")]
    let objects = {
        let cluster = management.as_ref().and_then(management::Port::cluster);
        management::objects(&config, cluster, store, changes.clone())
    };
    let admin = Admin {
        readiness: readiness.clone(),
        control: control.clone(),
        key_sources: keys.status(),
        metrics: metrics.clone(),
        config: Arc::new(config.to_json()),
        log_level,
        explain: Explain::new({
            let explainer = Explainer {
                snapshots: snapshots.clone(),
                keys: keys.sets.clone(),
                clock: keys.clock,
                settings: request_settings(&config),
                providers: config.extension_providers.definitions(),
            };
            move |question| explainer.explain(question)
        }),
    };
    let probes_router = admin::probes_router(admin.clone());
    let is_local = admin_addr.ip().is_loopback();
    let more = match tap.clone() {
        Some(tap) => {
            let parts = console::Parts {
                snapshots: snapshots.clone(),
                tap,
                #[cfg(feature = "console")]
                objects: (config.kube.is_none() || management.is_some()).then(|| objects.clone()),
                #[cfg(feature = "console")]
                callers: management.as_ref().map(management::Port::callers),
                clock: keys.clock,
            };
            console::router(&config, &admin, parts, is_local, &drain)
        }
        None => Router::new(),
    };
    let admin = admin::router(admin, is_local, more);
    let mut routes = Routes::builder();
    routes.add_service(health_service);
    let authorization = services::grpc_services(
        &mut routes,
        &config,
        snapshots.clone(),
        &keys,
        &metrics,
        services::Witnesses { decision_log, tap, spans: traces.spans() },
    )?;
    let http_server = http::server(&config, &authorization);
    let (workers, ended) =
        Workers::start(config.workers, &routes.routes(), http_server.as_ref(), &drain)?;
    let http_listener =
        http_listener.map(|listener| HttpListener::new(listener, workers.http_desks()));
    let http_addr = http_listener.as_ref().map(HttpListener::address).transpose()?;
    let grpc = tokio::spawn(listener.serve(workers, ended, drain.clone()));
    if let Some(listener) = http_listener {
        tokio::spawn(listener.accept(drain.clone()));
    }
    readiness.update(|checks| checks.grpc = true);
    let admin_ended = Shutdown::default();
    let admin_server = tokio::spawn({
        let ended = admin_ended.clone();
        let server = axum::serve(admin_listener, admin);
        async move { server.with_graceful_shutdown(async move { ended.begun().await }).await }
    });
    tracing::info!(listener = "grpc", address = %grpc_addr, "listening on");
    if let Some(address) = &http_addr {
        tracing::info!(listener = "http", %address, "listening on");
    }
    tracing::info!(listener = "admin", address = %admin_addr, "listening on");

    // Changes.
    let statuses = source.write_statuses(control);
    #[cfg(feature = "management")]
    let management = management.map(|port| {
        let address = port.address;
        (address, port.start(&config, objects, drain.clone()))
    });
    let mut background = vec![
        tokio::spawn(wait),
        tokio::spawn(controller.run(changes)),
        tokio::spawn(source.watch(corpora)),
    ];
    background.extend(statuses);
    #[cfg(feature = "api")]
    let (api_addr, api) =
        api.map(|api| (api.address, api.start(drain.clone(), config.shutdown_grace))).unzip();
    #[cfg(not(feature = "api"))]
    let (api_addr, api) = (None, None);

    #[cfg(feature = "management")]
    let (management_addr, management) = management.unzip();
    #[cfg(not(feature = "management"))]
    let (management_addr, management) = (None, None);

    // To the end, so that kubelet sees the shutdown too.
    let mut probes_addr = None;
    if let Some(listener) = probes_listener {
        let address = listener.local_addr()?;
        probes_addr = Some(address);
        background.push(tokio::spawn(async move {
            drop(axum::serve(listener, probes_router).await);
        }));
        tracing::info!(listener = "probes", %address, "listening on");
    }

    Ok(Running {
        grpc_addr,
        http_addr,
        admin_addr,
        probes_addr,
        api_addr,
        management_addr,
        snapshots,
        authorization,
        keys: Arc::new(keys.sets),
        shutdown,
        parts: Serving {
            readiness,
            health,
            drain,
            grpc,
            admin_ended,
            admin_server,
            apis: [api, management].into_iter().flatten().collect(),
            background,
            log_writer,
            traces,
            grace: config.shutdown_grace,
        },
    })
}

/// A Postern that serves. Dropping it leaves it running; see [`Running::wait`].
pub struct Running {
    /// Where gRPC listens, with the port that was given for 0.
    pub grpc_addr: Address,
    /// Where proxies ask over HTTP, likewise.
    pub http_addr: Option<Address>,
    /// Where the admin endpoints listen, likewise.
    pub admin_addr: SocketAddr,
    /// Where kubelet and Prometheus may ask, likewise.
    pub probes_addr: Option<SocketAddr>,
    /// Where kubectl can ask, likewise.
    pub api_addr: Option<SocketAddr>,
    /// Where the management API answers, likewise.
    pub management_addr: Option<SocketAddr>,
    /// What requests are decided by.
    pub snapshots: SnapshotCell,
    /// What answers them.
    pub authorization: AuthorizationService,
    /// The keys that their tokens are verified with, where policies do not have them inline.
    pub keys: Arc<dyn KeyLookup + Send + Sync>,
    /// Ends it.
    pub shutdown: Shutdown,
    parts: Serving,
}

struct Serving {
    readiness: Readiness,
    health: Health,
    drain: Shutdown,
    grpc: JoinHandle<Result<()>>,
    admin_ended: Shutdown,
    admin_server: JoinHandle<std::io::Result<()>>,
    /// The embedded API and the management API.
    apis: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
    log_writer: Option<Writer>,
    traces: Traces,
    grace: Duration,
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Fully,
    /// Some took longer than the grace.
    Partly,
}

impl Running {
    /// Returns when it can answer: key sets have been asked for, or were waited for long enough.
    pub async fn ready(&self) {
        let mut checks = self.parts.readiness.subscribe();
        // The sender is among the parts, so there is always one.
        drop(checks.wait_for(|checks| checks.ready()).await);
    }

    /// Serves until the shutdown begins, then answers what is under way and ends. An error means
    /// that serving itself failed.
    pub async fn wait(self) -> Result<Drained> {
        let Self { shutdown, parts, .. } = self;
        let Serving { readiness, health, drain, mut grpc, admin_ended, admin_server, apis, .. } =
            parts;
        let _background = Background(parts.background);
        tokio::select! {
            () = shutdown.begun() => {}
            ended = &mut grpc => {
                ended.context("serve gRPC")??;
                anyhow::bail!("gRPC is no longer served");
            }
        }
        // Whoever asks is told before the first connection is closed.
        readiness.update(|checks| checks.draining = true);
        health.end().await;
        tracing::info!(grace_seconds = parts.grace.as_secs_f64(), "shutting down");
        drain.begin();
        let drained = match timeout(parts.grace, &mut grpc).await {
            Ok(ended) => {
                ended.context("serve gRPC")??;
                Drained::Fully
            }
            Err(_) => {
                grpc.abort();
                tracing::warn!("requests were still under way when the grace was over");
                Drained::Partly
            }
        };
        // They have the same grace, and have had it by now.
        for api in apis {
            if timeout(parts.grace, api).await.is_err() {
                tracing::debug!("an API had not ended");
            }
        }
        if let Some(writer) = parts.log_writer
            && !writer.finish(LOG_GRACE).await
        {
            tracing::warn!("decisions were still waiting to be logged");
        }
        if !parts.traces.finish(LOG_GRACE).await {
            tracing::warn!("spans were still waiting to be exported");
        }
        admin_ended.begin();
        // Its answers take no time; a client that keeps its connection must not keep us.
        if timeout(Duration::from_millis(500), admin_server).await.is_err() {
            tracing::debug!("admin connections were still open");
        }
        tracing::info!("ended");
        Ok(drained)
    }
}

/// Tasks that end with the server.
struct Background(Vec<JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { grpc_addr, admin_addr, parts, .. } = self;
        f.debug_struct("Running")
            .field("grpc_addr", grpc_addr)
            .field("admin_addr", admin_addr)
            .field("parts", parts)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
