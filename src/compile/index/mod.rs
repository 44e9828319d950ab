//! Rules to a decision tree: writes them down and files each where requests will look for it.
//!
//! What a rule means was said by `build`; here it has tests with keys, no more.

mod filing;
mod node;

use std::hash::{BuildHasher, Hasher};

use self::filing::Filing;
use crate::model::RuleId;
use crate::plan::index::key::Lookup;
use crate::plan::index::{Entry, Table, Target};
use crate::plan::rules::{RuleDraft, RulesWriter, TestDraft, TooLarge};
use crate::plan::vocabulary::Attribute;
use crate::plan::{DecisionTree, Unknown};

/// Patterns in longer lists are found by their keys, too.
const SHORT_LIST: usize = 16;

/// Collects the rules of one tree, in order.
#[derive(Debug)]
pub(super) struct TreeBuilder {
    unknown: Unknown,
    rules: RulesWriter,
    filing: Filing,
    sets: Vec<Lookup>,
    lists: Lists,
}

impl TreeBuilder {
    pub(super) fn new(unknown: Unknown) -> Self {
        Self {
            unknown,
            rules: RulesWriter::default(),
            filing: Filing::default(),
            sets: Vec::new(),
            lists: Lists::default(),
        }
    }

    pub(super) fn push(&mut self, id: RuleId, mut draft: RuleDraft) -> Result<(), TooLarge> {
        self.filing.push(&draft);
        let alternatives = draft.sources.iter_mut().chain(&mut draft.operations).flatten();
        for test in alternatives.chain(&mut draft.conditions) {
            if test.keys.len() > SHORT_LIST {
                test.set = Some(self.set(test)?);
            }
        }
        self.rules.push(id, &draft)
    }

    /// Files the patterns of one list.
    fn set(&mut self, test: &TestDraft) -> Result<u32, TooLarge> {
        let set = Table::set(self.sets.len()).ok_or(TooLarge)?;
        let mut lookup = Lookup::default();
        let mut postings = Vec::with_capacity(test.keys.len());
        for (key, ordinal) in test.keys.iter().zip(0u32..) {
            lookup.note(key);
            postings.push((Table::hash(set, test.attribute, key.hash), ordinal));
        }
        self.sets.push(lookup);
        self.lists.file(postings, |_, _| None)?;
        Ok(set)
    }

    pub(super) fn finish(self, attributes: &[Attribute]) -> Result<DecisionTree, TooLarge> {
        let Self { unknown, rules, filing, sets, lists } = self;
        let rules = rules.finish()?;
        let index = node::index(&filing, unknown, attributes, lists, sets)?;
        Ok(DecisionTree { rules, index, unknown })
    }
}

/// The lists of an index and the keys that lead to them.
#[derive(Debug, Default)]
struct Lists {
    lists: Vec<u32>,
    entries: Vec<Entry>,
}

impl Lists {
    /// Files numbers by their hashes. `elsewhere` may take a whole list and say where it is.
    fn file(
        &mut self,
        mut postings: Vec<(u64, u32)>,
        mut elsewhere: impl FnMut(u64, &[(u64, u32)]) -> Option<()>,
    ) -> Result<(), TooLarge> {
        postings.sort_unstable();
        postings.dedup();
        for same in postings.chunk_by(|a, b| a.0 == b.0) {
            match same {
                [] => {}
                [(hash, number)] => {
                    self.entries.push(Entry { hash: *hash, target: Target::One(*number) });
                }
                [(hash, _), ..] => {
                    if elsewhere(*hash, same).is_none() {
                        self.list(*hash, same.iter().map(|(_, number)| *number))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, hash: u64, node: u32) {
        self.entries.push(Entry { hash, target: Target::Node(node) });
    }

    fn list(
        &mut self,
        hash: u64,
        numbers: impl ExactSizeIterator<Item = u32>,
    ) -> Result<(), TooLarge> {
        let start = count(self.lists.len())?;
        self.lists.push(count(numbers.len())?);
        self.lists.extend(numbers);
        self.entries.push(Entry { hash, target: Target::List(start) });
        Ok(())
    }
}

fn count(number: usize) -> Result<u32, TooLarge> {
    u32::try_from(number).ok().filter(|number| *number < Target::NUMBERS).ok_or(TooLarge)
}

/// For maps whose keys are hashes already.
#[derive(Debug, Clone, Copy, Default)]
struct AsHashed(u64);

impl BuildHasher for AsHashed {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for AsHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
