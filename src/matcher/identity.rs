//! Patterns on the peer's identity, mostly SPIFFE ids such as `spiffe://td/ns/foo/sa/bar`.
//!
//! Istio builds regular expressions for these; here they are matched directly, so no character of
//! a name can be taken for an operator (CVE-2026-39350).

use super::string::{is_any, is_one_or_more};

/// What SPIFFE ids begin with.
pub const SCHEME: &str = "spiffe://";

/// `principals`: the pattern stands behind `spiffe://`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalMatch<'a> {
    /// `*`: any name of the certificate, a DNS name or subject too.
    Any,
    /// `text`
    Exact(&'a str),
    /// `text*`
    Prefix(&'a str),
    /// `*text`
    Suffix(&'a str),
}

impl<'a> PrincipalMatch<'a> {
    /// Reads a pattern. Every string is one.
    pub fn parse(pattern: &'a str) -> Self {
        if pattern == "*" {
            Self::Any
        } else if let Some(suffix) = pattern.strip_prefix('*') {
            Self::Suffix(suffix)
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            Self::Prefix(prefix)
        } else {
            Self::Exact(pattern)
        }
    }

    /// Whether one name of the peer matches.
    pub fn matches(&self, name: &str) -> bool {
        let id = name.strip_prefix(SCHEME);
        match self {
            Self::Any => is_one_or_more(name.as_bytes()),
            Self::Exact(text) => id == Some(*text),
            Self::Prefix(text) => id.is_some_and(|id| id.starts_with(text)),
            Self::Suffix(text) => id
                .and_then(|id| id.strip_suffix(text))
                .is_some_and(|before| is_any(before.as_bytes())),
        }
    }
}

/// `namespaces`: `/ns/<namespace>/` anywhere in the name; stars run over anything, slashes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceMatch<'a> {
    /// `/ns/<pattern>/`
    framed: &'a str,
}

impl<'a> NamespaceMatch<'a> {
    /// The text of a pattern that [`NamespaceMatch::framed`] takes. Every string is one.
    pub fn frame(pattern: &str) -> String {
        format!("/ns/{pattern}/")
    }

    /// From what [`NamespaceMatch::frame`] made.
    pub fn framed(framed: &'a str) -> Self {
        Self { framed }
    }

    /// Whether one name of the peer matches.
    pub fn matches(&self, name: &str) -> bool {
        // Everything around and between the pieces is `.*`, so taking each piece at its first
        // place after the one before is enough.
        let mut rest = name;
        for piece in self.framed.split('*') {
            match rest.find(piece).and_then(|at| rest.get(at + piece.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        is_any(name.as_bytes())
    }
}

/// `serviceAccounts`: `spiffe://<any>/ns/<ns>/[<any>/]sa/<sa>[/<any>]`, in any trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceAccountMatch<'a> {
    /// `/ns/<ns>/`
    namespace: &'a str,
    /// `sa/<sa>`
    account: &'a str,
}

impl<'a> ServiceAccountMatch<'a> {
    /// Splits `name` or `namespace/name`; a bare name is in the policy's own namespace.
    pub fn split<'p>(pattern: &'p str, policy_namespace: &'p str) -> (&'p str, &'p str) {
        pattern.split_once('/').unwrap_or((policy_namespace, pattern))
    }

    /// The texts that [`ServiceAccountMatch::framed`] takes, of a namespace and an account.
    pub fn frame(namespace: &str, account: &str) -> (String, String) {
        (format!("/ns/{namespace}/"), format!("sa/{account}"))
    }

    /// From what [`ServiceAccountMatch::frame`] made.
    pub fn framed(namespace: &'a str, account: &'a str) -> Self {
        Self { namespace, account }
    }

    /// Whether one name of the peer matches.
    pub fn matches(&self, name: &str) -> bool {
        let Some(id) = name.strip_prefix(SCHEME).filter(|id| is_any(id.as_bytes())) else {
            return false;
        };
        // Every place of the namespace counts, but something must stand before it.
        id.match_indices(self.namespace)
            .filter(|(at, _)| *at > 0)
            .filter_map(|(at, frame)| id.get(at + frame.len()..))
            .any(|rest| self.account_in(rest))
    }

    fn account_in(&self, rest: &str) -> bool {
        rest.match_indices(self.account).any(|(at, frame)| {
            // Before it nothing, or one or more characters and a slash.
            let before = rest.get(..at).unwrap_or_default();
            let begins = before.is_empty() || (before.len() > 1 && before.ends_with('/'));
            // After it nothing, or a slash and one or more characters.
            let after = rest.get(at + frame.len()..).unwrap_or_default();
            let ends = after.is_empty() || (after.len() > 1 && after.starts_with('/'));
            begins && ends
        })
    }
}

/// `trustDomains`: the part between `spiffe://` and the next slash; in a condition, which may hold
/// slashes, whole segments from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrustDomainMatch<'a> {
    /// `*`: any SPIFFE id.
    Any,
    /// `text`
    Exact(&'a str),
    /// `prefix*suffix`; validation leaves one of the two empty.
    Glob(&'a str, &'a str),
}

impl<'a> TrustDomainMatch<'a> {
    /// Reads a pattern. Every string is one; only its first star is special.
    pub fn parse(pattern: &'a str) -> Self {
        if pattern == "*" {
            return Self::Any;
        }
        match pattern.split_once('*') {
            None => Self::Exact(pattern),
            Some((prefix, suffix)) => Self::Glob(prefix, suffix),
        }
    }

    /// Whether one name of the peer matches.
    pub fn matches(&self, name: &str) -> bool {
        let Some(id) = name.strip_prefix(SCHEME) else { return false };
        match self {
            Self::Any => true,
            // The pattern of a condition may hold slashes, so it is not just the domain.
            Self::Exact(text) => id.strip_prefix(text).is_some_and(|rest| rest.starts_with('/')),
            Self::Glob(prefix, suffix) => {
                id.strip_prefix(prefix).is_some_and(|rest| is_glob_tail(rest, suffix))
            }
        }
    }
}

/// `[^/]*`, the suffix, and `/.*`: the star ends before the first slash, so that one is the first of
/// the suffix or the one behind it.
fn is_glob_tail(rest: &str, suffix: &str) -> bool {
    let slash_of_suffix = suffix.find('/').unwrap_or(suffix.len());
    rest.find('/')
        .and_then(|slash| rest.get(slash.checked_sub(slash_of_suffix)?..))
        .and_then(|from_suffix| from_suffix.strip_prefix(suffix)?.strip_prefix('/'))
        .is_some_and(|after| is_any(after.as_bytes()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/a/sa/b", true)]
    #[case("cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/a/sa/b2", false)]
    #[case("cluster.local/ns/a/sa/b", "cluster.local/ns/a/sa/b", false)]
    #[case("spiffe://cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/a/sa/b", false)]
    #[case("*", "dns.example.com", true)]
    #[case("*/sa/x", "https://q/sa/x", false)]
    #[case("*/sa/x", "spiffe:///sa/x", true)]
    #[case("*/sa/a.b", "spiffe://td/ns/n/sa/aXb", false)]
    #[case("td/ns/*", "spiffe://td/ns/x", true)]
    #[case("td/*/sa/x", "spiffe://td/ns/sa/x", false)]
    fn principal(#[case] pattern: &str, #[case] name: &str, #[case] expect: bool) {
        assert_eq!(PrincipalMatch::parse(pattern).matches(name), expect);
    }

    #[rstest]
    #[case("foo", "spiffe://td/ns/foo/sa/x", true)]
    #[case("foo", "spiffe://td/ns/foo", false)]
    #[case("foo", "spiffe://td/ns/foobar/sa/x", false)]
    #[case("f*", "spiffe://td/ns/foo/sa/x", true)]
    #[case("f*o", "spiffe://td/ns/fa/b/o/sa/x", true)]
    #[case("*", "spiffe://td/ns//", true)]
    #[case("a+b", "spiffe://td/ns/aab/sa/x", false)]
    #[case("foo", "/ns/foo/", true)]
    fn namespace(#[case] pattern: &str, #[case] name: &str, #[case] expect: bool) {
        let framed = NamespaceMatch::frame(pattern);
        assert_eq!(NamespaceMatch::framed(&framed).matches(name), expect);
    }

    #[rstest]
    #[case("sa", "spiffe://td/ns/foo/sa/sa", true)]
    #[case("bar/sa", "spiffe://td/ns/bar/sa/sa", true)]
    #[case("sa", "spiffe://td/ns/bar/sa/sa", false)]
    #[case("sa", "spiffe://td/ns/foo/sa/sa2", false)]
    #[case("sa", "spiffe://td/ns/foo/sa/sa/more", true)]
    #[case("sa", "spiffe://td/ns/foo/sa/sa/", false)]
    #[case("sa", "spiffe://td/ns/foo/k/v/sa/sa", true)]
    #[case("sa", "spiffe://td/ns/foo//sa/sa", false)]
    #[case("sa", "spiffe:///ns/foo/sa/sa", false)]
    #[case("sa", "spiffe://td/ns/foo/xsa/sa", false)]
    #[case("cert-manager.io", "spiffe://td/ns/foo/sa/cert-manager-io", false)]
    fn service_account(#[case] pattern: &str, #[case] name: &str, #[case] expect: bool) {
        let (namespace, account) = ServiceAccountMatch::split(pattern, "foo");
        let (namespace, account) = ServiceAccountMatch::frame(namespace, account);
        assert_eq!(ServiceAccountMatch::framed(&namespace, &account).matches(name), expect);
    }

    #[rstest]
    #[case("td5", "spiffe://td5/ns/a/sa/a", true)]
    #[case("td5", "spiffe://td55/ns/a/sa/a", false)]
    #[case("td*", "spiffe://tdx/ns/a/sa/a", true)]
    #[case("*.example", "spiffe://x.example/ns/a/sa/a", true)]
    #[case("*.example", "spiffe://x/ns/b.example/sa/a", false)]
    #[case("*", "spiffe://q/ns/a", true)]
    #[case("*", "https://q/ns/a", false)]
    #[case("td*td", "spiffe://td/x", false)]
    #[case("td/ns", "spiffe://td/ns/a/sa/a", true)]
    #[case("td/n", "spiffe://td/ns/a/sa/a", false)]
    #[case("td/*", "spiffe://td/ns/a/sa/a", true)]
    #[case("td/*", "spiffe://td/ns", false)]
    #[case("*d/ns", "spiffe://td/ns/a/sa/a", true)]
    #[case("*ns", "spiffe://td/ns/a/sa/a", false)]
    #[case("*/ns", "spiffe://td/a/ns/sa/a", false)]
    fn trust_domain(#[case] pattern: &str, #[case] name: &str, #[case] expect: bool) {
        assert_eq!(TrustDomainMatch::parse(pattern).matches(name), expect);
    }
}
