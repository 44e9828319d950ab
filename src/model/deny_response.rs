//! How a denial looks to the caller, where it is not to look as Envoy's own filters make it.
//!
//! Knows what may be said in such an answer; whose answer counts for a request is `extauthz`'s job.

use std::sync::Arc;

/// Names in lower case, each once, with their values.
pub type DenyHeaders = Arc<[(Arc<str>, Arc<str>)]>;

/// Parts of an answer; what is `None` stays as it would be without it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DenyResponse {
    /// 401, 403 or 404.
    pub status: Option<u16>,
    /// The whole body.
    pub body: Option<Arc<str>>,
    /// All headers of its own.
    pub headers: Option<DenyHeaders>,
}

/// Who writes an answer: policies may be written by people who may not set every header of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyAuthor {
    /// Whoever runs Postern.
    Operator,
    /// Whoever writes policies.
    Policy,
}

/// What cannot be part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDenyResponse {
    /// Not one of the three statuses.
    #[error("{0} is not `401`, `403` or `404`")]
    Status(String),
    /// More than fits.
    #[error("a body of {size} bytes; at most {most} are allowed", most = DenyResponse::MOST_BODY)]
    BodyTooLong {
        /// Its bytes.
        size: usize,
    },
    /// A character that no text has.
    #[error("a body with a control character")]
    BodyText,
    /// Not a line with a name and a value.
    #[error("line {0} is not `name: value`")]
    Line(usize),
    /// No header name.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// A header that says how the message is carried, or that somebody else sets.
    #[error("`{0}` cannot be set")]
    Reserved(String),
    /// A header that is about more than the one answer.
    #[error("`{0}` cannot be set by a policy")]
    NotByPolicies(String),
    /// Not what a header holds.
    #[error("the value of `{0}` is not visible ASCII of at most {most} bytes", most = DenyResponse::MOST_VALUE)]
    Value(String),
    /// The same name twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// More than fit.
    #[error("more than {most} headers", most = DenyResponse::MOST_HEADERS)]
    TooMany,
}

/// How a message is carried is not for it to say, nor what Envoy and Postern say of themselves.
const RESERVED: [&str; 14] = [
    "connection",
    "content-length",
    "content-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];
const RESERVED_PREFIXES: [&str; 2] = ["x-envoy-", "x-postern-"];

/// What outlives the answer, or speaks for the whole host.
const NOT_BY_POLICIES: [&str; 5] =
    ["alt-svc", "clear-site-data", "set-cookie", "strict-transport-security", "public-key-pins"];
const NOT_BY_POLICIES_PREFIX: &str = "access-control-";

impl DenyResponse {
    /// The most bytes of a body.
    pub const MOST_BODY: usize = 4 << 10;
    /// The most headers.
    pub const MOST_HEADERS: usize = 16;
    /// The most bytes of a header's name.
    pub const MOST_NAME: usize = 128;
    /// The most bytes of a header's value.
    pub const MOST_VALUE: usize = 1 << 10;

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A status as written.
    ///
    /// # Errors
    /// It is none of the three.
    pub fn parse_status(text: &str) -> Result<u16, InvalidDenyResponse> {
        match text {
            "401" => Ok(401),
            "403" => Ok(403),
            "404" => Ok(404),
            _ => Err(InvalidDenyResponse::Status(quoted(text))),
        }
    }

    /// A body as written.
    ///
    /// # Errors
    /// It is too long, or has control characters other than tabs and line ends.
    pub fn parse_body(text: &str) -> Result<Arc<str>, InvalidDenyResponse> {
        if text.len() > Self::MOST_BODY {
            return Err(InvalidDenyResponse::BodyTooLong { size: text.len() });
        }
        if text.chars().any(|c| c.is_control() && !"\t\r\n".contains(c)) {
            return Err(InvalidDenyResponse::BodyText);
        }
        Ok(text.into())
    }

    /// Headers as an annotation has them: `name: value` on each line that is not empty.
    ///
    /// # Errors
    /// One of them is not a header that this author may set.
    pub fn parse_header_lines(
        text: &str,
        author: DenyAuthor,
    ) -> Result<DenyHeaders, InvalidDenyResponse> {
        let mut headers = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(InvalidDenyResponse::Line(number))?;
            headers.push((name.trim(), value.trim()));
        }
        Self::parse_headers(headers, author)
    }

    /// Headers by name.
    ///
    /// # Errors
    /// One of them is not a header that this author may set.
    pub fn parse_headers<'t>(
        headers: impl IntoIterator<Item = (&'t str, &'t str)>,
        author: DenyAuthor,
    ) -> Result<DenyHeaders, InvalidDenyResponse> {
        let mut parsed: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for (name, value) in headers {
            let name = header_name(name, author)?;
            let is_text = |b: u8| (b' '..=b'~').contains(&b);
            if value.len() > Self::MOST_VALUE
                || value.is_empty()
                || value.trim() != value
                || !value.bytes().all(is_text)
            {
                return Err(InvalidDenyResponse::Value(name));
            }
            if parsed.iter().any(|(known, _)| **known == *name) {
                return Err(InvalidDenyResponse::Twice(name));
            }
            parsed.push((name.into(), value.into()));
        }
        if parsed.len() > Self::MOST_HEADERS {
            return Err(InvalidDenyResponse::TooMany);
        }
        Ok(parsed.into())
    }
}

