//! What Envoy's RBAC filter says in shadow mode, as Istio sets it up for dry-run policies.
//!
//! Only what is said; `encode` and `response` write it. The merged answer is `Verdict::shadow`.

use crate::model::{Reason, RuleId, Verdict};
use crate::plan::WorkloadPlan;

/// What one shadow engine says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EngineResult {
    /// The name of the result in dynamic metadata.
    pub(super) result_name: &'static str,
    /// The name of the rule that matched.
    pub(super) id_name: &'static str,
    /// `allowed`, `denied`
    pub(super) result: &'static str,
    /// The dry-run rule that matched.
    pub(super) rule: Option<RuleId>,
}

/// What the engines for dry-run DENY and dry-run ALLOW policies say, each where such a policy is
/// attached. The DENY filter comes first, so where it refuses a request the other says nothing.
pub(super) fn results(
    plan: &WorkloadPlan,
    verdict: Verdict,
) -> impl Iterator<Item = EngineResult> + use<> {
    let shadow = verdict.shadow;
    let deny = shadow.filter(|_| plan.has_shadow_deny()).map(|shadow| EngineResult {
        result_name: "istio_dry_run_deny_shadow_engine_result",
        id_name: "istio_dry_run_deny_shadow_effective_policy_id",
        result: if shadow.deny_rule.is_some() { "denied" } else { "allowed" },
        rule: shadow.deny_rule,
    });
    let reaches_allow = !matches!(verdict.reason, Reason::DenyRule(_));
    let allow = shadow.filter(|_| plan.has_shadow_allow() && reaches_allow);
    let allow = allow.map(|shadow| EngineResult {
        result_name: "istio_dry_run_allow_shadow_engine_result",
        id_name: "istio_dry_run_allow_shadow_effective_policy_id",
        result: if shadow.allow_rule.is_some() { "allowed" } else { "denied" },
        rule: shadow.allow_rule,
    });
    deny.into_iter().chain(allow)
}

/// What Envoy's RBAC filter puts into `access_log_hint` for AUDIT policies: whether one of them wants
/// the request logged. Nothing where none is attached, or rules were not reached.
pub(super) fn access_log_hint(plan: &WorkloadPlan, verdict: Verdict) -> Option<bool> {
    (plan.has_audit() && verdict.reason.reached_rules()).then_some(verdict.audited_by.is_some())
}
