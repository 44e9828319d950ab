//! Path templates: `{*}` is one segment, `{**}` is any number of them.
//!
//! Means what Envoy's `uri_template` path matcher means by `*` and `**`, observed: only characters
//! of RFC 3986's `pchar` fit a wildcard, `{*}` needs at least one, `{**}` takes none too but its
//! slash must be there, and only literals may follow `{**}`.

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathTemplate {
    /// Literals and single-segment wildcards before `{**}`, or all of them.
    head: Box<[Token]>,
    /// The literal after `{**}`; `None` without one.
    tail: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Token {
    Literal(Box<str>),
    OneSegment,
}

const ONE: &str = "{*}";
const ANY: &str = "{**}";

impl PathTemplate {
    /// Whether Istio treats a path as a template.
    pub fn is_template(path: &str) -> bool {
        path.contains(ONE) || path.contains(ANY)
    }

    /// Compiles a template; `None` where Envoy would refuse it (an operator after `{**}`).
    pub fn parse(template: &str) -> Option<Self> {
        let (head, tail) = match template.split_once(ANY) {
            Some((head, tail)) if Self::is_template(tail) => {
                let _ = head;
                return None;
            }
            Some((head, tail)) => (head, Some(tail.into())),
            None => (template, None),
        };
        let mut tokens = Vec::new();
        for (i, literal) in head.split(ONE).enumerate() {
            if i > 0 {
                tokens.push(Token::OneSegment);
            }
            if !literal.is_empty() {
                tokens.push(Token::Literal(literal.into()));
            }
        }
        Some(Self { head: tokens.into(), tail })
    }

    /// The literal that every path of it begins with; may be empty.
    pub fn start(&self) -> &str {
        match self.head.first() {
            Some(Token::Literal(text)) => text,
            Some(Token::OneSegment) | None => "",
        }
    }

    /// The literal that every path of it ends with; may be empty.
    pub fn end(&self) -> &str {
        match (&self.tail, self.head.last()) {
            (Some(tail), _) => tail,
            (None, Some(Token::Literal(text))) => text,
            (None, Some(Token::OneSegment) | None) => "",
        }
    }

    /// What it holds on the heap, in bytes.
    pub fn heap_size(&self) -> usize {
        let text = |token: &Token| match token {
            Token::Literal(text) => text.len(),
            Token::OneSegment => 0,
        };
        size_of_val(&*self.head)
            + self.head.iter().map(text).sum::<usize>()
            + self.tail.as_ref().map_or(0, |tail| tail.len())
    }

    /// Whether a path (without its query) fits.
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path.as_bytes();
        for token in &self.head {
            match token {
                Token::Literal(text) => match rest.strip_prefix(text.as_bytes()) {
                    Some(after) => rest = after,
                    None => return false,
                },
                Token::OneSegment => {
                    let end = rest.iter().position(|&b| !is_pchar(b)).unwrap_or(rest.len());
                    if end == 0 {
                        return false;
                    }
                    rest = rest.get(end..).unwrap_or_default();
                }
            }
        }
        match &self.tail {
            None => rest.is_empty(),
            Some(tail) => rest
                .strip_suffix(tail.as_bytes())
                .is_some_and(|any| any.iter().all(|&b| b == b'/' || is_pchar(b))),
        }
    }
}

fn is_pchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;:@=".contains(&b)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // The rows of Envoy's answers.
    #[rstest]
    #[case("/a/{*}", &["/a/b", "/a/b.c", "/a/b;x=1", "/a/b%2fc", "/a/%", "/a/~", "/a/@:", "/a/b!$&()=", "/a/b+c", "/a/b,c", "/a/b'", "/a/*"],
        &["/a", "/a/", "/a/b/", "/a/b/c", "/a/[x]", "/a/b|c", "/a/{x}", "/a/\"", "/a/<", "/a/^", "/a/`", "/a/\\"])]
    #[case("/a/{**}", &["/a/", "/a/b", "/a/b/c/", "/a//b"], &["/a", "/ab"])]
    #[case("/a/{*}/c", &["/a/b/c"], &["/a//c", "/a/b/d/c", "/a/b/c/"])]
    #[case("/a/{**}/c", &["/a/b/c", "/a/b/d/c", "/a//c"], &["/a/c", "/a/b/cc"])]
    #[case("/{**}", &["/", "/a", "/a/b"], &[])]
    #[case("/{**}/x", &["/a/x", "/a/b/x"], &["/x", "/ax"])]
    #[case("/{*}", &["/a"], &["/"])]
    #[case("/a/{*}/b/{**}", &["/a/1/b/", "/a/1/b/2/3"], &["/a/1/b"])]
    #[case("/t/{*}/", &["/t/x/"], &["/t/x"])]
    fn as_envoy(#[case] template: &str, #[case] yes: &[&str], #[case] no: &[&str]) {
        let compiled = PathTemplate::parse(template).unwrap();
        for path in yes {
            assert!(compiled.matches(path), "{template} should match {path}");
        }
        for path in no {
            assert!(!compiled.matches(path), "{template} should not match {path}");
        }
    }

    #[test]
    fn nothing_variable_follows_any() {
        assert_eq!(PathTemplate::parse("/a/{**}/b/{*}"), None);
        assert_eq!(PathTemplate::parse("/a/{**}/b/{**}"), None);
    }
}
