//! What is counted of single policies: those that only watch, as dry runs and AUDIT policies do.
//!
//! Names of policies are labels here and nowhere else, so there is a limit to how many are told apart.
//! Deciding who matched is `decide`'s job.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};
use smallvec::SmallVec;

use crate::model::{Outcome, Reason, RuleId, Verdict};
use crate::plan::WorkloadPlan;

/// How many policies are told apart; all others are `other`.
pub const MOST_POLICIES: usize = 200;

/// Between two events about the same policy, in seconds.
const QUIET: u64 = 60;

/// Policies that watched a request, each once for each way in which it did. Owns its names, so that
/// it can outlive the plan.
#[derive(Debug)]
pub struct PolicyMatches {
    matches: SmallVec<[PolicyMatch; 2]>,
    /// What was decided, and what would be: for the log.
    enforced: Outcome,
    shadow: Option<Reason>,
}

#[derive(Debug)]
struct PolicyMatch {
    /// Namespace and name; `None` where no rule is what changes the outcome.
    policy: Option<(Arc<str>, Arc<str>)>,
    watched: Watched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Audit,
    /// What the dry-run policy would change the outcome to.
    DryRun(Option<Outcome>),
}

impl PolicyMatches {
    /// The policies that watched; `None` where there was none, which costs nothing.
    pub fn of(plan: &WorkloadPlan, verdict: Verdict, audited_by: &[RuleId]) -> Option<Box<Self>> {
        if verdict.shadow.is_none() && audited_by.is_empty() {
            return None;
        }
        let name = |rule| {
            let metadata = &plan.policy(rule)?.metadata;
            Some((metadata.namespace.clone(), metadata.name.clone()))
        };
        let mut matches = SmallVec::new();
        // In order, so that the rules of a policy stand together.
        for rules in audited_by.chunk_by(|a, b| a.policy == b.policy) {
            let policy = rules.first().and_then(|rule| name(*rule));
            matches.push(PolicyMatch { policy, watched: Watched::Audit });
        }
        if let Some(shadow) = verdict.shadow {
            let change = Some(shadow.outcome()).filter(|would| *would != verdict.outcome());
            let decisive = shadow.reason.rule();
            let rules = [shadow.deny_rule, shadow.allow_rule, shadow.custom_rule];
            for rule in rules.into_iter().flatten() {
                let change = change.filter(|_| decisive == Some(rule));
                matches.push(PolicyMatch { policy: name(rule), watched: Watched::DryRun(change) });
            }
            if change.is_some() && decisive.is_none() {
                matches.push(PolicyMatch { policy: None, watched: Watched::DryRun(change) });
            }
        }
        let shadow = verdict.shadow.map(|shadow| shadow.reason);
        let enforced = verdict.outcome();
        (!matches.is_empty()).then(|| Box::new(Self { matches, enforced, shadow }))
    }
}

/// Counts policies that watch.
#[derive(Debug, Clone, Default)]
pub(super) struct PolicyMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    known: ArcSwap<Known>,
    /// Those over the limit.
    other: Counters,
    /// Dry-run ALLOW policies that have no rule for a request.
    no_rule: Counters,
    started: Instant,
}

/// Replaced whole where a policy is new, which happens [`MOST_POLICIES`] times at most.
#[derive(Debug, Clone, Default)]
struct Known {
    /// By namespace and name.
    policies: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Counters>>>,
    number: usize,
}

#[derive(Debug, Default)]
struct Counters {
    audits: AtomicU64,
    changes_nothing: AtomicU64,
    allows: AtomicU64,
    denies: AtomicU64,
    /// When the next event may be logged, in seconds, and of how many requests it speaks.
    next_event: AtomicU64,
    untold: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            known: ArcSwap::default(),
            other: Counters::default(),
            no_rule: Counters::default(),
            started: Instant::now(),
        }
    }
}

impl PolicyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "shadow_policy_matches",
            "Requests that a dry-run policy has a rule for, by what enforcing it would change",
            ShadowMatches(metrics.clone()),
        );
        registry.register(
            "audit_policy_matches",
            "Requests that an AUDIT policy asks to have audited, by policy",
            AuditMatches(metrics.clone()),
        );
        metrics
    }

    /// Counts, and says at info where a dry-run policy would change the outcome: once, and then not
    /// more often than each minute for each policy.
    pub(super) fn record(&self, matches: &PolicyMatches) {
        let now = self.0.started.elapsed().as_secs();
        for PolicyMatch { policy, watched } in &matches.matches {
            let Some((namespace, name)) = policy else {
                self.0.no_rule.record(*watched);
                self.0.no_rule.tell(matches, *watched, "", now);
                continue;
            };
            let known = self.counters(namespace, name);
            let counters = known.as_deref().unwrap_or(&self.0.other);
            counters.record(*watched);
            if let Watched::DryRun(Some(_)) = watched {
                counters.tell(matches, *watched, &format!("{namespace}/{name}"), now);
            }
        }
    }

    /// The counters of a policy, which may be new; `None` over the limit.
    fn counters(&self, namespace: &Arc<str>, name: &Arc<str>) -> Option<Arc<Counters>> {
        let known = self.0.known.load();
        let found = known.get(namespace, name);
        if found.is_some() || known.number >= MOST_POLICIES {
            return found.cloned();
        }
        drop(known);
        let counters = Arc::new(Counters::default());
        self.0.known.rcu(|known| known.with(namespace, name, &counters));
        // Somebody else may have been faster.
        self.0.known.load().get(namespace, name).cloned()
    }

    /// Each policy that was counted, and those that stand for several or for none.
    fn each(
        &self,
        mut show: impl FnMut(&str, &Counters) -> Result<(), fmt::Error>,
    ) -> Result<(), fmt::Error> {
        for (namespace, names) in &self.0.known.load().policies {
            for (name, counters) in names {
                show(&format!("{namespace}/{name}"), counters)?;
            }
        }
        show("none", &self.0.no_rule)?;
        show("other", &self.0.other)
    }
}

