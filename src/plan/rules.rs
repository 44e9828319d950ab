//! Compiled rules, each a run of words in one list.
//!
//! Only the form: building it is `compile`'s job, holding it against a request `decide`'s.
//!
//! ```text
//! rule         = alternatives (sources)  alternatives (operations)  test*
//! alternatives = count  (length  test*)*          length in words
//! test         = head  length  pattern*           long lists: head  set  length  pattern*
//! head         = number of the attribute, NEGATED, LONG
//! ```

use super::at;
use super::index::key::Key;
use super::vocabulary::Word;
use crate::model::RuleId;

const NEGATED: u32 = 1 << 31;
const LONG: u32 = 1 << 30;

/// One attribute against a list: positive wants any of it, negated none.
#[derive(Debug, Clone, Copy)]
pub struct Test<'r> {
    /// The number of the attribute in the vocabulary.
    pub attribute: u32,
    /// Whether this is a `not...` field.
    pub negated: bool,
    /// Where the patterns are by their keys, for a long list.
    pub set: Option<u32>,
    /// The words of the patterns.
    pub patterns: &'r [u32],
}

/// A test to be written.
#[derive(Debug, Clone)]
pub struct TestDraft {
    /// See [`Test::attribute`].
    pub attribute: u32,
    /// See [`Test::negated`].
    pub negated: bool,
    /// See [`Test::set`].
    pub set: Option<u32>,
    /// See [`Test::patterns`].
    pub patterns: Vec<Word>,
    /// The key of each pattern, for the index.
    pub keys: Vec<Key>,
}

/// A rule to be written: any source, and any operation, and all conditions.
#[derive(Debug, Clone, Default)]
pub struct RuleDraft {
    /// Alternatives, each a conjunction; none hold for every source.
    pub sources: Vec<Vec<TestDraft>>,
    /// Alternatives, each a conjunction; none hold for every operation.
    pub operations: Vec<Vec<TestDraft>>,
    /// A conjunction.
    pub conditions: Vec<TestDraft>,
}

/// Rules in their order.
#[derive(Debug, Default)]
pub struct Rules {
    ids: Box<[RuleId]>,
    /// Where each begins, and where the last ends.
    starts: Box<[u32]>,
    words: Box<[u32]>,
}

impl Rules {
    /// How many.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Which rule of which policy that one is.
    pub fn id(&self, number: u32) -> Option<RuleId> {
        self.ids.get(at(number)).copied()
    }

    /// A rule.
    pub fn get(&self, number: u32) -> Option<CompiledRule<'_>> {
        let place = at(number);
        let (from, to) = self.starts.get(place).zip(self.starts.get(place + 1))?;
        let mut words = Reader(self.words.get(at(*from)..at(*to))?);
        Some(CompiledRule {
            sources: words.alternatives()?,
            operations: words.alternatives()?,
            conditions: Tests(words),
        })
    }

    /// What it holds on the heap, in bytes.
    pub fn heap_size(&self) -> usize {
        size_of_val(&*self.ids) + size_of_val(&*self.starts) + size_of_val(&*self.words)
    }
}

/// One rule: any source, and any operation, and all conditions.
#[derive(Debug, Clone, Copy)]
pub struct CompiledRule<'r> {
    /// Any of these; `None` holds for every source.
    pub sources: Option<Alternatives<'r>>,
    /// Any of these; `None` holds for every operation.
    pub operations: Option<Alternatives<'r>>,
    /// All of these.
    pub conditions: Tests<'r>,
}

/// Conjunctions one of which is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Alternatives<'r> {
    words: Reader<'r>,
    left: u32,
}

/// A conjunction.
#[derive(Debug, Clone, Copy)]
pub struct Tests<'r>(Reader<'r>);

#[derive(Debug, Clone, Copy)]
struct Reader<'r>(&'r [u32]);

impl<'r> Reader<'r> {
    fn one(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn run(&mut self) -> Option<&'r [u32]> {
        let length = self.one()?;
        let (run, rest) = self.0.split_at_checked(at(length))?;
        self.0 = rest;
        Some(run)
    }

    /// `Some(None)` where there are none.
    fn alternatives(&mut self) -> Option<Option<Alternatives<'r>>> {
        let count = self.one()?;
        let here = Alternatives { words: *self, left: count };
        for _ in 0..count {
            self.run()?;
        }
        Some((count > 0).then_some(here))
    }
}

impl<'r> Iterator for Alternatives<'r> {
    type Item = Tests<'r>;
    fn next(&mut self) -> Option<Tests<'r>> {
        self.left = self.left.checked_sub(1)?;
        self.words.run().map(|run| Tests(Reader(run)))
    }
}

impl<'r> Iterator for Tests<'r> {
    type Item = Test<'r>;
    #[inline]
    fn next(&mut self) -> Option<Test<'r>> {
        let head = self.0.one()?;
        let set = if head & LONG == 0 { None } else { Some(self.0.one()?) };
        Some(Test {
            attribute: head & !(NEGATED | LONG),
            negated: head & NEGATED != 0,
            set,
            patterns: self.0.run()?,
        })
    }
}

/// Writes [`Rules`].
#[derive(Debug, Default)]
pub struct RulesWriter {
    ids: Vec<RuleId>,
    starts: Vec<u32>,
    words: Vec<u32>,
}

/// More rules than can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many rules")]
pub struct TooLarge;

impl RulesWriter {
    /// Adds a rule.
    ///
    /// # Errors
    /// More words than 32 bits can count.
    pub fn push(&mut self, id: RuleId, rule: &RuleDraft) -> Result<(), TooLarge> {
        self.starts.push(count(self.words.len())?);
        self.ids.push(id);
        self.alternatives(&rule.sources)?;
        self.alternatives(&rule.operations)?;
        self.tests(&rule.conditions)
    }

    fn alternatives(&mut self, list: &[Vec<TestDraft>]) -> Result<(), TooLarge> {
        self.words.push(count(list.len())?);
        for tests in list {
            let at = self.words.len();
            self.words.push(0);
            self.tests(tests)?;
            let length = count(self.words.len() - at - 1)?;
            if let Some(place) = self.words.get_mut(at) {
                *place = length;
            }
        }
        Ok(())
    }

    fn tests(&mut self, tests: &[TestDraft]) -> Result<(), TooLarge> {
        for test in tests {
            let negated = if test.negated { NEGATED } else { 0 };
            let long = if test.set.is_some() { LONG } else { 0 };
            self.words.push(test.attribute | negated | long);
            self.words.extend(test.set);
            self.words.push(count(test.patterns.len())?);
            self.words.extend(test.patterns.iter().map(|word| word.bits()));
        }
        Ok(())
    }

    /// The rules.
    ///
    /// # Errors
    /// More words than 32 bits can count.
    pub fn finish(mut self) -> Result<Rules, TooLarge> {
        self.starts.push(count(self.words.len())?);
        Ok(Rules { ids: self.ids.into(), starts: self.starts.into(), words: self.words.into() })
    }
}

fn count(number: usize) -> Result<u32, TooLarge> {
    u32::try_from(number).map_err(|_| TooLarge)
}
