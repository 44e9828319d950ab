//! What one entry of a list takes, as far as two entries can be held against each other.
//!
//! Every answer is a proof: `false` means that nothing is known. Values that no request brings are
//! left out of the question: line feeds in paths and in names of certificates.

use ipnet::IpNet;

use crate::matcher::{
    MetadataMatch, NamespaceMatch, PathTemplate, PrincipalMatch, RequestPrincipalMatch,
    ServiceAccountMatch, Star, StringMatch, TrustDomainMatch,
};

/// One of Istio's string patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// Any value.
    Any,
    /// Any that is not empty and has no line feed.
    OneOrMore,
    Exact(String),
    Prefix(String),
    Suffix(String),
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    /// Methods, headers, claims, server names; hosts in lower case.
    Text(Text),
    /// A path that is no template.
    Path(Text),
    /// A path template, and its text.
    Template(PathTemplate, String),
    /// Behind `spiffe://`; [`Text::OneOrMore`] is any name.
    Principal(Text),
    /// As written.
    Namespace(String),
    /// Namespace and account.
    ServiceAccount(String, String),
    /// As written.
    TrustDomain(String),
    /// Issuer and subject.
    RequestPrincipal(Text, Text),
    /// A string of metadata, or one in a list of it.
    Metadata {
        in_list: bool,
        text: Text,
    },
    Block(IpNet),
    Port(u16),
}

impl From<StringMatch<'_>> for Text {
    fn from(string: StringMatch<'_>) -> Self {
        match string {
            StringMatch::Present => Self::Any,
            StringMatch::OneOrMore => Self::OneOrMore,
            StringMatch::Exact(text) => Self::Exact(text.to_owned()),
            StringMatch::Prefix(text) => Self::Prefix(text.to_owned()),
            StringMatch::Suffix(text) => Self::Suffix(text.to_owned()),
        }
    }
}

impl Text {
    /// Whether it takes every value that the other takes. `one_line`: no value has a line feed.
    fn covers(&self, other: &Self, one_line: bool) -> bool {
        match (self, other) {
            (Self::Any, _) | (Self::OneOrMore, Self::OneOrMore) => true,
            (Self::OneOrMore, Self::Exact(text)) => self.takes(text),
            (Self::OneOrMore, Self::Prefix(text) | Self::Suffix(text)) => {
                one_line && !text.is_empty()
            }
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Prefix(a), Self::Exact(b) | Self::Prefix(b)) => b.starts_with(a.as_str()),
            (Self::Suffix(a), Self::Exact(b) | Self::Suffix(b)) => b.ends_with(a.as_str()),
            (Self::OneOrMore | Self::Exact(_) | Self::Prefix(_) | Self::Suffix(_), _) => false,
        }
    }

    /// Whether no value is taken by both.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(text), pattern) | (pattern, Self::Exact(text)) => !pattern.takes(text),
            (Self::Prefix(a), Self::Prefix(b)) => {
                !a.starts_with(b.as_str()) && !b.starts_with(a.as_str())
            }
            (Self::Suffix(a), Self::Suffix(b)) => {
                !a.ends_with(b.as_str()) && !b.ends_with(a.as_str())
            }
            (Self::Any | Self::OneOrMore | Self::Prefix(_) | Self::Suffix(_), _) => false,
        }
    }

    pub(super) fn takes(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOrMore => !value.is_empty() && !value.contains('\n'),
            Self::Exact(text) => value == text,
            Self::Prefix(text) => value.starts_with(text.as_str()),
            Self::Suffix(text) => value.ends_with(text.as_str()),
        }
    }

    /// The text of it that is no star.
    pub(super) fn literal(&self) -> &str {
        match self {
            Self::Any | Self::OneOrMore => "",
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) => text,
        }
    }
}

impl Pattern {
    pub(super) fn text(entry: &str, star: Star) -> Self {
        Self::Text(StringMatch::parse(entry, star).into())
    }

    pub(super) fn host(entry: &str) -> Self {
        Self::text(&entry.to_ascii_lowercase(), Star::Present)
    }

    /// `None` for what is neither a path nor a template that Envoy takes.
    pub(super) fn path(entry: &str) -> Option<Self> {
        if PathTemplate::is_template(entry) {
            return PathTemplate::parse(entry).map(|t| Self::Template(t, entry.to_owned()));
        }
        Some(Self::Path(StringMatch::parse(entry, Star::OneOrMore).into()))
    }