fn header_name(text: &str, author: DenyAuthor) -> Result<String, InvalidDenyResponse> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || text.len() > DenyResponse::MOST_NAME || !text.bytes().all(is_token) {
        return Err(InvalidDenyResponse::Name(shortened(text)));
    }
    let name = text.to_ascii_lowercase();
    let begins = |prefix: &&str| name.starts_with(*prefix);
    if RESERVED.contains(&&*name) || RESERVED_PREFIXES.iter().any(begins) {
        return Err(InvalidDenyResponse::Reserved(name));
    }
    if author == DenyAuthor::Policy
        && (NOT_BY_POLICIES.contains(&&*name) || begins(&NOT_BY_POLICIES_PREFIX))
    {
        return Err(InvalidDenyResponse::NotByPolicies(name));
    }
    Ok(name)
}

fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    let mut short: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("200")]
    #[case("500")]
    #[case("0403")]
    #[case(" 403")]
    #[case("")]
    fn other_statuses_are_refused(#[case] text: &str) {
        DenyResponse::parse_status(text).unwrap_err();
    }

    #[rstest]
    #[case("x-a", "line 1 is not `name: value`")]
    #[case("x-a: b\nfoo", "line 2 is not `name: value`")]
    #[case(": b", "`` is not a header name")]
    #[case(":status: 200", "`` is not a header name")]
    #[case("x a: b", "`x a` is not a header name")]
    #[case("Content-Length: 3", "`content-length` cannot be set")]
    #[case("Transfer-Encoding: chunked", "`transfer-encoding` cannot be set")]
    #[case("x-postern-reason: a", "`x-postern-reason` cannot be set")]
    #[case("grpc-status: 0", "`grpc-status` cannot be set")]
    #[case("Set-Cookie: a=b", "`set-cookie` cannot be set by a policy")]
    #[case(
        "access-control-allow-origin: *",
        "`access-control-allow-origin` cannot be set by a policy"
    )]
    #[case("x-a: b\nX-A: c", "`x-a` is there twice")]
    #[case("x-a:", "the value of `x-a` is not visible ASCII of at most 1024 bytes")]
    #[case("x-a: b\u{7}", "the value of `x-a` is not visible ASCII of at most 1024 bytes")]
    #[case("x-a: \u{e9}", "the value of `x-a` is not visible ASCII of at most 1024 bytes")]
    fn bad_headers_are_refused(#[case] text: &str, #[case] problem: &str) {
        let error = DenyResponse::parse_header_lines(text, DenyAuthor::Policy).unwrap_err();
        assert_eq!(error.to_string(), problem);
    }

    #[test]
    fn operators_may_set_cookies_and_not_more_than_fits() {
        let cookie = [("Set-Cookie", "a=b; HttpOnly")];
        let headers = DenyResponse::parse_headers(cookie, DenyAuthor::Operator).unwrap();
        assert_eq!(*headers, [("set-cookie".into(), "a=b; HttpOnly".into())]);
        let names: Vec<_> = (0..=DenyResponse::MOST_HEADERS).map(|n| format!("x-{n}")).collect();
        let many = names.iter().map(|name| (name.as_str(), "a"));
        let error = DenyResponse::parse_headers(many, DenyAuthor::Operator).unwrap_err();
        assert_eq!(error, InvalidDenyResponse::TooMany);
        let long = "a".repeat(DenyResponse::MOST_VALUE + 1);
        DenyResponse::parse_headers([("x", &*long)], DenyAuthor::Operator).unwrap_err();
        DenyResponse::parse_body(&"a".repeat(DenyResponse::MOST_BODY + 1)).unwrap_err();
        DenyResponse::parse_body("a\u{0}").unwrap_err();
        assert_eq!(&*DenyResponse::parse_body("ü\n").unwrap(), "ü\n");
    }
}
