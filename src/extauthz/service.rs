//! One `Check`: load the snapshot once, find the workload's plan, decide, answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use prost::{DecodeError, Message as _};

use super::cache_hint::CacheHint;
use super::denial::{Denial, DenialSettings, Refusal};
use super::reply::{Answer, Realm, Reply, Report};
use super::view::CheckView;
use super::workload::{WorkloadFrom, WorkloadView};
use super::{CertificateNames, ClientAddress, Malformed, attributes, encode, http, response};
use crate::access::{self, Asking, Introspection};
use crate::authn::clock::Clock;
use crate::authn::{self, KeyLookup, TokenCache, Verifier, WantedKey};
use crate::control::publish::SnapshotCell;
use crate::custom::{Answered, Ask, Consulted, Providers, Standing};
use crate::decide;
use crate::gate;
use crate::model::{Attributes, Outcome, Reason, SentHeaders, Verdict};
use crate::normalize::PathNormalization;
use crate::plan::{Series, Snapshot, WorkloadPlan};
use crate::telemetry::decision_log::{Decision, DecisionLog, Draft, Tap, TraceContext};
use crate::telemetry::metrics::{
    DecisionMetrics, Input, InputMetrics, IntrospectionMetrics, PolicyMatches, WorkloadMetrics,
};
use crate::telemetry::otlp::Spans;
use crate::telemetry::timeline::{Stage, Timeline};

/// The longest that an introspection endpoint is waited for, however long Envoy would.
const INTROSPECTION_WAIT: Duration = Duration::from_secs(10);

/// What those have said who were asked about one request.
#[derive(Debug, Default)]
struct Known {
    providers: Vec<Answered>,
    /// Whether there is somebody who can ask introspection endpoints.
    asks_endpoints: bool,
    introspection: Vec<access::Answered>,
}

impl Known {
    fn of_endpoints(&self) -> Introspection<'_> {
        if self.asks_endpoints {
            Introspection::Answers(&self.introspection)
        } else {
            Introspection::NotHere
        }
    }
}

/// How requests are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSettings {
    /// How the listener finds the client's address.
    pub client_address: ClientAddress,
    /// The header, in lower case, in which a filter before ours says the client's address instead.
    /// It is between Envoy and Postern: neither policies nor the upstream see it.
    pub client_address_header: Option<Arc<str>>,
    /// What is left to do to paths.
    pub path_normalization: PathNormalization,
    /// What names the workload of a request.
    pub workload_from: WorkloadFrom,
    /// The most bytes of headers, counted as HTTP/2 counts them: 32 more for each line.
    pub max_headers_size: usize,
    /// The most bytes of one token.
    pub max_token_size: usize,
}

impl RequestSettings {
    /// Envoy takes 60 KiB of headers from clients and adds some of its own; a client certificate in
    /// `x-forwarded-client-cert` is the largest.
    pub const DEFAULT_MAX_HEADERS_SIZE: usize = 128 << 10;
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            client_address: ClientAddress::default(),
            client_address_header: None,
            path_normalization: PathNormalization::default(),
            workload_from: WorkloadFrom::default(),
            max_headers_size: Self::DEFAULT_MAX_HEADERS_SIZE,
            max_token_size: authn::DEFAULT_MAX_TOKEN_SIZE,
        }
    }
}

/// One answered Check, for whoever counts and logs them.
#[derive(Debug)]
pub struct Checked<R = CheckResponse> {
    /// The answer: a message, or its bytes.
    pub response: R,
    /// The decision in it.
    pub verdict: Verdict,
    /// The workload that it is counted for, where that is known.
    pub series: Option<Series>,
    /// Keys that might have changed it.
    pub wanted: Vec<WantedKey>,
    /// Extension providers that have to be asked first.
    pub asks: Vec<Ask>,
    /// Introspection endpoints that have to be asked.
    pub introspection: Vec<access::Ask>,
    /// Its event, if it is to be logged or watched.
    pub event: Option<Draft>,
    /// How long each stage took, where spans are made of that.
    pub timeline: Option<Timeline>,
    /// The revision of the policies that decided.
    pub revision: u64,
    /// The policies that watched it; `None` without any.
    pub watched: Option<Box<PolicyMatches>>,
}

