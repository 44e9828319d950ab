//! The gRPC service that Envoy asks: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Turns a `CheckRequest` into attributes, has `gate` decide, and turns the verdict into a
//! `CheckResponse`. An empty `CheckResponse` allows, so one is only ever built from a verdict.

mod attributes;
mod cache_hint;
mod certificate;
mod client_address;
mod custom;
mod deadline;
mod denial;
mod encode;
mod framing;
mod http;
mod metadata;
mod reply;
mod response;
mod server;
mod service;
mod shadow_engine;
mod usual_names;
mod view;
mod wire;
mod workload;

pub use attributes::{Malformed, from_check, is_readable};
pub use certificate::CertificateNames;
pub use client_address::ClientAddress;
pub use denial::{
    DenialSettings, Denials, REASON_HEADER, RefusalText, TrustedCallers, WorkloadDenials,
};
pub use http::{Flavour, HttpServer, HttpSettings};
pub use server::{BytesCodec, CheckServer};
pub use service::{AuthorizationService, CheckMetrics, Checked, RequestSettings, plan_of};
pub use workload::WorkloadFrom;

/// `proto/` compiled, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
