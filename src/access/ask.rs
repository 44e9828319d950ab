//! Questions for introspection endpoints, which are put between two passes of a request.
//!
//! A pass says what has to be asked; whoever can ask does, and has the request pass again with the
//! answers. How an endpoint is asked is `authn::introspection`'s job.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::jwt::strategy;
use crate::authn::introspection::{
    ClientCredentials, Endpoint, IntrospectionError, Introspector, Requirements, TokenRefused,
};
use crate::model::{AccessStrategy, Demand, Http, IntrospectionAccess, PreAuthorization, Refusal};
use crate::outbound::Target;
use crate::plan::AccessRulePlan;

/// What is known of the tokens that endpoints are asked about.
#[derive(Debug, Clone, Copy, Default)]
pub enum Introspection<'a> {
    /// Here nobody is asked.
    #[default]
    NotHere,
    /// These answers have come so far; what else is needed is to be asked.
    Answers(&'a [Answered]),
}

/// What a rule has to know of a token.
#[derive(Clone)]
pub struct Ask {
    rule: Arc<AccessRulePlan>,
    strategy: usize,
    token: Arc<Zeroizing<String>>,
    /// Of the request, where the endpoint is to be told.
    host: Option<Box<str>>,
}

/// A question and what came of it.
#[derive(Debug)]
pub struct Answered {
    /// The question.
    pub ask: Ask,
    /// Whether the token is good for the rule.
    pub outcome: Result<(), Refusal>,
}

/// Who asks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Asks.
    pub introspector: Introspector,
    /// The endpoint of rules that name none.
    pub introspection_url: Option<Arc<str>>,
    /// The longest that one attempt may take.
    pub timeout: Duration,
}

impl Ask {
    pub(super) fn new(
        rule: Arc<AccessRulePlan>,
        strategy: usize,
        token: Cow<'_, str>,
        config: &IntrospectionAccess,
        http: &Http<'_>,
    ) -> Self {
        let token = Arc::new(Zeroizing::new(token.into_owned()));
        let host = config.preserve_host.then(|| http.host.as_ref().into());
        Self { rule, strategy, token, host }
    }

    fn config(&self) -> Option<&IntrospectionAccess> {
        match self.rule.strategies.get(self.strategy) {
            Some(AccessStrategy::Introspection(config)) => Some(config),
            Some(_) | None => None,
        }
    }
}

/// The same token for a rule that asks the same. Policies may have been read again meanwhile.
impl PartialEq for Ask {
    fn eq(&self, other: &Self) -> bool {
        self.config() == other.config() && self.token == other.token && self.host == other.host
    }
}

impl Eq for Ask {}

/// Never the token.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl Asking {
    /// Asks for at most `within`.
    pub async fn ask(&self, ask: Ask, within: Duration) -> Answered {
        let outcome = match timeout(within, self.outcome(&ask)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::NoAnswer),
        };
        Answered { ask, outcome }
    }

    async fn outcome(&self, ask: &Ask) -> Result<(), Refusal> {
        let config = ask.config().ok_or(Refusal::NoAnswer)?;
        let endpoint = self.endpoint(config, ask.host.as_deref()).ok_or(Refusal::NoAnswer)?;
        let requirements = Requirements {
            required_scope: config.required_scope.clone(),
            scope_strategy: strategy(config.scope_strategy),
            target_audience: config.target_audience.clone(),
            trusted_issuers: config.trusted_issuers.clone(),
        };
        match self.introspector.introspect(&endpoint, &requirements, &ask.token).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if !matches!(error, IntrospectionError::Refused(_)) {
                    tracing::debug!(%error, "a token cannot be introspected");
                }
                Err(refusal(&error))
            }
        }
    }

    fn endpoint(&self, config: &IntrospectionAccess, host: Option<&str>) -> Option<Endpoint> {
        let url = config.introspection_url.as_deref().or(self.introspection_url.as_deref())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.request_headers {
            headers.insert(
                HeaderName::try_from(name.as_str()).ok()?,
                HeaderValue::try_from(value.as_str()).ok()?,
            );
        }
        if let Some(host) = host {
            let name = HeaderName::from_static("x-forwarded-host");
            headers.insert(name, HeaderValue::try_from(host).ok()?);
        }
        let pre_authorization = match &config.pre_authorization {
            None => None,
            Some(PreAuthorization { token_url, client_id, client_secret, scope, audience }) => {
                Some(ClientCredentials {
                    token_url: Target::parse(token_url).ok()?,
                    client_id: client_id.clone(),
                    client_secret: Zeroizing::new(client_secret.clone()),
                    scope: scope.clone(),
                    audience: audience.clone(),
                })
            }
        };
        Some(Endpoint {
            url: Target::parse(url).ok()?,
            headers,
            pre_authorization,
            timeout: self.timeout,
            give_up_after: config.give_up_after,
            cache_ttl: config.cache_ttl.unwrap_or_default(),
        })
    }
}

fn refusal(error: &IntrospectionError) -> Refusal {
    match error {
        IntrospectionError::Refused(refused) => match refused {
            TokenRefused::Inactive | TokenRefused::Expired => Refusal::Inactive,
            TokenRefused::OtherUse => Refusal::IntrospectedDemand(Demand::Use),
            TokenRefused::Audience(_) => Refusal::IntrospectedDemand(Demand::Audience),
            TokenRefused::Issuer => Refusal::IntrospectedDemand(Demand::Issuer),
            TokenRefused::Scope(_) => Refusal::IntrospectedDemand(Demand::Scope),
        },
        IntrospectionError::Destination(_) => Refusal::Destination,
        IntrospectionError::TooManyRequests { retry_after, .. } => {
            let seconds = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
            Refusal::TooManyRequests { retry_after: retry_after.as_ref().and_then(seconds) }
        }
        // The token to ask with may be what is not sent there.
        IntrospectionError::PreAuthorization(error)
            if matches!(**error, IntrospectionError::Destination(_)) =>
        {
            Refusal::Destination
        }
        IntrospectionError::PreAuthorization(_)
        | IntrospectionError::Outbound(_)
        | IntrospectionError::Status { .. }
        | IntrospectionError::Answer { .. }
        | IntrospectionError::Credentials => Refusal::NoAnswer,
    }
}
