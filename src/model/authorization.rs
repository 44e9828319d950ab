//! `AuthorizationPolicy`, with Istio's field names.
//!
//! Strings are kept as written (stars and all); what they mean is `compile`'s job. Addresses,
//! ports and condition keys are already parsed, so nothing later can fail on them.

use std::sync::Arc;

use ipnet::IpNet;

use super::{Attachment, DenyResponse, Located, Metadata, Position};

/// A list of patterns as written.
pub type StringList = Vec<Located<String>>;

/// <https://istio.io/latest/docs/reference/config/security/authorization-policy/>
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationPolicy {
    /// `metadata`
    pub metadata: Metadata,
    /// `spec.selector`, `spec.targetRef(s)`
    pub attachment: Attachment,
    /// `spec.action` with `spec.provider.name`
    pub action: Action,
    /// `spec.rules`; empty (or absent) never matches.
    pub rules: Vec<Rule>,
    /// Annotation `istio.io/dry-run`, read as Go's `strconv.ParseBool`; what does not parse is enforced.
    pub dry_run: bool,
    /// Annotations `postern.dev/deny-...`: what its denials look like, where annotations count.
    pub deny_response: Option<Arc<DenyResponse>>,
}

/// `spec.action`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Allow what matches; with any ALLOW policy in force, deny what none matches.
    Allow,
    /// Deny what matches.
    Deny,
    /// Mark what matches; never changes the outcome.
    Audit,
    /// Ask the named extension provider about what matches.
    Custom {
        /// `spec.provider.name`
        provider: Arc<str>,
    },
}

impl Action {
    /// The provider that a CUSTOM policy names.
    pub fn provider(&self) -> Option<&Arc<str>> {
        match self {
            Self::Custom { provider } => Some(provider),
            Self::Allow | Self::Deny | Self::Audit => None,
        }
    }
}

/// One rule: `from` and `to` and `when`, each list an OR inside (but `when`, an AND).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Sources, any of which; empty matches every source.
    pub from: Vec<Source>,
    /// Operations, any of which; empty matches every operation.
    pub to: Vec<Operation>,
    /// Conditions, all of which.
    pub when: Vec<Condition>,
    /// Where the rule starts.
    pub position: Position,
}

/// `rules[].from[].source`: all of its fields must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// `principals`
    pub principals: StringList,
    /// `notPrincipals`
    pub not_principals: StringList,
    /// `requestPrincipals`
    pub request_principals: StringList,
    /// `notRequestPrincipals`
    pub not_request_principals: StringList,
    /// `namespaces`
    pub namespaces: StringList,
    /// `notNamespaces`
    pub not_namespaces: StringList,
    /// `serviceAccounts`
    pub service_accounts: StringList,
    /// `notServiceAccounts`
    pub not_service_accounts: StringList,
    /// `trustDomains`
    pub trust_domains: StringList,
    /// `notTrustDomains`
    pub not_trust_domains: StringList,
    /// `ipBlocks`: the peer of the connection.
    pub ip_blocks: Vec<Located<IpNet>>,
    /// `notIpBlocks`
    pub not_ip_blocks: Vec<Located<IpNet>>,
    /// `remoteIpBlocks`: the client behind trusted proxies.
    pub remote_ip_blocks: Vec<Located<IpNet>>,
    /// `notRemoteIpBlocks`
    pub not_remote_ip_blocks: Vec<Located<IpNet>>,
    /// Where the source starts.
    pub position: Position,
}

/// `rules[].to[].operation`: all of its fields must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// `hosts`
    pub hosts: StringList,
    /// `notHosts`
    pub not_hosts: StringList,
    /// `ports`
    pub ports: Vec<Located<u16>>,
    /// `notPorts`
    pub not_ports: Vec<Located<u16>>,
    /// `methods`
    pub methods: StringList,
    /// `notMethods`
    pub not_methods: StringList,
    /// `paths`
    pub paths: StringList,
    /// `notPaths`
    pub not_paths: StringList,
    /// Where the operation starts.
    pub position: Position,
}

/// `rules[].when[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `key`, parsed.
    pub key: ConditionKey,
    /// `values`: any of them must match, where there are any.
    pub values: ConditionValues,
    /// `notValues`: none of them may match.
    pub not_values: ConditionValues,
    /// Where the condition starts.
    pub position: Position,
}

/// The condition keys of
/// <https://istio.io/latest/docs/reference/config/security/conditions/>.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ConditionKey {
    /// `request.headers[name]`, the name in lower case.
    RequestHeader(String),
    /// `source.ip`
    SourceIp,
    /// `remote.ip`
    RemoteIp,
    /// `source.namespace`
    SourceNamespace,
    /// `source.serviceAccount`
    SourceServiceAccount,
    /// `source.principal`
    SourcePrincipal,
    /// `source.trustDomain`
    SourceTrustDomain,
    /// `request.auth.principal`
    RequestPrincipal,
    /// `request.auth.audiences`
    RequestAudiences,
    /// `request.auth.presenter`
    RequestPresenter,
    /// `request.auth.claims[a][b]`: the names in the brackets, outermost first, never empty.
    RequestClaims(Vec<String>),
    /// `destination.ip`
    DestinationIp,
    /// `destination.port`
    DestinationPort,
    /// `connection.sni`
    ConnectionSni,
    /// `experimental.envoy.filters.<f>[key]`
    EnvoyFilterMetadata {
        /// The filter's metadata namespace, such as `envoy.filters.http.x`.
        filter: String,
        /// All between the first `[` and the final `]`.
        key: String,
    },
}

/// The values of a condition, typed by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionValues {
    /// Of `source.ip`, `remote.ip`, `destination.ip`.
    IpBlocks(Vec<Located<IpNet>>),
    /// Of `destination.port`.
    Ports(Vec<Located<u16>>),
    /// Of every other key.
    Patterns(StringList),
}

impl ConditionValues {
    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::IpBlocks(v) => v.is_empty(),
            Self::Ports(v) => v.is_empty(),
            Self::Patterns(v) => v.is_empty(),
        }
    }
}
