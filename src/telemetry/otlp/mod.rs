//! Spans and events to a receiver that speaks OTLP, where and how the `OTEL_*` variables say.
//!
//! The exporters read those variables themselves, as OpenTelemetry specifies them; whether anything
//! is exported at all is `config`'s to say. They run on threads of their own.

mod logs;

use std::fmt;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _,
    TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::runtime::TokioCurrentThread;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use logs::OtlpLogs;

use super::decision_log::TraceContext;
use super::timeline::Timeline;
use crate::model::Verdict;

/// The name of the service, unless a variable has another.
const SERVICE: &str = "postern";

/// An exporter that cannot be made. The text names the variable at fault and none of its value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoExporter(String);

impl NoExporter {
    fn of(error: &opentelemetry_otlp::ExporterBuildError) -> Self {
        let text = error.to_string();
        // The reason behind the name may quote the value, which may be a header with a token.
        let text = text.strip_prefix("invalid exporter configuration: ").unwrap_or(&text);
        let variable = text.split_once(':').map_or(text, |(variable, _)| variable);
        if variable.starts_with("OTEL_") {
            Self(format!("`{variable}` cannot be used"))
        } else {
            Self(
                "the exporter cannot be made: are the OTEL_EXPORTER_OTLP_* variables right?".into(),
            )
        }
    }
}

/// Makes the spans of decisions. Cheap to clone.
#[derive(Clone)]
pub struct Spans(SdkTracer);

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// Exports spans until it is finished.
#[derive(Debug)]
pub struct SpanExport(SdkTracerProvider);

/// What trusts the authorities of this machine.
fn tls_config() -> ClientTlsConfig {
    ClientTlsConfig::new().with_enabled_roots()
}

/// Spans, and what exports them: by gRPC over TLS, or as the variables say. Must be called in a tokio
/// runtime.
///
/// # Errors
/// A variable says what no exporter can do.
pub fn spans(tls: bool) -> Result<(Spans, SpanExport), NoExporter> {
    let exporter = SpanExporter::builder();
    let exporter = if tls {
        exporter.with_tonic().with_tls_config(tls_config()).build()
    } else {
        exporter.build()
    };
    let exporter = exporter.map_err(|error| NoExporter::of(&error))?;
    let processor = BatchSpanProcessor::builder(exporter, TokioCurrentThread).build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource())
        .with_span_processor(processor)
        .build();
    Ok((Spans(provider.tracer("postern")), SpanExport(provider)))
}

fn resource() -> Resource {
    // What the variables say comes later, and wins.
    let own = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let from_variables = Resource::builder().build();
    let named = from_variables.iter().any(|(key, value)| {
        key.as_str() == "service.name" && !value.as_str().starts_with("unknown_service")
    });
    let builder = Resource::builder().with_attributes(own);
    if named { builder.build() } else { builder.with_service_name(SERVICE).build() }
}

impl SpanExport {
    /// Exports what is left, for at most that long. Blocks.
    pub fn finish(self, within: Duration) -> bool {
        self.0.shutdown_with_timeout(within).is_ok()
    }
}

impl Spans {
    /// The span of one decision, and one for each of its stages below it.
    pub fn record(&self, timeline: &Timeline, verdict: &Verdict, revision: u64) {
        let Self(tracer) = self;
        let parent = parent(timeline.parent, timeline.trace_state.as_deref());
        let mut attributes = vec![
            KeyValue::new("postern.outcome", verdict.outcome().as_str()),
            KeyValue::new("postern.reason", verdict.reason.as_str()),
            KeyValue::new("postern.revision", i64::try_from(revision).unwrap_or(i64::MAX)),
            KeyValue::new("rpc.system", "grpc"),
        ];
        let texts = [("http.request.method", &timeline.method), ("url.path", &timeline.path)];
        for (name, text) in texts {
            attributes.extend(text.clone().map(|text| KeyValue::new(name, text)));
        }
        if let Some((policy, rule)) = &timeline.rule {
            attributes.push(KeyValue::new("postern.policy", policy.clone()));
            attributes.push(KeyValue::new("postern.rule", i64::from(*rule)));
        }
        let started = timeline.started;
        let at = |since: Duration| started.checked_add(since).unwrap_or(started);
        let span = SpanBuilder::from_name("envoy.service.auth.v3.Authorization/Check")
            .with_kind(SpanKind::Server)
            .with_start_time(started)
            .with_attributes(attributes);
        let span = tracer.build_with_context(span, &parent);
        // Nobody looks at it: not its stages either.
        if !span.is_recording() {
            return;
        }
        let context = parent.with_span(span);
        for (stage, begin, end) in timeline.stages() {
            let child = SpanBuilder::from_name(stage.as_str()).with_start_time(at(begin));
            end_at(tracer.build_with_context(child, &context), at(end));
        }
        // A denial is an answer as good as any.
        context.span().set_status(Status::Ok);
        context.span().end_with_timestamp(at(timeline.elapsed()));
    }
}

fn end_at(mut span: impl opentelemetry::trace::Span, time: SystemTime) {
    span.end_with_timestamp(time);
}

/// The caller's span.
fn parent(context: Option<TraceContext>, state: Option<&str>) -> Context {
    let Some(TraceContext { trace_id, span_id, flags }) = context else { return Context::new() };
    // One that cannot be read is dropped, and the trace goes on.
    let state = state.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    let parent = SpanContext::new(
        TraceId::from(trace_id),
        SpanId::from(span_id),
        TraceFlags::new(flags),
        true,
        state,
    );
    Context::new().with_remote_span_context(parent)
}
