//! Whether one value can satisfy two fields, as far as their patterns tell.
//!
//! Says no only where that is certain; of a peer that has one name.

use super::test::{Entries, Meaning, Test};

impl Test {
    /// Whether one request can satisfy both. `false` is certain, but for peers of several names.
    pub fn may_meet(&self, other: &Self) -> bool {
        if self.negated || other.negated || self.input() != other.input() {
            return true;
        }
        match (&self.entries, &other.entries) {
            (Entries::Ports(a), Entries::Ports(b)) => a.iter().any(|port| b.contains(port)),
            (Entries::Blocks(a), Entries::Blocks(b)) => {
                let meets = |x: &ipnet::IpNet, y: &ipnet::IpNet| x.contains(y) || y.contains(x);
                a.iter().any(|x| b.iter().any(|y| meets(x, y)))
            }
            (Entries::Texts(one, a), Entries::Texts(two, b)) => {
                let is_plain = match one {
                    Meaning::Principal | Meaning::Path => one == two,
                    // Headers, claims and metadata can be several; the others are one text.
                    Meaning::Text => one == two && self.input().is_one_text(),
                    Meaning::Namespace
                    | Meaning::ServiceAccount
                    | Meaning::TrustDomain
                    | Meaning::RequestPrincipal
                    | Meaning::Metadata => false,
                };
                !is_plain || a.iter().any(|x| b.iter().any(|y| texts_meet(x, y)))
            }
            (Entries::Ports(_) | Entries::Blocks(_) | Entries::Texts(..), _) => true,
        }
    }
}

/// Of plain patterns and templates, whatever the case of letters.
fn texts_meet(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let (a, b) = (Shape::of(&a), Shape::of(&b));
    match (a, b) {
        (Shape::Whole(a), Shape::Whole(b)) => a == b,
        (Shape::Whole(text), Shape::Start(start)) | (Shape::Start(start), Shape::Whole(text)) => {
            text.starts_with(start)
        }
        (Shape::Whole(text), Shape::End(end)) | (Shape::End(end), Shape::Whole(text)) => {
            text.ends_with(end)
        }
        (Shape::Start(a), Shape::Start(b)) => a.starts_with(b) || b.starts_with(a),
        (Shape::End(a), Shape::End(b)) => a.ends_with(b) || b.ends_with(a),
        (Shape::Start(_), Shape::End(_)) | (Shape::End(_), Shape::Start(_)) => true,
        (Shape::Any, _) | (_, Shape::Any) => true,
    }
}

enum Shape<'t> {
    Whole(&'t str),
    Start(&'t str),
    End(&'t str),
    Any,
}

impl<'t> Shape<'t> {
    fn of(pattern: &'t str) -> Self {
        if let Some(at) = pattern.find('{') {
            return Self::Start(pattern.get(..at).unwrap_or_default());
        }
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(""), _) => Self::Any,
            (Some(end), None) => Self::End(end),
            (None, Some(start)) => Self::Start(start),
            (None, None) => Self::Whole(pattern),
            // Two stars mean different things in different fields.
            (Some(_), Some(_)) => Self::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/a", "/a", true)]
    #[case("/a", "/b", false)]
    #[case("/a", "/A", true)]
    #[case("/a*", "/ab", true)]
    #[case("/a*", "/b", false)]
    #[case("/a*", "/ab*", true)]
    #[case("/a*", "/b*", false)]
    #[case("/a*", "*/b", true)]
    #[case("*b", "*ab", true)]
    #[case("*b", "*c", false)]
    #[case("*", "/a", true)]
    #[case("/a/{*}", "/a/b", true)]
    #[case("/a/{*}", "/b/c", false)]
    #[case("/{**}/x", "/b/c", true)]
    fn patterns_meet(#[case] a: &str, #[case] b: &str, #[case] meet: bool) {
        assert_eq!(texts_meet(a, b), meet);
        assert_eq!(texts_meet(b, a), meet);
    }
}
