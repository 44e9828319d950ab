//! Policies as configuration of Envoy's own filters, as Istio writes it.
//!
//! The other side of every comparison, so it is written from what Istio documents and was seen to
//! do, works on the resources as text has them, and shares nothing with Postern. Whether a resource
//! is valid is not asked here.

mod attachment;
mod authentication;
mod authorization;
mod matchers;
mod mutual_tls;
mod rule;
mod trust_domain;

use serde_json::Value;

use crate::cases::Set;

pub(crate) use mutual_tls::{MutualTls, PeerModes};

/// What an inbound listener of the workload is made of.
#[derive(Debug, Clone)]
pub(crate) struct Native {
    /// HTTP filters, in order, without the router.
    pub(crate) http: Vec<Value>,
    /// Network filters, in order, without the proxy.
    pub(crate) network: Vec<Value>,
    pub(crate) peers: PeerModes,
}

/// What kind of traffic filters are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Http,
    L4,
}

/// Translates the policies of a set. `fetch` stands for istiod, which puts the keys that a rule
/// names by URL or by issuer into the configuration, and keys that verify nothing where there are
/// none.
pub(crate) fn translate(set: &Set, fetch: &dyn Fn(&str) -> String) -> Native {
    let attached = |kind| attachment::attached(set, kind);
    let policies = attached("AuthorizationPolicy");
    let filters = |layer| {
        let mut filters = authorization::custom(&policies, &set.workload, layer);
        if layer == Layer::Http {
            filters.extend(authentication::filter(&attached("RequestAuthentication"), fetch));
        }
        filters.extend(authorization::enforced(&policies, &set.workload, layer));
        filters
    };
    Native {
        http: filters(Layer::Http),
        network: filters(Layer::L4),
        peers: mutual_tls::modes(set),
    }
}
