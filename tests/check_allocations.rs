//! How often a whole Check allocates, from the bytes of the question to those of the answer.
//!
//! gRPC's own allocations are not counted here: tonic's, h2's and hyper's are their business.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test support functions"
)]

#[path = "../benches/check_rpc/request.rs"]
mod request;
#[path = "../benches/scenarios/mod.rs"]
#[expect(dead_code, reason = "benches use the rest")]
mod scenarios;
#[path = "../benches/signing/mod.rs"]
#[expect(dead_code, reason = "benches use the rest")]
mod signing;

use std::sync::Arc;

use allocation_counter::measure;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use postern::authn::clock::Clock;
use postern::authn::{NoKeys, TokenCache};
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, CheckMetrics, RequestSettings};
use postern::model::Outcome;
use postern::telemetry::decision_log::{Redaction, Tap};
use postern::telemetry::metrics::Metrics;
use prost::Message as _;
use rstest::rstest;

use request::{Token, check_request};
use scenarios::Shape;

fn service(rules: usize) -> AuthorizationService {
    let manifest = Shape::ExactPath.manifest(rules) + &signing::manifest("");
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(scenarios::snapshot(&manifest))));
    let metrics = Metrics::new("0.0.0");
    let metrics = CheckMetrics {
        decisions: metrics.decisions(),
        inputs: metrics.inputs(),
        workloads: metrics.workloads(),
    };
    AuthorizationService::new(cell, Arc::new(NoKeys), RequestSettings::default(), Clock::system())
        .with_metrics(metrics)
        // Nobody watches.
        .with_tap(Tap::new(Redaction::default(), Clock::system(), 16))
        .with_token_cache(Arc::new(TokenCache::new(1 << 20)))
}

// The headers' list, the peer's names, the answer; a token adds none.
#[rstest]
#[case::allowed(Token::None, Outcome::Allow, 3)]
#[case::denied(Token::None, Outcome::Deny, 3)]
#[case::allowed_with_a_token(Token::Rs256, Outcome::Allow, 3)]
#[case::denied_with_a_token(Token::Es256, Outcome::Deny, 3)]
fn a_check_allocates_little(
    #[case] token: Token,
    #[case] outcome: Outcome,
    #[case] allocations: u64,
    #[values(10, 1_000)] rules: usize,
) {
    let service = service(rules);
    let call = match outcome {
        Outcome::Allow => Shape::ExactPath.hit(rules),
        Outcome::Deny => Shape::ExactPath.miss(rules),
    };
    let message = check_request(&call, token).encode_to_vec();
    // The first verifies the token, and is the one of its thread that sets things up.
    let first = service.answer_bytes(&message).unwrap();
    assert_eq!(first.verdict.outcome(), outcome);
    let response = CheckResponse::decode(&*first.response).unwrap();
    let has_claims = response.dynamic_metadata.unwrap().fields.contains_key("jwt_payload");
    assert_eq!(has_claims, token != Token::None);
    let counted = measure(|| drop(service.answer_bytes(&message).unwrap()));
    assert_eq!(counted.count_total, allocations, "{counted:?}");
}
