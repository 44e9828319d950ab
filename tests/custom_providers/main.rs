//! CUSTOM providers: real authorizers, asked by Postern, and by Envoy as Istio configures it.
//!
//! Both are put the same requests behind the same Envoy, and what the client and the upstream see must
//! be the same, as must be what the authorizers are asked.

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
#[path = "../conformance/servers.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod servers;

#[path = "../identity_provider/packages.rs"]
mod packages;

mod authorizers;
mod by_itself;
mod envoy_config;
mod gate;
mod independent;
mod like_native;
mod providers;

/// Where packages of npm are, in Cargo's target folder, and which.
const PACKAGES: &str = "custom_providers";
const MANIFEST: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");
