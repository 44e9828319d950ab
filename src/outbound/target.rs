//! A URL to fetch from, taken apart once.
//!
//! Says where to connect and what to ask for; whether that is allowed is `dial`'s job.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};

use super::OutboundError;

/// An absolute http or https URL. Displays without credentials and query.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) secure: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    path: String,
    query: Option<String>,
    /// From the URL's credentials.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Target {
    /// Reads one; relative ones, other schemes and what has no host are refused.
    pub fn parse(url: &str) -> Result<Self, OutboundError> {
        let uri: Uri = url.parse().map_err(|_| OutboundError::Url)?;
        let secure = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(_) | None => return Err(OutboundError::Url),
        };
        let authority = uri.authority().ok_or(OutboundError::Url)?;
        let (credentials, address) = match authority.as_str().rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority.as_str()),
        };
        let host = authority.host();
        let port = match address.strip_prefix(host).ok_or(OutboundError::Url)? {
            "" | ":" => default_port(secure),
            port => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .ok_or(OutboundError::Url)?,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || port == 0 {
            return Err(OutboundError::Url);
        }
        Ok(Self {
            secure,
            host: host.to_owned(),
            port,
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            authorization: credentials.map(basic).transpose()?,
        })
    }

    /// Where a `location` of this URL's answer leads (RFC 3986 section 5.2, without removing dot
    /// segments, which servers do).
    pub(crate) fn join(&self, location: &str) -> Result<Self, OutboundError> {
        let scheme = scheme(self.secure);
        if has_scheme(location) {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{}{location}", self.path)
        } else {
            let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{directory}/{location}")
        };
        let next = Self::parse(&format!("{scheme}://{}{path}", self.authority()))?;
        Ok(Self { authorization: self.authorization.clone(), ..next })
    }

    /// For the `host` header.
    pub(crate) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }

    /// For the request line.
    pub(crate) fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", scheme(self.secure), self.authority(), self.path)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn basic(credentials: &str) -> Result<HeaderValue, OutboundError> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut plain: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_encoding::percent_decode_str(password));
    let value = format!("Basic {}", BASE64_STANDARD.encode(plain));
    let mut value = HeaderValue::try_from(value).map_err(|_| OutboundError::Url)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn shown(target: &Target) -> (String, &str, u16, String) {
        (target.to_string(), &target.host, target.port, target.path_and_query())
    }

    #[rstest]
    #[case("http://a", ("http://a/", "a", 80, "/"))]
    #[case("HTTPS://a.example/k", ("https://a.example/k", "a.example", 443, "/k"))]
    #[case("https://a:443/k", ("https://a/k", "a", 443, "/k"))]
    #[case("https://a:8443/k?x=secret", ("https://a:8443/k", "a", 8443, "/k?x=secret"))]
    #[case("http://a:/k#fragment", ("http://a/k", "a", 80, "/k"))]
    #[case("http://[::1]:81/k", ("http://[::1]:81/k", "::1", 81, "/k"))]
    #[case("http://u:secret@a/k", ("http://a/k", "a", 80, "/k"))]
    fn usable(#[case] url: &str, #[case] expect: (&str, &str, u16, &str)) {
        let target = Target::parse(url).unwrap();
        let (shown, host, port, path) = shown(&target);
        assert_eq!((shown.as_str(), host, port, path.as_str()), expect);
        assert!(!format!("{target:?}").contains("secret"));
    }

    #[rstest]
    #[case("")]
    #[case("issuer-a")]
    #[case("/k")]
    #[case("a:80")]
    #[case("ftp://a/")]
    #[case("file:///etc/passwd")]
    #[case("http://")]
    #[case("http:///k")]
    #[case("http://:80/")]
    #[case("http://a:99999/")]
    #[case("http://a:0/")]
    #[case("http://a b/")]
    fn unusable(#[case] url: &str) {
        assert!(matches!(Target::parse(url), Err(OutboundError::Url)), "{:?}", Target::parse(url));
    }

    #[test]
    fn credentials_become_basic_authorization() {
        let target = Target::parse("http://us%40er:p%3Aw@a/").unwrap();
        // us@er:p:w
        assert_eq!(target.authorization.unwrap(), "Basic dXNAZXI6cDp3");
    }

    #[rstest]
    #[case("https://b/k", "https://b/k")]
    #[case("//b/k", "https://b/k")]
    #[case("/k", "https://a:1/k")]
    #[case("k", "https://a:1/dir/k")]
    #[case("?x", "https://a:1/dir/file")]
    #[case("http://b/", "http://b/")]
    fn references_are_joined(#[case] location: &str, #[case] expect: &str) {
        let base = Target::parse("https://a:1/dir/file?q").unwrap();
        assert_eq!(base.join(location).unwrap().to_string(), expect);
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let base = Target::parse("https://u:p@a/").unwrap();
        assert!(base.join("/k").unwrap().authorization.is_some());
        assert!(base.join("https://b/").unwrap().authorization.is_none());
        assert!(base.join("//b/").unwrap().authorization.is_none());
    }
}
