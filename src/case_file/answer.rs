//! What came of a request, in the words of case files.

use std::fmt;

use crate::model::{AccessRuleId, Outcome, Reason, RuleId, Verdict};
use crate::plan::WorkloadPlan;

/// An outcome and everything that is to be said of it, policies by name. Displays in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// ALLOW or DENY.
    pub outcome: Outcome,
    /// As [`Reason::as_str`] says it.
    pub reason: String,
    /// What is wrong with the token, or why an access strategy refuses.
    pub error: Option<String>,
    /// The policy or APIRule that decided, as [`crate::model::ResourceId`] displays.
    pub policy: Option<String>,
    /// Its rule, from 0.
    pub rule: Option<u32>,
    /// The policies with action AUDIT that matched, one for each rule.
    pub audited_by: Vec<String>,
    /// The answer with dry-run policies enforced.
    pub shadow: Option<Box<Self>>,
}

impl Answer {
    /// A verdict of this plan, and all AUDIT rules that matched.
    pub fn new(plan: &WorkloadPlan, verdict: Verdict, audited_by: &[RuleId]) -> Self {
        Self {
            audited_by: audited_by.iter().filter_map(|rule| policy_id(plan, *rule)).collect(),
            shadow: verdict.shadow.map(|shadow| Box::new(Self::of_reason(plan, shadow.reason))),
            ..Self::of_reason(plan, verdict.reason)
        }
    }

    /// What follows from a reason alone.
    pub fn of_reason(plan: &WorkloadPlan, reason: Reason) -> Self {
        Self {
            outcome: reason.outcome(),
            reason: reason.as_str().into(),
            error: if let Reason::Jwt(error) = reason {
                Some(error.to_string())
            } else if let Reason::ApiRuleRefused(_, refusal) = reason {
                Some(refusal.to_string())
            } else {
                None
            },
            policy: reason
                .rule()
                .and_then(|rule| policy_id(plan, rule))
                .or_else(|| api_rule_id(plan, reason.access_rule()?)),
            rule: reason
                .rule()
                .map(|rule| rule.rule)
                .or_else(|| reason.access_rule().map(|rule| rule.rule)),
            audited_by: Vec::new(),
            shadow: None,
        }
    }
}

fn policy_id(plan: &WorkloadPlan, rule: RuleId) -> Option<String> {
    let metadata = &plan.policy(rule)?.metadata;
    Some(format!("AuthorizationPolicy/{}/{}", metadata.namespace, metadata.name))
}

fn api_rule_id(plan: &WorkloadPlan, rule: AccessRuleId) -> Option<String> {
    let [namespace, name] = plan.api_rule(rule)?;
    Some(format!("APIRule/{namespace}/{name}"))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.outcome.as_str(), self.reason)?;
        for part in [&self.error, &self.policy].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        if let Some(rule) = self.rule {
            write!(f, " rule {rule}")?;
        }
        if !self.audited_by.is_empty() {
            write!(f, ", audited by {}", self.audited_by.join(", "))?;
        }
        match &self.shadow {
            Some(shadow) => write!(f, ", shadow: {shadow}"),
            None => Ok(()),
        }
    }
}
