//! What every resource has: metadata, and what it is attached to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ApiRule, AuthorizationPolicy, Kind, PeerAuthentication, Position, RequestAuthentication,
    ResourceId,
};

/// The part of `metadata` that decisions and explanations use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// `metadata.namespace`
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp`, seconds since 1970; absent sorts as oldest, as Go's zero time.
    pub creation_timestamp: Option<i64>,
    /// The file the resource was read from, as the user named it.
    pub file: Option<Arc<str>>,
    /// Where the resource's document starts in that file.
    pub position: Position,
}

/// What a policy is attached to: at most one of the two is used (validation says so).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attachment {
    /// `spec.selector.matchLabels`; `None` without a selector. An empty map selects every workload.
    pub selector: Option<BTreeMap<String, String>>,
    /// `spec.targetRef` and `spec.targetRefs`, together.
    pub target_refs: Vec<PolicyTargetReference>,
}

/// What a refused resource would be about, as far as that can be told for sure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedScope {
    /// A policy, attached to this.
    Attached(Attachment),
    /// An APIRule.
    ApiRule {
        /// Its hosts, in lower case, one at least; `None` where one of them cannot be read.
        hosts: Option<BTreeSet<String>>,
        /// Namespaces and names of the Services that it has rules for, one at least; `None` where one
        /// of them cannot be read.
        services: Option<BTreeSet<(String, String)>>,
    },
}

/// One entry of `targetRefs`. The namespace is the policy's own (others are refused).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTargetReference {
    /// `group`, empty for the core group.
    pub group: String,
    /// `kind`
    pub kind: String,
    /// `name`
    pub name: String,
}

/// Any resource that Postern enforces.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// See [`AuthorizationPolicy`]. Shared with every plan that it is part of.
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
    /// See [`RequestAuthentication`].
    RequestAuthentication(RequestAuthentication),
    /// See [`PeerAuthentication`].
    PeerAuthentication(PeerAuthentication),
    /// See [`ApiRule`]. Shared with every plan that it is part of.
    ApiRule(Arc<ApiRule>),
}

impl Resource {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::AuthorizationPolicy(_) => Kind::AuthorizationPolicy,
            Self::RequestAuthentication(_) => Kind::RequestAuthentication,
            Self::PeerAuthentication(_) => Kind::PeerAuthentication,
            Self::ApiRule(_) => Kind::ApiRule,
        }
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::AuthorizationPolicy(r) => &r.metadata,
            Self::RequestAuthentication(r) => &r.metadata,
            Self::PeerAuthentication(r) => &r.metadata,
            Self::ApiRule(r) => &r.metadata,
        }
    }

    /// What it is attached to; nothing for an APIRule, whose rules name Services.
    pub fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::AuthorizationPolicy(r) => Some(&r.attachment),
            Self::RequestAuthentication(r) => Some(&r.attachment),
            Self::PeerAuthentication(r) => Some(&r.attachment),
            Self::ApiRule(_) => None,
        }
    }

    /// The identity: kind, namespace, name.
    pub fn id(&self) -> ResourceId {
        let Metadata { namespace, name, .. } = self.metadata();
        ResourceId { kind: self.kind(), namespace: namespace.clone(), name: name.clone() }
    }
}