/// What is counted of requests.
#[derive(Debug, Clone)]
pub struct CheckMetrics {
    /// Decisions and their time.
    pub decisions: DecisionMetrics,
    /// Inputs that Envoy does not send.
    pub inputs: InputMetrics,
    /// Decisions by workload.
    pub workloads: WorkloadMetrics,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct AuthorizationService {
    snapshots: SnapshotCell,
    keys: Arc<dyn KeyLookup + Send + Sync>,
    settings: RequestSettings,
    certificates: CertificateNames,
    clock: Clock,
    unknown_kid_wait: Duration,
    asking: Option<Asking>,
    introspection_metrics: Option<IntrospectionMetrics>,
    providers: Option<Arc<Providers>>,
    token_cache: Option<Arc<TokenCache>>,
    metrics: Option<CheckMetrics>,
    decision_log: Option<DecisionLog>,
    tap: Option<Tap>,
    spans: Option<Spans>,
    denials: Option<Arc<DenialSettings>>,
    cache_hint: Option<Duration>,
}

impl fmt::Debug for AuthorizationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationService")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl AuthorizationService {
    /// A service that decides by the current snapshot of `snapshots`.
    pub fn new(
        snapshots: SnapshotCell,
        keys: Arc<dyn KeyLookup + Send + Sync>,
        settings: RequestSettings,
        clock: Clock,
    ) -> Self {
        Self {
            snapshots,
            keys,
            settings,
            certificates: CertificateNames::default(),
            clock,
            unknown_kid_wait: Duration::ZERO,
            asking: None,
            introspection_metrics: None,
            providers: None,
            token_cache: None,
            metrics: None,
            decision_log: None,
            tap: None,
            spans: None,
            denials: None,
            cache_hint: None,
        }
    }

    /// Lets a request wait this long for a key that its token names and that was not there; also
    /// not longer than Envoy waits for the answer.
    #[must_use]
    pub fn with_unknown_kid_wait(self, unknown_kid_wait: Duration) -> Self {
        Self { unknown_kid_wait, ..self }
    }

    /// Has introspection endpoints asked about tokens, for not longer than Envoy waits for the answer.
    #[must_use]
    pub fn with_introspection(self, asking: Asking) -> Self {
        Self { asking: Some(asking), ..self }
    }

    /// Has what came of that counted.
    #[must_use]
    pub fn with_introspection_metrics(self, metrics: IntrospectionMetrics) -> Self {
        Self { introspection_metrics: Some(metrics), ..self }
    }

    /// Has extension providers asked, for not longer than Envoy waits for the answer.
    #[must_use]
    pub fn with_providers(self, providers: Arc<Providers>) -> Self {
        Self { providers: Some(providers), ..self }
    }

    /// Has tokens that were verified before not verified again.
    #[must_use]
    pub fn with_token_cache(self, token_cache: Arc<TokenCache>) -> Self {
        Self { token_cache: Some(token_cache), ..self }
    }

