//! Whether an answer may be used again, for which requests, and until when.
//!
//! Exact in one sense: a request that agrees on all that is named gets the same answer until then, by
//! the same policies and keys. docs/caching.md says how to use it; nothing here is ever cached.

use std::time::Duration;

use crate::authn::Authentication;
use crate::custom::Consulted;
use crate::model::{Reason, Verdict};
use crate::plan::WorkloadPlan;

/// What an answer says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum CacheHint<'a> {
    /// It holds.
    Holds {
        /// To the end of this second, counted from 1970.
        until: u64,
        /// For requests or connections that agree on what this plan depends on.
        plan: &'a WorkloadPlan,
        is_http: bool,
        /// And that have the same peer, as far as it is not among that: who is refused is told why or
        /// not.
        peer_counts: bool,
    },
    /// It is for this request only.
    Once(Once),
}

/// Why an answer is for one request only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Once {
    /// A CUSTOM policy is attached, so somebody else may have to be asked.
    CustomProvider,
    /// APIRules hold, whose answers depend on the whole of a request, or on somebody else.
    ApiRules,
    /// The answer quotes the request.
    TokenRefused,
    /// A token failed by keys that are fetched, and may be there the next moment.
    KeysMayCome,
}

impl Once {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::CustomProvider => "custom_provider",
            Self::ApiRules => "api_rules",
            Self::TokenRefused => "token_refused",
            Self::KeysMayCome => "keys_may_come",
        }
    }
}

impl<'a> CacheHint<'a> {
    /// What the answer to a request says of itself that was decided at `now`, in seconds since 1970.
    pub(super) fn new(
        plan: &'a WorkloadPlan,
        is_http: bool,
        verdict: Verdict,
        (authentication, consulted): (&Authentication, Option<&Consulted>),
        (now, longest): (u64, Duration),
    ) -> Self {
        if consulted.is_some_and(Consulted::asks_somebody) {
            return Self::Once(Once::CustomProvider);
        }
        if plan.access.is_some() {
            return Self::Once(Once::ApiRules);
        }
        if let Reason::Jwt(_) = verdict.reason {
            return Self::Once(Once::TokenRefused);
        }
        if authentication.validity.keys_may_come {
            return Self::Once(Once::KeysMayCome);
        }
        let until = now.saturating_add(longest.as_secs());
        let until = authentication.validity.through.map_or(until, |through| through.min(until));
        Self::Holds { until, plan, is_http, peer_counts: false }
    }

    /// The same where the caller is told something because of who the peer is.
    pub(super) fn with_peer(self, counts: bool) -> Self {
        match self {
            Self::Holds { until, plan, is_http, peer_counts } => {
                Self::Holds { until, plan, is_http, peer_counts: peer_counts || counts }
            }
            Self::Once(_) => self,
        }
    }
}

/// The names of what an answer depends on, each once.
pub(super) fn depends_on(
    plan: &WorkloadPlan,
    is_http: bool,
    peer_counts: bool,
) -> impl Iterator<Item = &str> {
    const PEER: [&str; 2] = ["source.ip", "source.principal"];
    let peer = PEER.into_iter().filter(move |name| {
        peer_counts && plan.dependencies().names(is_http).all(|known| known != *name)
    });
    plan.dependencies().names(is_http).chain(peer)
}

#[cfg(test)]
mod tests;
