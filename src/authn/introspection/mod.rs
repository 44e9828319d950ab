//! Tokens that say nothing themselves: who issued them is asked (RFC 7662).
//!
//! Whose tokens are looked at, and where they are found in a request, is the business of the rules
//! that use this.

mod answer;
mod endpoint;
mod scope;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

pub use answer::{Introspected, Requirements};
pub use endpoint::{ClientCredentials, Endpoint};
pub use scope::ScopeStrategy;

use super::clock::Clock;
use crate::outbound::{Client, OutboundError, Outgoing, Target};
use endpoint::{Fingerprint, form, form_headers};

/// How many answers are kept.
const CAPACITY: usize = 10_000;

/// How long one of several attempts waits for the next.
const PAUSE: Duration = Duration::from_millis(50);

/// A token for asking is no longer used this long before its end, so that it holds on the way.
const TOKEN_MARGIN_SECONDS: u64 = 10;

/// Asks introspection endpoints, and keeps their answers. Cheap to clone.
#[derive(Clone)]
pub struct Introspector(Arc<Inner>);

struct Inner {
    client: Client,
    destinations: Destinations,
    clock: Clock,
    answers: Cache<Fingerprint, Kept<Introspected>>,
    tokens: Cache<Fingerprint, Kept<Zeroizing<String>>>,
}

/// An answer, and until when it may be used.
struct Kept<T> {
    value: Arc<T>,
    until: u64,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), until: self.until }
    }
}

/// The hosts that tokens may be sent to, with their ports.
///
/// A rule names its endpoint, and whoever may write a rule could have the tokens of all callers
/// sent to a place of their own. So the operator says where tokens may go; nowhere unless told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations(BTreeSet<(String, u16)>);

impl Destinations {
    /// Those of these URLs.
    pub fn of<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, OutboundError> {
        let origin = |url| Target::parse(url).map(|target| Self::origin(&target));
        urls.into_iter().map(origin).collect::<Result<_, _>>().map(Self)
    }

    fn allow(&self, target: &Target) -> bool {
        self.0.contains(&Self::origin(target))
    }

    fn origin(target: &Target) -> (String, u16) {
        (target.host.to_ascii_lowercase(), target.port)
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It is not active: unknown, withdrawn, or past its end.
    #[error("the token is not active")]
    Inactive,
    /// It was good and is past its end.
    #[error("the token is expired")]
    Expired,
    /// It is no access token.
    #[error("the token is no access token")]
    OtherUse,
    /// It is not meant for this audience.
    #[error("the token is not meant for the audience `{0}`")]
    Audience(String),
    /// Nobody who is trusted issued it.
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// This scope is not granted.
    #[error("the scope `{0}` is not granted")]
    Scope(String),
}

impl TokenRefused {
    /// What Oathkeeper answers: 401 where another token is needed, 403 where this one is good and
    /// not enough.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Inactive | Self::Expired => StatusCode::UNAUTHORIZED,
            Self::OtherUse | Self::Audience(_) | Self::Issuer | Self::Scope(_) => {
                StatusCode::FORBIDDEN
            }
        }
    }
}

/// Why nothing could be found out about a token. A request that depends on it is refused.
#[derive(Debug, thiserror::Error)]
pub enum IntrospectionError {
    /// The token was looked at.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
    /// Tokens are not sent there.
    #[error("tokens are not sent to `{0}`: it is not among the destinations that are allowed")]
    Destination(String),
    /// No answer.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// Too many questions; when to ask again, as it said.
    #[error("`{url}` is asked too often")]
    TooManyRequests {
        /// Asked.
        url: String,
        /// Its `retry-after`.
        retry_after: Option<HeaderValue>,
    },
    /// An answer that is none.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// Asked.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// 200, and then something else.
    #[error("the answer of `{url}` is not what it should be")]
    Answer {
        /// Asked.
        url: String,
    },
    /// The token for asking cannot be had.
    #[error("no token to ask with")]
    PreAuthorization(#[source] Box<Self>),
    /// Credentials that no header can hold.
    #[error("the client's credentials cannot be sent")]
    Credentials,
}

impl Introspector {
    /// Sends tokens to these destinations only.
    pub fn new(client: Client, destinations: Destinations, clock: Clock) -> Self {
        let (answers, tokens) = (Cache::new(CAPACITY), Cache::new(64));
        Self(Arc::new(Inner { client, destinations, clock, answers, tokens }))
    }