    /// Has requests counted.
    #[must_use]
    pub fn with_metrics(self, metrics: CheckMetrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Has decisions logged.
    #[must_use]
    pub fn with_decision_log(self, decision_log: DecisionLog) -> Self {
        Self { decision_log: Some(decision_log), ..self }
    }

    /// Has decisions shown to those who watch.
    #[must_use]
    pub fn with_tap(self, tap: Tap) -> Self {
        Self { tap: Some(tap), ..self }
    }

    /// Has spans made of decisions.
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Self {
        Self { spans: Some(spans), ..self }
    }

    /// Has answers say for which requests and until when they hold; never for longer than this, which
    /// counts in whole seconds.
    #[must_use]
    pub fn with_cache_hint(self, longest: Duration) -> Self {
        Self { cache_hint: Some(longest), ..self }
    }

    /// Has denials look otherwise than native ones.
    #[must_use]
    pub fn with_denials(self, denials: Arc<DenialSettings>) -> Self {
        Self { denials: Some(denials), ..self }
    }

    /// Answers one CheckRequest with the keys that are there. Never fails: what cannot be decided is
    /// denied.
    ///
    /// What it answers is what [`AuthorizationService::answer_bytes`] does, by the slow way.
    pub fn answer(&self, check: &CheckRequest) -> Checked {
        self.answer_at(check, self.clock.unix_seconds())
    }

    /// Answers as [`AuthorizationService::answer`] does, as if it were then, in seconds since 1970.
    pub fn answer_at(&self, check: &CheckRequest, now: u64) -> Checked {
        let started = Instant::now();
        let snapshot = self.snapshots.load();
        let timeline = self.timeline();
        let view = CheckView::of_message(check);
        let known = Known::default();
        let mut checked =
            self.answer_by(&snapshot, view, (now, timeline), &known, response::message);
        debug_assert_eq!(response::outcome_of(&checked.response), checked.verdict.outcome());
        self.record(&mut checked, started);
        checked
    }

    /// Answers one encoded CheckRequest with the keys that are there. Fails only for what is none.
    pub fn answer_bytes(&self, message: &[u8]) -> Result<Checked<Vec<u8>>, DecodeError> {
        let started = Instant::now();
        let mut checked = self.decide(message, &Known::default())?;
        self.record(&mut checked, started);
        Ok(checked)
    }

    /// Answers one encoded CheckRequest as [`AuthorizationService::answer_bytes`] does, but asks the
    /// extension providers and introspection endpoints that have to be asked; and where a token names
    /// a key that is not there, looks for it. All that for at most `within`, which is asked for only
    /// then, and never for longer than was configured.
    pub async fn answer_bytes_within(
        &self,
        message: &[u8],
        within: impl Fn(Duration) -> Duration,
    ) -> Result<Checked<Vec<u8>>, DecodeError> {
        let started = Instant::now();
        let decide = |known: &Known| self.decide(message, known);
        let check = || CheckRequest::decode(message);
        self.answer_within(started, decide, check, within).await
    }

    /// Answers what was read from something else than a message, as
    /// [`AuthorizationService::answer_bytes_within`] does.
    pub(super) async fn answer_view_within<'v, R>(
        &self,
        view: impl Fn() -> CheckView<'v>,
        write: impl Fn(&Reply<'_>) -> R,
        within: impl Fn(Duration) -> Duration,
    ) -> Checked<R> {
        let started = Instant::now();
        let decide = |known: &Known| {
            let snapshot = self.snapshots.load();
            let now = (self.clock.unix_seconds(), self.timeline());
            Ok::<_, Infallible>(self.answer_by(&snapshot, view(), now, known, &write))
        };
        let check = || Ok(view().to_message());
        match self.answer_within(started, decide, check, within).await {
            Ok(checked) => checked,
            Err(never) => match never {},
        }
    }

    /// Decides as often as it takes: with what has been asked meanwhile.
    async fn answer_within<R, E>(
        &self,
        started: Instant,
        decide: impl Fn(&Known) -> Result<Checked<R>, E>,
        check: impl Fn() -> Result<CheckRequest, E>,
        within: impl Fn(Duration) -> Duration,
    ) -> Result<Checked<R>, E> {
        let left = |most| within(Duration::MAX).saturating_sub(started.elapsed()).min(most);
        let mut known = Known { asks_endpoints: self.asking.is_some(), ..Known::default() };
        let mut checked = decide(&known)?;
        if let (false, Some(providers)) = (checked.asks.is_empty(), &self.providers) {
            // Policies that change meanwhile may ask somebody else; who is then still left to be
            // asked has not answered.
            known.providers = providers.ask(&checked.asks, &check()?, left(Duration::MAX)).await;
            checked = decide(&known)?;
        }
        if !checked.wanted.is_empty() {
            let within = left(self.unknown_kid_wait);
            if self.keys.seek(&checked.wanted, within).await {
                checked = decide(&known)?;
            }
        }
        // A second time where policies have changed meanwhile, so that something else is asked.
        for _ in 0..2 {
            let (Some(ask), Some(asking)) = (checked.introspection.pop(), &self.asking) else {
                break;
            };
            let begun = Instant::now();
            // On the heap: a future that waits for an answer is thousands of bytes, which every call would
            // carry along.
            let answered = Box::pin(asking.ask(ask, left(INTROSPECTION_WAIT))).await;
            if let Some(metrics) = &self.introspection_metrics {
                metrics.asked(&answered.outcome, begun.elapsed());
            }
            known.introspection.push(answered);
            checked = decide(&known)?;
        }
        self.record(&mut checked, started);
        Ok(checked)
    }

    fn decide(&self, message: &[u8], known: &Known) -> Result<Checked<Vec<u8>>, DecodeError> {
        let snapshot = self.snapshots.load();
        let timeline = self.timeline();
        if let Ok(view) = CheckView::read(message) {
            return Ok(self.answer_by(
                &snapshot,
                view,
                (self.clock.unix_seconds(), timeline),
                known,
                encode::bytes,
            ));
        }
        // Wrong or unusual. Whoever can read it all says which.
        let check = CheckRequest::decode(message)?;
        let view = CheckView::of_message(&check);
        let now = (self.clock.unix_seconds(), timeline);
        Ok(self.answer_by(&snapshot, view, now, known, encode::bytes))
    }

    fn record<R>(&self, checked: &mut Checked<R>, started: Instant) {
        let elapsed = started.elapsed();
        if let Some(metrics) = &self.metrics {
            metrics.decisions.record(&checked.verdict, elapsed);
            if let Some(series) = checked.series {
                metrics.workloads.record(series, checked.verdict.outcome());
            }
            if let Some(watched) = &checked.watched {
                metrics.decisions.record_policies(watched);
            }
        }
        if let Some(event) = checked.event.take() {
            event.send(self.decision_log.as_ref(), elapsed);
        }
        if let (Some(spans), Some(timeline)) = (&self.spans, &checked.timeline) {
            spans.record(timeline, &checked.verdict, checked.revision);
        }
    }

    fn timeline(&self) -> Option<Timeline> {
        self.spans.as_ref().map(|_| Timeline::begin(self.clock.now()))
    }

    /// The event of a decision, where decisions are logged or somebody watches.
    fn event<'a>(
        &self,
        tap: Option<&Tap>,
        decision: impl FnOnce() -> Decision<'a>,
    ) -> Option<Draft> {
        let log = self.decision_log.as_ref();
        if log.is_none() && tap.is_none() {
            return None;
        }
        Draft::of(&decision(), log, tap)
    }

