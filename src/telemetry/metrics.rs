//! Every metric of Postern, by name; docs/metrics.md lists them for operators.
//!
//! Label sets are closed: paths, principals and hosts are never labels. Issuers are, because only
//! configuration can name one, and names of policies that watch, up to a number of them.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

#[cfg(feature = "api")]
mod api;
mod decision_log;
mod decisions;
mod extension_providers;
mod inputs;
mod introspection;
mod key_sources;
#[cfg(feature = "kube")]
mod kube;
#[cfg(feature = "management")]
mod management;
mod policies;
mod token_cache;
mod workloads;

pub use super::histogram::DurationSample;
#[cfg(feature = "api")]
pub use api::{ApiMetrics, StoreSample};
pub use decision_log::DecisionLogMetrics;
pub use decisions::{DecisionMetrics, DecisionSample};
use extension_providers::ExtensionProviderCollector;
pub use extension_providers::{ExtensionProviderMetrics, ExtensionProviderSample};
pub use inputs::{Input, InputMetrics};
pub use introspection::IntrospectionMetrics;
use key_sources::KeySourceCollector;
pub use key_sources::{KeySourceMetrics, KeySourceSample};
#[cfg(feature = "kube")]
pub use kube::KubeMetrics;
#[cfg(feature = "management")]
pub use management::ManagementMetrics;
pub use policies::{MOST_POLICIES, PolicyMatches};
use token_cache::TokenCacheCollector;
pub use token_cache::TokenCacheSample;
pub use workloads::WorkloadMetrics;

use crate::model::Kind;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, &'static str); 1];

/// The registry and the handles that count into it.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    decisions: DecisionMetrics,
    decision_log: DecisionLogMetrics,
    snapshot: SnapshotMetrics,
    inputs: InputMetrics,
    key_sources: KeySourceMetrics,
    workloads: WorkloadMetrics,
}