    /// What the endpoint says of a token, if it is good for a rule that asks this of it.
    ///
    /// An answer that is kept is checked again as if it had just come. Requests for the same at the
    /// same time cause one question.
    pub async fn introspect(
        &self,
        endpoint: &Endpoint,
        requirements: &Requirements,
        token: &str,
    ) -> Result<Arc<Introspected>, IntrospectionError> {
        let now = self.now();
        // The endpoint's own word on scopes is for those it was asked about, now.
        let leaves_scopes =
            requirements.scope_strategy.is_none() && !requirements.required_scope.is_empty();
        if endpoint.cache_ttl.is_zero() || leaves_scopes {
            let answer = self.ask(endpoint, requirements, token).await?;
            answer.check(requirements, now)?;
            return Ok(Arc::new(answer));
        }
        let key = endpoint.fingerprint(requirements, token);
        let asking = async {
            let answer = self.ask(endpoint, requirements, token).await?;
            // What is not good now is not kept: it may be soon.
            answer.check(requirements, now)?;
            let ttl = now.saturating_add(endpoint.cache_ttl.as_secs());
            // Kept for ever, a token could never be withdrawn.
            let until = answer.expires.unwrap_or(u64::MAX).min(ttl);
            let until = if until == u64::MAX { now } else { until };
            Ok(Kept { value: Arc::new(answer), until })
        };
        let answer = kept_or_asked(&self.0.answers, key, now, asking).await?;
        answer.check(requirements, now)?;
        Ok(answer)
    }

    fn now(&self) -> u64 {
        self.0.clock.unix_seconds()
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        requirements: &Requirements,
        token: &str,
    ) -> Result<Introspected, IntrospectionError> {
        self.allowed(&endpoint.url)?;
        let mut headers = endpoint.headers.clone();
        if let Some(credentials) = &endpoint.pre_authorization {
            let bearer = self.bearer(credentials, endpoint).await;
            let bearer = bearer.map_err(|e| IntrospectionError::PreAuthorization(Box::new(e)))?;
            headers.insert(header::AUTHORIZATION, bearer);
        }
        let scope = requirements.required_scope.join(" ");
        let mut members = vec![("token", token)];
        if requirements.scope_strategy.is_none() && !scope.is_empty() {
            members.push(("scope", &scope));
        }
        let body = self.post(&endpoint.url, endpoint, &headers, &members).await?;
        Introspected::parse(&body)
            .ok_or_else(|| IntrospectionError::Answer { url: endpoint.url.to_string() })
    }

