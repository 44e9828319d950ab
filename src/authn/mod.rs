//! Who sent the request: tokens found, verified and taken out of it.
//!
//! Does what Envoy's `jwt_authn` filter does when Istio configures it from the same
//! RequestAuthentications. What an identity may do is `decide`'s job.

pub mod clock;
mod extract;
mod inspect;
pub mod introspection;
mod json;
pub mod jwks;
mod output;
mod query;
mod requirement;
mod token;
mod token_cache;
mod vouched;

use std::{
    fmt,
    future::{self, Future},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use crate::key_set::{Generation, KeySet};
use crate::model::{Http, JwtError};
use crate::plan::{JwtPlan, JwtRulePlan, KeySourceId};

pub use inspect::{Inspection, inspect};
pub use introspection::ScopeStrategy;
pub use query::query_with;
pub use requirement::{Authentication, Changes, Validity, VerifiedToken};
pub use token::CLOCK_SKEW_SECONDS;
pub use token_cache::{TokenCache, TokenCacheStatus};
pub use vouched::{Signer, Vouching};

/// The largest token that is read unless configured otherwise, in bytes. Envoy's own limit on all
/// headers together is 60 KiB, so that by default this refuses nothing that native filters take.
pub const DEFAULT_MAX_TOKEN_SIZE: usize = 64 << 10;

/// Where fetched keys are looked up.
pub trait KeyLookup {
    /// The last good keys of a source; `None` before the first fetch succeeded.
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>>;

    /// Tries for at most `within` to get keys that are not there. Whether there are others now.
    fn seek<'a>(
        &'a self,
        _wanted: &'a [WantedKey],
        _within: Duration,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(future::ready(false))
    }
}

/// A key that a token names and that its source's set does not have: it may be a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedKey {
    /// Where it would be.
    pub source: KeySourceId,
    /// Its id as the token says; empty where it says none.
    pub kid: Box<str>,
    /// The set that was looked at; `None` where there was none.
    pub seen: Option<Generation>,
}

/// A lookup without keys: for plans whose rules all have inline keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl KeyLookup for NoKeys {
    fn keys(&self, _: &KeySourceId) -> Option<Arc<KeySet>> {
        None
    }
}

/// What tokens are verified with. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// The keys of rules that do not have them inline.
    pub keys: &'a dyn KeyLookup,
    /// Spares verifying what was verified before; `None` verifies each time, with the same result.
    pub cache: Option<&'a TokenCache>,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// A token over this many bytes is refused unread.
    pub max_token_size: usize,
}

impl fmt::Debug for Verifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys: _, cache, now, max_token_size } = self;
        f.debug_struct("Verifier")
            .field("cache", cache)
            .field("now", now)
            .field("max_token_size", max_token_size)
            .finish_non_exhaustive()
    }
}

/// Looks for tokens, verifies them, and changes `http` as the filter
/// would: verified tokens out, claim headers in, the client's copies of those headers out.
///
/// A request without tokens passes without claims. Of a CORS preflight, and of a request whose path
/// does not start with a slash, only the client's copies of output headers are taken out.
pub fn authenticate(
    plan: &JwtPlan,
    http: &mut Http<'_>,
    verifier: &Verifier<'_>,
) -> Authentication {
    requirement::verify(plan, http, verifier)
}

/// What one rule says of one token, as [`authenticate`] would of a token at one of its places: the
/// `kid` of the key that verified it, if that has one, or why it is refused. For people who ask about
/// a token; a request is only ever let in by [`authenticate`].
pub fn check_token(
    rule: &JwtRulePlan,
    token: &str,
    verifier: &Verifier<'_>,
) -> Result<Option<Box<str>>, JwtError> {
    requirement::check_token(rule, token, verifier)
}

/// Verifies one token with the keys of a rule, wherever it stands. Keys that might verify it, if they
/// could be had, are added to `wanted`.
pub fn verify_token(
    rule: &JwtRulePlan,
    token: &str,
    verifier: &Verifier<'_>,
    wanted: &mut Vec<WantedKey>,
) -> Result<VerifiedToken, JwtError> {
    requirement::verify_token(rule, token, verifier, wanted)
}

/// Requests whose tokens are not looked at: those outside the prefix `/` that Istio's rules are
/// for, and CORS preflights.
fn is_exempt(http: &Http<'_>) -> bool {
    !http.path.starts_with('/') || is_cors_preflight(http)
}

/// As Envoy's `bypass_cors_preflight` sees it.
fn is_cors_preflight(http: &Http<'_>) -> bool {
    let has = |name| http.headers.values(name).next().is_some_and(|value| !value.is_empty());
    http.method == "OPTIONS" && has("origin") && has("access-control-request-method")
}

#[cfg(test)]
mod tests;