    pub(super) fn principal(entry: &str) -> Self {
        Self::Principal(match PrincipalMatch::parse(entry) {
            PrincipalMatch::Any => Text::OneOrMore,
            PrincipalMatch::Exact(text) => Text::Exact(text.to_owned()),
            PrincipalMatch::Prefix(text) => Text::Prefix(text.to_owned()),
            PrincipalMatch::Suffix(text) => Text::Suffix(text.to_owned()),
        })
    }

    pub(super) fn service_account(entry: &str, policy_namespace: &str) -> Self {
        let (namespace, account) = ServiceAccountMatch::split(entry, policy_namespace);
        Self::ServiceAccount(namespace.to_owned(), account.to_owned())
    }

    pub(super) fn request_principal(entry: &str) -> Self {
        let RequestPrincipalMatch { issuer, subject } = RequestPrincipalMatch::parse(entry);
        Self::RequestPrincipal(issuer.into(), subject.into())
    }

    pub(super) fn metadata(entry: &str) -> Self {
        match MetadataMatch::parse(entry) {
            MetadataMatch::String(text) => Self::Metadata { in_list: false, text: text.into() },
            MetadataMatch::OneOf(text) => Self::Metadata { in_list: true, text: text.into() },
        }
    }

    /// Whether it takes every value that the other takes.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.covers(b, false),
            (Self::Path(a), Self::Path(b)) => a.covers(b, true),
            (Self::Principal(Text::OneOrMore), Self::Principal(_)) => true,
            (Self::Principal(a), Self::Principal(b)) => a.covers(b, true),
            (Self::Path(a), Self::Template(b, _)) => match a {
                Text::Any => true,
                Text::OneOrMore => !b.start().is_empty(),
                Text::Prefix(text) => b.start().starts_with(text.as_str()),
                Text::Suffix(text) => b.end().ends_with(text.as_str()),
                Text::Exact(_) => false,
            },
            (Self::Template(a, _), Self::Path(Text::Exact(b))) => a.matches(b),
            (Self::Template(_, a), Self::Template(_, b)) => a == b,
            (Self::Namespace(a), Self::Namespace(b)) => {
                // A star takes anything, so also a mark that stands for the other's star.
                a == b || {
                    let framed = NamespaceMatch::frame(a);
                    NamespaceMatch::framed(&framed)
                        .matches(&NamespaceMatch::frame(b).replace('*', "\0"))
                }
            }
            (Self::ServiceAccount(a, x), Self::ServiceAccount(b, y)) => (a, x) == (b, y),
            (Self::TrustDomain(a), Self::TrustDomain(b)) => {
                a == b || a == "*" || {
                    let plain = !b.contains(['*', '/']) && !a.contains('/');
                    plain && TrustDomainMatch::parse(a).matches(&format!("spiffe://{b}/"))
                }
            }
            (Self::RequestPrincipal(a, x), Self::RequestPrincipal(b, y)) => {
                a.covers(b, false) && x.covers(y, false)
            }
            (Self::Metadata { in_list: a, text: x }, Self::Metadata { in_list: b, text: y }) => {
                a == b && x.covers(y, false)
            }
            (Self::Block(a), Self::Block(b)) => a.contains(b),
            (Self::Port(a), Self::Port(b)) => a == b,
            // A principal is the whole name, which is what these look at too.
            (_, Self::Principal(Text::Exact(_))) => self.takes_principal_of(other),
            (_, _) => false,
        }
    }

    /// Whether no single value is taken by both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b))
            | (Self::Path(a), Self::Path(b))
            | (Self::Principal(a), Self::Principal(b)) => a.excludes(b),
            (Self::Template(a, _), Self::Path(b)) | (Self::Path(b), Self::Template(a, _)) => {
                match b {
                    Text::Exact(path) => !a.matches(path),
                    Text::Prefix(start) => apart(a.start(), start, |x, y| x.starts_with(y)),
                    Text::Suffix(end) => apart(a.end(), end, |x, y| x.ends_with(y)),
                    Text::Any | Text::OneOrMore => false,
                }
            }
            (Self::Template(a, _), Self::Template(b, _)) => {
                apart(a.start(), b.start(), |x, y| x.starts_with(y))
                    || apart(a.end(), b.end(), |x, y| x.ends_with(y))
            }
            (Self::RequestPrincipal(a, x), Self::RequestPrincipal(b, y)) => {
                a.excludes(b) || x.excludes(y)
            }
            (Self::Block(a), Self::Block(b)) => !a.contains(b) && !b.contains(a),
            (Self::Port(a), Self::Port(b)) => a != b,
            // An identity is `<trust domain>/ns/<namespace>/sa/<account>`, with one of each.
            (Self::Namespace(a), Self::Namespace(b)) => {
                is_not_in_namespace(a, b) || is_not_in_namespace(b, a)
            }
            (Self::ServiceAccount(..), Self::ServiceAccount(..)) => self != other,
            (Self::ServiceAccount(a, _), Self::Namespace(b))
            | (Self::Namespace(b), Self::ServiceAccount(a, _)) => is_not_in_namespace(b, a),
            (Self::TrustDomain(a), Self::TrustDomain(b)) => {
                let plain = |domain: &str| !domain.contains(['*', '/']);
                plain(b) && !self.covers(other) && !a.contains('/')
                    || plain(a) && !other.covers(self) && !b.contains('/')
            }
            (Self::Principal(Text::Exact(_)), _) => {
                other.is_of_identity() && !other.takes_principal_of(self)
            }
            (_, Self::Principal(Text::Exact(_))) => {
                self.is_of_identity() && !self.takes_principal_of(other)
            }
            (_, _) => false,
        }
    }

    /// Whether it looks at names of the peer, but not at the whole of them.
    fn is_of_identity(&self) -> bool {
        match self {
            Self::Namespace(_) | Self::ServiceAccount(..) | Self::TrustDomain(_) => true,
            Self::Text(_)
            | Self::Path(_)
            | Self::Template(..)
            | Self::Principal(_)
            | Self::RequestPrincipal(..)
            | Self::Metadata { .. }
            | Self::Block(_)
            | Self::Port(_) => false,
        }
    }

    /// Whether a part of the name in an exact principal is what this asks for.
    fn takes_principal_of(&self, principal: &Self) -> bool {
        let Self::Principal(Text::Exact(id)) = principal else { return false };
        let name = format!("spiffe://{id}");
        match self {
            Self::Namespace(namespace) => {
                NamespaceMatch::framed(&NamespaceMatch::frame(namespace)).matches(&name)
            }
            Self::ServiceAccount(namespace, account) => {
                let (namespace, account) = ServiceAccountMatch::frame(namespace, account);
                ServiceAccountMatch::framed(&namespace, &account).matches(&name)
            }
            Self::TrustDomain(domain) => TrustDomainMatch::parse(domain).matches(&name),
            Self::Text(_)
            | Self::Path(_)
            | Self::Template(..)
            | Self::Principal(_)
            | Self::RequestPrincipal(..)
            | Self::Metadata { .. }
            | Self::Block(_)
            | Self::Port(_) => false,
        }
    }
}

