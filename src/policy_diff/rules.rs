//! The rules of both sides, taken apart into tests of values.

use std::collections::{BTreeMap, HashMap};

use super::bits::Bits;
use super::canonical::CanonicalRule;
use super::values::{Maker, Part, Values};
use crate::model::{Action, RuleId};
use crate::plan::WorkloadPlan;
use crate::witness::{self, Test};

/// A test as numbers.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Of the part it is about.
    pub(super) part: usize,
    /// The settings of that part with which it holds.
    pub(super) holds: Bits,
    /// Whether it holds of a request without the part: a peer that is forgotten, no token.
    pub(super) holds_without: bool,
}

/// A rule as numbers.
#[derive(Debug)]
pub(super) struct KnownRule {
    pub(super) id: RuleId,
    pub(super) action: Action,
    pub(super) dry_run: bool,
    pub(super) canonical: CanonicalRule,
    /// Any of these ways, each all of these tests.
    pub(super) ways: Vec<Vec<usize>>,
    /// No connection can meet all of it.
    pub(super) is_http: bool,
}

/// Both sides as numbers.
#[derive(Debug)]
pub(super) struct KnownRules {
    pub(super) parts: Vec<Values>,
    pub(super) tests: Vec<Known>,
    pub(super) rules: [Vec<KnownRule>; 2],
}

impl KnownRules {
    pub(super) fn new(maker: &Maker<'_>) -> Self {
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut tests: Vec<(Part, Test)> = Vec::new();
        let rules = maker.sides.map(|side| {
            rules(side.plan, |test| {
                let next = tests.len();
                let number = *names.entry(test.meaning()).or_insert(next);
                if number == next {
                    tests.push((Part::of(test.input(), maker.settings), test));
                }
                number
            })
        });
        // Parts that count without a rule that asks for them.
        let mut by_part: BTreeMap<Part, Vec<usize>> = BTreeMap::new();
        by_part.entry(Part::Peer).or_default();
        by_part.entry(Part::DestinationPort).or_default();
        by_part.entry(Part::Token).or_default();
        for (number, (part, _)) in tests.iter().enumerate() {
            by_part.entry(part.clone()).or_default().push(number);
        }
        let mut known: Vec<Option<Known>> = tests.iter().map(|_| None).collect();
        let mut parts = Vec::new();
        for (part, numbers) in by_part {
            let of_part: Vec<&Test> = numbers
                .iter()
                .filter_map(|number| tests.get(*number))
                .map(|(_, test)| test)
                .collect();
            let values = maker.values(part, &of_part);
            for (at, number) in numbers.iter().enumerate() {
                let holds = |setting: usize| {
                    values
                        .holds
                        .get(setting)
                        .and_then(|row| row.get(at))
                        .copied()
                        .unwrap_or_default()
                };
                let bits = Bits::new(values.settings.len(), holds);
                if let Some(place) = known.get_mut(*number) {
                    *place =
                        Some(Known { part: parts.len(), holds: bits, holds_without: holds(0) });
                }
            }
            parts.push(values);
        }
        let mut rules = rules;
        for rule in rules.iter_mut().flatten() {
            rule.is_http = rule
                .ways
                .iter()
                .flatten()
                .any(|test| tests.get(*test).is_some_and(|(part, _)| part.is_http()));
        }
        Self { parts, tests: known.into_iter().flatten().collect(), rules }
    }

    pub(super) fn part(&self, part: &Part) -> Option<usize> {
        self.parts.iter().position(|values| values.part == *part)
    }
}

fn rules(plan: &WorkloadPlan, mut number: impl FnMut(Test) -> usize) -> Vec<KnownRule> {
    let mut all = Vec::new();
    for (policy, at) in plan.policies.iter().zip(0u32..) {
        for (rule, position) in policy.rules.iter().zip(0u32..) {
            all.push(KnownRule {
                id: RuleId { policy: at, rule: position },
                action: policy.action.clone(),
                dry_run: policy.dry_run,
                canonical: CanonicalRule::new(policy, rule),
                ways: witness::alternatives(policy, rule)
                    .map(|tests| tests.into_iter().map(&mut number).collect())
                    .collect(),
                is_http: false,
            });
        }
    }
    all
}
