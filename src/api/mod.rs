//! What objects of a Kubernetes-style API are and become: patches, field ownership, metadata rules,
//! selectors, tables and errors, as pure functions over JSON.
//!
//! Stores nothing and speaks no HTTP: the store and the server are built on it.

pub mod apply;
pub mod continue_token;
pub mod object_meta;
pub mod patch;
pub mod query;
pub mod selector;
pub mod status;
pub mod strict;
pub mod table;

mod field_error;
mod names;
mod resource_type;

#[cfg(test)]
mod tests;