/// Whether a pattern of namespaces does not take the identities of a namespace. Its stars take anything,
/// also what follows the namespace, so that only what stands before the first star counts.
fn is_not_in_namespace(pattern: &str, namespace: &str) -> bool {
    if namespace.contains('*') {
        return false;
    }
    match pattern.split_once('*') {
        None => pattern != namespace,
        Some((start, _)) => !format!("{namespace}/sa/").starts_with(start),
    }
}

/// Whether two beginnings (or ends) cannot be of one text.
fn apart(a: &str, b: &str, begins: impl Fn(&str, &str) -> bool) -> bool {
    !begins(a, b) && !begins(b, a)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tiny alphabets, so that what covers and what excludes is common.
    const TEXT: &str = "\\*?[ab/]{0,3}\\*?";
    const PATH: &str =
        "(\\*?/?[ab/]{0,3}\\*?)|(/(a|b|\\{\\*\\}|ab)(/(a|b|\\{\\*\\})){0,2}(/\\{\\*\\*\\}(/a)?)?)";
    const NAME: &str = "(spiffe://)?(t|ta|b)?/ns/(a|ab|b)/sa/(a|b|ab)";
    const PRINCIPAL: &str = "\\*|(\\*|t|ta|b)/ns/(a|ab|b)/sa/(a|b|ab|\\*)|(t|ta)[*]|[*]/sa/(a|ab)";

    /// One entry of an attribute, and whether it takes a value.
    type Kind = (&'static str, &'static str, fn(&str) -> Option<Pattern>, fn(&str, &str) -> bool);

    const KINDS: &[Kind] = &[
        (
            TEXT,
            "[ab/]{0,4}",
            |p| Some(Pattern::text(p, Star::Present)),
            |p, v| StringMatch::parse(p, Star::Present).matches(v),
        ),
        (
            TEXT,
            "[ab/\n]{0,4}",
            |p| Some(Pattern::text(p, Star::OneOrMore)),
            |p, v| StringMatch::parse(p, Star::OneOrMore).matches(v),
        ),
        (
            "\\*?[aAbB]{0,3}\\*?",
            "[aAbB]{0,4}",
            |p| Some(Pattern::host(p)),
            |p, v| StringMatch::parse(p, Star::Present).matches_ignore_case(v),
        ),
        (PATH, "/[ab/]{0,5}|/[ab]/[ab](/[ab]){0,2}", Pattern::path, |p, v| {
            match PathTemplate::is_template(p) {
                true => PathTemplate::parse(p).is_some_and(|template| template.matches(v)),
                false => StringMatch::parse(p, Star::OneOrMore).matches(v),
            }
        }),
        (
            PRINCIPAL,
            NAME,
            |p| Some(Pattern::principal(p)),
            |p, v| PrincipalMatch::parse(p).matches(v),
        ),
        (
            "[ab*]{1,3}",
            NAME,
            |p| Some(Pattern::Namespace(p.to_owned())),
            |p, v| NamespaceMatch::framed(&NamespaceMatch::frame(p)).matches(v),
        ),
        (
            "((a|ab|b)/)?(a|b|ab)",
            NAME,
            |p| Some(Pattern::service_account(p, "b")),
            |p, v| {
                let (namespace, account) = ServiceAccountMatch::split(p, "b");
                let (namespace, account) = ServiceAccountMatch::frame(namespace, account);
                ServiceAccountMatch::framed(&namespace, &account).matches(v)
            },
        ),
        (
            "\\*|\\*?(t|a|ta|b)|(t|ta)\\*",
            NAME,
            |p| Some(Pattern::TrustDomain(p.to_owned())),
            |p, v| TrustDomainMatch::parse(p).matches(v),
        ),
        (
            "\\*?[ab]{0,2}/?[ab]{0,2}\\*?",
            "[ab]{0,3}/[ab]{0,3}",
            |p| Some(Pattern::request_principal(p)),
            |p, v| {
                v.rsplit_once('/')
                    .is_some_and(|found| RequestPrincipalMatch::parse(p).matches(found))
            },
        ),
        (
            "(10|11)\\.[01]\\.0\\.0/(7|8|15|16|32)|::/[01]",
            "(10|11)\\.[01]\\.0\\.[01]",
            |p| Some(Pattern::Block(p.parse().ok()?)),
            |p, v| {
                let block: IpNet = p.parse().unwrap();
                block.contains(&v.parse::<std::net::IpAddr>().unwrap())
            },
        ),
    ];

    fn entries() -> impl Strategy<Value = (usize, String, usize, String, Vec<String>)> {
        (0..KINDS.len(), any::<bool>()).prop_flat_map(|(kind, of_peer)| {
            // All that looks at names of the peer can be held against each other.
            let peers = 4..8;
            let other = if peers.contains(&kind) && of_peer { peers } else { kind..kind + 1 };
            (Just(kind), KINDS[kind].0, other).prop_flat_map(|(kind, one, other)| {
                let values = proptest::collection::vec(KINDS[kind].1, 24);
                (Just(kind), Just(one), Just(other), KINDS[other].0, values)
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

        /// What covers takes all that is covered, what excludes takes nothing of it.
        #[test]
        fn patterns_keep_their_word((a, one, b, other, values) in entries()) {
            let (Some(first), Some(second)) = (KINDS[a].2(&one), KINDS[b].2(&other)) else {
                return Ok(());
            };
            // Also what the entries themselves look like.
            let own = [one.replace('*', ""), other.replace('*', "")];
            let own = if a < 3 { own.to_vec() } else { Vec::new() };
            for value in values.iter().chain(&own) {
                let (takes, other_takes) = (KINDS[a].3(&one, value), KINDS[b].3(&other, value));
                let (covers, excludes) = (first.covers(&second), first.excludes(&second));
                prop_assert!(!covers || !other_takes || takes, "{} covers {}: {:?}", one, other, value);
                prop_assert!(!excludes || !takes || !other_takes, "{} excludes {}: {:?}", one, other, value);
                prop_assert_eq!(excludes, second.excludes(&first));
            }
        }
    }

    #[test]
    fn there_is_something_to_keep() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut counts = vec![[0; 2]; KINDS.len()];
        for _ in 0..2_000 {
            let (a, one, b, other, _) = entries().new_tree(&mut runner).unwrap().current();
            let (Some(first), Some(second)) = (KINDS[a].2(&one), KINDS[b].2(&other)) else {
                continue;
            };
            counts[a][0] += usize::from(one != other && first.covers(&second));
            counts[a][1] += usize::from(first.excludes(&second));
        }
        // Accounts cover themselves alone.
        let few = |(kind, [covers, excludes]): (usize, &[usize; 2])| {
            (kind != 6 && *covers < 3) || *excludes < 3
        };
        assert!(!counts.iter().enumerate().any(few), "{counts:?}");
    }
}
