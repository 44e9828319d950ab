//! The decision log, as configured.

use anyhow::{Context as _, Result};

use crate::authn::clock::Clock;
use crate::config::{Config, DecisionLogTarget};
use crate::telemetry::decision_log::{DecisionLog, Destination, RotatingFile, Writer};
use crate::telemetry::metrics::Metrics;
#[cfg(feature = "otlp")]
use crate::telemetry::otlp::OtlpLogs;

/// The log and the thread that writes it; `None` where decisions are not logged.
pub(super) fn open(
    config: &Config,
    clock: Clock,
    metrics: &Metrics,
) -> Result<Option<(DecisionLog, Writer)>> {
    let Some(log) = &config.decision_log else { return Ok(None) };
    let destination = match &log.to {
        DecisionLogTarget::Stdout => Destination::Stdout,
        #[cfg(feature = "otlp")]
        DecisionLogTarget::Otlp(export) => {
            let logs =
                OtlpLogs::open(clock, export.tls).context("cannot export decisions by OTLP")?;
            Destination::Lines(Box::new(logs))
        }
        #[cfg(not(feature = "otlp"))]
        DecisionLogTarget::Otlp(_) => anyhow::bail!("there is no OTLP in this Postern"),
        DecisionLogTarget::File { path, size, kept } => {
            let size = u64::try_from(*size).unwrap_or(u64::MAX);
            let file = RotatingFile::open(path.clone(), size, *kept);
            Destination::File(file.with_context(|| {
                format!("cannot write decisions to `{}` (--decision-log)", path.display())
            })?)
        }
    };
    let opened =
        DecisionLog::open(log.settings.clone(), destination, clock, metrics.decision_log());
    opened.context("cannot start the thread of the decision log").map(Some)
}
