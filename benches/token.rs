//! What a token costs: one that is known, and one that is new, which is held against the library's
//! bare verification of the same signature in the same run.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a bench may fail"
)]

mod scenarios;
mod signing;

use std::cell::Cell;

use divan::{AllocProfiler, Bencher, black_box};
use postern::authn::{
    Authentication, DEFAULT_MAX_TOKEN_SIZE, NoKeys, TokenCache, Verifier, authenticate,
};
use postern::decide::decide;
use postern::model::{Attributes, Http, Identity, Outcome};
use postern::plan::{JwtPlan, Snapshot};

use scenarios::{Call, Shape};
use signing::Algorithm;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// When the tokens are good.
const NOW: u64 = 1_800_000_000;

/// Asks a known token for what it claims.
const CLAIMS: &str = r#"---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: staff, namespace: shop}
spec:
  rules:
  - from: [{source: {requestPrincipals: [issuer/alice]}}]
    when:
    - {key: "request.auth.claims[groups]", values: [staff]}
    - {key: "request.auth.claims[scope]", values: [write]}
"#;

const FORWARD: &str = "    forwardOriginalToken: true\n";

const COPY: &str = "    forwardOriginalToken: true\n    outputPayloadToHeader: x-payload\n    \
                    outputClaimToHeaders: [{header: x-subject, claim: sub}]\n";

fn main() {
    scenarios::assert_sound();
    divan::main();
}

/// A request with this token.
fn attributes(call: &Call, algorithm: Algorithm) -> Attributes<'_> {
    let mut attributes = call.attributes();
    let token = algorithm.signed().header.as_bytes();
    attributes.http.as_mut().unwrap().headers.append("authorization".into(), token.into());
    attributes
}

fn snapshot(members: &str) -> Snapshot {
    scenarios::snapshot(&(signing::manifest(members) + CLAIMS))
}

fn jwt(snapshot: &Snapshot) -> &JwtPlan {
    &snapshot.workloads[0].jwt
}

fn verifier(cache: Option<&TokenCache>, now: u64) -> Verifier<'_> {
    Verifier { keys: &NoKeys, cache, now, max_token_size: DEFAULT_MAX_TOKEN_SIZE }
}

/// What is refused would be measured as a cheap one.
fn assert_taken(result: &Authentication) {
    assert_eq!(result.error, None);
    assert!(result.claims.is_some());
}

/// The token was verified before. All of `authenticate`, of which the token's removal, the copies
/// of its claims and the decision are the named parts.
#[divan::bench_group(sample_size = 100)]
mod known {
    use super::*;

    fn bench(bencher: Bencher<'_, '_>, members: &str) {
        let (snapshot, call) = (snapshot(members), Shape::Sparse.hit(1));
        let (plan, cache) = (jwt(&snapshot), TokenCache::new(1 << 20));
        let attributes = attributes(&call, Algorithm::Rs256);
        let http = || -> Http<'_> { attributes.http.clone().unwrap() };
        assert_taken(&authenticate(plan, &mut http(), &verifier(Some(&cache), NOW)));
        bencher.with_inputs(http).bench_local_refs(|http| {
            authenticate(black_box(plan), http, black_box(&verifier(Some(&cache), NOW)))
        });
        let status = cache.status();
        assert_eq!((status.misses, status.entries), (1, 1));
    }

    /// Found, hashed, looked up, its issuer, times and audience checked.
    #[divan::bench]
    fn checked(bencher: Bencher<'_, '_>) {
        bench(bencher, FORWARD);
    }

    #[divan::bench]
    fn checked_and_removed(bencher: Bencher<'_, '_>) {
        bench(bencher, "");
    }

    #[divan::bench]
    fn checked_and_copied_to_headers(bencher: Bencher<'_, '_>) {
        bench(bencher, COPY);
    }

    /// By a rule that asks for its principal and two of its claims.
    #[divan::bench]
    fn checked_and_decided_by_claims(bencher: Bencher<'_, '_>) {
        let (snapshot, call) = (snapshot(FORWARD), Shape::Sparse.hit(1));
        let (plan, cache) = (&snapshot.workloads[0], TokenCache::new(1 << 20));
        let mut attributes = attributes(&call, Algorithm::Rs256);
        let mut pass = || {
            let http = attributes.http.as_mut().unwrap();
            let verifier = verifier(Some(&cache), NOW);
            let result = authenticate(black_box(&plan.jwt), http, black_box(&verifier));
            let identity = Identity { claims: result.claims.as_deref() };
            let verdict = decide(plan, &attributes, &identity);
            (result, verdict)
        };
        assert_eq!(pass().1.outcome(), Outcome::Allow);
        bencher.bench_local(pass);
    }
}

/// The token was not verified before.
#[divan::bench_group(sample_size = 10)]
mod new {
    use super::*;

    /// The yardstick.
    #[divan::bench(args = Algorithm::ALL)]
    fn a_library_alone(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
        let signed = algorithm.signed();
        let (input, signature) = signed.parts();
        assert!(signed.verify_barely(input, &signature));
        bencher.bench_local(|| signed.verify_barely(black_box(input), black_box(&signature)));
    }

    #[divan::bench(args = Algorithm::ALL)]
    fn b_verified(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
        let (snapshot, call) = (snapshot(FORWARD), Shape::Sparse.hit(1));
        let plan = jwt(&snapshot);
        let attributes = attributes(&call, algorithm);
        let http = || -> Http<'_> { attributes.http.clone().unwrap() };
        assert_taken(&authenticate(plan, &mut http(), &verifier(None, NOW)));
        bencher.with_inputs(http).bench_local_refs(|http| {
            authenticate(black_box(plan), http, black_box(&verifier(None, NOW)))
        });
    }

    /// As a server does: looked up first, and kept for the next time. It is new again each time, as
    /// each time is later than tokens are kept.
    #[divan::bench(args = Algorithm::ALL)]
    fn c_verified_and_kept(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
        let (snapshot, call) = (snapshot(FORWARD), Shape::Sparse.hit(1));
        let (plan, cache) = (jwt(&snapshot), TokenCache::new(1 << 20));
        let attributes = attributes(&call, algorithm);
        let http = || -> Http<'_> { attributes.http.clone().unwrap() };
        let now = Cell::new(NOW);
        bencher.with_inputs(http).bench_local_refs(|http| {
            now.set(now.get() + 3_601);
            authenticate(black_box(plan), http, black_box(&verifier(Some(&cache), now.get())))
        });
        let status = cache.status();
        assert_eq!((status.hits, status.entries), (0, 1));
        assert_taken(&authenticate(plan, &mut http(), &verifier(Some(&cache), now.get())));
    }
}
