//! One `Check`: load the snapshot once, find the workload's plan, decide, answer.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use tonic::{Request, Response, Status};

use super::response::{self, Realm, Report};
use super::{CertificateNames, ClientAddress, attributes};
use crate::authn::clock::Clock;
use crate::authn::{self, KeyLookup};
use crate::control::publish::SnapshotCell;
use crate::decide;
use crate::gate;
use crate::model::{Attributes, Outcome, Reason, Verdict};
use crate::normalize::PathNormalization;
use crate::plan::{Snapshot, WorkloadPlan};
use crate::telemetry::metrics::{DecisionMetrics, Input, InputMetrics};

/// How requests are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSettings {
    /// How the listener finds the client's address.
    pub client_address: ClientAddress,
    /// What is left to do to paths.
    pub path_normalization: PathNormalization,
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
            path_normalization: PathNormalization::default(),
            max_headers_size: Self::DEFAULT_MAX_HEADERS_SIZE,
            max_token_size: authn::DEFAULT_MAX_TOKEN_SIZE,
        }
    }
}

/// One answered Check, for whoever counts and logs them.
#[derive(Debug)]
pub struct Checked {
    /// The answer.
    pub response: CheckResponse,
    /// The decision in it.
    pub verdict: Verdict,
}

/// What is counted of requests.
#[derive(Debug, Clone)]
pub struct CheckMetrics {
    /// Decisions and their time.
    pub decisions: DecisionMetrics,
    /// Inputs that Envoy does not send.
    pub inputs: InputMetrics,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct AuthorizationService {
    snapshots: SnapshotCell,
    keys: Arc<dyn KeyLookup + Send + Sync>,
    settings: RequestSettings,
    certificates: CertificateNames,
    clock: Clock,
    metrics: Option<CheckMetrics>,
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
            metrics: None,
        }
    }

    /// Has requests counted.
    #[must_use]
    pub fn with_metrics(self, metrics: CheckMetrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Answers one CheckRequest. Never fails: what cannot be decided is denied.
    pub fn answer(&self, check: &CheckRequest) -> Checked {
        let started = Instant::now();
        let snapshot = self.snapshots.load();
        let checked = self.answer_by(&snapshot, check);
        debug_assert_eq!(response::outcome_of(&checked.response), checked.verdict.outcome());
        if let Some(metrics) = &self.metrics {
            metrics.decisions.record(&checked.verdict, started.elapsed());
        }
        checked
    }

    /// Counts what the filter is not configured to send, and says so once.
    fn note_missing(&self, attributes: &Attributes<'_>) {
        let Some(metrics) = &self.metrics else { return };
        let joined = attributes.http.as_ref().is_some_and(|http| http.headers.joined());
        let missing = [
            (attributes.missing.peer_certificate, Input::PeerCertificate),
            (attributes.missing.tls_session, Input::TlsSession),
            (joined, Input::RawHeaders),
        ];
        for (_, input) in missing.into_iter().filter(|(is_missing, _)| *is_missing) {
            if metrics.inputs.missing(input) {
                tracing::warn!(
                    setting = input.as_str(),
                    "Envoy's ext_authz filter does not send an input; \
                     conditions that need it allow nothing and deny"
                );
            }
        }
    }

    fn answer_by(&self, snapshot: &Snapshot, check: &CheckRequest) -> Checked {
        let refuse = |reason| {
            let verdict = Verdict::from_reason(reason);
            let revision = snapshot.revision;
            let report =
                Report { verdict, revision, plan: None, audited_by: Vec::new(), claims: None };
            Checked { response: response::denied(&report, None), verdict }
        };
        let mut attributes = match attributes::from_check(check, &self.settings, &self.certificates)
        {
            Ok(attributes) => attributes,
            Err(malformed) => {
                tracing::debug!(error = %malformed, "malformed CheckRequest");
                return refuse(Reason::MalformedRequest);
            }
        };
        self.note_missing(&attributes);
        let extensions = check.attributes.as_ref().map(|a| &a.context_extensions);
        let Some(plan) = plan_for(snapshot, extensions) else {
            return refuse(Reason::UnknownWorkload);
        };
        // The realm names the path as the client sent it, token and all; tokens change it below.
        let realm =
            (!plan.jwt.rules.is_empty()).then(|| attributes.http.as_ref().map(Realm::of)).flatten();

        let now = self.clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let max_token_size = self.settings.max_token_size;
        let keys = self.keys.as_ref();
        let passage = gate::pass(plan, &mut attributes, keys, now, max_token_size);
        let verdict = passage.verdict;
        let audited_by = if verdict.audited_by.is_some() {
            decide::audited_by(plan, &attributes, &passage.identity()).collect()
        } else {
            Vec::new()
        };
        let report = Report {
            verdict,
            revision: snapshot.revision,
            plan: Some(plan),
            audited_by,
            claims: passage.authentication.claims.as_ref(),
        };
        let response = match verdict.outcome() {
            Outcome::Allow => {
                let changes = &passage.authentication.changes;
                response::allowed(&report, attributes.http.as_ref(), changes)
            }
            Outcome::Deny => response::denied(&report, realm),
        };
        Checked { response, verdict }
    }
}

/// The plan of the workload that the filter's `context_extensions` name; without any, the first.
fn plan_for<'s>(
    snapshot: &'s Snapshot,
    extensions: Option<&HashMap<String, String>>,
) -> Option<&'s WorkloadPlan> {
    let named = |key| extensions.and_then(|e| e.get(key)).map(String::as_str);
    // Workloads have no names yet, so none has this one.
    if named("postern.workload").is_some() {
        return None;
    }
    let (namespace, labels) = (named("postern.namespace"), named("postern.labels"));
    if namespace.is_none() && labels.is_none() {
        return snapshot.workloads.first().map(AsRef::as_ref);
    }
    let labels = parse_labels(labels.unwrap_or_default())?;
    snapshot.workloads.iter().map(AsRef::as_ref).find(|plan: &&WorkloadPlan| {
        Some(plan.workload.namespace.as_str()) == namespace && plan.workload.labels == labels
    })
}

fn parse_labels(text: &str) -> Option<BTreeMap<String, String>> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

#[tonic::async_trait]
impl Authorization for AuthorizationService {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.answer(request.get_ref()).response))
    }
}
