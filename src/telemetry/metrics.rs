//! Every metric of Postern, by name; docs/metrics.md lists them for operators.
//!
//! Label sets are closed: paths, principals, hosts and policy names are never labels. Issuers are,
//! because only configuration can name one.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

mod key_sources;
mod token_cache;

use key_sources::KeySourceCollector;
pub use key_sources::{KeySourceMetrics, KeySourceSample};
use token_cache::TokenCacheCollector;
pub use token_cache::TokenCacheSample;

use crate::model::{JwtError, Kind, Outcome, Reason, RuleId, Verdict};

use super::histogram::DurationHistogram;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, &'static str); 1];

/// The registry and the handles that count into it.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    decisions: DecisionMetrics,
    snapshot: SnapshotMetrics,
    inputs: InputMetrics,
    key_sources: KeySourceMetrics,
}

impl Metrics {
    /// A registry with every metric at zero. `version` is Postern's own.
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("postern");
        registry.register("build", "Version of Postern", Info::new([("version", version)]));
        let decisions = DecisionMetrics::register(&mut registry);
        let inputs = InputMetrics::register(&mut registry);
        let snapshot = SnapshotMetrics::register(&mut registry);
        let key_sources = KeySourceMetrics::register(&mut registry);
        Self { registry: Mutex::new(registry), decisions, snapshot, inputs, key_sources }
    }

    /// The handle of the request path.
    pub fn decisions(&self) -> DecisionMetrics {
        self.decisions.clone()
    }

    /// The handle of `control`.
    pub fn snapshot(&self) -> SnapshotMetrics {
        self.snapshot.clone()
    }

    /// The handle that counts what Envoy was not configured to send.
    pub fn inputs(&self) -> InputMetrics {
        self.inputs.clone()
    }

    /// The handle that counts fetches of key sets.
    pub fn key_sources(&self) -> KeySourceMetrics {
        self.key_sources.clone()
    }

    /// Shows how each key source stands, as `read` finds them at each scrape.
    pub fn register_key_sources(
        &self,
        read: impl Fn() -> Vec<KeySourceSample> + Send + Sync + 'static,
    ) {
        self.lock().register_collector(Box::new(KeySourceCollector { read: Box::new(read) }));
    }

    /// Shows the cache of verified tokens, as `read` finds it at each scrape.
    pub fn register_token_cache(
        &self,
        read: impl Fn() -> TokenCacheSample + Send + Sync + 'static,
    ) {
        self.lock().register_collector(Box::new(TokenCacheCollector { read: Box::new(read) }));
    }

    /// All metrics as OpenMetrics text; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut body = String::with_capacity(8 * 1024);
        text::encode(&mut body, &self.lock())?;
        Ok(body)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        // A collector that panicked has left the registry itself intact.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts decisions. Every counter is looked up once, here; recording is a few atomic additions.
#[derive(Debug, Clone)]
pub struct DecisionMetrics(Arc<DecisionCounters>);

#[derive(Debug)]
struct DecisionCounters {
    no_allow_policy: Counter,
    allow_rule: Counter,
    deny_rule: Counter,
    no_allow_rule: Counter,
    custom_provider_undefined: Counter,
    peer_unauthenticated: Counter,
    jwt: Counter,
    invalid_policy: Counter,
    unknown_workload: Counter,
    malformed_request: Counter,
    shadow_allow: Counter,
    shadow_deny: Counter,
    audited: Counter,
    duration: DurationHistogram,
}

impl DecisionMetrics {
    fn register(registry: &mut Registry) -> Self {
        const RULE: RuleId = RuleId { policy: 0, rule: 0 };
        let decisions = Family::<[(&'static str, &'static str); 2], Counter>::default();
        let shadow = Family::<Labels, Counter>::default();
        let audited = Counter::default();
        let duration = DurationHistogram::default();
        registry.register(
            "decisions",
            "Answers to Envoy, by outcome and reason",
            decisions.clone(),
        );
        registry.register_with_unit(
            "check_duration",
            "Time from a CheckRequest to its answer",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register(
            "shadow_decisions",
            "Answers as they would be if dry-run policies were enforced",
            shadow.clone(),
        );
        registry.register(
            "audited_requests",
            "Requests that an AUDIT policy asks to have audited",
            audited.clone(),
        );
        // The label comes from the reason itself, so that metric, log and response cannot disagree.
        let decision = |reason: Reason| {
            let labels = [("outcome", reason.outcome().as_str()), ("reason", reason.as_str())];
            decisions.get_or_create_owned(&labels)
        };
        let shadowed =
            |outcome: Outcome| shadow.get_or_create_owned(&[("outcome", outcome.as_str())]);
        Self(Arc::new(DecisionCounters {
            no_allow_policy: decision(Reason::NoAllowPolicy),
            allow_rule: decision(Reason::AllowRule(RULE)),
            deny_rule: decision(Reason::DenyRule(RULE)),
            no_allow_rule: decision(Reason::NoAllowRule),
            custom_provider_undefined: decision(Reason::CustomProviderUndefined(RULE)),
            peer_unauthenticated: decision(Reason::PeerUnauthenticated),
            jwt: decision(Reason::Jwt(JwtError::BadFormat)),
            invalid_policy: decision(Reason::InvalidPolicy),
            unknown_workload: decision(Reason::UnknownWorkload),
            malformed_request: decision(Reason::MalformedRequest),
            shadow_allow: shadowed(Outcome::Allow),
            shadow_deny: shadowed(Outcome::Deny),
            audited,
            duration,
        }))
    }

    /// Counts one answer. Takes no lock and looks no label up.
    pub fn record(&self, verdict: &Verdict, duration: Duration) {
        let counters = &*self.0;
        counters.decision(verdict.reason).inc();
        if let Some(shadow) = verdict.shadow {
            match shadow.outcome() {
                Outcome::Allow => counters.shadow_allow.inc(),
                Outcome::Deny => counters.shadow_deny.inc(),
            };
        }
        if verdict.audited_by.is_some() {
            counters.audited.inc();
        }
        counters.duration.observe(duration);
    }
}

impl DecisionCounters {
    fn decision(&self, reason: Reason) -> &Counter {
        match reason {
            Reason::NoAllowPolicy => &self.no_allow_policy,
            Reason::AllowRule(_) => &self.allow_rule,
            Reason::DenyRule(_) => &self.deny_rule,
            Reason::NoAllowRule => &self.no_allow_rule,
            Reason::CustomProviderUndefined(_) => &self.custom_provider_undefined,
            Reason::PeerUnauthenticated => &self.peer_unauthenticated,
            Reason::Jwt(_) => &self.jwt,
            Reason::InvalidPolicy => &self.invalid_policy,
            Reason::UnknownWorkload => &self.unknown_workload,
            Reason::MalformedRequest => &self.malformed_request,
        }
    }
}

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
}

