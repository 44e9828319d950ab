//! Three-valued logic: a condition that depends on an input Envoy does not send is unknown.

use crate::plan::Unknown;

/// Kleene's three values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// It does not hold.
    No,
    /// It cannot be known.
    Unknown,
    /// It holds.
    Yes,
}

impl Certainty {
    /// Whether a rule with this result matches, closed: what is unknown allows nothing and denies.
    pub fn counts_as_match(self, unknown: Unknown) -> bool {
        match self {
            Self::No => false,
            Self::Unknown => unknown == Unknown::Match,
            Self::Yes => true,
        }
    }

    /// All of them; `Yes` for none.
    pub fn all(items: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::Yes;
        for item in items {
            match item {
                Self::No => return Self::No,
                Self::Unknown => result = Self::Unknown,
                Self::Yes => {}
            }
        }
        result
    }

    /// Any of them; `No` for none.
    pub fn any(items: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::No;
        for item in items {
            match item {
                Self::Yes => return Self::Yes,
                Self::Unknown => result = Self::Unknown,
                Self::No => {}
            }
        }
        result
    }
}

impl From<bool> for Certainty {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl std::ops::Not for Certainty {
    type Output = Self;
    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}
