//! What is counted of requests that came without something.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

use super::super::shards::Shards;

/// A part of a CheckRequest that Envoy sends only when its configuration says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// `include_peer_certificate`
    PeerCertificate,
    /// `include_tls_session`
    TlsSession,
    /// `encode_raw_headers`
    RawHeaders,
    /// The header of our own setting `clientAddressHeader`.
    ClientAddress,
    /// `source` in the header of our own setting `httpProxyHeader`, over HTTP.
    SourceAddress,
    /// `destination` in the same.
    Destination,
    /// `allowed_headers`, over HTTP.
    AllHeaders,
}

impl Input {
    const ALL: [Self; 7] = [
        Self::PeerCertificate,
        Self::TlsSession,
        Self::RawHeaders,
        Self::ClientAddress,
        Self::SourceAddress,
        Self::Destination,
        Self::AllHeaders,
    ];

    /// The label: the name of the setting that provides it, Envoy's or ours.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PeerCertificate => "include_peer_certificate",
            Self::TlsSession => "include_tls_session",
            Self::RawHeaders => "encode_raw_headers",
            Self::ClientAddress => "client_address_header",
            Self::SourceAddress => "source_address",
            Self::Destination => "destination",
            Self::AllHeaders => "allowed_headers",
        }
    }
}

/// Counts requests that came without an input that a policy could have used.
#[derive(Debug, Clone)]
pub struct InputMetrics(Arc<Inputs>);

#[derive(Debug, Default)]
struct Inputs {
    missing: Shards<Counts>,
    seen: PerInput<AtomicBool>,
}

type Counts = PerInput<AtomicU64>;

#[derive(Debug, Default)]
struct PerInput<T> {
    peer_certificate: T,
    tls_session: T,
    raw_headers: T,
    client_address: T,
    source_address: T,
    destination: T,
    all_headers: T,
}

impl<T> PerInput<T> {
    fn of(&self, input: Input) -> &T {
        match input {
            Input::PeerCertificate => &self.peer_certificate,
            Input::TlsSession => &self.tls_session,
            Input::RawHeaders => &self.raw_headers,
            Input::ClientAddress => &self.client_address,
            Input::SourceAddress => &self.source_address,
            Input::Destination => &self.destination,
            Input::AllHeaders => &self.all_headers,
        }
    }
}

impl InputMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let inputs = Arc::new(Inputs::default());
        registry.register(
            "missing_inputs",
            "Requests without an input that Envoy sends when its configuration says so",
            MissingInputs(inputs.clone()),
        );
        Self(inputs)
    }

    /// Counts one. True for the first of its kind, which is the one to log.
    pub fn missing(&self, input: Input) -> bool {
        self.0.missing.own().of(input).fetch_add(1, Ordering::Relaxed);
        let seen = self.0.seen.of(input);
        !seen.load(Ordering::Relaxed) && !seen.swap(true, Ordering::Relaxed)
    }

    /// The inputs that some request lacked so far.
    pub fn seen_missing(&self) -> Vec<Input> {
        let seen = |input: &Input| self.0.seen.of(*input).load(Ordering::Relaxed);
        Input::ALL.into_iter().filter(seen).collect()
    }
}

#[derive(Debug)]
struct MissingInputs(Arc<Inputs>);

impl EncodeMetric for MissingInputs {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for input in Input::ALL {
            let counts = self.0.missing.all().map(|counts| counts.of(input));
            let count =
                counts.map(|count| count.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
            let labels = [("input", input.as_str())];
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
