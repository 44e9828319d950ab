//! The regular expressions of APIRule paths: the whole path fits, in time linear in its length.
//!
//! What a path is for is up to others.

use regex::{Regex, RegexBuilder};

/// A compiled path.
#[derive(Debug, Clone)]
pub struct PathRegex(Fast);

#[derive(Debug, Clone)]
enum Fast {
    /// Exactly this.
    Literal(Box<str>),
    /// This, and then anything: `/orders/.*`.
    Prefix(Box<str>),
    /// Whatever fits.
    Regex(Regex),
}

/// Why a path cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPathRegex {
    /// Something that takes a backtracking engine.
    #[error(
        "look-around and back-references are not supported: they cannot be evaluated in linear time"
    )]
    Backtracking,
    /// It would take too much memory.
    #[error("the regular expression is too large")]
    TooLarge,
    /// No regular expression.
    #[error("not a regular expression: {0}")]
    Syntax(String),
}

/// What one compiled expression may take, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// Characters that mean something else than themselves.
const SPECIAL: &[char] = &['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'];

impl PathRegex {
    /// Compiles a path. `/*` is every path, as Kyma has it, and not any number of slashes.
    pub fn parse(path: &str) -> Result<Self, InvalidPathRegex> {
        if path == "/*" {
            return Ok(Self(Fast::Prefix("/".into())));
        }
        let is_literal = |text: &str| !text.contains(is_special);
        if is_literal(path) {
            return Ok(Self(Fast::Literal(path.into())));
        }
        if let Some(start) = path.strip_suffix(".*")
            && is_literal(start)
        {
            return Ok(Self(Fast::Prefix(start.into())));
        }
        Self::slow(path)
    }

    /// As [`PathRegex::parse`], without shortcuts: the slow twin.
    pub fn slow(path: &str) -> Result<Self, InvalidPathRegex> {
        let path = if path == "/*" { "/.*" } else { path };
        // By itself first: what is put around it must not make it good.
        regex(path)?;
        regex(&format!("^(?:{path})$")).map(|regex| Self(Fast::Regex(regex)))
    }

    /// Whether a path, without its query, fits.
    pub fn matches(&self, path: &str) -> bool {
        match &self.0 {
            Fast::Literal(text) => *path == **text,
            // A dot is everything but a line break.
            Fast::Prefix(start) => {
                path.strip_prefix(&**start).is_some_and(|rest| !rest.contains('\n'))
            }
            Fast::Regex(regex) => regex.is_match(path),
        }
    }

    /// Whether it is proved that every path that fits `other` fits this. `false` says nothing.
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (_, Fast::Literal(path)) => self.matches(path),
            (Fast::Prefix(start), Fast::Prefix(longer)) => longer.starts_with(&**start),
            (Fast::Prefix(start), Fast::Regex(regex)) => {
                literal_start(regex.as_str()).starts_with(&**start)
            }
            (Fast::Regex(one), Fast::Regex(other)) => one.as_str() == other.as_str(),
            (Fast::Literal(_), Fast::Prefix(_) | Fast::Regex(_))
            | (Fast::Regex(_), Fast::Prefix(_)) => false,
        }
    }

    /// What it holds on the heap, in bytes, roughly.
    pub fn heap_size(&self) -> usize {
        match &self.0 {
            Fast::Literal(text) | Fast::Prefix(text) => text.len(),
            // The crate does not say; its programs are about this large for what paths are.
            Fast::Regex(regex) => 4096 + regex.as_str().len(),
        }
    }
}

/// What every path begins with that fits `^(?:..)$`. A path has no line breaks.
fn literal_start(anchored: &str) -> &str {
    let inside = anchored.strip_prefix("^(?:").unwrap_or_default();
    if inside.contains('|') {
        return "";
    }
    let end = inside.find(is_special).unwrap_or(inside.len());
    let (start, rest) = inside.split_at_checked(end).unwrap_or_default();
    if rest.starts_with(['*', '?', '{']) {
        // The last character may be missing.
        let last = start.chars().next_back().map_or(0, char::len_utf8);
        return start.get(..start.len() - last).unwrap_or_default();
    }
    start
}

