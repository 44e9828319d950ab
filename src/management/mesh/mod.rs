//! The objects of a mesh as Kubernetes JSON, wherever they are.
//!
//! What callers are shown of them, and which patches make sense, is said elsewhere.

pub mod cluster;
#[cfg(test)]
mod clusters;
mod files;
pub mod inline_kubeconfig;
mod stored;

use serde_json::Value;

pub use cluster::Cluster;
pub use files::Files;
pub use inline_kubeconfig::{Destinations, InvalidDestination, InvalidKubeconfig};
pub use stored::Stored;

/// Which objects the management API reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeshKind {
    /// `virtualservices.networking.istio.io`
    VirtualService,
    /// `peerauthentications.security.istio.io`
    PeerAuthentication,
    /// `authorizationpolicies.security.istio.io`
    AuthorizationPolicy,
}

impl MeshKind {
    /// Its API group.
    pub fn group(self) -> &'static str {
        match self {
            Self::VirtualService => "networking.istio.io",
            Self::PeerAuthentication | Self::AuthorizationPolicy => "security.istio.io",
        }
    }

    /// Its versions, the preferred one first.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::VirtualService => &["v1", "v1beta1", "v1alpha3"],
            Self::PeerAuthentication | Self::AuthorizationPolicy => &["v1", "v1beta1"],
        }
    }

    /// The kind, as in objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtualService => "VirtualService",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
        }
    }

    /// The plural, as in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::VirtualService => "virtualservices",
            Self::PeerAuthentication => "peerauthentications",
            Self::AuthorizationPolicy => "authorizationpolicies",
        }
    }
}

/// Why objects cannot be had or changed. Callers see these words, so none has an address, a
/// credential or what somebody else's server said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeshError {
    /// Whatever holds them does not answer, or cannot be read.
    #[error("{0}")]
    Unreachable(String),
    /// They have changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// They are changed elsewhere.
    #[error("{0}")]
    ReadOnly(String),
    /// What they would become is not allowed.
    #[error("{0}")]
    Refused(String),
}

/// Where the objects of a mesh are.
#[derive(Debug, Clone)]
pub enum MeshObjects {
    /// In files, which are only read.
    Files(Files),
    /// In the embedded store.
    Store(Stored),
    /// In a cluster.
    Cluster(Cluster),
}

impl MeshObjects {
    /// Whether the kinds of a mesh are served. Files and the store hold them always, even if none is
    /// there.
    pub async fn istio_enabled(&self) -> Result<bool, MeshError> {
        match self {
            Self::Files(_) | Self::Store(_) => Ok(true),
            Self::Cluster(cluster) => cluster.istio_enabled().await,
        }
    }

    /// The SHA-256 of the kubeconfig that a caller sent for them, for audits.
    pub fn kubeconfig_sha256(&self) -> Option<&str> {
        match self {
            Self::Files(_) | Self::Store(_) => None,
            Self::Cluster(cluster) => cluster.kubeconfig_sha256(),
        }
    }

    /// The objects of a namespace, whole, by name.
    pub async fn list(&self, kind: MeshKind, namespace: &str) -> Result<Vec<Value>, MeshError> {
        match self {
            Self::Files(files) => files.list(kind, namespace).await,
            Self::Store(store) => Ok(store.list(kind, namespace)),
            Self::Cluster(cluster) => cluster.list(kind, namespace).await,
        }
    }

    /// One object, whole.
    pub async fn get(
        &self,
        kind: MeshKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, MeshError> {
        match self {
            Self::Files(files) => files.get(kind, namespace, name).await,
            Self::Store(store) => Ok(store.get(kind, namespace, name)),
            Self::Cluster(cluster) => cluster.get(kind, namespace, name).await,
        }
    }

    /// Patches a VirtualService, for this user, and gives what it became. A `test` that fails is a
    /// [`MeshError::Conflict`], and nothing has changed.
    pub async fn patch(
        &self,
        namespace: &str,
        name: &str,
        patch: &json_patch::Patch,
        user: &str,
    ) -> Result<Value, MeshError> {
        match self {
            Self::Files(files) => files.patch(namespace, name).await,
            Self::Store(store) => store.patch(namespace, name, patch, user).await,
            Self::Cluster(cluster) => cluster.patch(namespace, name, patch, user).await,
        }
    }
}

/// The field manager that a patch is written down for. Users are `ISSUER#SUBJECT`, managers have at
/// most 128 characters.
fn manager(user: &str) -> String {
    const MOST: usize = 128;
    let subject = user.rsplit_once('#').map_or(user, |(_, subject)| subject);
    let name = format!("postern-management:{subject}");
    name.chars().filter(|c| !c.is_control()).take(MOST).collect()
}
