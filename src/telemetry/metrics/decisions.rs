//! What is counted of answers.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::super::histogram::{DurationHistogram, DurationSample};
use super::super::shards::Shards;
use super::policies::{PolicyMatches, PolicyMetrics};
use crate::model::{AccessRuleId, DryRunRule, JwtError, Outcome, Reason, Refusal, RuleId, Verdict};

/// Counts decisions. Recording is a few additions to counters that hardly any other thread uses.
#[derive(Debug, Clone)]
pub struct DecisionMetrics {
    shards: Counters,
    policies: PolicyMetrics,
}

/// What was counted of answers since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionSample {
    /// How often each reason decided. Numbers of rules in them mean nothing.
    pub decisions: Vec<(Reason, u64)>,
    /// How long answers took.
    pub durations: DurationSample,
}

/// One of each.
const REASONS: [Reason; 15] = {
    const RULE: RuleId = RuleId { policy: 0, rule: 0 };
    const ACCESS_RULE: AccessRuleId = AccessRuleId { api_rule: 0, rule: 0 };
    [
        Reason::NoAllowPolicy,
        Reason::AllowRule(RULE),
        Reason::DenyRule(RULE),
        Reason::NoAllowRule,
        Reason::ApiRule(ACCESS_RULE),
        Reason::ApiRuleRefused(ACCESS_RULE, Refusal::Unauthorized),
        Reason::NoApiRule,
        Reason::CustomProviderUndefined(RULE),
        Reason::CustomDenied(RULE),
        Reason::CustomError(RULE),
        Reason::PeerUnauthenticated,
        Reason::Jwt(JwtError::BadFormat),
        Reason::InvalidPolicy,
        Reason::UnknownWorkload,
        Reason::MalformedRequest,
    ]
};

#[derive(Debug, Default)]
struct DecisionCounters {
    no_allow_policy: AtomicU64,
    allow_rule: AtomicU64,
    deny_rule: AtomicU64,
    no_allow_rule: AtomicU64,
    api_rule: AtomicU64,
    api_rule_refused: AtomicU64,
    no_api_rule: AtomicU64,
    custom_provider_undefined: AtomicU64,
    custom_denied: AtomicU64,
    custom_error: AtomicU64,
    peer_unauthenticated: AtomicU64,
    jwt: AtomicU64,
    invalid_policy: AtomicU64,
    unknown_workload: AtomicU64,
    malformed_request: AtomicU64,
    shadow: [ShadowCounters; 2],
    audited: AtomicU64,
    duration: DurationHistogram,
}

