//! Sets of small numbers.

/// A set of numbers below a bound that is given when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Those of `0..len` that are wanted.
    pub(super) fn new(len: usize, wanted: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0; len.div_ceil(64)];
        for number in (0..len).filter(|number| wanted(*number)) {
            if let Some(word) = words.get_mut(number / 64) {
                *word |= 1 << (number % 64);
            }
        }
        Self(words)
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// The least.
    pub(super) fn first(&self) -> Option<usize> {
        let (at, word) = self.0.iter().enumerate().find(|(_, word)| **word != 0)?;
        let bit = usize::try_from(word.trailing_zeros()).ok()?;
        Some(at * 64 + bit)
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    pub(super) fn remove(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }
}
