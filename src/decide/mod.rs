//! The decision: a function of plan, request and identity.
//!
//! Sees words, matchers and plans only: no clock, no I/O, no lock, no allocation on the way to a
//! verdict. Finding and verifying tokens is `authn`'s job, building plans `compile`'s.
//! [`reference`] is the slow twin that interprets the policies as written.

mod access;
mod candidates;
mod certainty;
mod evaluate;
pub mod reference;
mod request;

use std::sync::Arc;

use crate::model::{Attributes, Identity, MutualTlsMode, Reason, RuleId, Shadow, Verdict};
use crate::plan::{AttachedLayer, CustomTree, DecisionTree, Trees, WorkloadPlan};
use candidates::first_match;
use request::Request;

pub use access::{
    Examiner, Finding, NoExaminer, SCOPE_CLAIMS, Subject, authorized_route, authorizers, entries,
    subject, token_rules,
};
pub use certainty::Certainty;

/// What is decided before anybody is asked about a request: invalid policies, PeerAuthentication.
/// `None` lets the request go on.
pub fn before_custom(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> Option<Reason> {
    if !plan.invalid.is_empty() || access::is_refused(plan, attributes) {
        return Some(Reason::InvalidPolicy);
    }
    let strict = peer_modes(plan, attributes).any(|mode| mode == MutualTlsMode::Strict);
    (strict && attributes.peer.names.is_empty()).then_some(Reason::PeerUnauthenticated)
}

/// The providers that CUSTOM rules ask about a request as it came, in the order of their names, each
/// with the first of its rules that matches.
pub fn custom<'a>(
    plan: &'a WorkloadPlan,
    attributes: &'a Attributes<'_>,
) -> impl Iterator<Item = (&'a Arc<str>, RuleId)> {
    asked(plan, attributes, |trees| &trees.custom)
}

/// As [`custom`], of dry-run policies, which ask nobody.
pub fn shadow_custom<'a>(
    plan: &'a WorkloadPlan,
    attributes: &'a Attributes<'_>,
) -> impl Iterator<Item = (&'a Arc<str>, RuleId)> {
    asked(plan, attributes, |trees| &trees.shadow_custom)
}

fn asked<'a>(
    plan: &'a WorkloadPlan,
    attributes: &'a Attributes<'_>,
    trees: fn(&Trees) -> &[CustomTree],
) -> impl Iterator<Item = (&'a Arc<str>, RuleId)> {
    let is_http = attributes.http.is_some();
    let of_layers = move || {
        let with_trees = move |attached: &'a AttachedLayer| {
            trees(attached.layer.trees(is_http)).iter().map(move |tree| (attached, tree))
        };
        plan.layers.iter().flat_map(with_trees)
    };
    let providers = move |last: Option<&'a Arc<str>>| {
        let all = of_layers().map(|(_, tree)| &tree.provider);
        all.filter(|provider| last.is_none_or(|last| last < provider)).min()
    };
    let first = move |provider: &'a Arc<str>| {
        let identity = Identity::default();
        let request = Request::new(attributes, &identity);
        let mut its = of_layers().filter(|(_, tree)| tree.provider == *provider);
        its.find_map(|(attached, CustomTree { tree, .. })| {
            let (_, rule) = first_match(tree, &attached.layer.vocabulary, request, 0)?;
            Some((provider, attached.rule(rule)))
        })
    };
    std::iter::successors(providers(None), move |last| providers(Some(last))).filter_map(first)
}

/// What is decided before tokens are looked at where no provider is defined: [`before_custom`], and
/// the first of [`custom`]. `None` lets the request go on.
pub fn before_tokens(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> Option<Reason> {
    before_custom(plan, attributes).or_else(|| {
        custom(plan, attributes).next().map(|(_, rule)| Reason::CustomProviderUndefined(rule))
    })
}

/// The mutual TLS mode of the connection; where its port is not known, all that it may have.
pub fn peer_modes(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
) -> impl Iterator<Item = MutualTlsMode> {
    let mode = plan.peer.mode_of(attributes.destination_port);
    let of_ports = attributes.missing.destination.then(|| plan.peer.ports.values().copied());
    std::iter::once(mode).chain(of_ports.into_iter().flatten())
}

/// Decides a request whose tokens have been dealt with: DENY, then ALLOW and APIRules, AUDIT and
/// dry-run beside them. `attributes` are as they are after token processing.
///
/// Nothing is found out for access strategies that need it: see [`decide_examining`].
pub fn decide(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Verdict {
    decide_examining(plan, attributes, identity, &mut NoExaminer)
}

/// As [`decide`], with somebody who can find out what access strategies of APIRules ask for; asked
/// only where it counts.
pub fn decide_examining(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
    examiner: &mut dyn Examiner,
) -> Verdict {
    let request = Request::new(attributes, identity);
    let first = |tree: fn(&Trees) -> &DecisionTree| first_rule(plan, tree, request);

    let deny = first(|trees| &trees.deny);
    let allow = || first(|trees| &trees.allow);
    let mut access = || match &plan.access {
        Some(_) => access::reason(plan, attributes, identity, examiner),
        None => None,
    };
    // What an ALLOW rule lets through needs no APIRule, and the other way round.
    let open =
        |allow: Option<RuleId>, has_allow: bool, access: &mut dyn FnMut() -> Option<Reason>| {
            match allow {
                Some(rule) => Reason::AllowRule(rule),
                None => access().unwrap_or(if has_allow {
                    Reason::NoAllowRule
                } else {
                    Reason::NoAllowPolicy
                }),
            }
        };
    let reason = match deny {
        Some(rule) => Reason::DenyRule(rule),
        None if plan.has_allow() => open(allow(), true, &mut access),
        None => open(None, false, &mut access),
    };
    let shadow = plan.has_shadow().then(|| {
        let deny_rule = first(|trees| &trees.shadow_deny);
        let allow_rule = first(|trees| &trees.shadow_allow);
        let reason = match (deny.or(deny_rule), allow_rule) {
            (Some(rule), _) => Reason::DenyRule(rule),
            (None, shadow_rule) => {
                let has_allow = plan.has_allow() || plan.has_shadow_allow();
                open(allow().or(shadow_rule), has_allow, &mut access)
            }
        };
        Shadow { reason, deny_rule, allow_rule, custom_rule: None }
    });
    Verdict { reason, audited_by: first(|trees| &trees.audit), shadow }
}

/// Every AUDIT rule that matches, in order; the first is [`Verdict::audited_by`].
pub fn audited_by<'a>(
    plan: &'a WorkloadPlan,
    attributes: &'a Attributes<'_>,
    identity: &'a Identity<'_>,
) -> impl Iterator<Item = RuleId> + 'a {
    let request = Request::new(attributes, identity);
    plan.layers.iter().flat_map(move |attached| {
        let tree = &attached.layer.trees(request.is_http()).audit;
        let mut from = 0;
        std::iter::from_fn(move || {
            let (number, rule) = first_match(tree, &attached.layer.vocabulary, request, from)?;
            from = number.saturating_add(1);
            Some(attached.rule(rule))
        })
    })
}

/// The first rule that matches in one of the trees of each layer.
fn first_rule(
    plan: &WorkloadPlan,
    tree: impl Fn(&Trees) -> &DecisionTree,
    request: Request<'_>,
) -> Option<RuleId> {
    plan.layers.iter().find_map(|attached| {
        let tree = tree(attached.layer.trees(request.is_http()));
        let (_, rule) = first_match(tree, &attached.layer.vocabulary, request, 0)?;
        Some(attached.rule(rule))
    })
}

#[cfg(test)]
pub(crate) mod tests;
