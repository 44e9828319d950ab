//! What was decided, and why. The outcome follows from the reason, so they cannot disagree.

use super::{AccessRuleId, Refusal, RuleId};

/// ALLOW or DENY; AUDIT stands beside them in [`Verdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Let the request through.
    Allow,
    /// Refuse it.
    Deny,
}

impl Outcome {
    /// For logs, metrics and metadata: `allow`, `deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Why. Log, metric label, metadata and response all read this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No enforced ALLOW policy applies to the workload, and no DENY rule matched.
    NoAllowPolicy,
    /// This ALLOW rule matched.
    AllowRule(RuleId),
    /// This DENY rule matched.
    DenyRule(RuleId),
    /// ALLOW policies apply, and none of their rules matched.
    NoAllowRule,
    /// This rule of an APIRule lets the request through.
    ApiRule(AccessRuleId),
    /// This rule of an APIRule is the one for the request, and does not let it through.
    ApiRuleRefused(AccessRuleId, Refusal),
    /// APIRules are to say who may pass, and none of their rules is for the request.
    NoApiRule,
    /// This CUSTOM rule matched, and its provider is not defined.
    CustomProviderUndefined(RuleId),
    /// This CUSTOM rule matched, and its provider denies the request.
    CustomDenied(RuleId),
    /// This CUSTOM rule matched, and its provider gave no answer.
    CustomError(RuleId),
    /// PeerAuthentication is STRICT and the peer has no identity.
    PeerUnauthenticated,
    /// A token was refused.
    Jwt(JwtError),
    /// A policy that applies to the workload has never been valid.
    InvalidPolicy,
    /// The CheckRequest names a workload that is not configured.
    UnknownWorkload,
    /// The CheckRequest is malformed.
    MalformedRequest,
}

impl Reason {
    /// The outcome this reason leads to.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::NoAllowPolicy | Self::AllowRule(_) | Self::ApiRule(_) => Outcome::Allow,
            Self::DenyRule(_)
            | Self::NoAllowRule
            | Self::ApiRuleRefused(..)
            | Self::NoApiRule
            | Self::CustomProviderUndefined(_)
            | Self::CustomDenied(_)
            | Self::CustomError(_)
            | Self::PeerUnauthenticated
            | Self::Jwt(_)
            | Self::InvalidPolicy
            | Self::UnknownWorkload
            | Self::MalformedRequest => Outcome::Deny,
        }
    }

    /// For logs, metrics and metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAllowPolicy => "no_allow_policy",
            Self::AllowRule(_) => "allow_rule",
            Self::DenyRule(_) => "deny_rule",
            Self::NoAllowRule => "no_allow_rule",
            Self::ApiRule(_) => "api_rule",
            Self::ApiRuleRefused(..) => "api_rule_refused",
            Self::NoApiRule => "no_api_rule",
            Self::CustomProviderUndefined(_) => "custom_provider_undefined",
            Self::CustomDenied(_) => "custom_denied",
            Self::CustomError(_) => "custom_error",
            Self::PeerUnauthenticated => "peer_unauthenticated",
            Self::Jwt(_) => "jwt",
            Self::InvalidPolicy => "invalid_policy",
            Self::UnknownWorkload => "unknown_workload",
            Self::MalformedRequest => "malformed_request",
        }
    }

    /// Every value [`Reason::as_str`] can take, so that metrics can list them from the start.
    pub const LABELS: [&'static str; 15] = [
        "no_allow_policy",
        "allow_rule",
        "deny_rule",
        "no_allow_rule",
        "api_rule",
        "api_rule_refused",
        "no_api_rule",
        "custom_provider_undefined",
        "custom_denied",
        "custom_error",
        "peer_unauthenticated",
        "jwt",
        "invalid_policy",
        "unknown_workload",
        "malformed_request",
    ];

    /// Whether DENY and ALLOW rules were tried: what comes before them had nothing against the request.
    pub fn reached_rules(self) -> bool {
        match self {
            Self::NoAllowPolicy
            | Self::AllowRule(_)
            | Self::DenyRule(_)
            | Self::NoAllowRule
            | Self::ApiRule(_)
            | Self::ApiRuleRefused(..)
            | Self::NoApiRule => true,
            Self::CustomProviderUndefined(_)
            | Self::CustomDenied(_)
            | Self::CustomError(_)
            | Self::PeerUnauthenticated
            | Self::Jwt(_)
            | Self::InvalidPolicy
            | Self::UnknownWorkload
            | Self::MalformedRequest => false,
        }
    }

    /// The rule that decided, where one did.
    pub fn rule(self) -> Option<RuleId> {
        match self {
            Self::AllowRule(rule)
            | Self::DenyRule(rule)
            | Self::CustomProviderUndefined(rule)
            | Self::CustomDenied(rule)
            | Self::CustomError(rule) => Some(rule),
            Self::NoAllowPolicy
            | Self::NoAllowRule
            | Self::ApiRule(_)
            | Self::ApiRuleRefused(..)
            | Self::NoApiRule
            | Self::PeerUnauthenticated
            | Self::Jwt(_)
            | Self::InvalidPolicy
            | Self::UnknownWorkload
            | Self::MalformedRequest => None,
        }
    }

    /// The rule of an APIRule that decided, where one did.
    pub fn access_rule(self) -> Option<AccessRuleId> {
        match self {
            Self::ApiRule(rule) | Self::ApiRuleRefused(rule, _) => Some(rule),
            Self::AllowRule(_)
            | Self::DenyRule(_)
            | Self::CustomProviderUndefined(_)
            | Self::CustomDenied(_)
            | Self::CustomError(_)
            | Self::NoAllowPolicy
            | Self::NoAllowRule
            | Self::NoApiRule
            | Self::PeerUnauthenticated
            | Self::Jwt(_)
            | Self::InvalidPolicy
            | Self::UnknownWorkload
            | Self::MalformedRequest => None,
        }
    }

    /// The HTTP status of the answer, where policies deny.
    pub fn denial_status(self) -> Option<u16> {
        match self {
            Self::Jwt(error) => Some(error.status()),
            Self::ApiRuleRefused(_, refusal) => Some(refusal.status()),
            _ if self.outcome() == Outcome::Allow => None,
            Self::NoAllowPolicy
            | Self::AllowRule(_)
            | Self::ApiRule(_)
            | Self::DenyRule(_)
            | Self::NoAllowRule
            | Self::NoApiRule
            | Self::CustomProviderUndefined(_)
            | Self::CustomDenied(_)
            | Self::CustomError(_)
            | Self::PeerUnauthenticated
            | Self::InvalidPolicy
            | Self::UnknownWorkload
            | Self::MalformedRequest => Some(403),
        }
    }
}

