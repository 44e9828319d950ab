//! Every code of lints, with what it means.
//!
//! docs/lints has a page for each; docs/diagnostics.md lists them with all other codes.

use crate::diagnostic::Code;
use crate::manifest::codes as manifest;

macro_rules! codes {
    ($($name:ident = $number:literal, $short:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: Code = Code($number);)*

        const OWN: &[Lint] = &[
            $(Lint { code: Code($number), name: $short, meaning: $meaning }),*
        ];
    };
}

/// What is known of a code without any finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lint {
    /// The code.
    pub code: Code,
    /// A few words, joined by dashes.
    pub name: &'static str,
    /// One line.
    pub meaning: &'static str,
}

codes! {
    // 0500-0509: what never holds, or always.
    NEVER_MATCHES = 500, "rule-never-matches", "a rule that no request can match";
    DEAD_ALTERNATIVE = 501, "alternative-never-matches", "a `source` or `operation` that no request can match";
    NO_TOKENS = 502, "no-request-authentication", "a match on tokens where no RequestAuthentication verifies any";
    UNKNOWN_ISSUER = 503, "unknown-issuer", "an issuer that no RequestAuthentication takes tokens of";
    NO_PEER_IDENTITY = 504, "mutual-tls-disabled", "a match on the caller's identity where mutual TLS is disabled";
    PLAINTEXT_ESCAPES = 505, "plaintext-escapes", "plaintext gets around a match on the caller's identity";
    CLAIM_NOT_TEXT = 506, "claim-is-not-text", "a claim that is a number or a boolean, which no value matches";
    LITERAL_STAR = 507, "star-is-literal", "a star that stands for itself";
    IMPOSSIBLE_VALUE = 508, "impossible-value", "a value that no request has";

    // 0510-0519: what something else makes pointless.
    SHADOWED = 510, "rule-is-shadowed", "a rule that takes nothing which another rule does not take";
    DENIED_ANYWAY = 511, "allow-is-denied", "an ALLOW rule whose requests a DENY rule denies";
    DUPLICATE_POLICY = 512, "duplicate-policy", "two policies that mean the same";
    REDUNDANT_ENTRY = 513, "redundant-entry", "a value that another value of its list includes";

    // 0520-0529: shapes that are rarely meant.
    STRAY_DASH = 520, "stray-dash", "a dash that makes an OR of what reads like an AND";
    ONLY_EXCLUSIONS = 521, "allow-by-exclusion", "an ALLOW rule of exclusions alone";
    MESH_WIDE_DENY = 522, "mesh-wide-deny", "a DENY policy for every workload of the mesh";
    ALLOWS_NOTHING = 523, "allows-nothing", "an ALLOW policy without rules for workloads that no other policy opens";
    ALLOWS_EVERYTHING = 524, "allows-everything", "an ALLOW rule that takes every request";
    PORT_ESCAPES_HOST = 525, "port-escapes-host", "a host that a client escapes by naming a port";
    DEFAULT_PORT_IN_HOST = 526, "default-port-in-host", "a host with a port that clients leave out";
    HTTP_ON_OTHER_PORT = 527, "http-on-tcp-port", "HTTP fields for the port of another protocol";

    // 0530-0539: APIRules.
    API_RULE_OPENED = 530, "api-rule-is-opened", "a rule of an APIRule whose requests an earlier one lets through";
    API_RULE_NOT_REACHED = 531, "api-rule-not-reached", "a rule of an APIRule that no request reaches";
    NO_SUCH_SERVICE = 532, "api-rule-without-workload", "a rule of an APIRule whose Service leads to no workload";

    // 0540-0549: the annotation that ignores findings.
    UNUSED_IGNORE = 540, "unused-ignore", "an ignored code that was not found";
    BAD_IGNORE = 541, "bad-ignore", "an ignored code that does not exist, or cannot be ignored";
}

/// Warnings of the decoder that have a page like all lints.
const OF_MANIFESTS: [Lint; 8] = [
    of_manifest(manifest::SELECTOR_WITHOUT_LABELS, "selector-without-labels"),
    of_manifest(manifest::DENY_HTTP_ONLY, "deny-http-only"),
    of_manifest(manifest::HOST_BITS, "host-bits"),
    of_manifest(manifest::PRIVATE_KEY, "private-key"),
    of_manifest(manifest::NULL_FIELD, "null-field"),
    of_manifest(manifest::DUPLICATE_HEADER, "duplicate-header"),
    of_manifest(manifest::FROM_PARAMETERS, "from-parameters"),
    of_manifest(manifest::DEPRECATED_VERSION, "deprecated-version"),
];

const fn of_manifest(code: Code, name: &'static str) -> Lint {
    let mut rest = manifest::ALL;
    let mut meaning = "";
    while let Some(((each, text), after)) = rest.split_first() {
        if each.0 == code.0 {
            meaning = text;
        }
        rest = after;
    }
    Lint { code, name, meaning }
}

/// All that has a page in docs/lints, ascending.
pub fn all() -> impl Iterator<Item = Lint> {
    OF_MANIFESTS.into_iter().chain(OWN.iter().copied())
}

/// What is known of a code; `None` where it has no page in docs/lints.
pub fn find(code: Code) -> Option<Lint> {
    all().find(|lint| lint.code == code)
}
