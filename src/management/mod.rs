//! The management API: what is in a mesh, how its traffic is split, and how much of it there is.
//!
//! Reads what operators wrote and what Prometheus measured; what is enforced is nobody's business
//! here.

pub mod mesh;
