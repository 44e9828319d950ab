//! What Envoy is told, before it is a message.
//!
//! `encode` writes it for Envoy; `response` builds the same message for people to look at.

use std::borrow::Cow;

use tonic::Code;

use super::cache_hint::CacheHint;
use super::denial::Denial;
use crate::authn::Changes;
use crate::custom::Consulted;
use crate::model::{Http, RuleId, Value, Verdict, header_text};
use crate::plan::WorkloadPlan;

/// The body of native RBAC's denial.
pub(super) const ACCESS_DENIED: &str = "RBAC: access denied";

/// An answer, and what it reports.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    pub(super) report: Report<'a>,
    pub(super) answer: Answer<'a>,
    /// What CUSTOM rules had to say; `None` where none matched.
    pub(super) consulted: Option<&'a Consulted>,
}

/// What becomes of the request.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    /// It passes, with its changes.
    Allowed { http: Option<&'a Http<'a>>, changes: &'a Changes },
    /// It is refused. The realm is for those whose token is bad.
    Denied { realm: Option<Realm<'a>>, denial: Denial<'a> },
    /// It is refused as Envoy's connection manager does when it cannot normalise a path.
    BadRequest,
}

/// What the response reports beside the decision.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) verdict: Verdict,
    pub(super) revision: u64,
    pub(super) plan: Option<&'a WorkloadPlan>,
    pub(super) audited_by: Vec<RuleId>,
    pub(super) claims: Option<&'a Value>,
    pub(super) cache: Option<CacheHint<'a>>,
}

/// The gRPC code that goes with the HTTP status of a denial.
pub(super) fn code_of(status: u16) -> Code {
    match status {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        _ => Code::PermissionDenied,
    }
}

/// What is needed of the request as it came: the realm of `www-authenticate`. Held in parts, as few
/// requests are refused.
#[derive(Debug)]
pub(super) struct Realm<'a> {
    scheme: Cow<'a, str>,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    original_path: Option<Cow<'a, [u8]>>,
}

impl<'a> Realm<'a> {
    /// Scheme, host and path of the request as the client wrote it.
    pub(super) fn of(http: &Http<'a>) -> Self {
        Self {
            scheme: http.scheme.clone(),
            host: http.host.clone(),
            path: http.path.clone(),
            original_path: http.headers.first("x-envoy-original-path").cloned(),
        }
    }

    /// The value of `www-authenticate`.
    pub(super) fn challenge(&self) -> String {
        /// Envoy cuts the path here.
        const PATH_MAX: usize = 256;
        let Self { scheme, host, path, original_path } = self;
        let original = original_path.as_deref().filter(|path| !path.is_empty());
        let path = original.map_or(Cow::Borrowed(&**path), header_text);
        let path: String = path.chars().take(PATH_MAX).collect();
        format!("Bearer realm=\"{scheme}://{host}{path}\", error=\"invalid_token\"")
    }
}
