//! How much is tried before a question stays open.
//!
//! Rules may have lists and alternatives without end; an open question is no finding.

use std::cell::Cell;

/// Steps that are left.
#[derive(Debug)]
pub(super) struct Steps(Cell<usize>);

impl Steps {
    pub(super) fn at_most(steps: usize) -> Self {
        Self(Cell::new(steps))
    }

    /// Takes some; says whether there were enough left. Once there were not, there are none.
    pub(super) fn take(&self, steps: usize) -> bool {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or_default());
        left.is_some()
    }
}
