//! Who may call the API, and what for.
//!
//! A caller shows a client certificate or a bearer token; without either there is no caller. What a
//! request wants is the business of those who read it.

mod certificates;
mod jwt;
mod pki;
mod reviews;
mod roles;
mod tokens;

pub use certificates::user_of_certificate;
pub use jwt::{InvalidJwtRules, JwtCallers, JwtRules};
pub use pki::{Leaf, Pki, PkiError, kubeconfig};
pub(in crate::api) use reviews::protobuf_object;
pub use reviews::{Review, ReviewError, ReviewKind};
pub use roles::{Grant, InvalidGrant, Namespaces, Role, Roles};
pub use tokens::{InvalidTokens, StaticTokens};

/// The group that may do everything, as everywhere with Kubernetes.
pub const MASTERS: &str = "system:masters";

/// The group of everybody who is somebody.
pub const AUTHENTICATED: &str = "system:authenticated";

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Its name.
    pub name: String,
    /// What tells it from others of the same name; empty where nothing does.
    pub uid: String,
    /// Its groups, [`AUTHENTICATED`] not among them.
    pub groups: Vec<String>,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action<'a> {
    /// get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: &'a str,
    /// Empty for the core group.
    pub group: &'a str,
    /// The plural, with `/status` where it is about that.
    pub resource: &'a str,
    /// Empty for all namespaces and for what is in none.
    pub namespace: &'a str,
    /// Empty for all.
    pub name: &'a str,
}
