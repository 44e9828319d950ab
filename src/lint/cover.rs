//! Rules and policies that others make pointless.
//!
//! Reported is only what is proved: that whatever one rule takes, another takes, too. The proof
//! looks at one rule at a time, so what only several rules cover together is not found.

use std::collections::HashSet;

use super::filing::Files;
use super::meaning::{Entry, Meaning, Test, Way};
use super::never;
use super::policies::{Policies, Policy};
use super::steps::Steps;
use super::{Finding, codes};
use crate::model::Action;
use crate::plan::vocabulary::Attribute;

/// Comparisons of entries until it stays open whether one rule covers another.
const MOST_STEPS: usize = 200_000;

/// A rule by its place in [`Policies`].
pub(super) type RuleAt = (usize, usize);

/// Which rule makes which pointless.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Covered {
    /// By another of the same action.
    pub(super) shadowed: Vec<(RuleAt, RuleAt)>,
    /// ALLOW by DENY.
    pub(super) denied: Vec<(RuleAt, RuleAt)>,
}

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    let covered = covered(policies);
    let copies = duplicates(policies, &covered, findings);
    let denied: HashSet<RuleAt> = covered.denied.iter().map(|(rule, _)| *rule).collect();
    for ((policy, rule), by) in covered.denied.iter().map(|(rule, by)| (*rule, *by)) {
        let (Some(one), Some(other)) = named(policies, (policy, rule), by) else { continue };
        let message = format!("no request gets through by this rule: {other} denies all it takes");
        findings.push(
            one.warning(codes::DENIED_ANYWAY, rule, one.rule_position(rule), message).help(
                "narrow the DENY rule, or remove this one; keep its policy, which closes the \
                 workload for everything else",
            ),
        );
    }
    for ((policy, rule), by) in covered.shadowed {
        if denied.contains(&(policy, rule)) || copies.contains(&policy) {
            continue;
        }
        let (Some(one), Some(other)) = named(policies, (policy, rule), by) else { continue };
        if opens_everything(policies, by) {
            // Said once, where everything is let in.
            continue;
        }
        let does = match one.policy.action {
            Action::Allow => "allows",
            Action::Deny => "denies",
            Action::Audit => "audits",
            Action::Custom { .. } => "asks about",
        };
        let message = format!("this rule changes nothing: {other} {does} all it takes");
        findings.push(
            one.warning(codes::SHADOWED, rule, one.rule_position(rule), message)
                .help("remove it, or narrow the other"),
        );
    }
}

fn named<'p>(
    policies: &'p Policies<'_>,
    (policy, _): RuleAt,
    by: RuleAt,
) -> (Option<&'p Policy<'p>>, Option<String>) {
    let other = policies.authorization.get(by.0).map(|other| other.name_of_rule(by.1));
    (policies.authorization.get(policy), other)
}

/// Whether it is an ALLOW rule that takes every request.
pub(super) fn opens_everything(policies: &Policies<'_>, (policy, rule): RuleAt) -> bool {
    policies.authorization.get(policy).is_some_and(|policy| {
        let meaning = policy.meanings.get(rule).and_then(Option::as_ref);
        policy.is_allow() && meaning.is_some_and(Meaning::is_anything)
    })
}

/// One rule to hold against others.
struct Candidate<'p> {
    at: RuleAt,
    policy: &'p Policy<'p>,
    meaning: &'p Meaning,
    /// Whether it never matches anyway.
    never: bool,
}

/// All pairs that are proved, at most one for each rule.
pub(super) fn covered(policies: &Policies<'_>) -> Covered {
    let candidates = candidates(policies);
    let files = Files::of(candidates.iter().map(|candidate| candidate.meaning));
    held_against(&candidates, |one| files.that_may_cover(one.meaning))
}

/// The same, each rule held against all others.
#[cfg(test)]
pub(super) fn covered_plainly(policies: &Policies<'_>) -> Covered {
    let candidates = candidates(policies);
    held_against(&candidates, |_| (0..candidates.len()).collect())
}

fn candidates<'p>(policies: &'p Policies<'_>) -> Vec<Candidate<'p>> {
    policies
        .authorization
        .iter()
        .enumerate()
        .flat_map(|(number, policy)| {
            policy.known().map(move |(rule, meaning)| Candidate {
                at: (number, rule),
                policy,
                meaning,
                never: never::whole(meaning).is_some(),
            })
        })
        .collect()
}

