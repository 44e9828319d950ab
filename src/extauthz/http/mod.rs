//! The same decision over HTTP, for Envoy's `http_service`, nginx's `auth_request`, and forward-auth as
//! Traefik and Caddy do it.
//!
//! Turns a request about a request into what `service` decides on, and its reply into a response. Which
//! of them asks is configured, never found out: a client must not have a say in how it is read.

mod flavour;
mod proxy_header;
mod read;
mod respond;
mod server;

pub use flavour::Flavour;
pub use read::HttpSettings;
pub use server::HttpServer;

use crate::plan::WorkloadPlan;

/// Whether token rules of the workload look at, or set, headers that a proxy need not send: of one that
/// is not there, nothing is known.
pub(super) fn needs_all_headers(plan: &WorkloadPlan) -> bool {
    plan.access.is_some()
        || plan.jwt.rules.iter().any(|rule| {
            rule.places.headers.iter().any(|(name, _)| **name != *"authorization")
                || !rule.places.cookies.is_empty()
                || rule.payload_header.is_some()
                || !rule.claim_headers.is_empty()
        })
}

#[cfg(test)]
mod tests;
