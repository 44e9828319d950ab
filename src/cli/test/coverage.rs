//! Which rules and conditions requests have put to the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::Certainty;
use crate::decide::reference::{AccessTrace, FieldTrace, RuleTrace};
use crate::model::{AuthorizationPolicy, Metadata, Position, RuleId};
use crate::plan::WorkloadPlan;

/// All rules that requests were asked about, in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    rules: BTreeMap<(String, u32), RuleCoverage>,
}

/// What one rule has seen.
#[derive(Debug, Default)]
pub(super) struct RuleCoverage {
    pub(super) file: Option<Arc<str>>,
    pub(super) position: Position,
    /// Requests that it matched.
    pub(super) matched: u64,
    /// By the place of the alternative and the name of the field, in the order of both.
    pub(super) conditions: BTreeMap<(Position, String), ConditionCoverage>,
}

/// What one condition has seen.
#[derive(Debug, Default)]
pub(super) struct ConditionCoverage {
    /// Requests that it let through.
    pub(super) held: u64,
    /// Requests that it did not.
    pub(super) refused: u64,
}

impl Coverage {
    /// Adds the rules of a plan, as not tested so far.
    pub(super) fn know(&mut self, plan: &WorkloadPlan) {
        for policy in plan.policies() {
            for (number, rule) in (0..).zip(&policy.rules) {
                let known = self.rules.entry((name(policy), number)).or_default();
                known.file.clone_from(&policy.metadata.file);
                known.position = rule.position;
            }
        }
        let api_rules = plan.access.iter().flat_map(|access| &access.api_rules);
        for api_rule in api_rules {
            for (number, rule) in (0..).zip(&api_rule.rules) {
                let name = api_rule_name(&api_rule.metadata);
                let known = self.rules.entry((name, number)).or_default();
                known.file.clone_from(&api_rule.metadata.file);
                known.position = rule.position;
            }
        }
    }

    /// Adds what one request came to.
    pub(super) fn note(&mut self, plan: &WorkloadPlan, traces: &[RuleTrace]) {
        for trace in traces {
            if let Some(rule) = self.of(plan, trace.id) {
                rule.note(trace);
            }
        }
    }

    /// Adds how the rules of APIRules fared, of which the first that fits is the request's.
    pub(super) fn note_access(&mut self, plan: &WorkloadPlan, traces: &[AccessTrace]) {
        let taken = traces.iter().position(AccessTrace::fits);
        for (place, trace) in traces.iter().enumerate() {
            let found = plan.access.as_ref().and_then(|access| access.rule(trace.id));
            let Some((api_rule, rule)) = found else { continue };
            let key = (api_rule_name(&api_rule.metadata), trace.id.rule);
            let Some(known) = self.rules.get_mut(&key) else { continue };
            known.matched += u64::from(taken == Some(place));
            for (field, holds) in [("methods", trace.method), ("path", trace.path)] {
                known.count(rule.position, field, holds);
            }
        }
    }

    /// Rules by policy and number.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&str, u32, &RuleCoverage)> {
        self.rules.iter().map(|((policy, number), rule)| (policy.as_str(), *number, rule))
    }

    fn of(&mut self, plan: &WorkloadPlan, rule: RuleId) -> Option<&mut RuleCoverage> {
        self.rules.get_mut(&(name(plan.policy(rule)?), rule.rule))
    }
}

impl RuleCoverage {
    fn note(&mut self, trace: &RuleTrace) {
        self.matched += u64::from(trace.matches);
        for alternative in trace.sources.iter().chain(&trace.operations) {
            for field in &alternative.fields {
                self.condition(alternative.position, field);
            }
        }
        for field in &trace.conditions {
            let position = field.wanted.first().map(|entry| entry.position).unwrap_or_default();
            self.condition(position, field);
        }
    }

    fn condition(&mut self, position: Position, field: &FieldTrace) {
        let holds = match field.result {
            Certainty::Yes => true,
            Certainty::No | Certainty::Unknown => false,
        };
        self.count(position, &field.field, holds);
    }

    fn count(&mut self, position: Position, field: &str, holds: bool) {
        let condition = self.conditions.entry((position, field.to_owned())).or_default();
        *(if holds { &mut condition.held } else { &mut condition.refused }) += 1;
    }
}

fn api_rule_name(metadata: &Metadata) -> String {
    format!("APIRule/{}/{}", metadata.namespace, metadata.name)
}

fn name(policy: &AuthorizationPolicy) -> String {
    format!("AuthorizationPolicy/{}/{}", policy.metadata.namespace, policy.metadata.name)
}
