//! Patterns on JSON-like values: claims, the request principal, dynamic metadata.

use super::string::{Star, StringMatch};
use crate::model::Value;

/// Whether the claim at `path` is a string that a pattern matches, or a list with such a string.
/// Numbers, booleans, objects and nested lists never match.
pub fn claim_matches<'v>(
    claims: &'v Value,
    path: &[Box<str>],
    mut test: impl FnMut(&'v str) -> bool,
) -> bool {
    let mut value = claims;
    for name in path {
        match value.get(name) {
            Some(member) => value = member,
            None => return false,
        }
    }
    match value {
        Value::String(text) => test(text),
        Value::List(items) => items.iter().filter_map(Value::as_str).any(test),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Issuer and subject of a token; without an `iss` or a `sub` string no request principal matches.
pub fn request_principal(claims: &Value) -> Option<(&str, &str)> {
    let claim = |name| claims.get(name).and_then(Value::as_str);
    Some((claim("iss")?, claim("sub")?))
}

/// `requestPrincipals`: patterns on `iss` and `sub`, split at the pattern's last slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestPrincipalMatch<'a> {
    /// Held against `iss`.
    pub issuer: StringMatch<'a>,
    /// Held against `sub`.
    pub subject: StringMatch<'a>,
}

impl<'a> RequestPrincipalMatch<'a> {
    /// Reads a pattern. Every string is one.
    pub fn parse(pattern: &'a str) -> Self {
        let any = StringMatch::OneOrMore;
        let exact = StringMatch::Exact;
        let (issuer, subject) = match (pattern, pattern.rsplit_once('/')) {
            ("*", _) => (any, any),
            (_, Some((issuer, subject))) if pattern.starts_with('*') => {
                // Only the issuer may be a pattern here; a star in the subject is literal.
                let issuer = match issuer.strip_prefix('*') {
                    Some("") => any,
                    Some(suffix) => StringMatch::Suffix(suffix),
                    None => exact(issuer),
                };
                (issuer, exact(subject))
            }
            (_, Some((issuer, subject))) if pattern.ends_with('*') => (
                exact(issuer),
                StringMatch::parse(subject, Star::OneOrMore).without_suffix(subject),
            ),
            (_, Some((issuer, subject))) => (exact(issuer), exact(subject)),
            (_, None) => match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
                (Some(suffix), _) => (any, StringMatch::Suffix(suffix)),
                (None, Some(prefix)) => (StringMatch::Prefix(prefix), any),
                // The whole pattern is the issuer, and the subject must be empty.
                (None, None) => (exact(pattern), exact("")),
            },
        };
        Self { issuer, subject }
    }

    /// Whether a token of that issuer about that subject matches.
    pub fn matches(&self, (issuer, subject): (&str, &str)) -> bool {
        self.issuer.matches(issuer) && self.subject.matches(subject)
    }
}

impl<'a> StringMatch<'a> {
    /// In `iss/sub*` a leading star of the subject is literal: only the trailing one is special.
    fn without_suffix(self, text: &'a str) -> Self {
        match self {
            Self::Suffix(_) => Self::Prefix(text.strip_suffix('*').unwrap_or(text)),
            Self::Present | Self::OneOrMore | Self::Exact(_) | Self::Prefix(_) => self,
        }
    }
}

/// `experimental.envoy.filters.*`: a string, or with `[pattern]` a string in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetadataMatch<'a> {
    /// The value itself is a string that matches.
    String(StringMatch<'a>),
    /// The value is a list with a string that matches.
    OneOf(StringMatch<'a>),
}

impl<'a> MetadataMatch<'a> {
    /// Reads a pattern. Every string is one.
    pub fn parse(pattern: &'a str) -> Self {
        if pattern.starts_with('[') && pattern.ends_with(']') {
            let inner = pattern.trim_matches(['[', ']']);
            Self::OneOf(StringMatch::parse(inner, Star::OneOrMore))
        } else {
            Self::String(StringMatch::parse(pattern, Star::OneOrMore))
        }
    }

    /// Whether a metadata value matches.
    pub fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::String(pattern), Value::String(text)) => pattern.matches(text),
            (Self::OneOf(pattern), Value::List(items)) => {
                items.iter().filter_map(Value::as_str).any(|text| pattern.matches(text))
            }
            (Self::String(_) | Self::OneOf(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn claims(iss: &str, sub: Option<&str>) -> Value {
        let mut members = vec![("iss".to_owned(), Value::String(iss.into()))];
        members.extend(sub.map(|sub| ("sub".to_owned(), Value::String(sub.into()))));
        Value::Object(members)
    }

    #[rstest]
    #[case("*", "i", Some("s"), true)]
    #[case("*", "i", Some(""), false)]
    #[case("*", "i", None, false)]
    #[case("i/s", "i", Some("s"), true)]
    #[case("https://a/b/s", "https://a/b", Some("s"), true)]
    #[case("https://a/*", "https://a", Some("s"), true)]
    #[case("https://a/*", "https://a/b", Some("s"), false)]
    #[case("*/s", "any/thing", Some("s"), true)]
    #[case("*r-a/s", "issuer-a", Some("s"), true)]
    #[case("*/*", "i", Some("s"), false)]
    #[case("*/*", "i", Some("*"), true)]
    #[case("iss*", "issuer", Some("x"), true)]
    #[case("*ice", "issuer", Some("alice"), true)]
    #[case("issuer-a", "issuer-a", Some("s"), false)]
    #[case("issuer-a", "issuer-a", Some(""), true)]
    #[case("i/al*", "i", Some("alice"), true)]
    #[case("i/*a*", "i", Some("*alice"), true)]
    #[case("i/*a*", "i", Some("xa*"), false)]
    fn request_principal(
        #[case] pattern: &str,
        #[case] iss: &str,
        #[case] sub: Option<&str>,
        #[case] expect: bool,
    ) {
        let claims = claims(iss, sub);
        let found = super::request_principal(&claims);
        let matched =
            found.is_some_and(|found| RequestPrincipalMatch::parse(pattern).matches(found));
        assert_eq!(matched, expect);
    }

    #[test]
    fn metadata_lists_need_brackets() {
        let list = Value::List(vec![Value::String("a".into()), Value::Number(5.0)]);
        assert!(MetadataMatch::parse("[a]").matches(&list));
        assert!(!MetadataMatch::parse("a").matches(&list));
        assert!(!MetadataMatch::parse("[5]").matches(&list));
        assert!(!MetadataMatch::parse("[a]").matches(&Value::String("a".into())));
    }
}
