//! What is counted and shown of the embedded API and its store.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

/// Counts requests of the API.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    requests: Family<RequestLabels, Counter>,
}

/// `resource` is one that there is, or empty: paths are no labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    resource: &'static str,
    code: u32,
}

/// How the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSample {
    /// Objects of all kinds.
    pub objects: usize,
    /// The newest revision.
    pub revision: u64,
    /// Watches that are open.
    pub watches: usize,
}

impl ApiMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { requests: Family::default() };
        registry.register(
            "api_requests",
            "Requests of the embedded API, by method, resource and the code of the answer",
            metrics.requests.clone(),
        );
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, method: &http::Method, resource: &'static str, code: u16) {
        let method = match method.as_str() {
            "GET" => "GET",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        let labels = RequestLabels { method, resource, code: code.into() };
        self.requests.get_or_create_owned(&labels).inc();
    }
}

pub(super) struct StoreCollector {
    pub(super) read: Box<dyn Fn() -> StoreSample + Send + Sync>,
}

impl fmt::Debug for StoreCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCollector").finish_non_exhaustive()
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let StoreSample { objects, revision, watches } = (self.read)();
        let gauges = [
            ("store_objects", "Objects in the store, of all kinds", count(objects)),
            ("store_revision", "Newest revision of the store", revision),
            ("api_watches", "Watches of the embedded API that are open", count(watches)),
        ];
        for (name, help, value) in gauges {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(gauge)?;
        }
        Ok(())
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