impl Input {
    /// The label: the name of the setting that provides it, Envoy's or ours.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PeerCertificate => "include_peer_certificate",
            Self::TlsSession => "include_tls_session",
            Self::RawHeaders => "encode_raw_headers",
            Self::ClientAddress => "client_address_header",
        }
    }
}

/// Counts requests that came without an input that a policy could have used.
#[derive(Debug, Clone)]
pub struct InputMetrics(Arc<InputCounters>);

#[derive(Debug)]
struct InputCounters {
    peer_certificate: Missing,
    tls_session: Missing,
    raw_headers: Missing,
    client_address: Missing,
}

#[derive(Debug)]
struct Missing {
    counter: Counter,
    seen: AtomicBool,
}

impl InputMetrics {
    fn register(registry: &mut Registry) -> Self {
        let family = Family::<Labels, Counter>::default();
        registry.register(
            "missing_inputs",
            "Requests without an input that Envoy sends when its configuration says so",
            family.clone(),
        );
        let missing = |input: Input| Missing {
            counter: family.get_or_create_owned(&[("input", input.as_str())]),
            seen: AtomicBool::new(false),
        };
        Self(Arc::new(InputCounters {
            peer_certificate: missing(Input::PeerCertificate),
            tls_session: missing(Input::TlsSession),
            raw_headers: missing(Input::RawHeaders),
            client_address: missing(Input::ClientAddress),
        }))
    }

    /// Counts one. True for the first of its kind, which is the one to log.
    pub fn missing(&self, input: Input) -> bool {
        let missing = match input {
            Input::PeerCertificate => &self.0.peer_certificate,
            Input::TlsSession => &self.0.tls_session,
            Input::RawHeaders => &self.0.raw_headers,
            Input::ClientAddress => &self.0.client_address,
        };
        missing.counter.inc();
        !missing.seen.load(Ordering::Relaxed) && !missing.seen.swap(true, Ordering::Relaxed)
    }

    /// The inputs that some request lacked so far.
    pub fn seen_missing(&self) -> Vec<Input> {
        let all = [
            (Input::PeerCertificate, &self.0.peer_certificate),
            (Input::TlsSession, &self.0.tls_session),
            (Input::RawHeaders, &self.0.raw_headers),
            (Input::ClientAddress, &self.0.client_address),
        ];
        let seen = |(_, missing): &(Input, &Missing)| missing.seen.load(Ordering::Relaxed);
        all.into_iter().filter(seen).map(|(input, _)| input).collect()
    }
}

/// Shows what `control` last did.
#[derive(Debug, Clone)]
pub struct SnapshotMetrics {
    revision: Gauge,
    rejected: Gauge,
    resources: Family<Labels, Gauge>,
    compile: Histogram,
}

impl SnapshotMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            revision: Gauge::default(),
            rejected: Gauge::default(),
            resources: Family::default(),
            compile: Histogram::new([
                0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
            ]),
        };
        registry.register(
            "snapshot_revision",
            "Revision of the policies in force; 0 before the first",
            metrics.revision.clone(),
        );
        registry.register_with_unit(
            "snapshot_compile_duration",
            "Time to compile a policy set",
            Unit::Seconds,
            metrics.compile.clone(),
        );
        registry.register(
            "snapshot_rejected_resources",
            "Resources and files whose present form is refused; their last accepted form stays",
            metrics.rejected.clone(),
        );
        registry.register(
            "snapshot_resources",
            "Resources in force, by kind",
            metrics.resources.clone(),
        );
        for kind in Kind::ALL {
            metrics.resources(kind, 0);
        }
        metrics
    }

    /// A snapshot was published after `compile`.
    pub fn published(&self, revision: u64, compile: Duration) {
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.compile.observe(compile.as_secs_f64());
    }

    /// How many resources of a kind are in force.
    pub fn resources(&self, kind: Kind, count: usize) {
        let gauge = self.resources.get_or_create_owned(&[("kind", kind.as_str())]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many resources and files are refused in their present form.
    pub fn rejected(&self, count: usize) {
        self.rejected.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
