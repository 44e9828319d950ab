//! Rules and policies that others make pointless.
//!
//! Reported is only what is proved: that whatever one rule takes, another takes, too. The proof
//! looks at one rule at a time, so what only several rules cover together is not found.

use std::collections::{HashMap, HashSet};

use super::meaning::{Entry, Meaning, Test, Way};
use super::never;
use super::pattern::{Pattern, Text};
use super::policies::{Policies, Policy};
use super::{Finding, codes};
use crate::model::Action;
use crate::plan::vocabulary::Attribute;

/// Above this many steps two rules are not held against each other.
const MOST_STEPS: usize = 100_000;

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
    let copies = duplicates(policies, findings);
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
    let candidates: Vec<Candidate<'_>> = policies
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
        .collect();
    let files = Files::of(&candidates);
    let mut result = Covered::default();
    for one in candidates.iter().filter(|one| !one.never) {
        let mut shadow = None;
        let mut denial = None;
        for number in files.that_may_cover(one) {
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
fn duplicates(policies: &Policies<'_>, findings: &mut Vec<Finding>) -> HashSet<usize> {
    let mut copies = HashSet::new();
    let mut by_shape: HashMap<(usize, &str, bool), Vec<usize>> = HashMap::new();
    for (number, policy) in policies.authorization.iter().enumerate() {
        if policy.meanings.is_empty() || policy.meanings.iter().any(Option::is_none) {
            continue;
        }
        let shape = (policy.meanings.len(), policy.action(), policy.policy.dry_run);
        let earlier = by_shape.entry(shape).or_default();
        let first = earlier
            .iter()
            .filter_map(|number| policies.authorization.get(*number))
            .find(|first| means_the_same(first, policy));
        let Some(first) = first else {
            earlier.push(number);
            continue;
        };
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
        && a.known().all(|(_, x)| b.known().any(|(_, y)| alike(x, y)))
        && b.known().all(|(_, y)| a.known().any(|(_, x)| alike(x, y)))
}

impl Meaning {
    /// Whether every HTTP request that the other rule takes is taken by this one, also where it is
    /// not known for sure: the conditions of this one are never less certain.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let ways = |meaning: &Self| {
            meaning.sources.len().max(1).saturating_mul(meaning.operations.len().max(1))
        };
        if ways(self).saturating_mul(ways(other)) > MOST_STEPS {
            return false;
        }
        other.ways().all(|way| self.ways().any(|wider| wider.covers(way)))
    }
}

impl Way<'_> {
    fn covers(self, other: Way<'_>) -> bool {
        self.tests().all(|test| test.follows_from(other))
    }
}

impl Test {
    /// Whether it holds wherever the tests of that way hold.
    fn follows_from(&self, way: Way<'_>) -> bool {
        let too_long =
            |test: &Self| test.entries.len().saturating_mul(self.entries.len()) > MOST_STEPS;
        if !self.negated {
            // One list of it that is within this one.
            return way.tests().filter(|test| !test.negated && !too_long(test)).any(|test| {
                let comparable = test.attribute == self.attribute
                    || test.attribute == Attribute::Principal && self.is_of_peer();
                comparable && test.entries.iter().all(|entry| entry.is_within(&self.entries))
            });
        }
        let same =
            || way.tests().filter(|test| test.attribute == self.attribute && !too_long(test));
        // All that is excluded here is excluded there...
        let excluded = self.entries.iter().all(|entry| {
            same().filter(|test| test.negated).any(|test| entry.is_within(&test.entries))
        });
        // ... or what is wanted there is something else.
        excluded
            || self.has_one_value()
                && same().filter(|test| !test.negated).any(|test| {
                    test.entries.iter().all(|wanted| {
                        self.entries.iter().all(|entry| entry.pattern.excludes(&wanted.pattern))
                    })
                })
    }
}

impl Entry {
    pub(super) fn is_within(&self, entries: &[Self]) -> bool {
        entries.iter().any(|wider| wider.pattern.covers(&self.pattern))
    }
}

/// Rules by the exact values they ask for, so that not all are held against all.
struct Files {
    by_value: HashMap<Key, Vec<usize>>,
    /// Those without such a value.
    others: Vec<usize>,
}

type Key = (Attribute, String);

impl Files {
    /// Each rule is filed under all values of one list, where one of its ways has a list of exact
    /// values: only what asks for one of them can be within that way.
    fn of(candidates: &[Candidate<'_>]) -> Self {
        let mut files = Self { by_value: HashMap::new(), others: Vec::new() };
        for (number, candidate) in candidates.iter().enumerate() {
            let lists: Option<Vec<&Test>> = candidate
                .meaning
                .ways()
                .map(|way| way.tests().filter(|test| exact(test)).min_by_key(|t| t.entries.len()))
                .collect();
            match lists {
                Some(lists) if lists.len() <= 16 => {
                    let mut keys: Vec<Key> = lists.into_iter().flat_map(keys).collect();
                    keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
                    keys.dedup();
                    for key in keys {
                        files.by_value.entry(key).or_default().push(number);
                    }
                }
                Some(_) | None => files.others.push(number),
            }
        }
        files
    }

    /// Ascending, without doubles.
    fn that_may_cover(&self, candidate: &Candidate<'_>) -> Vec<usize> {
        // Each way of a rule must be within a way of what covers it, so one way is enough to ask.
        let mut found = self.others.clone();
        if let Some(way) = candidate.meaning.ways().next() {
            for key in way.tests().filter(|test| exact(test)).flat_map(first_key) {
                found.extend(self.by_value.get(&key).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Whether its entries are values, no patterns.
fn exact(test: &Test) -> bool {
    !test.negated && test.entries.iter().all(|entry| is_value(&entry.pattern))
}

fn is_value(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Text(Text::Exact(_)) | Pattern::Path(Text::Exact(_)) | Pattern::Port(_) => true,
        Pattern::Principal(Text::Exact(_)) => true,
        Pattern::Text(_)
        | Pattern::Path(_)
        | Pattern::Template(..)
        | Pattern::Principal(_)
        | Pattern::Namespace(_)
        | Pattern::ServiceAccount(..)
        | Pattern::TrustDomain(_)
        | Pattern::RequestPrincipal(..)
        | Pattern::Metadata { .. }
        | Pattern::Block(_) => false,
    }
}

fn key(test: &Test, entry: &Entry) -> Key {
    let text = match &entry.pattern {
        Pattern::Text(text) | Pattern::Path(text) | Pattern::Principal(text) => text.literal(),
        Pattern::Port(_)
        | Pattern::Template(..)
        | Pattern::Namespace(_)
        | Pattern::ServiceAccount(..)
        | Pattern::TrustDomain(_)
        | Pattern::RequestPrincipal(..)
        | Pattern::Metadata { .. }
        | Pattern::Block(_) => &entry.text,
    };
    (test.attribute.clone(), text.to_owned())
}

fn keys(test: &Test) -> impl Iterator<Item = Key> {
    test.entries.iter().map(move |entry| key(test, entry))
}

/// A list is within another if all of its values are, so one is enough to ask for.
fn first_key(test: &Test) -> Option<Key> {
    test.entries.first().map(|entry| key(test, entry))
}
