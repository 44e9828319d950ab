//! The rules of both sides, taken apart into tests of values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// With `prune`, rules of long lists that are on both sides are left out where no request is about
    /// them and about one that is not.
    pub(super) fn new(maker: &Maker<'_>, prune: bool) -> Self {
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut tests: Vec<(Part, Test)> = Vec::new();
        let mut apart = maker.sides.map(|side| taken_apart(side.plan));
        if prune {
            leave_out_what_is_apart(&mut apart);
        }
        let mut number = |test: Test| {
            let next = tests.len();
            let number = *names.entry(test.meaning()).or_insert(next);
            if number == next {
                tests.push((Part::of(test.input(), maker.settings, &maker.outputs), test));
            }
            number
        };
        let mut rules = apart.map(|rules| {
            rules
                .into_iter()
                .map(|(mut rule, ways)| {
                    let ways = ways.into_iter();
                    let ways = ways.map(|tests| tests.into_iter().map(&mut number).collect());
                    rule.ways = ways.collect();
                    rule
                })
                .collect::<Vec<_>>()
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

type Apart = Vec<(KnownRule, Vec<Vec<Test>>)>;

fn taken_apart(plan: &WorkloadPlan) -> Apart {
    let mut all = Vec::new();
    for (policy, at) in plan.policies().zip(0u32..) {
        for (rule, position) in policy.rules.iter().zip(0u32..) {
            let known = KnownRule {
                id: RuleId { policy: at, rule: position },
                action: policy.action.clone(),
                dry_run: policy.dry_run,
                canonical: CanonicalRule::new(policy, rule),
                ways: Vec::new(),
                is_http: false,
            };
            all.push((known, witness::alternatives(policy, rule).collect()));
        }
    }
    all
}

/// Short lists are looked at whole.
const SHORT: usize = 60;

/// A request that matches none of the rules that only one side has is decided alike by both; so
/// those count that match together with one of these.
fn leave_out_what_is_apart(sides: &mut [Apart; 2]) {
    let [old, new] = &*sides;
    if old.len() + new.len() <= SHORT {
        return;
    }
    let name = |rule: &KnownRule| format!("{:?} {}", rule.action, rule.dry_run);
    let own = |list: &Apart| -> BTreeSet<(String, CanonicalRule)> {
        list.iter().map(|(rule, _)| (name(rule), rule.canonical.clone())).collect()
    };
    let (of_old, of_new) = (own(old), own(new));
    let is_on_both = |rule: &KnownRule| {
        let key = (name(rule), rule.canonical.clone());
        of_old.contains(&key) && of_new.contains(&key)
    };
    let both = || old.iter().chain(new);
    let changed: Vec<&Vec<Test>> =
        both().filter(|(rule, _)| !is_on_both(rule)).flat_map(|(_, ways)| ways).collect();
    let meets = |ways: &[Vec<Test>]| {
        ways.iter().any(|way| {
            changed
                .iter()
                .any(|other| way.iter().all(|test| other.iter().all(|other| test.may_meet(other))))
        })
    };
    let keep = [old, new].map(|list| {
        let counts = |(rule, ways): &(KnownRule, Vec<Vec<Test>>)| !is_on_both(rule) || meets(ways);
        list.iter().map(counts).collect::<Vec<bool>>()
    });
    for (list, keep) in sides.iter_mut().zip(keep) {
        let mut keep = keep.into_iter();
        list.retain(|_| keep.next().unwrap_or(true));
    }
}
