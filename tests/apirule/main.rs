//! Kyma's APIRules as their users meet them: a real Envoy asks a whole Postern, tokens come from a
//! certified identity provider or from issuers of the test's own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test support functions"
)]

#[path = "../conformance/envoy_process.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod envoy_process;
mod examples;
mod ext_auth;
mod faults;
mod hazards;
#[path = "../conformance/http1.rs"]
mod http1;
mod introspected;
mod issuer;
#[path = "../conformance/keys.rs"]
mod keys;
#[path = "../identity_provider/packages.rs"]
mod packages;
#[path = "../identity_provider/provider.rs"]
#[expect(dead_code, reason = "the tests of the identity provider use all of it")]
mod provider;
#[path = "../key_rotation/tls_listener.rs"]
mod tls_listener;
#[path = "../conformance/tokens.rs"]
mod tokens;
mod world;

use std::time::Duration;

const PACKAGES: &str = "identity_provider";
const MANIFEST: &str = include_str!("../identity_provider/package.json");
const LOCK: &str = include_str!("../identity_provider/package-lock.json");

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
