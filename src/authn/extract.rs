//! Where tokens are found in a request.

use std::{borrow::Cow, sync::Arc};

use smallvec::SmallVec;

use super::query::Query;
use crate::model::Http;
use crate::plan::TokenPlaces;

/// A token and where it stood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'p, 'h> {
    pub(super) token: Cow<'h, str>,
    pub(super) place: Place<'p>,
}

/// Hardly ever more than one or two.
pub(super) type Tokens<'p, 'h> = SmallVec<[Found<'p, 'h>; 2]>;

/// A place of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'p> {
    Header(&'p Arc<str>),
    Param(&'p str),
    Cookie,
}

/// Every token at a rule's places: headers, then parameters, then cookies.
pub(super) fn tokens<'p, 'h>(places: &'p TokenPlaces, http: &'h Http<'_>) -> Tokens<'p, 'h> {
    let mut found = Tokens::new();
    for (name, prefix) in &places.headers {
        let pseudo = http.pseudo_header(name).map(str::as_bytes);
        for value in pseudo.into_iter().chain(http.headers.values(name)) {
            // What is UTF-8 is seen to be sooner by this than by the lossy reading.
            let token = match str::from_utf8(value) {
                Ok(value) => token_in_header(value, prefix).map(Cow::Borrowed),
                Err(_) => token_in_header(&String::from_utf8_lossy(value), prefix)
                    .map(|token| Cow::Owned(token.to_owned())),
            };
            if let Some(token) = token {
                found.push(Found { token, place: Place::Header(name) });
            }
        }
    }
    if !places.params.is_empty() {
        let query = Query::of(&http.path);
        for name in &places.params {
            if let Some(value) = query.first(name) {
                let token = String::from_utf8_lossy(value).into_owned().into();
                found.push(Found { token, place: Place::Param(name) });
            }
        }
    }
    for name in &places.cookies {
        if let Some(token) = cookie(http, name) {
            found.push(Found { token: token.into(), place: Place::Cookie });
        }
    }
    found
}

/// Envoy looks for the prefix anywhere in the value, and takes the token from the next character
/// that a token may have to the end. No such character: the whole value is the (bad) token.
fn token_in_header<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    if prefix.is_empty() {
        return Some(value);
    }
    let after = value.find(prefix).map(|at| at + prefix.len())?;
    let rest = value.get(after..)?;
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    Some(rest.find(is_token_char).and_then(|start| rest.get(start..)).unwrap_or(value))
}

/// The first cookie of that name in any line; quotes around its value do not count, blanks do.
fn cookie(http: &Http<'_>, name: &str) -> Option<String> {
    http.headers.values("cookie").find_map(|line| {
        let line: Cow<'_, str> = String::from_utf8_lossy(line);
        line.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            if key.trim_start_matches(' ') != name {
                return None;
            }
            let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            Some(inner.unwrap_or(value).to_owned())
        })
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::Headers;

    #[rstest]
    #[case("Bearer tok", Some("tok"))]
    #[case("bearer tok", None)]
    #[case("Bearer\ttok", None)]
    #[case("Bearer", None)]
    #[case("Bearer  tok", Some("tok"))]
    #[case("Bearer ==tok x", Some("tok x"))]
    #[case("Basic abc, Bearer tok", Some("tok"))]
    #[case("XBearer tok", Some("tok"))]
    #[case("Bearer !!!", Some("Bearer !!!"))]
    fn header(#[case] value: &str, #[case] expect: Option<&str>) {
        assert_eq!(token_in_header(value, "Bearer "), expect);
    }

    #[rstest]
    #[case(":path", "/?a")]
    #[case(":method", "GET")]
    #[case(":authority", "h")]
    #[case("host", "h")]
    fn pseudo_headers_are_places_too(#[case] name: &str, #[case] expect: &str) {
        let http = Http {
            method: "GET".into(),
            path: "/?a".into(),
            host: "h".into(),
            scheme: "http".into(),
            headers: Headers::default(),
        };
        let places =
            TokenPlaces { headers: [(name.into(), "".into())].into(), ..TokenPlaces::default() };
        let found: Vec<_> = tokens(&places, &http).into_iter().map(|f| f.token).collect();
        assert_eq!(found, [expect]);
    }

    #[rstest]
    #[case(&["a=1; sess=tok"], Some("tok"))]
    #[case(&["sess=\"tok\""], Some("tok"))]
    #[case(&["sess= tok ; a=1"], Some(" tok "))]
    #[case(&["sess= \"tok\""], Some(" \"tok\""))]
    #[case(&["sess =tok"], None)]
    #[case(&["a=1", "sess=tok; sess=later"], Some("tok"))]
    #[case(&["sess="], Some(""))]
    #[case(&["Sess=tok"], None)]
    #[case(&["sess"], None)]
    #[case(&["xsess=tok"], None)]
    fn cookies(#[case] lines: &[&'static str], #[case] expect: Option<&str>) {
        let headers = Headers::new(
            lines.iter().map(|l| ("cookie".into(), Cow::Borrowed(l.as_bytes()))).collect(),
            false,
        );
        let http = Http {
            method: "GET".into(),
            path: "/".into(),
            host: "h".into(),
            scheme: "http".into(),
            headers,
        };
        assert_eq!(cookie(&http, "sess").as_deref(), expect);
    }
}
