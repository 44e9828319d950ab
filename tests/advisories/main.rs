//! What went wrong elsewhere, and must hold here: a test for each advisory that concerns a server
//! which decides. `docs/advisories.md` lists them all, also those that do not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

#[path = "../blackbox/mod.rs"]
mod blackbox;
#[path = "../engines/mod.rs"]
mod engines;
mod headers_and_bytes;
mod paths_and_hosts;
mod policy_engine;
mod provider;
mod scene;
mod tokens;
mod tokens_and_keys;