/// What `decide` says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a request without a verdict is denied"]
pub struct Verdict {
    /// Why; the outcome follows.
    pub reason: Reason,
    /// The first AUDIT rule that matched; `decide::audited_by` lists all.
    pub audited_by: Option<RuleId>,
    /// What dry-run policies would have changed; `None` where the workload has none.
    pub shadow: Option<Shadow>,
}

impl Verdict {
    /// A verdict that no policy rule took part in.
    pub fn from_reason(reason: Reason) -> Self {
        Self { reason, audited_by: None, shadow: None }
    }

    /// ALLOW or DENY.
    pub fn outcome(self) -> Outcome {
        self.reason.outcome()
    }
}

/// The answer as it would be if dry-run policies (`istio.io/dry-run`) were enforced beside the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// One of `AllowRule`, `DenyRule`, `NoAllowRule`, `NoAllowPolicy`.
    pub reason: Reason,
    /// The dry-run DENY rule that matched, as Envoy's shadow engine reports it on its own.
    pub deny_rule: Option<RuleId>,
    /// The dry-run ALLOW rule that matched, likewise.
    pub allow_rule: Option<RuleId>,
    /// The dry-run CUSTOM rule that matched. Its provider was not asked, so `reason` does not know what
    /// it would have said.
    pub custom_rule: Option<RuleId>,
}

/// Which kind of dry-run rule makes a would-be answer what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRunRule {
    /// A DENY rule.
    Deny,
    /// An ALLOW rule.
    Allow,
    /// A CUSTOM rule, whose provider would have been asked.
    Custom,
    /// None: enforced rules say the same, or dry-run ALLOW policies have no rule for the request.
    None,
}

impl DryRunRule {
    /// All of them, so that metrics can list them from the start.
    pub const ALL: [Self; 4] = [Self::Deny, Self::Allow, Self::Custom, Self::None];

    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
            Self::Custom => "custom",
            Self::None => "none",
        }
    }
}

