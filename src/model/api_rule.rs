//! Kyma's `APIRule`, whichever version it was written in.
//! <https://kyma-project.io/#/api-gateway/user/custom-resources/apirule/README>

use std::collections::BTreeMap;
use std::time::Duration;

use super::{JwtHeader, Located, Metadata, Position};

/// One APIRule. Of its rules the first whose path and method fit a request decides.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiRule {
    /// `metadata`
    pub metadata: Metadata,
    /// In which version it was written.
    pub version: ApiRuleVersion,
    /// `spec.host` or `spec.hosts`, in lower case, the default domain written out. A v2 host may begin
    /// with `*.`.
    pub hosts: Vec<Located<String>>,
    /// `spec.rules`
    pub rules: Vec<AccessRule>,
}

/// The versions of `gateway.kyma-project.io`, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ApiRuleVersion {
    /// `v1alpha1`
    V1alpha1,
    /// `v1beta1`
    V1beta1,
    /// `v2alpha1`
    V2alpha1,
    /// `v2`
    V2,
}

/// `spec.rules[]`
#[derive(Debug, Clone, PartialEq)]
pub struct AccessRule {
    /// Where the rule starts.
    pub position: Position,
    /// `path`
    pub path: AccessPath,
    /// `methods`; a request has one of them.
    pub methods: Vec<Located<String>>,
    /// `service`, or that of the whole APIRule, its namespace filled in.
    pub service: ServiceReference,
    /// `accessStrategies`, or what v2 has instead: at least one, tried in order.
    pub strategies: Vec<AccessStrategy>,
    /// `mutators` of Istio's form, or v2's `request`: what is set in requests that pass.
    pub mutations: RequestMutations,
}

/// `path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessPath {
    /// A regular expression that the whole path fits, as v1alpha1 and v1beta1 have it.
    Regex(Located<String>),
    /// A path template of v2, `/*` being `/{**}`.
    Template(Located<String>),
}

impl AccessPath {
    /// As it is compiled.
    pub fn text(&self) -> &str {
        match self {
            Self::Regex(text) | Self::Template(text) => &text.value,
        }
    }
}

/// `service`
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceReference {
    /// `namespace`
    pub namespace: String,
    /// `name`
    pub name: String,
    /// `port`
    pub port: u16,
}

/// One way of being let through.
#[derive(Debug, Clone, PartialEq)]
pub enum AccessStrategy {
    /// `allow`: whoever asks.
    Allow,
    /// `no_auth`, v2's `noAuth`: whoever asks.
    NoAuth,
    /// `noop`: whoever asks, through Oathkeeper.
    Noop,
    /// `anonymous`: who brings no credentials.
    Anonymous,
    /// `unauthorized`: nobody.
    Unauthorized,
    /// `jwt` with `authentications`.
    Jwt(JwtAccess),
    /// `jwt` as Oathkeeper has it.
    OathkeeperJwt(OathkeeperJwt),
    /// `oauth2_introspection`
    Introspection(Box<IntrospectionAccess>),
    /// v2's `extAuth`.
    ExtAuth {
        /// `authorizers`: names of extension providers, all of which must agree.
        authorizers: Vec<Located<String>>,
        /// `restrictions`
        restrictions: Option<JwtAccess>,
    },
}

impl AccessStrategy {
    /// What it asks of tokens in Istio's form, if it does.
    pub fn jwt_access(&self) -> Option<&JwtAccess> {
        match self {
            Self::Jwt(access) => Some(access),
            Self::ExtAuth { restrictions, .. } => restrictions.as_ref(),
            Self::Allow
            | Self::NoAuth
            | Self::Noop
            | Self::Anonymous
            | Self::Unauthorized
            | Self::OathkeeperJwt(_)
            | Self::Introspection(_) => None,
        }
    }

    /// As it is written, v2's as `extAuth`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::NoAuth => "no_auth",
            Self::Noop => "noop",
            Self::Anonymous => "anonymous",
            Self::Unauthorized => "unauthorized",
            Self::Jwt(_) | Self::OathkeeperJwt(_) => "jwt",
            Self::Introspection(_) => "oauth2_introspection",
            Self::ExtAuth { .. } => "extAuth",
        }
    }
}