impl Metrics {
    /// A registry with every metric at zero. `version` is Postern's own.
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("postern");
        registry.register("build", "Version of Postern", Info::new([("version", version)]));
        let decisions = DecisionMetrics::register(&mut registry);
        let decision_log = DecisionLogMetrics::register(&mut registry);
        let inputs = InputMetrics::register(&mut registry);
        let snapshot = SnapshotMetrics::register(&mut registry);
        let key_sources = KeySourceMetrics::register(&mut registry);
        let workloads = WorkloadMetrics::register(&mut registry);
        Self {
            registry: Mutex::new(registry),
            decisions,
            decision_log,
            snapshot,
            inputs,
            key_sources,
            workloads,
        }
    }

    /// The handle of the request path.
    pub fn decisions(&self) -> DecisionMetrics {
        self.decisions.clone()
    }

    /// The handle that counts decisions by workload.
    pub fn workloads(&self) -> WorkloadMetrics {
        self.workloads.clone()
    }

    /// The handle of the decision log.
    pub fn decision_log(&self) -> DecisionLogMetrics {
        self.decision_log.clone()
    }

    /// The handle of `control`.
    pub fn snapshot(&self) -> SnapshotMetrics {
        self.snapshot.clone()
    }

    /// The handle that counts what Envoy was not configured to send.
    pub fn inputs(&self) -> InputMetrics {
        self.inputs.clone()
    }

    /// The handle that counts fetches of key sets.
    pub fn key_sources(&self) -> KeySourceMetrics {
        self.key_sources.clone()
    }

    /// Shows how each key source stands, as `read` finds them at each scrape.
    pub fn register_key_sources(
        &self,
        read: impl Fn() -> Vec<KeySourceSample> + Send + Sync + 'static,
    ) {
        self.lock().register_collector(Box::new(KeySourceCollector { read: Box::new(read) }));
    }

    /// Shows the cache of verified tokens, as `read` finds it at each scrape.
    pub fn register_token_cache(
        &self,
        read: impl Fn() -> TokenCacheSample + Send + Sync + 'static,
    ) {
        self.lock().register_collector(Box::new(TokenCacheCollector { read: Box::new(read) }));
    }

    /// The handle that counts what extension providers answer; shown from now on, beside how each
    /// stands, as `read` finds it at each scrape.
    pub fn extension_providers(
        &self,
        read: impl Fn() -> Vec<ExtensionProviderSample> + Send + Sync + 'static,
    ) -> ExtensionProviderMetrics {
        let mut registry = self.lock();
        registry.register_collector(Box::new(ExtensionProviderCollector { read: Box::new(read) }));
        ExtensionProviderMetrics::register(&mut registry)
    }

    /// The handle that counts tokens which are introspected; shown from now on.
    pub fn introspection(&self) -> IntrospectionMetrics {
        IntrospectionMetrics::register(&mut self.lock())
    }

    /// The handle that counts requests of the embedded API; shown from now on.
    #[cfg(feature = "api")]
    pub fn api(&self) -> ApiMetrics {
        ApiMetrics::register(&mut self.lock())
    }

    /// Shows how the store stands, as `read` finds it at each scrape.
    #[cfg(feature = "api")]
    pub fn register_store(&self, read: impl Fn() -> StoreSample + Send + Sync + 'static) {
        self.lock().register_collector(Box::new(api::StoreCollector { read: Box::new(read) }));
    }

    /// The handle that counts requests of the management API; shown from now on.
    #[cfg(feature = "management")]
    pub fn management(&self) -> ManagementMetrics {
        ManagementMetrics::register(&mut self.lock())
    }

    /// The handle that counts what comes from a cluster; shown from now on.
    #[cfg(feature = "kube")]
    pub fn kube(&self) -> KubeMetrics {
        KubeMetrics::register(&mut self.lock())
    }

    /// Shows for how long each kind has not been followed in the cluster, as `read` finds it at each
    /// scrape.
    #[cfg(feature = "kube")]
    pub fn register_kube_outages(
        &self,
        read: impl Fn() -> Vec<(&'static str, Duration)> + Send + Sync + 'static,
    ) {
        let collector = kube::OutageCollector { read: Box::new(read) };
        self.lock().register_collector(Box::new(collector));
    }

    /// All metrics as OpenMetrics text; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut body = String::with_capacity(8 * 1024);
        text::encode(&mut body, &self.lock())?;
        Ok(body)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        // A collector that panicked has left the registry itself intact.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what `control` last did.
#[derive(Debug, Clone)]
pub struct SnapshotMetrics {
    revision: Gauge,
    rejected: Gauge,
    resources: Family<Labels, Gauge>,
    compile: Histogram,
}

impl SnapshotMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            revision: Gauge::default(),
            rejected: Gauge::default(),
            resources: Family::default(),
            compile: Histogram::new([
                0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
            ]),
        };
        registry.register(
            "snapshot_revision",
            "Revision of the policies in force; 0 before the first",
            metrics.revision.clone(),
        );
        registry.register_with_unit(
            "snapshot_compile_duration",
            "Time to compile a policy set",
            Unit::Seconds,
            metrics.compile.clone(),
        );
        registry.register(
            "snapshot_rejected_resources",
            "Resources and files whose present form is refused; their last accepted form stays",
            metrics.rejected.clone(),
        );
        registry.register(
            "snapshot_resources",
            "Resources in force, by kind",
            metrics.resources.clone(),
        );
        for kind in Kind::ALL {
            metrics.resources(kind, 0);
        }
        metrics
    }

    /// A snapshot was published after `compile`.
    pub fn published(&self, revision: u64, compile: Duration) {
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.compile.observe(compile.as_secs_f64());
    }

    /// How many resources of a kind are in force.
    pub fn resources(&self, kind: Kind, count: usize) {
        let gauge = self.resources.get_or_create_owned(&[("kind", kind.as_str())]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many resources and files are refused in their present form.
    pub fn rejected(&self, count: usize) {
        self.rejected.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
