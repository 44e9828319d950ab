//! What is counted of extension providers. Their names are labels: only configuration can name one.

use std::{fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
    registry::{Registry, Unit},
};

type ProviderLabel = [(&'static str, String); 1];
type ResultLabels = [(&'static str, String); 2];

/// How a provider stands, for the next scrape.
#[derive(Debug, Clone)]
pub struct ExtensionProviderSample {
    /// Its name.
    pub name: String,
    /// Of its circuit's states, each with whether it is in it.
    pub states: Vec<(&'static str, bool)>,
    /// How many requests are under way.
    pub under_way: usize,
}

/// Counts what providers answer.
#[derive(Debug, Clone)]
pub struct ExtensionProviderMetrics {
    requests: Family<ResultLabels, Counter>,
    duration: Family<ProviderLabel, Histogram>,
}

impl ExtensionProviderMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let histogram = || {
            Histogram::new([
                0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
            ])
        };
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(histogram as fn() -> Histogram),
        };
        registry.register(
            "custom_provider_requests",
            "Requests that an extension provider was asked about, by what came of it",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "custom_provider_duration",
            "Time until an extension provider answered, or was given up",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    /// Shows these results of a provider from now on, at zero.
    pub fn expect(&self, provider: &str, results: &[&str]) {
        for result in results {
            self.requests.get_or_create_owned(&labels(provider, result)).inc_by(0);
        }
    }

    /// Counts one answer, or the want of one.
    pub fn answered(&self, provider: &str, result: &str, elapsed: Duration) {
        self.requests.get_or_create_owned(&labels(provider, result)).inc();
        let label = [("provider", provider.to_owned())];
        self.duration.get_or_create(&label).observe(elapsed.as_secs_f64());
    }
}

fn labels(provider: &str, result: &str) -> ResultLabels {
    [("provider", provider.to_owned()), ("result", result.to_owned())]
}

/// Reads how providers stand at each scrape.
pub(super) struct ExtensionProviderCollector {
    pub(super) read: Box<dyn Fn() -> Vec<ExtensionProviderSample> + Send + Sync>,
}

impl fmt::Debug for ExtensionProviderCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtensionProviderCollector").finish_non_exhaustive()
    }
}

impl Collector for ExtensionProviderCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let samples = (self.read)();
        let mut circuit = encoder.encode_descriptor(
            "custom_provider_circuit",
            "Whether the circuit of an extension provider is in this state.",
            None,
            MetricType::Gauge,
        )?;
        for sample in &samples {
            for (state, is_in_it) in &sample.states {
                let labels = [("provider", sample.name.as_str()), ("state", *state)];
                let value = ConstGauge::new(i64::from(*is_in_it));
                value.encode(circuit.encode_family(&labels)?)?;
            }
        }
        let mut under_way = encoder.encode_descriptor(
            "custom_provider_requests_under_way",
            "Requests that an extension provider has not answered yet.",
            None,
            MetricType::Gauge,
        )?;
        for sample in &samples {
            let labels = [("provider", sample.name.as_str())];
            let value = ConstGauge::new(i64::try_from(sample.under_way).unwrap_or(i64::MAX));
            value.encode(under_way.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
