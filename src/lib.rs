//! Postern: Istio's security resources, enforced on any Envoy through ext_authz.
//!
//! The modules in layer order; a module may use those above it, never those below
//! (`tests/layers.rs` keeps it so).

// 1 words
pub mod diagnostic;
pub mod model;

// 2 text to words

// 3 words to plan
pub mod compile;
pub mod plan;

// 4 deciding

// 5 policy in

pub mod telemetry;

pub mod source;

pub mod control;

// 6 serving

pub mod admin;

pub mod config;

pub mod shutdown;

pub mod app;

// 7 commands

pub mod cli;