impl Known {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Counters>> {
        self.policies.get(namespace)?.get(name)
    }

    /// With one more, if it is new and there is room for it.
    fn with(&self, namespace: &Arc<str>, name: &Arc<str>, counters: &Arc<Counters>) -> Self {
        let mut known = self.clone();
        if known.number < MOST_POLICIES && known.get(namespace, name).is_none() {
            known.number += 1;
            let names = known.policies.entry(namespace.clone()).or_default();
            names.insert(name.clone(), counters.clone());
        }
        known
    }
}

impl Counters {
    fn record(&self, watched: Watched) {
        let counter = match watched {
            Watched::Audit => &self.audits,
            Watched::DryRun(None) => &self.changes_nothing,
            Watched::DryRun(Some(Outcome::Allow)) => &self.allows,
            Watched::DryRun(Some(Outcome::Deny)) => &self.denies,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Says what the policy would change, if that was not said just now.
    fn tell(&self, matches: &PolicyMatches, watched: Watched, policy: &str, now: u64) {
        let (Watched::DryRun(Some(outcome)), Some(shadow)) = (watched, matches.shadow) else {
            return;
        };
        if let Some(requests) = self.due(now) {
            tracing::info!(
                target: "postern::dry_run",
                policy,
                enforced = matches.enforced.as_str(),
                outcome = outcome.as_str(),
                reason = shadow.as_str(),
                requests,
                "a dry-run policy would change the outcome"
            );
        }
    }

    /// Of how many requests an event would speak, if one may be logged.
    fn due(&self, now: u64) -> Option<u64> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let next = self.next_event.load(Ordering::Relaxed);
        let later = now.saturating_add(QUIET);
        let exchange =
            || self.next_event.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed);
        (now >= next && exchange().is_ok()).then(|| self.untold.swap(0, Ordering::Relaxed))
    }
}

fn show(
    encoder: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    counter: &AtomicU64,
) -> Result<(), fmt::Error> {
    let count = counter.load(Ordering::Relaxed);
    if count == 0 {
        return Ok(());
    }
    encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

#[derive(Debug)]
struct ShadowMatches(PolicyMetrics);

impl EncodeMetric for ShadowMatches {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.each(|policy, counters| {
            let changes = [
                ("nothing", &counters.changes_nothing),
                ("allow", &counters.allows),
                ("deny", &counters.denies),
            ];
            changes.into_iter().try_for_each(|(change, counter)| {
                show(&mut encoder, &[("policy", policy), ("would_change_to", change)], counter)
            })
        })
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[derive(Debug)]
struct AuditMatches(PolicyMetrics);

impl EncodeMetric for AuditMatches {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.each(|policy, counters| show(&mut encoder, &[("policy", policy)], &counters.audits))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    fn exposition(registry: &Registry) -> String {
        let mut text = String::new();
        text::encode(&mut text, registry).unwrap();
        text
    }

    fn audit(name: &str) -> PolicyMatches {
        let policy = Some(("shop".into(), name.into()));
        PolicyMatches {
            matches: [PolicyMatch { policy, watched: Watched::Audit }].into_iter().collect(),
            enforced: Outcome::Allow,
            shadow: None,
        }
    }

    #[test]
    fn names_are_bounded_and_nothing_is_lost() {
        let mut registry = Registry::default();
        let metrics = PolicyMetrics::register(&mut registry);
        for round in 0..2 {
            for number in 0..MOST_POLICIES + 7 {
                metrics.record(&audit(&format!("p{number}")));
            }
            let text = exposition(&registry);
            let lines = text.lines().filter(|line| line.starts_with("audit_policy_matches_total{"));
            assert_eq!(lines.count(), MOST_POLICIES + 1);
            let other = (round + 1) * 7;
            let line = format!("audit_policy_matches_total{{policy=\"other\"}} {other}");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn events_are_few_and_tell_of_all() {
        let counters = Counters::default();
        let told: Vec<_> = (0..=2 * QUIET).filter_map(|now| counters.due(now)).collect();
        assert_eq!(told, [1, QUIET, QUIET]);
        assert_eq!(counters.due(2 * QUIET), None);
    }
}
