//! The API of a Kubernetes server for the kinds that Postern enforces, so that kubectl and its like
//! can be used where there is no cluster.
//!
//! Keeping objects is `store`'s job, what they mean `manifest`'s.

pub mod access;
