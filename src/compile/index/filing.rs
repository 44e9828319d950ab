//! By what each rule could be found: its dimensions.
//!
//! A dimension is a set of keys such that a request without any of them cannot meet the rule.
//! Choosing between dimensions is `node`'s job.

use crate::plan::index::key::Key;
use crate::plan::rules::{RuleDraft, TestDraft};

/// A key and the number of its attribute.
pub(super) type AttributeKey = (u32, Key);

/// One way to find a rule.
#[derive(Debug, Clone, Copy)]
struct Dimension {
    /// The end of its keys; they begin where those of the one before end.
    end: usize,
    /// The attribute, where it is one.
    attribute: Option<u32>,
}

/// The dimensions of all rules.
#[derive(Debug, Default)]
pub(super) struct Filing {
    keys: Vec<AttributeKey>,
    dimensions: Vec<Dimension>,
    /// The end of each rule's dimensions.
    rules: Vec<usize>,
}

impl Filing {
    /// How many rules there are.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Adds the dimensions of the next rule.
    pub(super) fn push(&mut self, rule: &RuleDraft) {
        self.alternatives(&rule.sources);
        self.alternatives(&rule.operations);
        for test in rule.conditions.iter().filter(|test| is_filed(test)) {
            self.dimension(&[test]);
        }
        self.rules.push(self.dimensions.len());
    }

    /// All of the tests of one alternative hold, if the rule does; of several, one test of each
    /// makes a dimension.
    fn alternatives(&mut self, alternatives: &[Vec<TestDraft>]) {
        let Some((first, others)) = alternatives.split_first() else { return };
        let mut found = false;
        for test in first.iter().filter(|test| is_filed(test)) {
            let mut tests = vec![test];
            tests.extend(others.iter().filter_map(|other| {
                other.iter().find(|t| is_filed(t) && t.attribute == test.attribute)
            }));
            if tests.len() == alternatives.len() {
                self.dimension(&tests);
                found = true;
            }
        }
        if !found {
            // Of different attributes, then: the one with the fewest entries of each.
            let shortest = |tests: &'_ Vec<TestDraft>| {
                tests
                    .iter()
                    .enumerate()
                    .filter(|(_, t)| is_filed(t))
                    .min_by_key(|(_, t)| t.keys.len())
                    .map(|(at, _)| at)
            };
            let tests: Option<Vec<_>> =
                alternatives.iter().map(|tests| tests.get(shortest(tests)?)).collect();
            if let Some(tests) = tests {
                self.dimension(&tests);
            }
        }
    }

    fn dimension(&mut self, tests: &[&TestDraft]) {
        let first = tests.first().map(|test| test.attribute);
        for test in tests {
            self.keys.extend(test.keys.iter().map(|key| (test.attribute, *key)));
        }
        self.dimensions.push(Dimension {
            end: self.keys.len(),
            attribute: first.filter(|first| tests.iter().all(|test| test.attribute == *first)),
        });
    }

    /// The numbers of a rule's dimensions.
    pub(super) fn dimensions_of(&self, rule: u32) -> std::ops::Range<usize> {
        between(rule, |at| self.rules.get(at).copied())
    }

    /// A dimension's attribute, where it is one.
    pub(super) fn attribute(&self, dimension: usize) -> Option<u32> {
        self.dimensions.get(dimension)?.attribute
    }

    /// A dimension's keys.
    pub(super) fn keys(&self, dimension: usize) -> &[AttributeKey] {
        let end = |at: usize| self.dimensions.get(at).map(|dimension| dimension.end);
        let start = dimension.checked_sub(1).and_then(end).unwrap_or_default();
        self.keys.get(start..end(dimension).unwrap_or_default()).unwrap_or_default()
    }
}

fn between(number: u32, end: impl Fn(usize) -> Option<usize>) -> std::ops::Range<usize> {
    let at = usize::try_from(number).unwrap_or(usize::MAX);
    at.checked_sub(1).and_then(&end).unwrap_or_default()..end(at).unwrap_or_default()
}

/// A negated test cannot be looked up, and what cannot be known has no keys.
fn is_filed(test: &TestDraft) -> bool {
    !test.negated && !test.keys.is_empty()
}
