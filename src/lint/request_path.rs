//! Regular expressions of APIRule paths that no path of a request fits.
//!
//! Proved from the expression alone, which the whole path must fit; what other rules take first is
//! `access`'s.

use regex_syntax::hir::{Class, ClassBytesRange, ClassUnicodeRange, Hir, HirKind};

/// Why no request has such a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPath {
    /// Whatever fits begins with something else than a path does.
    Beginning,
    /// Whatever fits has a `?` or a `#`, and so more than a path.
    Query,
}

/// Why no path fits; `None` where one may.
pub(super) fn never(regex: &str) -> Option<NoPath> {
    let hir = regex_syntax::Parser::new().parse(regex).ok()?;
    let Beginning { may_be_empty, may_be_path } = beginning(&hir);
    if !may_be_empty && !may_be_path {
        return Some(NoPath::Beginning);
    }
    has_query(&hir).then_some(NoPath::Query)
}

impl NoPath {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Beginning => "no request has such a path: paths begin with `/`",
            Self::Query => "no request has such a path: neither query nor fragment is part of it",
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Beginning => {
                "begin it with `/`: the whole path must fit, as `/headers` or `/orders/.*`"
            }
            Self::Query => {
                "leave out the `?` or `#` and what follows: a rule is for a path whatever its query; \
                 a `?` without `\\` makes what stands before it optional"
            }
        }
    }
}

/// How texts begin that fit an expression; never less than what is so.
#[derive(Debug, Clone, Copy)]
struct Beginning {
    may_be_empty: bool,
    /// With `/`, or the `*` of `OPTIONS *`.
    may_be_path: bool,
}

fn beginning(hir: &Hir) -> Beginning {
    let one = |may_be_path| Beginning { may_be_empty: false, may_be_path };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Beginning { may_be_empty: true, may_be_path: false },
        HirKind::Literal(text) => one(matches!(text.0.first(), Some(b'/' | b'*'))),
        HirKind::Class(class) => one(holds(class, b'/') || holds(class, b'*')),
        HirKind::Repetition(repeated) => {
            let Beginning { may_be_empty, may_be_path } = beginning(&repeated.sub);
            Beginning { may_be_empty: may_be_empty || repeated.min == 0, may_be_path }
        }
        HirKind::Capture(group) => beginning(&group.sub),
        HirKind::Concat(parts) => {
            let mut so_far = Beginning { may_be_empty: true, may_be_path: false };
            for part in parts {
                let Beginning { may_be_empty, may_be_path } = beginning(part);
                so_far.may_be_path |= may_be_path;
                if !may_be_empty {
                    so_far.may_be_empty = false;
                    break;
                }
            }
            so_far
        }
        HirKind::Alternation(branches) => {
            let all = || branches.iter().map(beginning);
            Beginning {
                may_be_empty: all().any(|branch| branch.may_be_empty),
                may_be_path: all().any(|branch| branch.may_be_path),
            }
        }
    }
}

/// Whether every text that fits has a `?` or a `#`; `false` says nothing.
fn has_query(hir: &Hir) -> bool {
    let is_mark = |byte: u8| matches!(byte, b'?' | b'#');
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(text) => text.0.iter().copied().any(is_mark),
        HirKind::Class(class) => is_of_marks(class),
        HirKind::Repetition(repeated) => repeated.min > 0 && has_query(&repeated.sub),
        HirKind::Capture(group) => has_query(&group.sub),
        HirKind::Concat(parts) => parts.iter().any(has_query),
        HirKind::Alternation(branches) => branches.iter().all(has_query),
    }
}

fn holds(class: &Class, byte: u8) -> bool {
    match class {
        Class::Unicode(class) => {
            let has = |range: &ClassUnicodeRange| {
                (range.start()..=range.end()).contains(&char::from(byte))
            };
            class.ranges().iter().any(has)
        }
        Class::Bytes(class) => {
            let has = |range: &ClassBytesRange| (range.start()..=range.end()).contains(&byte);
            class.ranges().iter().any(has)
        }
    }
}

/// Whether there is nothing else in it.
fn is_of_marks(class: &Class) -> bool {
    let characters = match class {
        Class::Unicode(class) => class.ranges().iter().map(ClassUnicodeRange::len).sum(),
        Class::Bytes(class) => class.ranges().iter().map(ClassBytesRange::len).sum::<usize>(),
    };
    let marks = [b'?', b'#'].into_iter().filter(|mark| holds(class, *mark)).count();
    characters > 0 && characters == marks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::path_regex::PathRegex;

    #[rstest]
    #[case::no_slash("headers")]
    #[case::no_slash_before_anything("x/.*")]
    #[case::an_empty_group("()headers")]
    #[case::optional_and_then_no_slash("a?b/.*")]
    #[case::every_branch("(a|b/c)/.*")]
    #[case::any_but_a_slash("[^/*].*")]
    #[case::letters("[a-z]+/x")]
    #[case::case_is_ignored("(?i)headers")]
    #[case::anchored("^headers$")]
    #[case::a_query_alone("\\?a=b")]
    #[case::nothing_at_all("[a&&b]/x")]
    fn begins_with_something_else(#[case] regex: &str) {
        assert_eq!(never(regex), Some(NoPath::Beginning));
    }

    #[rstest]
    #[case::query("/a\\?b=c")]
    #[case::query_as_a_class("/a[?]b=c")]
    #[case::fragment("/a#b")]
    #[case::either("/a[?#].*")]
    #[case::in_a_group("/a(\\?b|#c)+")]
    #[case::repeated("/a(\\?b){2,3}")]
    fn has_more_than_a_path(#[case] regex: &str) {
        assert_eq!(never(regex), Some(NoPath::Query));
    }

    #[rstest]
    #[case::literal("/headers")]
    #[case::everything("/.*")]
    #[case::everything_without_slash(".*")]
    #[case::anything(".+")]
    #[case::kyma_has_it_as_everything("/*")]
    #[case::optional_slash("/?headers")]
    #[case::optional_beginning("(x)?/a")]
    #[case::one_branch("headers|/headers")]
    #[case::class("[/a]b")]
    #[case::may_be_empty("()")]
    #[case::of_the_server("\\*")]
    #[case::boundary("\\b/a")]
    #[case::optional_query("/a(\\?.*)?")]
    #[case::query_in_one_branch("/a|/a\\?b")]
    #[case::class_with_more("/a[?b]")]
    #[case::optional_character("/orders/?")]
    fn may_be_a_path(#[case] regex: &str) {
        assert_eq!(never(regex), None);
    }

    proptest! {
        #[test]
        fn what_is_never_one_fits_no_path(
            regex in "(/|x|a\\?|\\(\\?:/\\|b\\)|\\[/x\\]|\\.|\\.\\*|\\\\\\?|#|\\[\\?#\\]|b\\*|\\||\\^){1,6}",
            paths in prop::collection::vec("/[abx/]{0,4}", 16),
        ) {
            let Ok(compiled) = PathRegex::parse(&regex) else { return Ok(()) };
            if never(&regex).is_some() {
                for path in paths {
                    prop_assert!(!compiled.matches(&path), "{} {}", regex, path);
                }
            }
        }
    }
}