/// A token of one of some issuers that one of some lists of demands holds for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JwtAccess {
    /// `authentications`
    pub authentications: Vec<JwtAuthentication>,
    /// `authorizations`: one of them must hold; without any, every such token is good.
    pub authorizations: Vec<JwtAuthorization>,
    /// Whether a text in `scp` or `scopes` is one scope, as in Istio, which splits `scope` alone.
    pub strict_scopes: bool,
}

/// `authentications[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtAuthentication {
    /// `issuer`
    pub issuer: String,
    /// `jwksUri`
    pub jwks_uri: String,
    /// `fromHeaders`, at most one.
    pub from_headers: Vec<JwtHeader>,
    /// `fromParams`, at most one.
    pub from_params: Vec<String>,
    /// Where it starts.
    pub position: Position,
}

/// `authorizations[]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JwtAuthorization {
    /// `requiredScopes`: all of them in one of the claims `scp`, `scope` and `scopes`.
    pub required_scopes: Vec<String>,
    /// `audiences`: all of them.
    pub audiences: Vec<String>,
}

/// Where Oathkeeper looks for a token: `token_from`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TokenFrom {
    /// `Authorization: Bearer`
    #[default]
    Bearer,
    /// The whole of a header, in lower case.
    Header(String),
    /// A query parameter.
    QueryParameter(String),
    /// A cookie.
    Cookie(String),
}

/// `scope_strategy`: when a granted scope is good for a required one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeMatching {
    /// `exact`
    Exact,
    /// `hierarchic`: `a` grants `a.b`.
    Hierarchic,
    /// `wildcard`: `a.*` grants `a.b`.
    Wildcard,
    /// `none`: the endpoint is asked.
    None,
}

/// The config of Oathkeeper's `jwt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OathkeeperJwt {
    /// `jwks_urls`, at least one.
    pub jwks_urls: Vec<String>,
    /// `trusted_issuers`; empty takes any.
    pub trusted_issuers: Vec<String>,
    /// `target_audience`: all of them.
    pub target_audience: Vec<String>,
    /// `required_scope`: all of them.
    pub required_scope: Vec<String>,
    /// `scope_strategy`
    pub scope_strategy: ScopeMatching,
    /// `allowed_algorithms`
    pub allowed_algorithms: Vec<String>,
    /// `token_from`
    pub token_from: TokenFrom,
    /// Where it starts.
    pub position: Position,
}

/// The config of Oathkeeper's `oauth2_introspection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionAccess {
    /// `introspection_url`; `None` is the one of the configuration.
    pub introspection_url: Option<String>,
    /// `required_scope`
    pub required_scope: Vec<String>,
    /// `scope_strategy`
    pub scope_strategy: ScopeMatching,
    /// `target_audience`
    pub target_audience: Vec<String>,
    /// `trusted_issuers`
    pub trusted_issuers: Vec<String>,
    /// `pre_authorization`, where it is enabled.
    pub pre_authorization: Option<PreAuthorization>,
    /// `token_from`
    pub token_from: TokenFrom,
    /// `prefix`: tokens without it are not looked at.
    pub prefix: String,
    /// `introspection_request_headers`
    pub request_headers: BTreeMap<String, String>,
    /// `preserve_host`
    pub preserve_host: bool,
    /// `retry.give_up_after`
    pub give_up_after: Duration,
    /// `cache.ttl`, where the cache is enabled.
    pub cache_ttl: Option<Duration>,
    /// Where it starts.
    pub position: Position,
}

/// `pre_authorization`
#[derive(Clone, PartialEq, Eq)]
pub struct PreAuthorization {
    /// `token_url`
    pub token_url: String,
    /// `client_id`
    pub client_id: String,
    /// `client_secret`
    pub client_secret: String,
    /// `scope`
    pub scope: Vec<String>,
    /// `audience`
    pub audience: String,
}

/// Never the secret.
impl std::fmt::Debug for PreAuthorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreAuthorization")
            .field("token_url", &self.token_url)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// What is set in requests that pass. Values hold Envoy's command operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestMutations {
    /// By the header's name, in lower case.
    pub headers: BTreeMap<String, Located<String>>,
    /// By the cookie's name. They replace the whole `cookie` header.
    pub cookies: BTreeMap<String, Located<String>>,
}
