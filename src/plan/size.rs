//! How much memory a compiled plan takes.
//!
//! Counts what the parts say they hold; what allocators add is not known here.

use std::iter::Sum;
use std::ops::Add;

/// Rules, and what the trees and words they were compiled to hold on the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompiledSize {
    /// Rules as written.
    pub rules: usize,
    /// Bytes, for HTTP and connections together.
    pub bytes: usize,
}

impl CompiledSize {
    /// Bytes for each rule, rounded up; `None` without rules.
    pub fn bytes_per_rule(&self) -> Option<usize> {
        (self.rules > 0).then(|| self.bytes.div_ceil(self.rules))
    }
}

impl Add for CompiledSize {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { rules: self.rules + other.rules, bytes: self.bytes + other.bytes }
    }
}

impl Sum for CompiledSize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Add::add)
    }
}