    /// `Bearer` and a token for asking, kept until shortly before its end.
    async fn bearer(
        &self,
        credentials: &ClientCredentials,
        endpoint: &Endpoint,
    ) -> Result<HeaderValue, IntrospectionError> {
        let now = self.now();
        let asking = async {
            let answer = self.client_token(credentials, endpoint).await?;
            let lasting = answer.expires_in.unwrap_or(0).saturating_sub(TOKEN_MARGIN_SECONDS);
            let value = Arc::new(Zeroizing::new(answer.access_token));
            Ok(Kept { value, until: now.saturating_add(lasting) })
        };
        let token = kept_or_asked(&self.0.tokens, credentials.fingerprint(), now, asking).await?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.as_str()))
            .map_err(|_| IntrospectionError::Credentials)?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn client_token(
        &self,
        credentials: &ClientCredentials,
        endpoint: &Endpoint,
    ) -> Result<ClientToken, IntrospectionError> {
        let ClientCredentials { token_url, scope, audience, .. } = credentials;
        self.allowed(token_url)?;
        let authorization = credentials.authorization().ok_or(IntrospectionError::Credentials)?;
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, authorization)]);
        let scope = scope.join(" ");
        let mut members = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            members.push(("scope", &scope));
        }
        if !audience.is_empty() {
            members.push(("audience", audience));
        }
        let body = self.post(token_url, endpoint, &headers, &members).await?;
        let answer: Result<ClientToken, _> = serde_json::from_slice(&body);
        let is_usable = |answer: &ClientToken| answer.token_type.eq_ignore_ascii_case("bearer");
        let answer = answer.ok().filter(is_usable);
        answer.ok_or_else(|| IntrospectionError::Answer { url: token_url.to_string() })
    }

    fn allowed(&self, target: &Target) -> Result<(), IntrospectionError> {
        if self.0.destinations.allow(target) {
            Ok(())
        } else {
            Err(IntrospectionError::Destination(target.to_string()))
        }
    }

    /// Posts a form, again and again where that may help. A redirect is no answer: what is sent is
    /// for this server only.
    async fn post(
        &self,
        target: &Target,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        members: &[(&str, &str)],
    ) -> Result<Bytes, IntrospectionError> {
        let body = Bytes::from(form(members));
        let deadline = Instant::now() + endpoint.give_up_after;
        loop {
            let outgoing = Outgoing {
                issuer: "",
                method: Method::POST,
                headers: form_headers(headers),
                body: body.clone(),
            };
            let sent = self.0.client.send(target, outgoing, endpoint.timeout).await;
            let outcome = match sent {
                Ok(response) => answer_of(target, response),
                Err(error) => Err(error.into()),
            };
            let error = match outcome {
                Err(error) if may_pass(&error) => error,
                done => return done,
            };
            if Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }
}

fn answer_of(target: &Target, response: Response<Bytes>) -> Result<Bytes, IntrospectionError> {
    let url = target.to_string();
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        StatusCode::TOO_MANY_REQUESTS => {
            let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
            Err(IntrospectionError::TooManyRequests { url, retry_after })
        }
        status => Err(IntrospectionError::Status { url, status: status.as_u16() }),
    }
}

/// Whether asking again may help.
fn may_pass(error: &IntrospectionError) -> bool {
    match error {
        IntrospectionError::Outbound(error) => match error {
            OutboundError::Resolve { .. }
            | OutboundError::Connect { .. }
            | OutboundError::ConnectUnix { .. }
            | OutboundError::Timeout(_)
            | OutboundError::Http { .. } => true,
            OutboundError::Url
            | OutboundError::Blocked { .. }
            | OutboundError::Tls { .. }
            | OutboundError::NoRoots
            | OutboundError::TooLarge { .. } => false,
        },
        IntrospectionError::Status { status, .. } => *status >= 500,
        IntrospectionError::Refused(_)
        | IntrospectionError::Destination(_)
        | IntrospectionError::TooManyRequests { .. }
        | IntrospectionError::Answer { .. }
        | IntrospectionError::PreAuthorization(_)
        | IntrospectionError::Credentials => false,
    }
}

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct ClientToken {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

/// What is kept under `key`, or what `asking` comes to, which is then kept. Others who want the same
/// wait for it; where it comes to nothing, the next of them asks.
async fn kept_or_asked<T>(
    cache: &Cache<Fingerprint, Kept<T>>,
    key: Fingerprint,
    now: u64,
    asking: impl Future<Output = Result<Kept<T>, IntrospectionError>>,
) -> Result<Arc<T>, IntrospectionError> {
    loop {
        match cache.get_value_or_guard_async(&key).await {
            Ok(kept) if now < kept.until => return Ok(kept.value),
            Ok(old) => {
                // Another may have put a new one there.
                cache.remove_if(&key, |kept| Arc::ptr_eq(&kept.value, &old.value));
            }
            Err(guard) => {
                let kept = asking.await?;
                let value = kept.value.clone();
                if now < kept.until {
                    // Where the place is gone, nothing is kept, which does no harm.
                    drop(guard.insert(kept));
                }
                return Ok(value);
            }
        }
    }
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { destinations, answers, .. } = &*self.0;
        f.debug_struct("Introspector")
            .field("destinations", destinations)
            .field("answers", &answers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
