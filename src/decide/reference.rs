//! The slow twin of the decision: interprets policies as written, with no plan and no matcher.
//!
//! It records what it sees, so it is also what explanations are made of. Every test that compares
//! it with the compiled plan is a proof about both.

mod access;
mod entry;
mod pattern;
mod trace;

use std::sync::Arc;

use super::Certainty;
use crate::model::{
    Action, Attributes, AuthorizationPolicy, Identity, Reason, Rule, RuleId, Shadow, Verdict,
};
use crate::plan::{Unknown, WorkloadPlan};

pub use access::{AccessTrace, access_rule, access_traces, closing_api_rules};
pub use trace::{AlternativeTrace, FieldTrace, RuleTrace};

/// What [`super::custom`] says, or with `dry_run` [`super::shadow_custom`].
pub fn custom(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    dry_run: bool,
) -> Vec<(Arc<str>, RuleId)> {
    let walk = Walk { plan, attributes, identity: &Identity::default() };
    let mut asked: Vec<(Arc<str>, RuleId)> = Vec::new();
    for rule in walk.matching(|a| matches!(a, Action::Custom { .. }), dry_run) {
        let provider = plan.policy(rule).and_then(|policy| policy.action.provider());
        let is_new = |name: &&Arc<str>| asked.iter().all(|(known, _)| known != *name);
        if let Some(provider) = provider.filter(is_new) {
            asked.push((provider.clone(), rule));
        }
    }
    asked.sort();
    asked
}

/// What [`super::decide`] says.
pub fn decide(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Verdict {
    let walk = Walk { plan, attributes, identity };
    let is_allow = |a: &Action| matches!(a, Action::Allow);
    let is_deny = |a: &Action| matches!(a, Action::Deny);
    let attached = |wanted: fn(&Action) -> bool, dry_run: bool| {
        plan.policies().any(|p| wanted(&p.action) && p.dry_run == dry_run)
    };
    let answer = |deny: Option<RuleId>, allow: Option<RuleId>, has_allow: bool| match (deny, allow)
    {
        (Some(rule), _) => Reason::DenyRule(rule),
        (None, Some(rule)) => Reason::AllowRule(rule),
        (None, None) => access::reason(plan, attributes, identity).unwrap_or(if has_allow {
            Reason::NoAllowRule
        } else {
            Reason::NoAllowPolicy
        }),
    };

    let deny = walk.matching(is_deny, false).first().copied();
    let allow = walk.matching(is_allow, false).first().copied();
    let has_allow = attached(is_allow, false);
    let has_shadow_allow = attached(is_allow, true);
    let is_custom = |a: &Action| matches!(a, Action::Custom { .. });
    let has_shadow = has_shadow_allow || attached(is_deny, true) || attached(is_custom, true);
    let shadow = has_shadow.then(|| {
        let deny_rule = walk.matching(is_deny, true).first().copied();
        let allow_rule = walk.matching(is_allow, true).first().copied();
        let reason =
            answer(deny.or(deny_rule), allow.or(allow_rule), has_allow || has_shadow_allow);
        Shadow { reason, deny_rule, allow_rule, custom_rule: None }
    });
    Verdict {
        reason: answer(deny, allow, has_allow),
        audited_by: walk.matching(|a| matches!(a, Action::Audit), false).first().copied(),
        shadow,
    }
}

/// The walk through every rule of every attached policy, for explanations.
pub fn traces(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Vec<RuleTrace> {
    let walk = Walk { plan, attributes, identity };
    walk.rules(|_| true).collect()
}

/// How one rule of a policy fares, whether or not it is one of `policy.rules`.
pub fn rule(
    policy: &AuthorizationPolicy,
    rule: &Rule,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> RuleTrace {
    trace::rule(RuleId { policy: 0, rule: 0 }, policy, rule, attributes, identity)
}

struct Walk<'a, 'r> {
    plan: &'a WorkloadPlan,
    attributes: &'a Attributes<'r>,
    identity: &'a Identity<'r>,
}

impl Walk<'_, '_> {
    fn matching(&self, wanted: impl Fn(&Action) -> bool, dry_run: bool) -> Vec<RuleId> {
        self.rules(|policy| wanted(&policy.action) && policy.dry_run == dry_run)
            .filter(|trace| trace.matches)
            .map(|trace| trace.id)
            .collect()
    }

    fn rules(
        &self,
        wanted: impl Fn(&AuthorizationPolicy) -> bool,
    ) -> impl Iterator<Item = RuleTrace> {
        let (attributes, identity) = (self.attributes, self.identity);
        (0u32..).zip(self.plan.policies()).filter(move |(_, policy)| wanted(policy)).flat_map(
            move |(index, policy)| {
                policy.rules.iter().zip(0u32..).map(move |(rule, position)| {
                    let id = RuleId { policy: index, rule: position };
                    trace::rule(id, policy, rule, attributes, identity)
                })
            },
        )
    }
}

/// What an unknown condition counts as under an action.
fn unknown_under(action: &Action) -> Unknown {
    match action {
        Action::Allow => Unknown::NoMatch,
        Action::Deny | Action::Audit | Action::Custom { .. } => Unknown::Match,
    }
}
