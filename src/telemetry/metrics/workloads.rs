//! What is counted of answers by workload: of so many, and of all others together.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use super::super::shards::Shards;
use crate::model::Outcome;
use crate::plan::{Series, SeriesNames};

/// Counts decisions by workload. Recording is an addition to a counter that hardly any other thread
/// uses.
#[derive(Debug, Clone, Default)]
pub struct WorkloadMetrics(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    counters: Shards<OnceLock<Box<[Counters]>>>,
    /// Of those who collect and publish; requests never look at it.
    names: Mutex<SeriesNames>,
}

#[derive(Debug, Default)]
struct Counters {
    allowed: AtomicU64,
    denied: AtomicU64,
}

impl Counters {
    fn of(&self, outcome: Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Allow => &self.allowed,
            Outcome::Deny => &self.denied,
        }
    }
}

impl WorkloadMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// What workloads are called from now on. Names only ever come to those that are there.
    pub fn name(&self, names: &SeriesNames) {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).clone_from(names);
    }

    /// Counts one answer.
    pub fn record(&self, series: Series, outcome: Outcome) {
        let all = || (0..SeriesNames::MOST).map(|_| Counters::default()).collect();
        let counters = self.0.counters.own().get_or_init(all);
        if let Some(counters) = counters.get(series.number()) {
            counters.of(outcome).fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self, number: usize, outcome: Outcome) -> u64 {
        let counters = self.0.counters.all().filter_map(|all| all.get()?.get(number));
        counters.map(|all| all.of(outcome).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

impl Collector for WorkloadMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family = encoder.encode_descriptor(
            "workload_decisions",
            "Answers to Envoy, by workload and outcome.",
            None,
            MetricType::Counter,
        )?;
        for (number, name) in names.iter().enumerate() {
            for outcome in [Outcome::Allow, Outcome::Deny] {
                let count = self.sum(number, outcome);
                // One that nobody has asked for is not worth a series.
                if count > 0 {
                    let labels = [("workload", name), ("outcome", outcome.as_str())];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
