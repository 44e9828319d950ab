//! The ways in which proxies ask over HTTP.
//!
//! What each of them sends is `read`'s job, what it understands `respond`'s.

use std::fmt;

/// Which proxy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    /// Envoy's ext_authz filter with `http_service`: the original method, path and host, behind a
    /// prefix if one is configured.
    #[default]
    Envoy,
    /// nginx's `auth_request`: a GET of [`Flavour::path`] with the original in headers that its
    /// configuration sets. Understands 2xx, 401 and 403.
    Nginx,
    /// Traefik's ForwardAuth, and Caddy's `forward_auth`: a GET of [`Flavour::path`] with the original
    /// in `X-Forwarded-*`.
    Traefik,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Envoy, Self::Nginx, Self::Traefik];

    /// As it is configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
        }
    }

    /// Where the proxy asks, whatever the original path is; `None` where it asks by that.
    ///
    /// Each has its own, so that one that is taken for another is denied, not misunderstood.
    pub fn path(self) -> Option<&'static str> {
        match self {
            Self::Envoy => None,
            Self::Nginx => Some("/postern/nginx"),
            Self::Traefik => Some("/postern/traefik"),
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
