//! Postern: Istio's security resources, enforced on any Envoy through ext_authz.
//!
//! The modules stand in layer order: one may use those above it, never those below
//! (`tests/layers.rs` keeps it so).

// 1 words: no I/O, no async, no text formats

pub mod model;

pub mod diagnostic;

pub mod normalize;

// 2 text to words

pub mod path_regex;

pub mod mutation;

pub mod manifest;

// 3 words to plan

pub mod matcher;

pub mod key_set;

pub mod plan;

pub mod compile;

pub mod lint;

// 4 deciding

pub mod outbound;

pub mod authn;

pub mod decide;

pub mod access;

pub mod custom;

pub mod gate;

pub mod witness;

// 5 policy in

pub mod telemetry;

#[cfg(feature = "api")]
pub mod store;

pub mod source;

pub mod control;

// 6 serving

pub mod shutdown;

pub mod extauthz;

#[cfg(feature = "api")]
pub mod api;

#[cfg(feature = "management")]
pub mod management;

pub mod request_file;

pub mod explain;

pub mod admin;

#[cfg(feature = "console")]
pub mod console;

pub mod config;

pub mod app;

// 7 commands

pub mod case_file;

pub mod replay;

pub mod policy_diff;

pub mod load;

#[cfg(feature = "demo")]
pub mod demo;

pub mod cli;
