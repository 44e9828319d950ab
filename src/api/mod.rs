//! The API of a Kubernetes server for the kinds that Postern enforces, so that kubectl and its like
//! can be used where there is no cluster.
//!
//! What objects are and become (patches, field ownership, metadata rules, selectors, tables, errors)
//! is a set of pure functions over JSON. Keeping objects is `store`'s job, what they mean
//! `manifest`'s.

pub mod access;
pub mod admission;
pub mod apply;
pub mod continue_token;
pub mod discovery;
pub mod object_meta;
pub mod openapi;
pub mod patch;
pub mod query;
pub mod selector;
pub mod server;
pub mod status;
pub mod strict;
pub mod table;

mod field_error;
mod media_range;
mod names;
mod resource_type;
mod versions;

#[cfg(test)]
mod tests;
