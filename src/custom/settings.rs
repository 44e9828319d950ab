//! Extension providers as they are configured, checked and typed.
//!
//! Reading them from files is `config`'s job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One of MeshConfig's `extensionProviders` that CUSTOM policies can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionProvider {
    /// `name`
    pub name: Arc<str>,
    /// The host name of `service`.
    pub host: String,
    /// The namespace of `service`, which only Istio's registry needs.
    pub namespace: Option<String>,
    /// `port`
    pub port: u16,
    /// `timeout`
    pub timeout: Duration,
    /// `failOpen`
    pub fail_open: bool,
    /// `clearRouteCache`, which Postern cannot do for the filter that asks it.
    pub clear_route_cache: bool,
    /// `statusOnError`
    pub status_on_error: u16,
    /// `includeRequestBodyInCheck`
    pub request_body: Option<RequestBody>,
    /// What it speaks.
    pub protocol: Protocol,
}

impl ExtensionProvider {
    /// What Istio takes for `timeout`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);
    /// What Envoy takes for `statusOnError`.
    pub const DEFAULT_STATUS_ON_ERROR: u16 = 403;
}

/// Which kind of provider it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// `envoyExtAuthzGrpc`
    Grpc,
    /// `envoyExtAuthzHttp`
    Http(HttpCheck),
}

/// `includeRequestBodyInCheck`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestBody {
    /// `maxRequestBytes`
    pub max_request_bytes: usize,
    /// `allowPartialMessage`
    pub allow_partial_message: bool,
    /// `packAsBytes`; without effect over HTTP.
    pub pack_as_bytes: bool,
}

/// What only `envoyExtAuthzHttp` has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpCheck {
    /// `pathPrefix`; empty for none.
    pub path_prefix: String,
    /// `includeRequestHeadersInCheck`, or where that is not set `includeHeadersInCheck`.
    pub include_request_headers: Vec<HeaderPattern>,
    /// `includeAdditionalHeadersInCheck`, names in lower case.
    pub additional_headers: BTreeMap<String, String>,
    /// `headersToUpstreamOnAllow`
    pub headers_to_upstream_on_allow: Vec<HeaderPattern>,
    /// `headersToDownstreamOnDeny`; empty is all.
    pub headers_to_downstream_on_deny: Vec<HeaderPattern>,
    /// `headersToDownstreamOnAllow`
    pub headers_to_downstream_on_allow: Vec<HeaderPattern>,
}

/// A name of headers in a provider's lists. Case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderPattern {
    /// The name.
    Exact(String),
    /// `x-*`
    Prefix(String),
    /// `*-x`
    Suffix(String),
}

impl HeaderPattern {
    /// Reads one as Istio does: a star at the beginning is looked at first, others are literal.
    /// `None` for a lone star, which Istio refuses, and for an empty text.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        if matches!(&*lower, "" | "*") {
            return None;
        }
        Some(match (lower.strip_prefix('*'), lower.strip_suffix('*')) {
            (Some(suffix), _) => Self::Suffix(suffix.to_owned()),
            (None, Some(prefix)) => Self::Prefix(prefix.to_owned()),
            (None, None) => Self::Exact(lower),
        })
    }

    /// Whether it is a name's, which is in lower case.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
            Self::Suffix(suffix) => name.ends_with(&**suffix),
        }
    }
}

/// Which names of providers mean something, and what they speak: all that a decision needs of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definitions(BTreeMap<Arc<str>, Speaks>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Grpc,
    Http,
}

impl Definitions {
    /// Of these providers.
    pub fn of<'p>(providers: impl IntoIterator<Item = &'p ExtensionProvider>) -> Self {
        let speaks = |protocol: &Protocol| match protocol {
            Protocol::Grpc => Speaks::Grpc,
            Protocol::Http(_) => Speaks::Http,
        };
        Self(providers.into_iter().map(|p| (p.name.clone(), speaks(&p.protocol))).collect())
    }

    /// Has this name mean something, if it does not yet.
    pub fn define(&mut self, name: &Arc<str>) {
        self.0.entry(name.clone()).or_insert(Speaks::Grpc);
    }

    pub(super) fn speaks(&self, provider: &str) -> Option<Speaks> {
        self.0.get(provider).copied()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exact("X-User", "x-user", true)]
    #[case::exact_is_whole("x-user", "x-user-id", false)]
    #[case::prefix("X-*", "x-user", true)]
    #[case::prefix_is_its_own("x-*", "x-", true)]
    #[case::suffix("*-id", "x-user-id", true)]
    #[case::suffix_is_not_prefix("*-id", "x-id-user", false)]
    #[case::star_within("x-*-id", "x-user-id", false)]
    #[case::star_at_both_ends("*user*", "x-user*", true)]
    #[case::the_second_is_literal("*user*", "x-user-id", false)]
    fn header_patterns(#[case] pattern: &str, #[case] name: &str, #[case] matches: bool) {
        assert_eq!(HeaderPattern::parse(pattern).unwrap().matches(name), matches);
    }

    #[test]
    fn a_lone_star_is_none() {
        assert_eq!(HeaderPattern::parse("*"), None);
        assert_eq!(HeaderPattern::parse(""), None);
    }
}