impl Shadow {
    /// Which kind of dry-run rule makes the would-be answer what it is.
    pub fn dry_run_rule(self) -> DryRunRule {
        match self.reason.rule() {
            Some(rule) if self.deny_rule == Some(rule) => DryRunRule::Deny,
            _ if self.custom_rule.is_some() => DryRunRule::Custom,
            Some(rule) if self.allow_rule == Some(rule) => DryRunRule::Allow,
            Some(_) | None => DryRunRule::None,
        }
    }

    /// ALLOW or DENY.
    pub fn outcome(self) -> Outcome {
        self.reason.outcome()
    }
}

/// Why a token was refused. Displays the text that native Envoy puts into the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JwtError {
    /// More bytes than are read of a token.
    #[error("Jwt is too large")]
    TooLarge,
    /// Not three sections.
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    BadFormat,
    /// Header not base64url.
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderBase64,
    /// Header not a JSON object.
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    /// `alg` missing or not a string.
    #[error("Jwt header [alg] field is required and must be a string")]
    HeaderAlg,
    /// `alg` unknown.
    #[error("Jwt header [alg] is not supported")]
    AlgUnsupported,
    /// `kid` not a string.
    #[error("Jwt header [kid] field is not a string")]
    HeaderKid,
    /// `crit` names extensions, and Postern implements none (RFC 7515 section 4.1.11). Envoy ignores
    /// `crit`; the deviation is in docs/semantics.md.
    #[error("Jwt header [crit] is not supported")]
    CritUnsupported,
    /// `zip` is there: nothing is ever inflated. Envoy ignores it.
    #[error("Jwt header [zip] is not supported")]
    ZipUnsupported,
    /// `b64` is not `true`: what is signed would be another text (RFC 7797). Envoy ignores it.
    #[error("Jwt header [b64] is not supported")]
    B64Unsupported,
    /// Payload not base64url.
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadBase64,
    /// Payload not a JSON object, or a name twice.
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    /// `iss` not a string.
    #[error("Jwt payload [iss] field is not a string")]
    IssNotString,
    /// `sub` not a string.
    #[error("Jwt payload [sub] field is not a string")]
    SubNotString,
    /// `jti` not a string.
    #[error("Jwt payload [jti] field is not a string")]
    JtiNotString,
    /// `iat` not a number.
    #[error("Jwt payload [iat] field is not an integer")]
    IatNotInteger,
    /// `iat` out of range.
    #[error("Jwt payload [iat] field is not a positive 64 bit integer")]
    IatOutOfRange,
    /// `nbf` not a number.
    #[error("Jwt payload [nbf] field is not an integer")]
    NbfNotInteger,
    /// `nbf` out of range.
    #[error("Jwt payload [nbf] field is not a positive 64 bit integer")]
    NbfOutOfRange,
    /// `exp` not a number.
    #[error("Jwt payload [exp] field is not an integer")]
    ExpNotInteger,
    /// `exp` out of range.
    #[error("Jwt payload [exp] field is not a positive 64 bit integer")]
    ExpOutOfRange,
    /// `aud` neither a string nor a list of strings.
    #[error("Jwt payload [aud] field is not a string or string list")]
    AudNotStrings,
    /// Signature not base64url.
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureBase64,
    /// No rule for this issuer at this place.
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    /// `nbf` in the future.
    #[error("Jwt not yet valid")]
    NotYetValid,
    /// `exp` in the past.
    #[error("Jwt is expired")]
    Expired,
    /// None of the rule's audiences. The only one answered with 403.
    #[error("Audiences in Jwt are not allowed")]
    AudienceNotAllowed,
    /// No key has this `kid` and `alg`.
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    KidAlgMismatch,
    /// Signature wrong.
    #[error("Jwt verification fails")]
    VerificationFails,
    /// An Ed25519 key was tried on a signature that is not one of Ed25519.
    #[error("Jwt ED25519 signature is wrong length")]
    Ed25519WrongLength,
    /// An inline key set without a usable key.
    #[error("Jwks doesn't have any valid public key")]
    NoValidKeys,
}

impl JwtError {
    /// The HTTP status that native Envoy answers with.
    pub fn status(self) -> u16 {
        if self == Self::AudienceNotAllowed { 403 } else { 401 }
    }
}
