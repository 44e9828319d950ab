//! One compiled rule against one request.
//!
//! Which rules are worth it is `candidates`' business.

use super::Certainty;
use super::request::{Actual, Request, case, keys};
use crate::matcher::StringMatch;
use crate::plan::index::key::Case;
use crate::plan::index::{Index, Table, Target};
use crate::plan::rules::{Alternatives, CompiledRule, Test};
use crate::plan::vocabulary::{Attribute, Pattern, Vocabulary, Word};

/// What rules are written in, and what they are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluation<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) index: &'a Index,
    pub(super) request: Request<'a>,
}

impl Evaluation<'_> {
    /// Whether the rule holds.
    #[inline]
    pub(super) fn rule(&self, rule: CompiledRule<'_>) -> Certainty {
        // Lazily: a part is only looked at while the rule can still hold.
        let mut all = self.alternatives(rule.operations);
        if all != Certainty::No {
            all = Certainty::all([all, self.alternatives(rule.sources)]);
        }
        if all != Certainty::No {
            all = Certainty::all([all, self.conjunction(rule.conditions)]);
        }
        all
    }

    fn alternatives(&self, alternatives: Option<Alternatives<'_>>) -> Certainty {
        alternatives.map_or(Certainty::Yes, |alternatives| {
            Certainty::any(alternatives.map(|tests| self.conjunction(tests)))
        })
    }

    fn conjunction<'r>(&self, tests: impl Iterator<Item = Test<'r>>) -> Certainty {
        Certainty::all(tests.map(|test| self.test(test)))
    }

    fn test(&self, test: Test<'_>) -> Certainty {
        let attribute = self.vocabulary.attribute(test.attribute);
        let any = self.request.any(attribute, |actual| match test.set {
            None => self.any_pattern(attribute, test.patterns, actual),
            Some(set) => self.any_of_set(set, attribute, &test, actual),
        });
        let matched = if any {
            Certainty::Yes
        } else if self.request.is_open(attribute) {
            Certainty::Unknown
        } else {
            Certainty::No
        };
        if test.negated { !matched } else { matched }
    }

    #[inline]
    fn any_pattern(&self, attribute: &Attribute, patterns: &[u32], actual: Actual<'_>) -> bool {
        if let Actual::Text(text) = actual {
            // The most frequent ones, so that what is asked of each pattern is little.
            let case = case(attribute);
            return patterns.iter().any(|bits| {
                let pattern = self.vocabulary.text_pattern(Word::from_bits(*bits));
                text_matches(pattern, text, case)
            });
        }
        patterns.chunks_exact(attribute.words_per_pattern()).any(|words| {
            let word = |bits: Option<&u32>| Word::from_bits(bits.copied().unwrap_or_default());
            let pattern =
                self.vocabulary.pattern(attribute, word(words.first()), word(words.get(1)));
            matches(attribute, pattern, actual)
        })
    }

    /// Only the patterns whose keys the value has.
    fn any_of_set(
        &self,
        set: u32,
        attribute: &Attribute,
        test: &Test<'_>,
        actual: Actual<'_>,
    ) -> bool {
        let Some(lookup) = self.index.sets.get(Table::place_of_set(set)) else { return false };
        let words = attribute.words_per_pattern();
        let one = |ordinal: u32| {
            let start = usize::try_from(ordinal).unwrap_or(usize::MAX).saturating_mul(words);
            let pattern = test.patterns.get(start..).and_then(|rest| rest.get(..words));
            pattern.is_some_and(|pattern| self.any_pattern(attribute, pattern, actual))
        };
        keys(attribute, actual, lookup, |key| {
            self.index.table.find(Table::hash(set, test.attribute, key), |target| match target {
                Target::One(ordinal) => one(ordinal),
                Target::List(start) => self.index.list_at(start).iter().copied().any(one),
                Target::Node(_) => false,
            })
        })
    }
}

#[inline]
fn matches(attribute: &Attribute, pattern: Pattern<'_>, actual: Actual<'_>) -> bool {
    match (pattern, actual) {
        (Pattern::Principal(pattern), Actual::Name(name)) => pattern.matches(name),
        (Pattern::Namespace(pattern), Actual::Name(name)) => pattern.matches(name),
        (Pattern::ServiceAccount(pattern), Actual::Name(name)) => pattern.matches(name),
        (Pattern::TrustDomain(pattern), Actual::Name(name)) => pattern.matches(name),
        (Pattern::RequestPrincipal(pattern), Actual::Token(token)) => pattern.matches(token),
        (Pattern::Block(block), Actual::Address(ip)) => block.contains(&ip),
        (Pattern::Port(wanted), Actual::Port(port)) => wanted == u32::from(port),
        (_, Actual::Text(text)) => text_matches(pattern, text, case(attribute)),
        (Pattern::Text(pattern), Actual::Unclear) => pattern == StringMatch::Present,
        (Pattern::Metadata(pattern), Actual::Metadata(value)) => pattern.matches(value),
        (
            Pattern::Principal(_)
            | Pattern::Namespace(_)
            | Pattern::ServiceAccount(_)
            | Pattern::TrustDomain(_)
            | Pattern::RequestPrincipal(_)
            | Pattern::Block(_)
            | Pattern::Port(_)
            | Pattern::Text(_)
            | Pattern::Template(_)
            | Pattern::Metadata(_)
            | Pattern::Nothing,
            _,
        ) => false,
    }
}

#[inline]
fn text_matches(pattern: Pattern<'_>, text: &[u8], case: Case) -> bool {
    match (pattern, case) {
        (Pattern::Text(pattern), Case::Counts) => pattern.matches(text),
        (Pattern::Text(pattern), Case::Ignored) => pattern.matches_ignore_case(text),
        (Pattern::Template(template), _) => {
            str::from_utf8(text).is_ok_and(|path| template.matches(path))
        }
        (
            Pattern::Principal(_)
            | Pattern::Namespace(_)
            | Pattern::ServiceAccount(_)
            | Pattern::TrustDomain(_)
            | Pattern::RequestPrincipal(_)
            | Pattern::Block(_)
            | Pattern::Port(_)
            | Pattern::Metadata(_)
            | Pattern::Nothing,
            _,
        ) => false,
    }
}
