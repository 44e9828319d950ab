//! What is counted of the management API.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Counts requests of the management API.
#[derive(Debug, Clone)]
pub struct ManagementMetrics {
    requests: Family<RequestLabels, Counter>,
    duration: Histogram,
}

/// `endpoint` is the template of one that there is, or empty: paths are no labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    code: u32,
}

impl ManagementMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        // From what is in memory to what a cluster and Prometheus take.
        let buckets =
            [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let metrics = Self { requests: Family::default(), duration: Histogram::new(buckets) };
        registry.register(
            "management_requests",
            "Requests of the management API, by endpoint and the code of the answer",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "management_request_duration",
            "Time from a request of the management API to its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    /// A request was answered after this time.
    pub fn answered(&self, endpoint: &'static str, code: u16, elapsed: Duration) {
        let labels = RequestLabels { endpoint, code: code.into() };
        self.requests.get_or_create_owned(&labels).inc();
        self.duration.observe(elapsed.as_secs_f64());
    }
}
