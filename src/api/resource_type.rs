//! The names of the resources that the API serves, as paths, objects and messages need them.
//!
//! What can be done with them is for discovery to say.

use std::fmt;

use crate::manifest::schema::virtual_service;

/// The names of one kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceType {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural, as in paths.
    pub plural: &'static str,
    /// Kind, as in objects.
    pub kind: &'static str,
}

impl ResourceType {
    /// `authorizationpolicies.security.istio.io`
    pub const AUTHORIZATION_POLICY: Self =
        Self::istio("authorizationpolicies", "AuthorizationPolicy");
    /// `requestauthentications.security.istio.io`
    pub const REQUEST_AUTHENTICATION: Self =
        Self::istio("requestauthentications", "RequestAuthentication");
    /// `peerauthentications.security.istio.io`
    pub const PEER_AUTHENTICATION: Self = Self::istio("peerauthentications", "PeerAuthentication");
    /// `apirules.gateway.kyma-project.io`
    pub const API_RULE: Self =
        Self { group: "gateway.kyma-project.io", plural: "apirules", kind: "APIRule" };
    /// `virtualservices.networking.istio.io`
    pub const VIRTUAL_SERVICE: Self =
        Self { group: virtual_service::GROUP, plural: "virtualservices", kind: "VirtualService" };
    /// `namespaces`
    pub const NAMESPACE: Self = Self { group: "", plural: "namespaces", kind: "Namespace" };

    const fn istio(plural: &'static str, kind: &'static str) -> Self {
        Self { group: "security.istio.io", plural, kind }
    }

    /// `kind.group`, as messages about the content of an object name it.
    pub fn qualified_kind(&self) -> String {
        qualified(self.kind, self.group)
    }

    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }
}

/// `plural.group`, as messages name resources.
impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&qualified(self.plural, self.group))
    }
}

pub(super) fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
