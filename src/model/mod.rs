//! The words of the domain: Istio's resources, one request, one verdict.
//!
//! No I/O, no async, no text formats: reading manifests is `manifest`'s job, reading protobuf
//! `extauthz`'s.

mod api_rule;
mod attributes;
mod authentication;
mod authorization;
mod deny_response;
mod ids;
mod refusal;
mod resource;
mod value;
mod verdict;
mod workload;

pub use api_rule::*;
pub use attributes::*;
pub use authentication::*;
pub use authorization::*;
pub use deny_response::{DenyAuthor, DenyHeaders, DenyResponse, InvalidDenyResponse};
pub use ids::*;
pub use refusal::*;
pub use resource::*;
pub use value::Value;
pub use verdict::*;
pub use workload::*;
