//! Policies of a cluster, followed through whatever happens to the cluster: one Postern is the
//! Kubernetes API, on a store that forgets quickly, another one follows it, and between the two stands
//! a proxy that holds answers back, cuts connections and breaks answers off.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

mod binaries;
mod cluster;
mod laws;
#[path = "../blackbox/process.rs"]
mod process;
mod proxy;
mod statuses;
