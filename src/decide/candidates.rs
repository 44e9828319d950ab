//! Which rules of a tree are worth holding against a request, and the first that matches.
//!
//! The index finds every rule that could match, and some that do not; each is tried, those of a list
//! in order, and none behind the first match so far.

use super::Certainty;
use super::evaluate::Evaluation;
use super::request::{Request, keys};
use crate::model::RuleId;
use crate::plan::index::{Run, Table, Target};
use crate::plan::vocabulary::Vocabulary;
use crate::plan::{DecisionTree, Unknown};

/// The first rule from number `from` on that matches, and its number.
pub(super) fn first_match(
    tree: &DecisionTree,
    vocabulary: &Vocabulary,
    request: Request<'_>,
    from: u32,
) -> Option<(u32, RuleId)> {
    if tree.rules.is_empty() {
        return None;
    }
    let evaluation = Evaluation { vocabulary, index: &tree.index, request };
    let mut search = Search { tree, evaluation, from, best: u32::MAX };
    search.node(0);
    Some((search.best, tree.rules.id(search.best)?))
}

struct Search<'a> {
    tree: &'a DecisionTree,
    evaluation: Evaluation<'a>,
    from: u32,
    /// The first match so far; `MAX` is none.
    best: u32,
}

impl<'a> Search<'a> {
    fn node(&mut self, number: u32) {
        let index = &self.tree.index;
        let Some(node) = index.node(number) else { return };
        self.run(node.always);
        for dimension in index.dimensions_of(node) {
            if dimension.first >= self.best {
                continue;
            }
            let Evaluation { vocabulary, request, .. } = self.evaluation;
            let attribute = vocabulary.attribute(dimension.attribute);
            if self.tree.unknown == Unknown::Match && request.is_open(attribute) {
                self.run(dimension.all);
                continue;
            }
            request.any(attribute, |actual| {
                keys(attribute, actual, &dimension.lookup, |key| {
                    let hash = Table::hash(number, dimension.attribute, key);
                    index.table.find(hash, |target| {
                        self.target(target);
                        false
                    })
                })
            });
        }
    }

    #[inline]
    fn target(&mut self, target: Target) {
        match target {
            Target::One(rule) => self.list(&[rule]),
            Target::List(start) => self.list(self.tree.index.list_at(start)),
            Target::Node(number) => self.node(number),
        }
    }

    fn run(&mut self, run: Run) {
        self.list(self.tree.index.list(run));
    }

    /// Ascending rules.
    fn list(&mut self, rules: &[u32]) {
        let skipped = if self.from == 0 { 0 } else { rules.partition_point(|r| *r < self.from) };
        for rule in rules.get(skipped..).unwrap_or_default() {
            if *rule >= self.best {
                return;
            }
            let holds = self
                .tree
                .rules
                .get(*rule)
                .map_or(Certainty::Unknown, |compiled| self.evaluation.rule(compiled));
            if holds.counts_as_match(self.tree.unknown) {
                self.best = *rule;
                return;
            }
        }
    }
}
