//! Which headers are logged, and of which only that they were there.
//!
//! Says nothing about what is no header: query values and whole claims are never logged.

use crate::model::TokenFrom;
use crate::plan::WorkloadPlan;

/// Headers that hold credentials, or queries, which often do. No setting logs them.
pub const NEVER_LOGGED: [&str; 9] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "referer",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-csrf-token",
    "x-envoy-original-path",
];

/// What is logged of headers, beside those that policies look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redaction {
    /// Names, in lower case, of headers that are logged whether policies look at them or not.
    pub headers: Vec<String>,
    /// Names, in lower case, of headers that are not logged even if policies look at them, beside
    /// [`NEVER_LOGGED`] and those in which tokens come or leave.
    pub redacted: Vec<String>,
}

impl Default for Redaction {
    /// Also logs what finds a request in other logs.
    fn default() -> Self {
        Self { headers: vec!["x-request-id".to_owned()], redacted: Vec::new() }
    }
}

impl Redaction {
    /// Whether the value of a header is left out.
    pub(super) fn redacts(&self, name: &str, plan: Option<&WorkloadPlan>) -> bool {
        let access = || plan.into_iter().flat_map(|plan| &plan.access);
        let is_place = |place: &TokenFrom| match place {
            TokenFrom::Header(header) => header == name,
            TokenFrom::Bearer | TokenFrom::QueryParameter(_) | TokenFrom::Cookie(_) => false,
        };
        let holds_a_token = || {
            let rules = plan.into_iter().flat_map(|plan| &plan.jwt.rules);
            let mut rules = rules.chain(access().flat_map(|access| access.token_rules()));
            rules.any(|rule| {
                rule.places.headers.iter().any(|(header, _)| **header == *name)
                    || rule.payload_header.as_deref() == Some(name)
            }) || access()
                .flat_map(|access| &access.routes)
                .any(|route| route.plan.token_places().any(is_place))
        };
        NEVER_LOGGED.contains(&name)
            || self.redacted.iter().any(|redacted| redacted == name)
            || holds_a_token()
    }
}
