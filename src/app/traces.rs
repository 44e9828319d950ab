//! The export of spans, as configured.

use std::time::Duration;

use anyhow::Result;

use crate::config::Config;
#[cfg(feature = "otlp")]
use crate::telemetry::otlp::SpanExport;
use crate::telemetry::otlp::Spans;

/// What makes spans and what exports them, or neither.
#[derive(Default)]
pub(super) struct Traces {
    #[cfg(feature = "otlp")]
    parts: Option<(Spans, SpanExport)>,
}

impl Traces {
    #[cfg(feature = "otlp")]
    pub(super) fn open(config: &Config) -> Result<Self> {
        use anyhow::Context as _;
        let Some(export) = config.traces else { return Ok(Self::default()) };
        let parts =
            crate::telemetry::otlp::spans(export.tls).context("cannot export spans by OTLP")?;
        Ok(Self { parts: Some(parts) })
    }

    #[cfg(not(feature = "otlp"))]
    pub(super) fn open(_: &Config) -> Result<Self> {
        Ok(Self::default())
    }

    #[cfg(feature = "otlp")]
    pub(super) fn spans(&self) -> Option<Spans> {
        self.parts.as_ref().map(|(spans, _)| spans.clone())
    }

    #[cfg(not(feature = "otlp"))]
    pub(super) fn spans(&self) -> Option<Spans> {
        None
    }

    /// Exports what is left. Whether that was done in time.
    pub(super) async fn finish(self, within: Duration) -> bool {
        #[cfg(feature = "otlp")]
        if let Some((_, export)) = self.parts {
            // It blocks, and has threads of its own to wait for.
            let finish = tokio::task::spawn_blocking(move || export.finish(within));
            return matches!(tokio::time::timeout(within, finish).await, Ok(Ok(true)));
        }
        let _ = within;
        true
    }
}
