//! What is counted of tokens that introspection endpoints are asked about.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::Labels;
use crate::model::Refusal;

const RESULTS: [&str; 6] =
    ["active", "inactive", "insufficient", "too_many_requests", "not_allowed", "error"];

/// Counts what came of asking.
#[derive(Debug, Clone)]
pub struct IntrospectionMetrics {
    tokens: Family<Labels, Counter>,
    duration: Histogram,
}

impl IntrospectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let buckets = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        let metrics = Self { tokens: Family::default(), duration: Histogram::new(buckets) };
        registry.register(
            "introspected_tokens",
            "Tokens that an introspection endpoint was to be asked about, by what came of it",
            metrics.tokens.clone(),
        );
        registry.register_with_unit(
            "introspection_duration",
            "Time that a request waited for what an introspection endpoint says, or for a kept answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        for result in RESULTS {
            metrics.tokens.get_or_create_owned(&[("result", result)]);
        }
        metrics
    }

    /// Counts one token.
    pub fn asked(&self, outcome: &Result<(), Refusal>, elapsed: Duration) {
        let result = match outcome {
            Ok(()) => "active",
            Err(Refusal::Inactive) => "inactive",
            Err(Refusal::IntrospectedDemand(_)) => "insufficient",
            Err(Refusal::TooManyRequests { .. }) => "too_many_requests",
            Err(Refusal::Destination) => "not_allowed",
            Err(
                Refusal::NoAnswer
                | Refusal::NotAsked
                | Refusal::NotVerified
                | Refusal::Unauthorized
                | Refusal::NoCredentials
                | Refusal::NoToken
                | Refusal::NoAuthorization
                | Refusal::Jwt(_)
                | Refusal::JwtKey
                | Refusal::JwtAlgorithm
                | Refusal::JwtDemand(_)
                | Refusal::ProviderUndefined
                | Refusal::ProviderDenied
                | Refusal::ProviderError,
            ) => "error",
        };
        self.tokens.get_or_create_owned(&[("result", result)]).inc();
        self.duration.observe(elapsed.as_secs_f64());
    }
}
