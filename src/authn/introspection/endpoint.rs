//! Where tokens are sent to be looked at, and how Postern says who asks.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::{IntrospectionError, Requirements};
use crate::outbound::Target;

/// An endpoint of RFC 7662, and how it is asked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it is. Credentials in it are sent as `Authorization: Basic`.
    pub url: Target,
    /// Sent with each request.
    pub headers: HeaderMap,
    /// Where an access token for asking is had; `None` asks without.
    pub pre_authorization: Option<ClientCredentials>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long attempts are repeated where the endpoint cannot be reached or answers with 5xx;
    /// zero asks once.
    pub give_up_after: Duration,
    /// How long a good answer is kept, its token's end aside; zero keeps none. What would be kept for
    /// ever, as neither this nor the token has an end, is not kept.
    pub cache_ttl: Duration,
}

/// An OAuth 2.0 client that gets a token for itself (RFC 6749 section 4.4).
#[derive(Clone)]
pub struct ClientCredentials {
    /// Where tokens are had.
    pub token_url: Target,
    /// Who asks.
    pub client_id: String,
    /// What proves it.
    pub client_secret: Zeroizing<String>,
    /// What the token is asked for.
    pub scope: Vec<String>,
    /// Whom it is meant for; empty does not say.
    pub audience: String,
}

/// Never the secret.
impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("token_url", &self.token_url)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint that is asked without credentials, once, and whose answers are not kept.
    pub fn new(url: &str) -> Result<Self, IntrospectionError> {
        Ok(Self {
            url: Target::parse(url)?,
            headers: HeaderMap::new(),
            pre_authorization: None,
            timeout: Duration::from_millis(500),
            give_up_after: Duration::ZERO,
            cache_ttl: Duration::ZERO,
        })
    }

    /// What an answer is kept under: everything that it may depend on.
    pub(super) fn fingerprint(&self, requirements: &Requirements, token: &str) -> Fingerprint {
        let mut fingerprint = Fingerprinting::default();
        fingerprint.target(&self.url);
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort_by_key(|(name, value)| (name.as_str(), value.as_bytes()));
        fingerprint.count(headers.len());
        for (name, value) in headers {
            fingerprint.text(name.as_str().as_bytes());
            fingerprint.text(value.as_bytes());
        }
        match &self.pre_authorization {
            None => fingerprint.count(0),
            Some(credentials) => {
                fingerprint.count(1);
                fingerprint.credentials(credentials);
            }
        }
        let Requirements { required_scope, scope_strategy, target_audience, trusted_issuers } =
            requirements;
        fingerprint.list(required_scope);
        fingerprint.text(format!("{scope_strategy:?}").as_bytes());
        fingerprint.list(target_audience);
        fingerprint.list(trusted_issuers);
        fingerprint.text(token.as_bytes());
        fingerprint.end()
    }
}

impl ClientCredentials {
    /// What its token is kept under.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = Fingerprinting::default();
        fingerprint.credentials(self);
        fingerprint.end()
    }

    /// RFC 6749 section 2.3.1: the id and the secret, form-encoded, as `Basic`.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let encoded = |text: &str| form(&[("", text)]).trim_start_matches('=').to_owned();
        let pair = Zeroizing::new(format!(
            "{}:{}",
            encoded(&self.client_id),
            encoded(&self.client_secret)
        ));
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let mut value =
            HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))
                .ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form(members: &[(&str, &str)]) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const ENCODED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string().replace(' ', "+");
    let members =
        members.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    members.collect::<Vec<_>>().join("&")
}

/// `content-type` of [`form`].
pub(super) fn form_headers(given: &HeaderMap) -> HeaderMap {
    let mut headers = given.clone();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, form);
    let json = HeaderValue::from_static("application/json");
    headers.entry(HeaderName::from_static("accept")).or_insert(json);
    headers
}

/// SHA-256 over everything with its length before it.
pub(super) type Fingerprint = [u8; 32];

struct Fingerprinting(Context);

