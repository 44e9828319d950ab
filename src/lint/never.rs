//! Rules, sources and operations that no request can match, because they contradict themselves.
//!
//! A caller has one identity here, of the form that Istio's certificates have; and everything that
//! conditions ask for is sent by Envoy.

use super::meaning::{Meaning, Test, Way};
use super::policies::{Policies, Policy};
use super::steps::Steps;
use super::{Finding, codes};
use crate::model::Position;

/// Why something never matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contradiction {
    position: Position,
    message: String,
    /// Whether a connection without HTTP does not have to care.
    pub(super) of_http: bool,
}

/// Comparisons of entries until it stays open whether a rule can match.
const MOST_STEPS: usize = 2_000_000;

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    for policy in &policies.authorization {
        for (rule, meaning) in policy.known() {
            if let Some(why) = whole(meaning) {
                let mut message = format!("this rule never matches: {}", why.message);
                if escapes_on_connections(policy, &why) {
                    message = format!(
                        "this rule never matches an HTTP request ({}), and on plain TCP connections \
                         it {} all",
                        why.message,
                        if policy.is_deny() { "denies" } else { "takes" },
                    );
                }
                findings.push(
                    policy
                        .warning(codes::NEVER_MATCHES, rule, why.position, message)
                        .help("write each of the two into a rule of its own, or remove one"),
                );
                continue;
            }
            for (list, at, why) in dead(meaning) {
                let part = if list == "source" { "from" } else { "to" };
                let message = format!("this `{list}` never matches: {}", why.message);
                findings.push(
                    policy
                        .warning(codes::DEAD_ALTERNATIVE, rule, why.position, message)
                        .path(format!("spec.rules[{rule}].{part}[{at}].{list}"))
                        .help("remove it, or what contradicts it"),
                );
            }
        }
    }
}

/// Whether the rule loses its contradiction where there is no HTTP.
fn escapes_on_connections(policy: &Policy<'_>, why: &Contradiction) -> bool {
    why.of_http && !policy.is_allow()
}

/// Why no way of a rule can match.
pub(super) fn whole(meaning: &Meaning) -> Option<Contradiction> {
    all(meaning.ways(), &Steps::at_most(MOST_STEPS))
}

/// Sources and operations that contribute nothing, by their place, where the rule as a whole does
/// match.
pub(super) fn dead(meaning: &Meaning) -> Vec<(&'static str, usize, Contradiction)> {
    let steps = Steps::at_most(MOST_STEPS);
    let mut dead = Vec::new();
    // What is wrong with the source or operation itself is the better answer.
    for (at, source) in meaning.sources.iter().enumerate() {
        let alone = contradiction(meaning.way_by_source(source), &steps);
        let why = alone.or_else(|| all(meaning.ways_of_source(source), &steps));
        dead.extend(why.map(|why| ("source", at, why)));
    }
    for (at, operation) in meaning.operations.iter().enumerate() {
        let alone = contradiction(meaning.way_by_operation(operation), &steps);
        let why = alone.or_else(|| all(meaning.ways_of_operation(operation), &steps));
        dead.extend(why.map(|why| ("operation", at, why)));
    }
    dead
}

/// The first contradiction, where every way has one. It is of HTTP if any of them is.
fn all<'m>(ways: impl Iterator<Item = Way<'m>>, steps: &Steps) -> Option<Contradiction> {
    let mut first: Option<Contradiction> = None;
    for way in ways {
        let why = contradiction(way, steps)?;
        first = Some(match first {
            Some(known) => Contradiction { of_http: known.of_http || why.of_http, ..known },
            None => why,
        });
    }
    first
}

/// What of one way cannot hold together.
fn contradiction(way: Way<'_>, steps: &Steps) -> Option<Contradiction> {
    let tests: Vec<&Test> = way.tests().collect();
    let positive = || tests.iter().copied().filter(|test| !test.negated);
    for test in positive() {
        // Each value of it that could be the one.
        let mut why = None;
        let is_dead = test.entries.iter().all(|entry| {
            let against = tests.iter().copied().find(|other| {
                if !steps.take(other.entries.len()) {
                    return false;
                }
                if other.negated {
                    return comparable(other, test) && entry.is_within(&other.entries);
                }
                let one_value = test.has_one_value() || test.is_of_peer();
                one_value
                    && !std::ptr::eq(*other, test)
                    && comparable(other, test)
                    && other.entries.iter().all(|theirs| theirs.pattern.excludes(&entry.pattern))
            });
            if why.is_none() {
                why = against;
            }
            against.is_some()
        });
        if let Some(other) = why.filter(|_| is_dead) {
            return Some(Contradiction {
                position: test.position(),
                message: describe(test, other),
                of_http: test.needs_http(),
            });
        }
    }
    None
}

/// Whether both look at the same thing.
fn comparable(a: &Test, b: &Test) -> bool {
    a.attribute == b.attribute || a.is_of_peer() && b.is_of_peer()
}

fn describe(test: &Test, other: &Test) -> String {
    let (field, theirs) = (&test.field, &other.field);
    if !other.negated {
        if field == theirs {
            return format!("nothing is in both lists of `{field}`");
        }
        return format!("nothing that `{field}` takes is taken by `{theirs}`");
    }
    if field == theirs {
        // Both halves of one condition.
        return format!("`notValues` excludes all `values` of `{field}`");
    }
    format!("`{theirs}` excludes all that `{field}` takes")
}
