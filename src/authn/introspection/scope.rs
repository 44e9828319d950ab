//! Whether granted scopes include a required one.
//!
//! The strategies that Ory's Oathkeeper knows by these names.

/// How scopes are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeStrategy {
    /// The same text.
    Exact,
    /// `foo` grants `foo.bar`, too.
    Hierarchic,
    /// `foo.*` grants `foo.bar` and what is below it.
    Wildcard,
}

impl ScopeStrategy {
    /// Whether one of the granted scopes grants `required`.
    pub fn grants(self, granted: &[&str], required: &str) -> bool {
        granted.iter().any(|granted| match self {
            Self::Exact => *granted == required,
            Self::Hierarchic => *granted == required || is_above(granted, required),
            Self::Wildcard => covers(granted, required),
        })
    }
}

/// Whether the dotted name `above` is a proper beginning of `below`.
fn is_above(above: &str, below: &str) -> bool {
    below.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// Part by part; `*` is any part that is not empty, and at the end any number of parts.
fn covers(pattern: &str, scope: &str) -> bool {
    let (mut pattern, mut scope) = (pattern.split('.').peekable(), scope.split('.').peekable());
    loop {
        match (pattern.next(), scope.next()) {
            (None, None) => return true,
            (Some(part), Some(found)) => {
                let fits = part == found || (part == "*" && !found.is_empty());
                if !fits {
                    return false;
                }
                if pattern.peek().is_none() && scope.peek().is_some() {
                    return part == "*";
                }
            }
            (Some(_), None) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["a", "b"], "b", true)]
    #[case(&["a.b"], "a", false)]
    #[case(&["a"], "a.b", false)]
    #[case(&["A"], "a", false)]
    #[case(&[], "a", false)]
    fn exact(#[case] granted: &[&str], #[case] required: &str, #[case] expect: bool) {
        assert_eq!(ScopeStrategy::Exact.grants(granted, required), expect);
    }

    #[rstest]
    #[case(&["foo"], "foo", true)]
    #[case(&["foo"], "foo.bar", true)]
    #[case(&["foo"], "foo.bar.baz", true)]
    #[case(&["foo.bar"], "foo", false)]
    #[case(&["foo.bar"], "foo.bar.baz", true)]
    #[case(&["foo.bar"], "foo.baz", false)]
    #[case(&["foo"], "foobar", false)]
    #[case(&["foo", "x.y"], "x.y.z", true)]
    #[case(&[""], "", true)]
    #[case(&[""], "foo", false)]
    fn hierarchic(#[case] granted: &[&str], #[case] required: &str, #[case] expect: bool) {
        assert_eq!(ScopeStrategy::Hierarchic.grants(granted, required), expect);
    }

    #[rstest]
    #[case(&["foo.*"], "foo.bar", true)]
    #[case(&["foo.*"], "foo.bar.baz", true)]
    #[case(&["foo.*"], "foo", false)]
    #[case(&["foo.*"], "foo.", false)]
    #[case(&["foo.*.bar"], "foo.x.bar", true)]
    #[case(&["foo.*.bar"], "foo.x.baz", false)]
    #[case(&["foo.*.bar"], "foo.x.bar.y", false)]
    #[case(&["foo.*.*"], "foo.x", false)]
    #[case(&["foo.*.*"], "foo.x.y.z", true)]
    #[case(&["*"], "foo", true)]
    #[case(&["*"], "foo.bar", true)]
    #[case(&["*"], "", false)]
    #[case(&["foo"], "foo", true)]
    #[case(&["foo"], "foo.bar", false)]
    fn wildcard(#[case] granted: &[&str], #[case] required: &str, #[case] expect: bool) {
        assert_eq!(ScopeStrategy::Wildcard.grants(granted, required), expect);
    }
}
