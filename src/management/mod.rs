//! The management API: what is in a mesh, how its traffic is split, and how much of it there is.
//!
//! Reads what operators wrote and what Prometheus measured, and changes the weights of routes; what is
//! enforced is the business of others. Putting it together with a certificate and a port is `app`'s.

pub mod access;
pub mod answer;
pub mod failure;
pub mod mesh;
pub mod metric;
pub mod openapi;
pub mod parameters;
pub mod prometheus;
pub mod route;
pub mod server;
pub mod shown;
pub mod topology;
pub mod weights;
