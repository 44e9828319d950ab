//! Why the rule of an APIRule does not let a request through.

use super::JwtError;

/// The answer of a rule's access strategies. Displays what is said to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// `unauthorized` lets nobody through.
    #[error("`unauthorized` lets nobody through")]
    Unauthorized,
    /// No strategy is responsible: the credentials that they look for are not there.
    #[error("no access strategy is responsible for what the request brings")]
    NoCredentials,
    /// `jwt`: no verified token of one of the issuers, with a subject.
    #[error("jwt: there is no token of one of its issuers")]
    NoToken,
    /// `jwt`: none of the authorizations holds.
    #[error("jwt: none of its authorizations holds for the token")]
    NoAuthorization,
    /// Oathkeeper's `jwt`: the token is bad.
    #[error("jwt: {0}")]
    Jwt(JwtError),
    /// Oathkeeper's `jwt`: the token does not say its key, or no set has that.
    #[error("jwt: the token names no key that is known")]
    JwtKey,
    /// Oathkeeper's `jwt`: the token is signed otherwise than allowed.
    #[error("jwt: the algorithm of the token is not allowed")]
    JwtAlgorithm,
    /// Oathkeeper's `jwt`: the token is good, and not for this.
    #[error("jwt: {0}")]
    JwtDemand(Demand),
    /// The endpoint says that the token is not good, or no longer.
    #[error("oauth2_introspection: the token is not active")]
    Inactive,
    /// The token is good, and not for this.
    #[error("oauth2_introspection: {0}")]
    IntrospectedDemand(Demand),
    /// The endpoint is asked too often.
    #[error("oauth2_introspection: the endpoint is asked too often")]
    TooManyRequests {
        /// When to ask again, in seconds, as it said.
        retry_after: Option<u32>,
    },
    /// The endpoint gave no answer that can be used.
    #[error("oauth2_introspection: the endpoint gave no answer that can be used")]
    NoAnswer,
    /// Tokens are not sent to this endpoint.
    #[error("oauth2_introspection: the endpoint is not among `introspectionDestinations`")]
    Destination,
    /// Here nobody is asked.
    #[error("oauth2_introspection: here the endpoint is not asked")]
    NotAsked,
    /// Here keys are not looked up.
    #[error("jwt: here the token is not verified")]
    NotVerified,
    /// `extAuth`: a provider is not defined.
    #[error("extAuth: an authorizer is not a defined extension provider")]
    ProviderUndefined,
    /// `extAuth`: a provider denies the request.
    #[error("extAuth: an authorizer denies the request")]
    ProviderDenied,
    /// `extAuth`: a provider gave no answer.
    #[error("extAuth: an authorizer gave no answer")]
    ProviderError,
}

/// What a rule asks of a good token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Demand {
    /// `trusted_issuers`
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// `target_audience`
    #[error("the token is not for the audience")]
    Audience,
    /// `required_scope`
    #[error("the token does not have the scope")]
    Scope,
    /// It is an access token.
    #[error("the token is none for access")]
    Use,
}

impl Refusal {
    /// Whether it says only that nobody was there who could have found out.
    pub fn is_for_want_of_an_examiner(self) -> bool {
        matches!(self, Self::NotAsked | Self::NotVerified | Self::ProviderUndefined)
    }

    /// The HTTP status of the answer: Istio's for its `jwt`, Oathkeeper's for the others.
    pub fn status(self) -> u16 {
        match self {
            Self::Unauthorized
            | Self::NoCredentials
            | Self::Jwt(_)
            | Self::JwtKey
            | Self::JwtAlgorithm
            | Self::JwtDemand(_)
            | Self::Inactive => 401,
            Self::NoToken
            | Self::NoAuthorization
            | Self::IntrospectedDemand(_)
            | Self::NotAsked
            | Self::NotVerified
            | Self::ProviderUndefined
            | Self::ProviderDenied
            | Self::ProviderError => 403,
            Self::TooManyRequests { .. } => 429,
            Self::NoAnswer | Self::Destination => 500,
        }
    }
}