/// `others` are the rules to hold one against, in their order.
fn held_against<'p>(
    candidates: &[Candidate<'p>],
    others: impl Fn(&Candidate<'p>) -> Vec<usize>,
) -> Covered {
    let mut result = Covered::default();
    for one in candidates.iter().filter(|one| !one.never) {
        let mut shadow = None;
        let mut denial = None;
        for number in others(one) {
            let Some(other) = candidates.get(number) else { continue };
            if other.at == one.at
                || one.policy.policy.dry_run != other.policy.policy.dry_run
                || !other.policy.scope.covers(&one.policy.scope)
            {
                continue;
            }
            let same = one.policy.policy.action == other.policy.policy.action;
            if same && shadow.is_none() && shadows(other, one) {
                shadow = Some(other.at);
            }
            let denies = one.policy.is_allow() && other.policy.is_deny();
            if denies && denial.is_none() && other.meaning.covers(one.meaning) {
                denial = Some(other.at);
            }
        }
        result.shadowed.extend(shadow.map(|by| (one.at, by)));
        result.denied.extend(denial.map(|by| (one.at, by)));
    }
    result
}

/// Whether one of two rules of the same action makes the other pointless. Of two that mean the same
/// the later one is.
fn shadows(other: &Candidate<'_>, one: &Candidate<'_>) -> bool {
    // Answers name every policy that audits.
    let audits_elsewhere =
        matches!(one.policy.policy.action, Action::Audit) && one.at.0 != other.at.0;
    if audits_elsewhere || !takes_all_of(other, one) {
        return false;
    }
    let is_same = one.policy.scope.covers(&other.policy.scope) && takes_all_of(one, other);
    !is_same || other.at < one.at
}

fn takes_all_of(one: &Candidate<'_>, other: &Candidate<'_>) -> bool {
    // On a connection without HTTP an ALLOW rule that needs it is left out.
    let falls_out =
        one.policy.is_allow() && one.meaning.needs_http() && !other.meaning.needs_http();
    !falls_out && one.meaning.covers(other.meaning)
}

/// Policies whose rules are all in an earlier one, and the other way round.
fn duplicates(
    policies: &Policies<'_>,
    covered: &Covered,
    findings: &mut Vec<Finding>,
) -> HashSet<usize> {
    let mut copies = HashSet::new();
    let shadowed: HashSet<RuleAt> = covered.shadowed.iter().map(|(rule, _)| *rule).collect();
    for (number, policy) in policies.authorization.iter().enumerate() {
        // Every rule of a copy is shadowed, but for those that audit.
        let audits = matches!(policy.policy.action, Action::Audit);
        let is_shadowed = |rule: usize| audits || shadowed.contains(&(number, rule));
        let is_known = policy.meanings.iter().all(Option::is_some);
        if policy.meanings.is_empty() || !is_known || !(0..policy.meanings.len()).all(is_shadowed) {
            continue;
        }
        let mut earlier = policies.authorization.iter().take(number);
        let Some(first) = earlier.find(|first| means_the_same(first, policy)) else { continue };
        copies.insert(number);
        let name = &first.policy.metadata.name;
        let namespace = &first.policy.metadata.namespace;
        findings.push(
            policy
                .policy_warning(
                    codes::DUPLICATE_POLICY,
                    format!("this policy means the same as `{namespace}/{name}`"),
                )
                .help("remove one of the two: a change of one alone has no effect"),
        );
    }
    copies
}

fn means_the_same(a: &Policy<'_>, b: &Policy<'_>) -> bool {
    let holds_alike = a.scope.covers(&b.scope) && b.scope.covers(&a.scope);
    let alike =
        |x: &Meaning, y: &Meaning| x.covers(y) && y.covers(x) && x.needs_http() == y.needs_http();
    holds_alike
        && a.policy.action == b.policy.action
        && a.policy.dry_run == b.policy.dry_run
        && a.meanings.len() == b.meanings.len()
        && a.meanings.iter().all(Option::is_some)
        && a.known().all(|(_, x)| b.known().any(|(_, y)| alike(x, y)))
        && b.known().all(|(_, y)| a.known().any(|(_, x)| alike(x, y)))
}

impl Meaning {
    /// Whether every HTTP request that the other rule takes is taken by this one, also where it is
    /// not known for sure: the conditions of this one are never less certain.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let steps = Steps::at_most(MOST_STEPS);
        other.ways().all(|way| self.ways().any(|wider| steps.take(1) && wider.covers(way, &steps)))
    }
}

impl Way<'_> {
    fn covers(self, other: Way<'_>, steps: &Steps) -> bool {
        self.tests().all(|test| test.follows_from(other, steps))
    }
}

impl Test {
    /// Whether it holds wherever the tests of that way hold.
    fn follows_from(&self, way: Way<'_>, steps: &Steps) -> bool {
        let few = |test: &Self| steps.take(test.entries.len().saturating_mul(self.entries.len()));
        if !self.negated {
            // One list of it that is within this one.
            return way.tests().filter(|test| !test.negated).any(|test| {
                let comparable = test.attribute == self.attribute
                    || test.attribute == Attribute::Principal && self.is_of_peer();
                comparable
                    && few(test)
                    && test.entries.iter().all(|entry| entry.is_within(&self.entries))
            });
        }
        let same = way.tests().filter(|test| test.attribute == self.attribute && few(test));
        let (excluding, wanting): (Vec<&Self>, Vec<&Self>) = same.partition(|test| test.negated);
        // All that is excluded here is excluded there...
        let excluded = self
            .entries
            .iter()
            .all(|entry| excluding.iter().any(|test| entry.is_within(&test.entries)));
        // ... or what is wanted there is something else.
        let is_other = |test: &Self| {
            test.entries.iter().all(|wanted| {
                self.entries.iter().all(|entry| entry.pattern.excludes(&wanted.pattern))
            })
        };
        excluded || self.has_one_value() && wanting.into_iter().any(is_other)
    }
}

impl Entry {
    pub(super) fn is_within(&self, entries: &[Self]) -> bool {
        entries.iter().any(|wider| wider.pattern.covers(&self.pattern))
    }
}
