//! Events of the decision log as OTLP log records.

use std::collections::HashMap;
use std::io;
use std::time::SystemTime;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{Key, SpanId, TraceFlags, TraceId};
use opentelemetry_otlp::{LogExporter, WithTonicConfig as _};
use opentelemetry_sdk::logs::log_processor_with_async_runtime::BatchLogProcessor;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::runtime::TokioCurrentThread;
use serde_json::Value as Json;

use super::super::decision_log::Sink;
use super::{NoExporter, resource, tls_config};
use crate::authn::clock::Clock;

/// Sends events. Their fields are attributes; `trace_id` and its likes are the record's own.
#[derive(Debug)]
pub struct OtlpLogs {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
    clock: Clock,
}

/// As OpenTelemetry names kinds of events.
const EVENT: &str = "postern.decision";

impl OtlpLogs {
    /// To where the variables say, by gRPC over TLS or as they say. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// A variable says what no exporter can do.
    pub fn open(clock: Clock, tls: bool) -> Result<Self, NoExporter> {
        let exporter = LogExporter::builder();
        let exporter = if tls {
            exporter.with_tonic().with_tls_config(tls_config()).build()
        } else {
            exporter.build()
        };
        let exporter = exporter.map_err(|error| NoExporter::of(&error))?;
        let processor = BatchLogProcessor::builder(exporter, TokioCurrentThread).build();
        let provider = SdkLoggerProvider::builder()
            .with_resource(resource())
            .with_log_processor(processor)
            .build();
        let logger = provider.logger("postern");
        Ok(Self { provider, logger, clock })
    }

    fn emit(&self, line: &[u8], now: SystemTime) {
        // Our own line, so that it is an object.
        let Ok(Json::Object(mut members)) = serde_json::from_slice(line) else { return };
        let mut record = self.logger.create_log_record();
        record.set_event_name(EVENT);
        record.set_observed_timestamp(now);
        record.set_timestamp(now);
        record.set_severity_number(Severity::Info);
        let mut text = |name: &str| members.shift_remove(name);
        let (trace, span, flags) = (text("trace_id"), text("span_id"), text("trace_flags"));
        drop(text("time"));
        let hex = |value: &Option<Json>| value.as_ref().and_then(Json::as_str).map(str::to_owned);
        if let (Some(trace), Some(span)) = (hex(&trace), hex(&span))
            && let (Ok(trace), Ok(span)) = (TraceId::from_hex(&trace), SpanId::from_hex(&span))
        {
            let flags = hex(&flags).and_then(|flags| u8::from_str_radix(&flags, 16).ok());
            record.set_trace_context(trace, span, flags.map(TraceFlags::new));
        }
        record.add_attributes(members.into_iter().map(|(name, value)| (name, any(value))));
        self.logger.emit(record);
    }
}

impl Sink for OtlpLogs {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let now = self.clock.now();
        for line in lines {
            self.emit(line, now);
        }
        // Now, so that what is lost is known to be.
        self.provider
            .force_flush()
            .map_err(|_| io::Error::other("the OTLP receiver does not take them"))
    }
}

fn any(value: Json) -> AnyValue {
    match value {
        Json::Null => AnyValue::String("".into()),
        Json::Bool(b) => AnyValue::Boolean(b),
        Json::Number(n) => match n.as_i64() {
            Some(n) => AnyValue::Int(n),
            None => AnyValue::Double(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => AnyValue::String(text.into()),
        Json::Array(items) => AnyValue::ListAny(Box::new(items.into_iter().map(any).collect())),
        Json::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (Key::new(name), any(value)));
            AnyValue::Map(Box::new(members.collect::<HashMap<_, _>>()))
        }
    }
}
