//! `RequestAuthentication` and `PeerAuthentication`, with Istio's field names.

use std::{collections::BTreeMap, time::Duration};

use super::{Attachment, Metadata, Position};

/// <https://istio.io/latest/docs/reference/config/security/request_authentication/>
#[derive(Debug, Clone, PartialEq)]
pub struct RequestAuthentication {
    /// `metadata`
    pub metadata: Metadata,
    /// `spec.selector`, `spec.targetRef(s)`
    pub attachment: Attachment,
    /// `spec.jwtRules`
    pub jwt_rules: Vec<JwtRule>,
}

/// `spec.jwtRules[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRule {
    /// `issuer`; empty takes any issuer.
    pub issuer: String,
    /// `audiences`; empty takes any.
    pub audiences: Vec<String>,
    /// `jwks`: an inline key set; wins over `jwks_uri`.
    pub jwks: Option<String>,
    /// `jwksUri`; with neither, OIDC discovery from the issuer.
    pub jwks_uri: Option<String>,
    /// `fromHeaders`
    pub from_headers: Vec<JwtHeader>,
    /// `fromParams`
    pub from_params: Vec<String>,
    /// `fromCookies`
    pub from_cookies: Vec<String>,
    /// `outputPayloadToHeader`, in lower case.
    pub output_payload_to_header: Option<String>,
    /// `outputClaimToHeaders`
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// `forwardOriginalToken`
    pub forward_original_token: bool,
    /// `timeout` of a key fetch.
    pub timeout: Duration,
    /// `spaceDelimitedClaims`, beside `scope` and `permission`, which always are.
    pub space_delimited_claims: Vec<String>,
    /// Where the rule starts.
    pub position: Position,
}

impl JwtRule {
    /// Istio's default for `timeout`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
}

/// `fromHeaders[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtHeader {
    /// The header's name, in lower case.
    pub name: String,
    /// Text before the token; may be empty.
    pub prefix: String,
}

/// `outputClaimToHeaders[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimToHeader {
    /// The header's name, in lower case.
    pub header: String,
    /// The claim, dots nesting.
    pub claim: String,
}

/// <https://istio.io/latest/docs/reference/config/security/peer_authentication/>
#[derive(Debug, Clone, PartialEq)]
pub struct PeerAuthentication {
    /// `metadata`
    pub metadata: Metadata,
    /// `spec.selector` (never target references).
    pub attachment: Attachment,
    /// `spec.mtls.mode`
    pub mtls: MutualTlsMode,
    /// `spec.portLevelMtls`
    pub port_level_mtls: BTreeMap<u16, MutualTlsMode>,
}

/// `mtls.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum MutualTlsMode {
    /// Inherit.
    #[default]
    Unset,
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// A peer certificate is required.
    Strict,
}
