//! What a side said, by name.

use super::side::{Answer, Side};
use super::{KnownRules, View, is_allowed};
use crate::model::{AccessRuleId, Metadata, Reason, RuleId};
use crate::plan::WorkloadPlan;

/// A decision as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `allow` or `deny`; `audited` or `not audited`.
    pub decision: &'static str,
    /// As logs and metadata name it.
    pub reason: &'static str,
    /// For people.
    pub why: String,
    /// The policy that decided, if one did.
    pub policy: Option<String>,
    /// Its rule.
    pub rule: Option<u32>,
    /// Where that begins: file and line.
    pub place: Option<String>,
}

/// The rule that made an answer.
pub(super) fn rule_of(view: View, answer: &Answer) -> Option<RuleId> {
    match view {
        View::Enforced => answer.reason.rule(),
        View::Shadow => answer.shadow.rule(),
        View::Audit => answer.audited_by,
    }
}

fn access_rule_of(view: View, answer: &Answer) -> Option<AccessRuleId> {
    match view {
        View::Enforced => answer.reason.access_rule(),
        View::Shadow => answer.shadow.access_rule(),
        View::Audit => None,
    }
}

impl Decision {
    pub(super) fn new(view: View, side: &Side<'_>, answer: &Answer) -> Self {
        let plan = side.plan;
        let allowed = is_allowed(view, answer);
        let rule = rule_of(view, answer);
        let of_access = access_rule_of(view, answer);
        let (decision, reason, why) = match view {
            View::Enforced | View::Shadow => {
                let reason = if view == View::Shadow { answer.shadow } else { answer.reason };
                let decision = if allowed { "allow" } else { "deny" };
                (decision, reason.as_str(), why(plan, reason))
            }
            View::Audit => {
                let why = rule.map_or_else(|| "by no AUDIT rule".to_owned(), |it| name(plan, it));
                (if allowed { "audited" } else { "not audited" }, "audit", why)
            }
        };
        Self {
            decision,
            reason,
            why,
            policy: rule
                .map(|rule| policy_name(plan, rule))
                .or_else(|| api_rule(plan, of_access?).map(|(name, _)| name)),
            rule: rule.map(|rule| rule.rule).or_else(|| of_access.map(|rule| rule.rule)),
            place: rule
                .and_then(|rule| place(plan, rule))
                .or_else(|| api_rule(plan, of_access?).and_then(|(_, place)| place)),
        }
    }
}

fn policy_name(plan: &WorkloadPlan, rule: RuleId) -> String {
    let policy = plan.policy(rule);
    policy.map_or_else(String::new, |policy| {
        format!("AuthorizationPolicy/{}/{}", policy.metadata.namespace, policy.metadata.name)
    })
}

pub(super) fn name(plan: &WorkloadPlan, rule: RuleId) -> String {
    format!("{} rules[{}]", policy_name(plan, rule), rule.rule)
}

fn place(plan: &WorkloadPlan, rule: RuleId) -> Option<String> {
    let policy = plan.policy(rule)?;
    let position = policy.rules.get(usize::try_from(rule.rule).ok()?)?.position;
    Some(format!("{}:{}", policy.metadata.file.as_ref()?, position.line))
}

/// Its APIRule by name, and where the rule begins.
fn api_rule(plan: &WorkloadPlan, id: AccessRuleId) -> Option<(String, Option<String>)> {
    let (api_rule, rule) = plan.access.as_ref()?.rule(id)?;
    let Metadata { namespace, name, file, .. } = &api_rule.metadata;
    let place = file.as_ref().map(|file| format!("{file}:{}", rule.position.line));
    Some((format!("APIRule/{namespace}/{name}"), place))
}

fn access_rule(plan: &WorkloadPlan, id: AccessRuleId) -> String {
    plan.access.as_ref().map_or_else(String::new, |access| access.describe(id))
}

fn why(plan: &WorkloadPlan, reason: Reason) -> String {
    match reason {
        Reason::AllowRule(rule) | Reason::DenyRule(rule) => name(plan, rule),
        Reason::CustomProviderUndefined(rule) => {
            format!("{}: its provider is not defined", name(plan, rule))
        }
        Reason::CustomDenied(rule) => format!("{}: its provider denies", name(plan, rule)),
        Reason::CustomError(rule) => format!("{}: its provider is asked", name(plan, rule)),
        Reason::NoAllowPolicy => "no DENY rule matches, and no ALLOW policy holds".to_owned(),
        Reason::NoAllowRule => "ALLOW policies hold, and none of their rules matches".to_owned(),
        Reason::ApiRule(rule) => access_rule(plan, rule),
        Reason::ApiRuleRefused(rule, refusal) => {
            format!("{}: refused with {}: {refusal}", access_rule(plan, rule), refusal.status())
        }
        Reason::NoApiRule => "no rule of an APIRule is for this request".to_owned(),
        Reason::PeerUnauthenticated => {
            "mutual TLS is STRICT, and the peer has no identity".to_owned()
        }
        Reason::Jwt(error) => format!("the token is refused with {}: {error}", error.status()),
        Reason::InvalidPolicy => "a policy was never valid".to_owned(),
        Reason::UnknownWorkload => "the workload is not configured".to_owned(),
        Reason::MalformedRequest => "the request is malformed".to_owned(),
    }
}

/// What a difference is about: of the rules that decided, the one that the other side has not.
pub(super) fn about(
    view: View,
    known: &KnownRules,
    sides: [&Side<'_>; 2],
    answers: [&Answer; 2],
) -> String {
    let rules = answers.map(|answer| rule_of(view, answer));
    let [old_rules, new_rules] = &known.rules;
    let is_elsewhere = |id: Option<RuleId>, own: &[_], others: &[_]| {
        let own: Option<&super::rules::KnownRule> =
            own.iter().find(|it: &&super::rules::KnownRule| Some(it.id) == id);
        own.is_some_and(|own| {
            others.iter().any(|other: &super::rules::KnownRule| {
                other.canonical == own.canonical
                    && other.action == own.action
                    && other.dry_run == own.dry_run
            })
        })
    };
    let [old_rule, new_rule] = rules;
    let [old, new] = sides;
    let changed = [
        (old, old_rule, is_elsewhere(old_rule, old_rules, new_rules)),
        (new, new_rule, is_elsewhere(new_rule, new_rules, old_rules)),
    ];
    let named =
        |(side, rule, _): &(&Side<'_>, Option<RuleId>, bool)| rule.map(|it| name(side.plan, it));
    let first = changed.iter().filter(|it| !it.2).find_map(named);
    first.unwrap_or_else(|| {
        let of_access = [(new, 1), (old, 0)].into_iter().find_map(|(side, at)| {
            let id = access_rule_of(view, answers.get(at)?)?;
            side.plan.access.as_ref().map(|access| access.name(id))
        });
        if let Some(name) = of_access {
            return name;
        }
        let all_reasons = answers.map(|answer| answer.reason);
        if all_reasons.iter().any(|reason| matches!(reason, Reason::PeerUnauthenticated)) {
            "PeerAuthentication".to_owned()
        } else if all_reasons.iter().any(|reason| matches!(reason, Reason::Jwt(_))) {
            "RequestAuthentication".to_owned()
        } else {
            let any = changed.iter().find_map(named);
            any.unwrap_or_else(|| "policies that hold for the workload".to_owned())
        }
    })
}
