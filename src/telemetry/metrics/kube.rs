//! What is counted and shown of following a cluster.

use std::{fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::Labels;
use crate::model::Kind;

/// Counts what comes from a cluster, and what goes there.
#[derive(Debug, Clone)]
pub struct KubeMetrics {
    changes: Family<Labels, Counter>,
    lists: Counter,
    errors: Family<[(&'static str, &'static str); 2], Counter>,
    status_writes: Family<Labels, Counter>,
}

impl KubeMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            changes: Family::default(),
            lists: Counter::default(),
            errors: Family::default(),
            status_writes: Family::default(),
        };
        registry.register(
            "kube_changes",
            "Changes of objects that the API server told of, by kind",
            metrics.changes.clone(),
        );
        registry.register(
            "kube_lists",
            "Lists of a kind that the API server gave to the end",
            metrics.lists.clone(),
        );
        registry.register(
            "kube_errors",
            "Lists and watches that failed, by kind and reason",
            metrics.errors.clone(),
        );
        registry.register(
            "kube_status_writes",
            "Statuses written to objects of the cluster, by how that ended",
            metrics.status_writes.clone(),
        );
        for kind in Kind::ISTIO {
            metrics.changes.get_or_create_owned(&[("kind", kind.as_str())]);
        }
        metrics
    }

    /// An object was changed or deleted.
    pub fn changed(&self, kind: &'static str) {
        self.changes.get_or_create_owned(&[("kind", kind)]).inc();
    }

    /// A list is complete.
    pub fn listed(&self) {
        self.lists.inc();
    }

    /// A list or a watch failed for this reason.
    pub fn failed(&self, kind: &'static str, reason: &'static str) {
        self.errors.get_or_create_owned(&[("kind", kind), ("reason", reason)]).inc();
    }

    /// A status was written, or was not.
    pub fn status_written(&self, result: &'static str) {
        self.status_writes.get_or_create_owned(&[("result", result)]).inc();
    }
}

pub(super) struct OutageCollector {
    pub(super) read: Box<dyn Fn() -> Vec<(&'static str, Duration)> + Send + Sync>,
}

impl fmt::Debug for OutageCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutageCollector").finish_non_exhaustive()
    }
}

impl Collector for OutageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "kube_outage",
            "Time since the API server stopped telling of changes; 0 while it does.",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (kind, outage) in (self.read)() {
            let labels = [("kind", kind)];
            ConstGauge::new(outage.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