fn is_special(c: char) -> bool {
    SPECIAL.contains(&c)
}

fn regex(text: &str) -> Result<Regex, InvalidPathRegex> {
    let built = RegexBuilder::new(text).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).build();
    built.map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return InvalidPathRegex::TooLarge;
        }
        if is_backtracking(text) {
            return InvalidPathRegex::Backtracking;
        }
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        InvalidPathRegex::Syntax(last.trim_start_matches("error: ").to_owned())
    })
}

fn is_backtracking(text: &str) -> bool {
    let references = ('1'..='9').any(|digit| text.contains(&format!("\\{digit}")));
    references || ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|around| text.contains(around))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/headers", &["/headers"], &["/headers/", "/header", "/headers?", "x/headers"])]
    #[case("/.*", &["/", "/a", "/a/b"], &["", "a", "/a\nb"])]
    #[case("/*", &["/", "/a", "/a/b"], &["", "a"])]
    #[case("/orders/.*", &["/orders/", "/orders/1"], &["/orders", "/orders."])]
    #[case("/(a|b)", &["/a", "/b"], &["/", "/c", "/ab"])]
    #[case("/a|/b", &["/a", "/b"], &["/ab", "/a/b", "/ax", "x/b"])]
    #[case("/a.c", &["/abc", "/a.c"], &["/ac", "/abbc"])]
    #[case("/status/[0-9]+", &["/status/200"], &["/status/", "/status/2x"])]
    #[case("/img\\.png", &["/img.png"], &["/imgxpng"])]
    fn whole_paths(#[case] regex: &str, #[case] yes: &[&str], #[case] no: &[&str]) {
        for compiled in [PathRegex::parse(regex).unwrap(), PathRegex::slow(regex).unwrap()] {
            yes.iter().for_each(|path| assert!(compiled.matches(path), "{regex} {path}"));
            no.iter().for_each(|path| assert!(!compiled.matches(path), "{regex} {path}"));
        }
    }

    #[rstest]
    #[case("/(?!admin).*", InvalidPathRegex::Backtracking)]
    #[case("/(?<=a)b", InvalidPathRegex::Backtracking)]
    #[case("/(a)\\1", InvalidPathRegex::Backtracking)]
    #[case("/(((a{100}){100}){100})", InvalidPathRegex::TooLarge)]
    #[case("/(", InvalidPathRegex::Syntax("unclosed group".into()))]
    // Not to be made good by what is put around it.
    #[case("/a)|(?:b", InvalidPathRegex::Syntax("unopened group".into()))]
    fn refused(#[case] regex: &str, #[case] expect: InvalidPathRegex) {
        assert_eq!(PathRegex::parse(regex).unwrap_err(), expect);
    }

    #[test]
    fn takes_time_linear_in_the_path() {
        let evil = PathRegex::parse("/(a|a)*(a|a)*(a|a)*b").unwrap();
        assert!(!evil.matches(&format!("/{}", "a".repeat(60_000))));
    }

    proptest! {
        #[test]
        fn what_is_covered_fits(
            wider in "/[ab.*|]{0,3}(\\.\\*)?",
            regex in "/[ab.*|?]{0,5}(\\.\\*)?",
            paths in prop::collection::vec("/?[ab|]{0,5}", 8),
        ) {
            let (Ok(wider), Ok(regex)) = (PathRegex::parse(&wider), PathRegex::parse(&regex)) else {
                return Ok(());
            };
            if wider.covers(&regex) {
                for path in paths {
                    prop_assert!(!regex.matches(&path) || wider.matches(&path), "{path}");
                }
            }
        }

        #[test]
        fn shortcuts_change_nothing(
            regex in "/[ab.*|]{0,5}(\\.\\*)?",
            paths in prop::collection::vec("/?[ab.*|\n]{0,5}", 8),
        ) {
            let (Ok(fast), Ok(slow)) = (PathRegex::parse(&regex), PathRegex::slow(&regex)) else {
                return Ok(());
            };
            for path in paths {
                prop_assert_eq!(fast.matches(&path), slow.matches(&path), "{} {}", regex, path);
            }
        }
    }
}