impl Default for Fingerprinting {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Fingerprinting {
    fn count(&mut self, count: usize) {
        self.0.update(&count.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.0.update(text);
    }

    fn list(&mut self, texts: &[String]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text.as_bytes()));
    }

    fn target(&mut self, target: &Target) {
        self.text(target.to_string().as_bytes());
        self.text(target.path_and_query().as_bytes());
        self.text(target.authorization.as_ref().map_or(b"", HeaderValue::as_bytes));
    }

    fn credentials(&mut self, credentials: &ClientCredentials) {
        let ClientCredentials { token_url, client_id, client_secret, scope, audience } =
            credentials;
        self.target(token_url);
        self.text(client_id.as_bytes());
        self.text(client_secret.as_bytes());
        self.list(scope);
        self.text(audience.as_bytes());
    }

    fn end(self) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(self.0.finish().as_ref());
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(
            form(&[("token", "a.b-c_d~e+f/g=h i&j"), ("scope", "ä")]),
            "token=a.b-c_d%7Ee%2Bf%2Fg%3Dh+i%26j&scope=%C3%A4"
        );
    }

    #[test]
    fn credentials_are_encoded_before_they_are_joined() {
        let credentials = ClientCredentials {
            token_url: Target::parse("http://a/").unwrap(),
            client_id: "a:b".into(),
            client_secret: Zeroizing::new("c d".into()),
            scope: vec![],
            audience: String::new(),
        };
        // a%3Ab:c+d
        assert_eq!(credentials.authorization().unwrap(), "Basic YSUzQWI6Yytk");
        assert!(!format!("{credentials:?}").contains("c d"));
    }

    #[test]
    fn whatever_differs_is_kept_apart() {
        let endpoint = |change: &dyn Fn(&mut Endpoint)| {
            let mut endpoint = Endpoint::new("http://a/i").unwrap();
            change(&mut endpoint);
            endpoint
        };
        let credentials = |secret: &str| ClientCredentials {
            token_url: Target::parse("http://a/t").unwrap(),
            client_id: "id".into(),
            client_secret: Zeroizing::new(secret.into()),
            scope: vec!["s".into()],
            audience: String::new(),
        };
        let requirements = |change: &dyn Fn(&mut Requirements)| {
            let mut requirements = Requirements::default();
            change(&mut requirements);
            requirements
        };
        let (same, none) = (endpoint(&|_| ()), requirements(&|_| ()));
        let fingerprints = [
            same.fingerprint(&none, "t"),
            same.fingerprint(&none, "u"),
            endpoint(&|e| e.url = Target::parse("http://b/i").unwrap()).fingerprint(&none, "t"),
            endpoint(&|e| e.url = Target::parse("http://a/i?x").unwrap()).fingerprint(&none, "t"),
            endpoint(&|e| e.url = Target::parse("http://u:p@a/i").unwrap()).fingerprint(&none, "t"),
            endpoint(&|e| {
                e.headers.insert("x-tenant", HeaderValue::from_static("a"));
            })
            .fingerprint(&none, "t"),
            endpoint(&|e| e.pre_authorization = Some(credentials("p"))).fingerprint(&none, "t"),
            endpoint(&|e| e.pre_authorization = Some(credentials("q"))).fingerprint(&none, "t"),
            same.fingerprint(&requirements(&|r| r.required_scope.push("a".into())), "t"),
            same.fingerprint(&requirements(&|r| r.target_audience.push("a".into())), "t"),
            same.fingerprint(&requirements(&|r| r.trusted_issuers.push("a".into())), "t"),
            same.fingerprint(
                &requirements(&|r| r.scope_strategy = Some(super::super::ScopeStrategy::Exact)),
                "t",
            ),
        ];
        let distinct: std::collections::BTreeSet<_> = fingerprints.iter().collect();
        assert_eq!(distinct.len(), fingerprints.len());
        assert_eq!(same.fingerprint(&none, "t"), endpoint(&|_| ()).fingerprint(&none, "t"));
    }
}
