//! What became of the events of decisions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

/// Counts events of the decision log.
#[derive(Debug, Clone, Default)]
pub struct DecisionLogMetrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl DecisionLogMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "decision_log_events",
            "Events of the decision log, by what became of them",
            Events(metrics.clone()),
        );
        metrics
    }

    /// So many are where they are wanted.
    pub fn written(&self, count: usize) {
        add(&self.0.written, count);
    }

    /// So many found no room to wait in.
    pub fn dropped(&self, count: usize) {
        add(&self.0.dropped, count);
    }

    /// So many could not be written.
    pub fn failed(&self, count: usize) {
        add(&self.0.failed, count);
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[derive(Debug)]
struct Events(DecisionLogMetrics);

impl EncodeMetric for Events {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let Counts { written, dropped, failed } = &*self.0.0;
        for (result, counter) in [("written", written), ("dropped", dropped), ("failed", failed)] {
            let count = counter.load(Ordering::Relaxed);
            let labels = [("result", result)];
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
