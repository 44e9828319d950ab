//! The decision: a function of plan, request and identity.
//!
//! Sees words, matchers and plans only: no clock, no I/O, no lock, no allocation on the way to a
//! verdict. Finding and verifying tokens is `authn`'s job, building plans `compile`'s.
//! [`reference`] is the slow twin that interprets the policies as written.

mod candidates;
mod certainty;
mod evaluate;
pub mod reference;
mod request;

use crate::model::{Attributes, Identity, MutualTlsMode, Reason, RuleId, Shadow, Verdict};
use crate::plan::WorkloadPlan;
use candidates::first_match;
use request::Request;

pub use certainty::Certainty;

/// What is decided before tokens are looked at: invalid policies, PeerAuthentication, CUSTOM rules.
/// `None` lets the request go on.
pub fn before_tokens(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> Option<Reason> {
    if !plan.invalid.is_empty() {
        return Some(Reason::InvalidPolicy);
    }
    let strict = plan.peer.mode_of(attributes.destination_port) == MutualTlsMode::Strict;
    if strict && attributes.peer.names.is_empty() {
        return Some(Reason::PeerUnauthenticated);
    }
    let custom = &plan.trees(attributes.http.is_some()).custom;
    let identity = Identity::default();
    let first = first_match(custom, &plan.vocabulary, Request::new(attributes, &identity), 0);
    // No provider can be defined yet, so each CUSTOM rule has an undefined one.
    first.map(|(_, rule)| Reason::CustomProviderUndefined(rule))
}

/// The dry-run CUSTOM rule that takes a request as it is before tokens are looked at. Nobody is asked
/// because of it; it is reported as [`Shadow::custom_rule`].
pub fn shadow_custom(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> Option<RuleId> {
    let trees = plan.trees(attributes.http.is_some());
    if !trees.has_shadow {
        return None;
    }
    let identity = Identity::default();
    let request = Request::new(attributes, &identity);
    first_match(&trees.shadow_custom, &plan.vocabulary, request, 0).map(|(_, rule)| rule)
}

/// Decides a request whose tokens have been dealt with: DENY, then ALLOW, AUDIT and dry-run beside
/// them. `attributes` are as they are after token processing.
pub fn decide(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Verdict {
    let trees = plan.trees(attributes.http.is_some());
    let request = Request::new(attributes, identity);
    let first = |tree| first_match(tree, &plan.vocabulary, request, 0).map(|(_, rule)| rule);

    let deny = first(&trees.deny);
    let allow = || first(&trees.allow);
    let reason = match deny {
        Some(rule) => Reason::DenyRule(rule),
        None if !trees.has_allow => Reason::NoAllowPolicy,
        None => allow().map_or(Reason::NoAllowRule, Reason::AllowRule),
    };
    let shadow = trees.has_shadow.then(|| {
        let deny_rule = first(&trees.shadow_deny);
        let allow_rule = first(&trees.shadow_allow);
        let reason = match (deny.or(deny_rule), allow_rule) {
            (Some(rule), _) => Reason::DenyRule(rule),
            (None, _) if !trees.has_allow && !trees.has_shadow_allow => Reason::NoAllowPolicy,
            (None, shadow_rule) => {
                allow().or(shadow_rule).map_or(Reason::NoAllowRule, Reason::AllowRule)
            }
        };
        Shadow { reason, deny_rule, allow_rule, custom_rule: None }
    });
    Verdict { reason, audited_by: first(&trees.audit), shadow }
}

/// Every AUDIT rule that matches, in order; the first is [`Verdict::audited_by`].
pub fn audited_by<'a>(
    plan: &'a WorkloadPlan,
    attributes: &'a Attributes<'_>,
    identity: &'a Identity<'_>,
) -> impl Iterator<Item = RuleId> + 'a {
    let tree = &plan.trees(attributes.http.is_some()).audit;
    let request = Request::new(attributes, identity);
    let mut from = 0;
    std::iter::from_fn(move || {
        let (number, rule) = first_match(tree, &plan.vocabulary, request, from)?;
        from = number.saturating_add(1);
        Some(rule)
    })
}

#[cfg(test)]
pub(crate) mod tests;
