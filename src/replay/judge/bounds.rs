//! A decision where something is not known: the same whatever it was, or not to be told.
//!
//! Asks the slow twin how each rule fares, once as if all that is not known spoke for the rule and
//! once as if it spoke against it. Rules hold the rather, the more of their fields do, so whatever
//! it really was lies between.

use std::collections::BTreeMap;

use super::After;
use super::needs::Wanting;
use crate::custom::Standing;
use crate::decide::reference::{self, AlternativeTrace, FieldTrace, RuleTrace};
use crate::decide::{self, Certainty};
use crate::gate::{self, RecordedTokens};
use crate::model::{Action, Attributes, Identity, Outcome, Reason, RuleId};
use crate::plan::{Unknown, WorkloadPlan};

pub(super) fn judge(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    tokens: RecordedTokens<'_>,
    wanting: &Wanting<'_>,
    providers: Standing<'_>,
) -> After {
    gate::forget_peer_where_disabled(plan, attributes);
    let cannot_tell = || After::CannotTell(wanting.name());
    if let Some(reason) = decide::before_custom(plan, attributes) {
        return After::Decided(reason);
    }
    let (claims, refused) = match tokens {
        RecordedTokens::None => (None, false),
        RecordedTokens::Verified(claims) => (Some(claims), false),
        RecordedTokens::Refused => (None, true),
    };
    let found = |identity: &Identity<'_>, is_it: fn(&Action) -> bool| {
        let traces = reference::traces(plan, attributes, identity);
        let enforced = traces.into_iter().filter(|trace| {
            plan.policy(trace.id).is_some_and(|policy| is_it(&policy.action) && !policy.dry_run)
        });
        let mut bounds = Bounds::default();
        for trace in enforced {
            bounds.add(&trace, plan, wanting);
        }
        bounds
    };
    let custom = found(&Identity::default(), |action| matches!(action, Action::Custom { .. }));
    // What providers say comes before all else, and which of them are asked may not be known.
    let are_defined = providers.definitions.is_some_and(|known| known.names().next().is_some());
    if are_defined && custom.possibly.is_some() {
        return After::CannotTell(super::custom());
    }
    if custom.surely.is_some() {
        return match first_undefined(plan, attributes, wanting) {
            Some(rule) => After::Decided(Reason::CustomProviderUndefined(rule)),
            None => After::DecidedSomehow(Outcome::Deny),
        };
    }
    if refused {
        return if custom.possibly.is_some() { cannot_tell() } else { After::TokenRefused };
    }
    let identity = Identity { claims };
    let deny = found(&identity, |action| matches!(action, Action::Deny));
    let allow = found(&identity, |action| matches!(action, Action::Allow));
    let has_allow = plan.has_allow();
    // Whether nothing that comes before ALLOW rules can have decided.
    let reaches_deny = custom.possibly.is_none() && !wanting.tokens;
    let reaches_allow = reaches_deny && deny.possibly.is_none();
    if let Some(rule) = deny.surely {
        return deny.exactly(Reason::DenyRule(rule), reaches_deny);
    }
    if plan.access.is_some() && allow.surely.is_none() {
        // Which rule of an APIRule it is may depend on what is not known, too.
        return cannot_tell();
    }
    if has_allow && allow.possibly.is_none() {
        return allow.exactly(Reason::NoAllowRule, reaches_allow);
    }
    // What may be denied before is not known to be allowed.
    match allow.surely {
        _ if !reaches_allow => cannot_tell(),
        Some(rule) => allow.exactly(Reason::AllowRule(rule), true),
        None if !has_allow => After::Decided(Reason::NoAllowPolicy),
        None => cannot_tell(),
    }
}

