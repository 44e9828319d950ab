//! What `authn` needs of a workload: mutual TLS modes, token rules, where their keys are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::key_set::KeySet;
use crate::model::MutualTlsMode;

/// The effective PeerAuthentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerPlan {
    /// For every port without an own mode; never `Unset`.
    pub mode: MutualTlsMode,
    /// By port; never `Unset`.
    pub ports: BTreeMap<u16, MutualTlsMode>,
}

impl PeerPlan {
    /// The mode of a port; `None` where the port is not known (a unix socket).
    pub fn mode_of(&self, port: Option<u16>) -> MutualTlsMode {
        port.and_then(|port| self.ports.get(&port)).copied().unwrap_or(self.mode)
    }
}

/// All token rules of a workload, sorted by issuer.
#[derive(Debug, Default)]
pub struct JwtPlan {
    /// Tried in this order.
    pub rules: Vec<JwtRulePlan>,
    /// Of the rules as written, the same in every process and version; 0 without rules. Records of
    /// decisions carry it, so that who reads them knows whether tokens would fare the same.
    pub fingerprint: u64,
}

/// One `jwtRules[]` entry, ready to use.
#[derive(Debug, Clone)]
pub struct JwtRulePlan {
    /// Empty takes any issuer.
    pub issuer: Box<str>,
    /// Normalised: no scheme, no trailing slash. Empty takes any.
    pub audiences: Box<[Box<str>]>,
    /// Where the keys are.
    pub keys: KeyReference,
    /// Where tokens are looked for.
    pub places: TokenPlaces,
    /// Whether a verified token stays in the request.
    pub forward: bool,
    /// Header for the token's payload section.
    pub payload_header: Option<Arc<str>>,
    /// Headers for single claims.
    pub claim_headers: Box<[ClaimHeader]>,
    /// Top-level claims whose strings are split at blanks; always has `scope` and `permission`.
    pub space_delimited: Arc<[Box<str>]>,
}

/// A claim copied to a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimHeader {
    /// The header, in lower case.
    pub header: Arc<str>,
    /// The path to the claim.
    pub claim: Box<[Box<str>]>,
}

/// Where tokens of a rule are looked for, each list in the order they are tried: by name, as
/// native Envoy does, whatever the order in the rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenPlaces {
    /// Header name in lower case, and the text before the token.
    pub headers: Box<[(Arc<str>, Box<str>)]>,
    /// Query parameters.
    pub params: Box<[Box<str>]>,
    /// Cookies.
    pub cookies: Box<[Box<str>]>,
}

/// Where the keys of a rule are.
#[derive(Debug, Clone)]
pub enum KeyReference {
    /// In the policy.
    Inline(Arc<KeySet>),
    /// Fetched; looked up by this id.
    Remote(KeySourceId),
}

/// Identifies a remote key set, as Istio does: by issuer and URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeySourceId {
    /// The rule's issuer.
    pub issuer: Arc<str>,
    /// `jwksUri`; `None` asks the issuer by OIDC discovery.
    pub uri: Option<Arc<str>>,
}

/// A remote key set that some rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Which.
    pub id: KeySourceId,
    /// The longest `timeout` of the rules that name it.
    pub timeout: Duration,
}
