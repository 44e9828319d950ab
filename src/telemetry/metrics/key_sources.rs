//! What is counted and shown of remote key sets.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::Labels;

/// Counts attempts to fetch key sets.
#[derive(Debug, Clone)]
pub struct KeySourceMetrics {
    refreshes: Family<Labels, Counter>,
}

impl KeySourceMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { refreshes: Family::default() };
        registry.register(
            "jwks_refreshes",
            "Attempts to fetch a key set, by how they ended",
            metrics.refreshes.clone(),
        );
        metrics
    }

    /// Lists these results from the start.
    pub fn expect(&self, results: impl IntoIterator<Item = &'static str>) {
        for result in results {
            self.refreshes.get_or_create_owned(&[("result", result)]);
        }
    }

    /// Counts an attempt that ended so.
    pub fn refreshed(&self, result: &'static str) {
        self.refreshes.get_or_create_owned(&[("result", result)]).inc();
    }
}

/// How one source stands.
#[derive(Debug, Clone)]
pub struct KeySourceSample {
    /// Whose keys.
    pub issuer: Arc<str>,
    /// Since they were last seen at their source; `None` where they never were.
    pub age: Option<Duration>,
    /// How the newest attempt ended and how many ended badly since the last that did not; `None`
    /// after a success.
    pub failing: Option<(&'static str, u32)>,
}

pub(super) struct KeySourceCollector {
    pub(super) read: Box<dyn Fn() -> Vec<KeySourceSample> + Send + Sync>,
}

impl fmt::Debug for KeySourceCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySourceCollector").finish_non_exhaustive()
    }
}

impl Collector for KeySourceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Two sources of one issuer are one series: that of the one to worry about.
        let mut ages: BTreeMap<Arc<str>, Duration> = BTreeMap::new();
        let mut failing: BTreeMap<(Arc<str>, &'static str), u32> = BTreeMap::new();
        for sample in (self.read)() {
            if let Some(age) = sample.age {
                let oldest = ages.entry(sample.issuer.clone()).or_default();
                *oldest = age.max(*oldest);
            }
            if let Some((result, failures)) = sample.failing {
                let most = failing.entry((sample.issuer, result)).or_default();
                *most = failures.max(*most);
            }
        }
        let mut family = encoder.encode_descriptor(
            "jwks_age",
            "Time since the keys in use were seen at their source.",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (issuer, age) in ages {
            let labels = [("issuer", &*issuer)];
            ConstGauge::new(age.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "jwks_failures",
            "Attempts that failed since the last that did not, by how the newest ended.",
            None,
            MetricType::Gauge,
        )?;
        for ((issuer, result), failures) in failing {
            let labels = [("issuer", &*issuer), ("result", result)];
            ConstGauge::new(f64::from(failures)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