    /// How a denial looks, where it is one.
    fn denial<'a>(
        &'a self,
        plan: Option<&'a WorkloadPlan>,
        verdict: Verdict,
        attributes: &Attributes<'_>,
    ) -> Denial<'a> {
        match (&self.denials, verdict.outcome()) {
            (Some(settings), Outcome::Deny) => settings.denial(plan, verdict, attributes),
            (None, _) | (_, Outcome::Allow) => Denial::default(),
        }
    }

    /// Whether what is told depends on who the peer is.
    fn tells_why(&self, verdict: Verdict) -> bool {
        let settings = self.denials.as_deref();
        verdict.outcome() == Outcome::Deny && settings.is_some_and(DenialSettings::tells_why)
    }

    /// Counts what the filter is not configured to send, and says so once.
    fn note_missing(&self, attributes: &Attributes<'_>) {
        let Some(metrics) = &self.metrics else { return };
        let joined = attributes.http.as_ref().is_some_and(|http| http.headers.joined());
        let missing = [
            (attributes.missing.peer_certificate, Input::PeerCertificate),
            (attributes.missing.tls_session, Input::TlsSession),
            (attributes.missing.client_address, Input::ClientAddress),
            (joined, Input::RawHeaders),
            (attributes.missing.source_address, Input::SourceAddress),
            (attributes.missing.destination, Input::Destination),
            (attributes.missing.headers == SentHeaders::Some, Input::AllHeaders),
        ];
        for (_, input) in missing.into_iter().filter(|(is_missing, _)| *is_missing) {
            if metrics.inputs.missing(input) {
                tracing::warn!(
                    setting = input.as_str(),
                    "the proxy does not send an input; \
                     conditions that need it allow nothing and deny"
                );
            }
        }
    }

    fn answer_by<R>(
        &self,
        snapshot: &Snapshot,
        view: CheckView<'_>,
        (now, mut timeline): (u64, Option<Timeline>),
        known: &Known,
        write: impl Fn(&Reply<'_>) -> R,
    ) -> Checked<R> {
        let revision = snapshot.revision;
        let tap = self.tap.as_ref().filter(|tap| tap.is_watched());
        let refuse = |reason, answer, event, timeline: Option<Timeline>| {
            let verdict = Verdict::from_reason(reason);
            let report = Report {
                verdict,
                revision: snapshot.revision,
                plan: None,
                audited_by: Vec::new(),
                claims: None,
                cache: None,
            };
            let response = write(&Reply { report, answer, consulted: None });
            let timeline = timeline.map(|mut timeline| {
                timeline.end(Stage::Encode);
                timeline
            });
            let (series, wanted, asks, watched) = (None, Vec::new(), Vec::new(), None);
            let introspection = Vec::new();
            Checked {
                response,
                verdict,
                series,
                wanted,
                asks,
                introspection,
                event,
                timeline,
                revision,
                watched,
            }
        };
        let undecided = |reason| Decision::undecided(reason, snapshot.revision);
        let malformed = |malformed: Malformed, peer_address, timeline: Option<Timeline>| {
            tracing::debug!(error = %malformed, "malformed CheckRequest");
            let event = self.event(tap, || Decision {
                peer_address,
                malformed: Some(malformed.as_str()),
                status: Some(if malformed == Malformed::PathNotNormalizable { 400 } else { 403 }),
                ..undecided(Reason::MalformedRequest)
            });
            let answer = match malformed {
                Malformed::PathNotNormalizable => Answer::BadRequest,
                Malformed::NoAttributes
                | Malformed::NoHttp
                | Malformed::NoMethod
                | Malformed::HeadersTooLarge
                | Malformed::Path
                | Malformed::Certificate
                | Malformed::UntrustedPeer
                | Malformed::Forwarded
                | Malformed::HeadersNotSent => {
                    Answer::Denied { realm: None, denial: Denial::default() }
                }
            };
            refuse(Reason::MalformedRequest, answer, event, timeline)
        };
        if let Some(error) = view.malformed {
            let peer_address = view.attributes.as_ref().and_then(attributes::peer_address);
            return malformed(error, peer_address, timeline);
        }
        let Some(mut view) = view.attributes else {
            return malformed(Malformed::NoAttributes, None, timeline);
        };
        let workload = WorkloadView::take(&mut view);
        let is_logged = self.decision_log.is_some() || tap.is_some();
        let peer_address = if is_logged { attributes::peer_address(&view) } else { None };
        let names = match attributes::peer_names(&view, &self.certificates) {
            Ok(names) => names,
            Err(error) => return malformed(error, peer_address, timeline),
        };
        let names = names.iter().flat_map(|names| names.iter().map(|name| Cow::Borrowed(&**name)));
        let mut attributes = match attributes::from_view(view, &self.settings, names) {
            Ok(attributes) => attributes,
            Err(error) => return malformed(error, peer_address, timeline),
        };
        self.note_missing(&attributes);
        if let Some(timeline) = &mut timeline {
            timeline.note_request(&attributes);
            timeline.end(Stage::Decode);
        }
        let Some(plan) = workload.plan(snapshot, self.settings.workload_from) else {
            let verdict = Verdict::from_reason(Reason::UnknownWorkload);
            let denial = self.denial(None, verdict, &attributes);
            let event = self.event(tap, || Decision {
                attributes: Some(&attributes),
                status: denial_status(verdict, &denial, None),
                trace: trace_of(&attributes),
                ..undecided(Reason::UnknownWorkload)
            });
            let answer = Answer::Denied { realm: None, denial };
            return refuse(Reason::UnknownWorkload, answer, event, timeline);
        };
        if attributes.missing.headers == SentHeaders::Some && http::needs_all_headers(plan) {
            return malformed(Malformed::HeadersNotSent, attributes.source_ip, timeline);
        }
        // The realm names the path as the client sent it, token and all; tokens change it below.
        let has_tokens = !plan.jwt.rules.is_empty() || plan.access.is_some();
        let realm = has_tokens.then(|| attributes.http.as_ref().map(Realm::of)).flatten();

        let verifier = Verifier {
            keys: self.keys.as_ref(),
            cache: self.token_cache.as_deref(),
            now,
            max_token_size: self.settings.max_token_size,
        };
        let forgotten = if is_logged && gate::forgets_peer(plan, &attributes) {
            Some((attributes.peer.clone(), attributes.missing))
        } else {
            None
        };
        let providers = Standing {
            definitions: self.providers.as_ref().map(|providers| providers.definitions()),
            answers: &known.providers,
            introspection: known.of_endpoints(),
        };
        let mut passage = gate::pass_and_tell(plan, &mut attributes, &verifier, providers, || {
            if let Some(timeline) = &mut timeline {
                timeline.end(Stage::Tokens);
            }
        });
        if let Some(name) = &self.settings.client_address_header {
            passage.authentication.changes.note_header(name);
        }
        let verdict = passage.verdict;
        let audited_by = if verdict.audited_by.is_some() {
            decide::audited_by(plan, &attributes, &passage.identity()).collect()
        } else {
            Vec::new()
        };
        if let Some(timeline) = &mut timeline {
            timeline.note_rule(plan, verdict.reason);
            timeline.end(Stage::Decide);
        }
        let denial = self.denial(Some(plan), verdict, &attributes);
        let event = self.event(tap, || Decision {
            plan: Some(plan),
            audited_by: &audited_by,
            attributes: Some(&attributes),
            forgotten: forgotten.as_ref(),
            authentication: Decision::reached_tokens(verdict.reason)
                .then_some(&passage.authentication),
            consulted: passage.consulted.as_deref(),
            status: denial_status(verdict, &denial, passage.consulted.as_deref()),
            trace: trace_of(&attributes),
            verdict,
            ..undecided(verdict.reason)
        });
        let watched = PolicyMatches::of(plan, verdict, &audited_by);
        let report = Report {
            verdict,
            revision: snapshot.revision,
            plan: Some(plan),
            audited_by,
            claims: passage.authentication.claims.as_deref(),
            cache: self.cache_hint.map(|longest| {
                let is_http = attributes.http.is_some();
                let from = (&passage.authentication, passage.consulted.as_deref());
                CacheHint::new(plan, is_http, verdict, from, (now, longest))
                    .with_peer(self.tells_why(verdict))
            }),
        };
        let answer = match verdict.outcome() {
            Outcome::Allow => Answer::Allowed {
                http: attributes.http.as_ref(),
                changes: &passage.authentication.changes,
            },
            Outcome::Deny => Answer::Denied { realm, denial },
        };
        let consulted = passage.consulted.as_deref();
        let response = write(&Reply { report, answer, consulted });
        if let Some(timeline) = &mut timeline {
            timeline.end(Stage::Encode);
        }
        let wanted = passage.authentication.wanted;
        let series = Some(plan.series);
        let asks = passage.consulted.map(|consulted| consulted.asks).unwrap_or_default();
        let introspection = passage.introspection;
        Checked {
            response,
            verdict,
            series,
            wanted,
            asks,
            introspection,
            event,
            timeline,
            revision,
            watched,
        }
    }
}

/// The plan by which a CheckRequest is decided; nothing where it names a workload that is not
/// configured.
pub fn plan_of<'s>(
    snapshot: &'s Snapshot,
    check: &CheckRequest,
    from: WorkloadFrom,
) -> Option<&'s WorkloadPlan> {
    let mut view = CheckView::of_message(check);
    let workload = view.attributes.as_mut().map(WorkloadView::take).unwrap_or_default();
    workload.plan(snapshot, from)
}

/// The HTTP status of a denial by policies.
fn denial_status(
    verdict: Verdict,
    denial: &Denial<'_>,
    consulted: Option<&Consulted>,
) -> Option<u16> {
    if let Some(denial) = consulted.and_then(|consulted| consulted.denial.as_ref()) {
        return Some(denial.status);
    }
    match verdict.outcome() {
        Outcome::Allow => None,
        Outcome::Deny => Some(Refusal::new(verdict, None, denial).status),
    }
}

fn trace_of(attributes: &Attributes<'_>) -> Option<TraceContext> {
    attributes.http.as_ref().and_then(|http| TraceContext::of(&http.headers))
}
