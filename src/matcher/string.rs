//! Istio's four string patterns: exact, `prefix*`, `*suffix` and `*`.

use std::fmt;

/// What a lone `*` means; Istio has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Star {
    /// One or more characters, as Envoy's regular expression `.+`: paths, principals, SNI, claims.
    OneOrMore,
    /// Mere presence, an empty value too: headers, hosts, methods.
    Present,
}

/// One pattern. Only a leading or a trailing star is special, a leading one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StringMatch<'a> {
    /// Any value.
    Present,
    /// `.+` of RE2: valid UTF-8, not empty, no line feed.
    OneOrMore,
    /// The whole value.
    Exact(&'a str),
    /// `text*`
    Prefix(&'a str),
    /// `*text`
    Suffix(&'a str),
}

impl<'a> StringMatch<'a> {
    /// Reads a pattern. Every string is one.
    pub fn parse(pattern: &'a str, star: Star) -> Self {
        if pattern == "*" {
            match star {
                Star::OneOrMore => Self::OneOrMore,
                Star::Present => Self::Present,
            }
        } else if let Some(suffix) = pattern.strip_prefix('*') {
            Self::Suffix(suffix)
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            Self::Prefix(prefix)
        } else {
            Self::Exact(pattern)
        }
    }

    /// Compares byte by byte.
    pub fn matches(&self, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        match self {
            Self::Present => true,
            Self::OneOrMore => is_one_or_more(value),
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
        }
    }

    /// Compares without regard to ASCII case, as Envoy does hosts.
    pub fn matches_ignore_case(&self, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        match self {
            Self::Present => true,
            Self::OneOrMore => is_one_or_more(value),
            Self::Exact(text) => value.eq_ignore_ascii_case(text.as_bytes()),
            Self::Prefix(text) => value
                .get(..text.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes())),
            Self::Suffix(text) => value
                .len()
                .checked_sub(text.len())
                .and_then(|at| value.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(text.as_bytes())),
        }
    }
}

impl fmt::Display for StringMatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present | Self::OneOrMore => f.write_str("*"),
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
        }
    }
}

/// RE2's `.+`: the dot takes no line feed and only valid UTF-8.
pub(super) fn is_one_or_more(value: &[u8]) -> bool {
    !value.is_empty() && is_any(value)
}

/// RE2's `.*`.
pub(super) fn is_any(value: &[u8]) -> bool {
    !value.contains(&b'\n') && std::str::from_utf8(value).is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exact("/info", "/info", true)]
    #[case::exact_is_not_prefix("/info", "/info/", false)]
    #[case::case_counts("/info", "/INFO", false)]
    #[case::prefix_needs_slash("/api/*", "/api", false)]
    #[case::prefix_takes_nothing("/api/*", "/api/", true)]
    #[case::suffix("*.php", "/x.php", true)]
    #[case::suffix_alone("*/suf", "/suf", true)]
    #[case::star_needs_one("*", "", false)]
    #[case::star("*", "x", true)]
    #[case::star_takes_no_line_feed("*", "a\nb", false)]
    #[case::star_in_the_middle_is_literal("/a*b", "/axb", false)]
    #[case::leading_star_first("*a*", "xa", false)]
    #[case::leading_star_first_literal("*a*", "xa*", true)]
    fn one_or_more(#[case] pattern: &str, #[case] value: &str, #[case] expect: bool) {
        assert_eq!(StringMatch::parse(pattern, Star::OneOrMore).matches(value), expect);
    }

    #[test]
    fn present_takes_the_empty_value_and_any_byte() {
        let star = StringMatch::parse("*", Star::Present);
        assert!(star.matches("") && star.matches(b"\xff\n"));
    }

    #[rstest]
    #[case("api.example.com", "API.Example.COM", true)]
    #[case("*.example.com", "x.EXAMPLE.com", true)]
    #[case("*.example.com", "example.com", false)]
    #[case("API.*", "api.anything:1", true)]
    #[case("api.*", "api", false)]
    #[case("é", "É", false)]
    fn ignoring_case(#[case] pattern: &str, #[case] value: &str, #[case] expect: bool) {
        assert_eq!(StringMatch::parse(pattern, Star::Present).matches_ignore_case(value), expect);
    }
}
