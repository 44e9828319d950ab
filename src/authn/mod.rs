//! Who sent the request: tokens found, verified and taken out of it.
//!
//! Does what Envoy's `jwt_authn` filter does when Istio configures it from the same
//! RequestAuthentications. What an identity may do is `decide`'s job.

pub mod clock;
mod extract;
mod inspect;
mod json;
pub mod jwks;
mod output;
mod query;
mod requirement;
mod token;

use std::sync::Arc;

use crate::key_set::KeySet;
use crate::model::{Http, JwtError};
use crate::plan::{JwtPlan, JwtRulePlan, KeySourceId};

pub use inspect::{Inspection, inspect};
pub use requirement::{Authentication, Changes};
pub use token::CLOCK_SKEW_SECONDS;

/// The largest token that is read unless configured otherwise, in bytes. Envoy's own limit on all
/// headers together is 60 KiB, so that by default this refuses nothing that native filters take.
pub const DEFAULT_MAX_TOKEN_SIZE: usize = 64 << 10;

/// Where fetched keys are looked up.
pub trait KeyLookup {
    /// The last good keys of a source; `None` before the first fetch succeeded.
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>>;
}

/// A lookup without keys: for plans whose rules all have inline keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl KeyLookup for NoKeys {
    fn keys(&self, _: &KeySourceId) -> Option<Arc<KeySet>> {
        None
    }
}

/// Looks for tokens, verifies them at `now` (seconds since 1970), and changes `http` as the filter
/// would: verified tokens out, claim headers in, the client's copies of those headers out. A token
/// over `max_token_size` bytes is refused unread.
///
/// A request without tokens passes without claims. Of a CORS preflight, and of a request whose path
/// does not start with a slash, only the client's copies of output headers are taken out.
pub fn authenticate(
    plan: &JwtPlan,
    http: &mut Http<'_>,
    keys: &dyn KeyLookup,
    now: u64,
    max_token_size: usize,
) -> Authentication {
    requirement::verify(plan, http, keys, now, max_token_size)
}

/// What one rule says of one token at `now`, as [`authenticate`] would of a token at one of its
/// places: the `kid` of the key that verified it, if that has one, or why it is refused. For people
/// who ask about a token; a request is only ever let in by [`authenticate`].
pub fn check_token(
    rule: &JwtRulePlan,
    token: &str,
    keys: &dyn KeyLookup,
    now: u64,
    max_token_size: usize,
) -> Result<Option<Box<str>>, JwtError> {
    requirement::check_token(rule, token, keys, now, max_token_size)
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