/// The CUSTOM rule that decides where no provider is defined, if it is the same whatever is not known:
/// that of the first provider by name.
fn first_undefined(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    wanting: &Wanting<'_>,
) -> Option<RuleId> {
    let mut by_provider: BTreeMap<&str, Bounds> = BTreeMap::new();
    for trace in reference::traces(plan, attributes, &Identity::default()) {
        let policy = plan.policy(trace.id).filter(|policy| !policy.dry_run);
        if let Some(provider) = policy.and_then(|policy| policy.action.provider()) {
            by_provider.entry(provider).or_default().add(&trace, plan, wanting);
        }
    }
    let first = by_provider.into_values().find(|bounds| bounds.possibly.is_some())?;
    first.surely.filter(|_| first.surely == first.possibly)
}

/// How the rules of one action fare.
#[derive(Debug, Default)]
struct Bounds {
    /// The first rule that matches, whatever is not known.
    surely: Option<RuleId>,
    /// The first rule that may match.
    possibly: Option<RuleId>,
}

impl Bounds {
    /// This reason, where nothing else can have been it; otherwise its outcome alone.
    fn exactly(&self, reason: Reason, is_reached: bool) -> After {
        if is_reached && self.surely == self.possibly {
            After::Decided(reason)
        } else {
            After::DecidedSomehow(reason.outcome())
        }
    }

    fn add(&mut self, trace: &RuleTrace, plan: &WorkloadPlan, wanting: &Wanting<'_>) {
        // What Envoy did not send counts as it did when it was decided.
        let unknown = match plan.policy(trace.id).map(|policy| &policy.action) {
            Some(Action::Allow) | None => Unknown::NoMatch,
            Some(Action::Deny | Action::Audit | Action::Custom { .. }) => Unknown::Match,
        };
        let at = |assumed| rule(trace, assumed, wanting).counts_as_match(unknown);
        if at(Certainty::No) {
            self.surely = self.surely.or(Some(trace.id));
        }
        if at(Certainty::Yes) {
            self.possibly = self.possibly.or(Some(trace.id));
        }
    }
}

/// The rule's result, where each field that is not known has this one.
fn rule(trace: &RuleTrace, assumed: Certainty, wanting: &Wanting<'_>) -> Certainty {
    let field = |field: &FieldTrace| {
        if is_wanting(&field.field, wanting) { assumed } else { field.result }
    };
    let alternatives = |list: &[AlternativeTrace]| {
        if list.is_empty() {
            return Certainty::Yes;
        }
        Certainty::any(list.iter().map(|one| Certainty::all(one.fields.iter().map(field))))
    };
    let conditions = trace.conditions.iter().map(field);
    let parts = [alternatives(&trace.sources), alternatives(&trace.operations)];
    let result = Certainty::all(parts.into_iter().chain(conditions));
    // What is not among the fields, such as that a connection has no HTTP, has spoken against it.
    let speaks_against = trace.result == Certainty::No && by_its_fields(trace) != Certainty::No;
    if speaks_against { Certainty::No } else { result }
}

/// The rule's result by its fields as they are.
fn by_its_fields(trace: &RuleTrace) -> Certainty {
    let any = |list: &[AlternativeTrace]| {
        if list.is_empty() { Certainty::Yes } else { Certainty::any(list.iter().map(|a| a.result)) }
    };
    let conditions = trace.conditions.iter().map(|condition| condition.result);
    Certainty::all([any(&trace.sources), any(&trace.operations)].into_iter().chain(conditions))
}

/// Whether a field looks at something that is not known.
fn is_wanting(field: &str, wanting: &Wanting<'_>) -> bool {
    let Wanting { headers, tokens, claims, metadata } = wanting;
    let condition = field.strip_prefix("when[").and_then(|rest| {
        rest.strip_suffix("].values").or_else(|| rest.strip_suffix("].notValues"))
    });
    let Some(condition) = condition else {
        return *tokens && field.to_ascii_lowercase().ends_with("requestprincipals");
    };
    if condition.starts_with("request.auth.") {
        return *tokens || !claims.is_empty();
    }
    if let Some(name) =
        condition.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']'))
    {
        return headers.contains(&name);
    }
    !metadata.is_empty() && condition.starts_with("experimental.")
}
