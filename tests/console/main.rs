//! The console: what its endpoints answer and whom, and what people find with it in a real browser.
//!
//! The server is the built binary, asked over gRPC as Envoy asks; the browser is Debian's Chromium.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

mod access;
mod browser;
mod data;
mod journeys;
mod keys;
#[path = "../identity_provider/packages.rs"]
mod packages;
mod running;
mod stream;
mod world;

/// Where packages are, in Cargo's target folder, and which.
const PACKAGES: &str = "console";
const MANIFEST: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");