impl DecisionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let shards = Arc::new(Shards::default());
        registry.register(
            "decisions",
            "Answers to Envoy, by outcome and reason",
            Decisions(shards.clone()),
        );
        registry.register_with_unit(
            "check_duration",
            "Time from a CheckRequest to its answer",
            Unit::Seconds,
            CheckDuration(shards.clone()),
        );
        registry.register(
            "shadow_decisions",
            "Answers as they would be if dry-run policies were enforced",
            ShadowDecisions(shards.clone()),
        );
        registry.register(
            "audited_requests",
            "Requests that an AUDIT policy asks to have audited",
            AuditedRequests(shards.clone()),
        );
        Self { shards, policies: PolicyMetrics::register(registry) }
    }

    /// Counts one answer. Takes no lock and looks no label up.
    pub fn record(&self, verdict: &Verdict, duration: Duration) {
        let counters = self.shards.own();
        increment(counters.decision(verdict.reason));
        if let Some(shadow) = verdict.shadow {
            increment(counters.shadow(verdict.outcome(), shadow.outcome(), shadow.dry_run_rule()));
        }
        if verdict.audited_by.is_some() {
            increment(&counters.audited);
        }
        counters.duration.observe(duration);
    }

    /// What was counted so far.
    pub fn sample(&self) -> DecisionSample {
        let durations: Vec<_> = self.shards.all().map(|counters| &counters.duration).collect();
        DecisionSample {
            decisions: REASONS
                .iter()
                .map(|reason| (*reason, sum(&self.shards, |counters| counters.decision(*reason))))
                .collect(),
            durations: DurationHistogram::sample(&durations.iter().copied()),
        }
    }

    /// Counts the policies that watched one answered request, and logs what dry runs would change, now
    /// and then. Takes no lock.
    pub fn record_policies(&self, matches: &PolicyMatches) {
        self.policies.record(matches);
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl DecisionCounters {
    fn decision(&self, reason: Reason) -> &AtomicU64 {
        match reason {
            Reason::NoAllowPolicy => &self.no_allow_policy,
            Reason::AllowRule(_) => &self.allow_rule,
            Reason::DenyRule(_) => &self.deny_rule,
            Reason::NoAllowRule => &self.no_allow_rule,
            Reason::ApiRule(_) => &self.api_rule,
            Reason::ApiRuleRefused(..) => &self.api_rule_refused,
            Reason::NoApiRule => &self.no_api_rule,
            Reason::CustomProviderUndefined(_) => &self.custom_provider_undefined,
            Reason::CustomDenied(_) => &self.custom_denied,
            Reason::CustomError(_) => &self.custom_error,
            Reason::PeerUnauthenticated => &self.peer_unauthenticated,
            Reason::Jwt(_) => &self.jwt,
            Reason::InvalidPolicy => &self.invalid_policy,
            Reason::UnknownWorkload => &self.unknown_workload,
            Reason::MalformedRequest => &self.malformed_request,
        }
    }

    fn shadow(&self, enforced: Outcome, would: Outcome, rule: DryRunRule) -> &AtomicU64 {
        let [allowed, denied] = &self.shadow;
        let of_enforced = match enforced {
            Outcome::Allow => allowed,
            Outcome::Deny => denied,
        };
        let of_would = match would {
            Outcome::Allow => &of_enforced.allow,
            Outcome::Deny => &of_enforced.deny,
        };
        match rule {
            DryRunRule::Deny => &of_would.deny,
            DryRunRule::Allow => &of_would.allow,
            DryRunRule::Custom => &of_would.custom,
            DryRunRule::None => &of_would.none,
        }
    }
}

/// By what would be answered.
#[derive(Debug, Default)]
struct ShadowCounters {
    allow: RuleCounters,
    deny: RuleCounters,
}

/// By the dry-run rule that makes it so.
#[derive(Debug, Default)]
struct RuleCounters {
    deny: AtomicU64,
    allow: AtomicU64,
    custom: AtomicU64,
    none: AtomicU64,
}

type Counters = Arc<Shards<DecisionCounters>>;

fn sum(shards: &Shards<DecisionCounters>, of: impl Fn(&DecisionCounters) -> &AtomicU64) -> u64 {
    shards.all().map(|counters| of(counters).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

#[derive(Debug)]
struct Decisions(Counters);

impl EncodeMetric for Decisions {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for reason in REASONS {
            // From the reason itself, so that metric, log and response cannot disagree.
            let labels = [("outcome", reason.outcome().as_str()), ("reason", reason.as_str())];
            let count = sum(&self.0, |counters| counters.decision(reason));
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[derive(Debug)]
struct ShadowDecisions(Counters);

impl EncodeMetric for ShadowDecisions {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        const OUTCOMES: [Outcome; 2] = [Outcome::Allow, Outcome::Deny];
        for (enforced, would) in
            OUTCOMES.iter().flat_map(|e| OUTCOMES.iter().map(move |w| (*e, *w)))
        {
            for rule in DryRunRule::ALL {
                let labels = [
                    ("enforced", enforced.as_str()),
                    ("outcome", would.as_str()),
                    ("rule", rule.as_str()),
                ];
                let count = sum(&self.0, |counters| counters.shadow(enforced, would, rule));
                encoder
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[derive(Debug)]
struct AuditedRequests(Counters);

impl EncodeMetric for AuditedRequests {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let count = sum(&self.0, |counters| &counters.audited);
        encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[derive(Debug)]
struct CheckDuration(Counters);

impl EncodeMetric for CheckDuration {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let parts: Vec<_> = self.0.all().map(|counters| &counters.duration).collect();
        DurationHistogram::encode(&parts.iter().copied(), encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
