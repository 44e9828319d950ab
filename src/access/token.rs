//! Where Oathkeeper's handlers find a token.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::model::{Http, TokenFrom, header_text};

/// The token at its place; an empty one is none.
pub(super) fn find<'h>(place: &TokenFrom, http: &'h Http<'_>) -> Option<Cow<'h, str>> {
    let token = match place {
        TokenFrom::Bearer => bearer(http),
        // There the token never stands alone.
        TokenFrom::Header(name) if name == "authorization" => bearer(http),
        TokenFrom::Header(name) => {
            let pseudo = http.pseudo_header(name).map(Cow::Borrowed);
            pseudo.or_else(|| http.headers.first(name).map(|value| header_text(value)))
        }
        TokenFrom::QueryParameter(name) => query_parameter(&http.path, name).map(Cow::Owned),
        TokenFrom::Cookie(name) => cookie(http, name).map(Cow::Owned),
    };
    token.filter(|token| !token.is_empty())
}

/// What follows `Bearer`, however that is written.
fn bearer<'h>(http: &'h Http<'_>) -> Option<Cow<'h, str>> {
    let of = |value: &str| {
        let (scheme, _) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(scheme.len() + 1)
    };
    match header_text(http.headers.first("authorization")?) {
        Cow::Borrowed(value) => value.get(of(value)?..).map(Cow::Borrowed),
        Cow::Owned(value) => value.get(of(&value)?..).map(|token| Cow::Owned(token.to_owned())),
    }
}

fn query_parameter(path: &str, name: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
    };
    query.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (decoded(key)? == name).then(|| decoded(value)).flatten()
    })
}

fn cookie(http: &Http<'_>, name: &str) -> Option<String> {
    http.headers.values("cookie").find_map(|line| {
        let line = header_text(line);
        line.split(';').find_map(|pair| {
            let (key, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            (key == name).then(|| inner.unwrap_or(value).to_owned())
        })
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::model::Headers;

    fn request<'a>(path: &'a str, lines: &[(&'a str, &'a str)]) -> Http<'a> {
        let lines = lines.iter().map(|(n, v)| ((*n).into(), v.as_bytes().into())).collect();
        Http {
            method: "GET".into(),
            path: path.into(),
            host: "h".into(),
            scheme: "http".into(),
            headers: Headers::new(lines, false),
        }
    }

    #[rstest]
    #[case("Bearer tok", Some("tok"))]
    #[case("bearer tok", Some("tok"))]
    #[case("BEARER tok more", Some("tok more"))]
    #[case("Bearer ", None)]
    #[case("Bearer", None)]
    #[case("Basic tok", None)]
    #[case("tok", None)]
    #[case("", None)]
    fn bearers(#[case] value: &str, #[case] expect: Option<&str>) {
        let http = request("/", &[("authorization", value)]);
        for place in [TokenFrom::Bearer, TokenFrom::Header("authorization".into())] {
            assert_eq!(find(&place, &http).as_deref(), expect);
        }
    }

    #[rstest]
    #[case(TokenFrom::Header("x-token".into()), Some("Bearer raw"))]
    #[case(TokenFrom::Header("x-empty".into()), None)]
    #[case(TokenFrom::Header("x-none".into()), None)]
    #[case(TokenFrom::QueryParameter("t".into()), Some("a b/c"))]
    #[case(TokenFrom::QueryParameter("e".into()), None)]
    #[case(TokenFrom::QueryParameter("n".into()), None)]
    #[case(TokenFrom::Cookie("t".into()), Some("cookie"))]
    #[case(TokenFrom::Cookie("q".into()), Some("quoted"))]
    #[case(TokenFrom::Cookie("T".into()), None)]
    #[case(TokenFrom::Bearer, None)]
    fn other_places(#[case] place: TokenFrom, #[case] expect: Option<&str>) {
        let lines = [
            ("x-token", "Bearer raw"),
            ("x-empty", ""),
            ("cookie", "a=1; t=cookie; t=second"),
            ("cookie", "q=\"quoted\""),
        ];
        let http = request("/?e=&t=a+b%2Fc&t=2", &lines);
        assert_eq!(find(&place, &http).as_deref(), expect);
    }
}
