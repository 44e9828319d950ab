//! Names: of resources, of places in files, of rules in a plan.

use std::{fmt, ops::Deref, sync::Arc};

/// The kinds of resources that Postern enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `AuthorizationPolicy`
    AuthorizationPolicy,
    /// `RequestAuthentication`
    RequestAuthentication,
    /// `PeerAuthentication`
    PeerAuthentication,
    /// Kyma's `APIRule`
    ApiRule,
}

impl Kind {
    /// Every kind, in the order they are listed to users.
    pub const ALL: [Self; 4] = [
        Self::AuthorizationPolicy,
        Self::RequestAuthentication,
        Self::PeerAuthentication,
        Self::ApiRule,
    ];

    /// The kinds of `security.istio.io`, in the same order.
    pub const ISTIO: [Self; 3] =
        [Self::AuthorizationPolicy, Self::RequestAuthentication, Self::PeerAuthentication];

    /// The kind as manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::RequestAuthentication => "RequestAuthentication",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::ApiRule => "APIRule",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One resource. Displays as `AuthorizationPolicy/shop/no-admin`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// The kind.
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// A place in a text, both counted from 1; zero where the text is not known (built in code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A value and where it was written, so that an explanation can point at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands in its file.
    pub position: Position,
}

impl<T> Located<T> {
    /// A value at a place.
    pub fn new(value: T, position: Position) -> Self {
        Self { value, position }
    }
}

impl<T> From<T> for Located<T> {
    /// A value built in code, at no place.
    fn from(value: T) -> Self {
        Self { value, position: Position::default() }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A rule of an APIRule of a plan: which APIRule of the plan, which rule of it (both from 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccessRuleId {
    /// Index in `AccessPlan::api_rules`.
    pub api_rule: u32,
    /// Index in the APIRule's `rules`.
    pub rule: u32,
}

/// A rule of a compiled plan: which policy of the plan, which rule of that policy (both from 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Index in `WorkloadPlan::policies`.
    pub policy: u32,
    /// Index in the policy's `rules`.
    pub rule: u32,
}
