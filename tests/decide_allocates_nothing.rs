//! On the way to a verdict nothing is allocated, whatever the rules look at, nor for a token that is
//! known.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test support functions"
)]

#[path = "../benches/scenarios/mod.rs"]
mod scenarios;
#[path = "../benches/signing/mod.rs"]
#[expect(dead_code, reason = "the benches use all of it")]
mod signing;

use std::hint::black_box;

use allocation_counter::measure;
use postern::authn::{DEFAULT_MAX_TOKEN_SIZE, NoKeys, TokenCache, Verifier, authenticate};
use postern::decide::{before_tokens, decide};
use postern::model::{Attributes, Identity, Missing, Reason, SentHeaders, Value};
use postern::plan::WorkloadPlan;
use rstest::rstest;

use scenarios::Shape;
use signing::Algorithm;

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn the_shapes_of_the_benches() {
    scenarios::assert_sound();
    for shape in Shape::ALL {
        for rules in [1, 10, 1_000] {
            let snapshot = scenarios::snapshot(&shape.manifest(rules));
            for call in [shape.hit(rules), shape.miss(rules)] {
                assert_none(&snapshot.workloads[0], &call.attributes(), &Identity::default());
            }
        }
    }
}

/// Each field and each key, one to a rule.
const FIELDS: &str = "
  - from: [{source: {principals: ['*/sa/x', 'a/ns/*', cluster.local/ns/b/sa/b, '*']}}]
  - from: [{source: {notPrincipals: ['*/sa/x']}}]
  - from: [{source: {requestPrincipals: ['*', 'issuer/al*', '*r/alice', issuer/alice]}}]
  - from: [{source: {notRequestPrincipals: [x/y]}}]
  - from: [{source: {namespaces: [a, 'a*', '*']}}]
  - from: [{source: {notNamespaces: [a]}}]
  - from: [{source: {serviceAccounts: [web, shop/api]}}]
  - from: [{source: {notServiceAccounts: [web]}}]
  - from: [{source: {trustDomains: [td, 't*', '*.local']}}]
  - from: [{source: {notTrustDomains: [td]}}]
  - from: [{source: {ipBlocks: [192.168.0.0/16, '2001:db8::/33'], notIpBlocks: [172.16.0.1]}}]
  - from: [{source: {remoteIpBlocks: [192.168.0.0/16], notRemoteIpBlocks: [172.16.0.1]}}]
  - to: [{operation: {hosts: [Other.example.com, '*.example.org', 'api.*', shop.example.com]}}]
  - to: [{operation: {notHosts: [other.example.com]}}]
  - to: [{operation: {ports: ['80', '8080'], notPorts: ['443']}}]
  - to: [{operation: {methods: [POST, 'P*', '*'], notMethods: [PUT]}}]
  - to: [{operation: {paths: ['/x/*', '*/x', '/a/{*}/list', '/a/{*}/c/{**}', '/{**}/list', '/svc-9/list']}}]
  - to: [{operation: {notPaths: ['/x/*', '/{**}/x']}}]
  - when: [{key: 'request.headers[x-tenant]', values: [other, 'ten*'], notValues: ['*-1']}]
  - when: [{key: 'request.headers[:path]', values: ['*list']}]
  - when: [{key: source.ip, values: [192.168.0.0/16]}]
  - when: [{key: remote.ip, values: [192.168.0.0/16]}]
  - when: [{key: source.namespace, values: ['*b']}]
  - when: [{key: source.serviceAccount, values: [web]}]
  - when: [{key: source.principal, values: ['*/x']}]
  - when: [{key: source.trustDomain, values: [td]}]
  - when: [{key: request.auth.principal, values: ['issuer/*']}]
  - when: [{key: request.auth.audiences, values: [api, shop]}]
  - when: [{key: request.auth.presenter, values: [app]}]
  - when: [{key: 'request.auth.claims[groups]', values: [staff]}]
  - when: [{key: 'request.auth.claims[realm][roles]', values: ['ad*']}]
  - when: [{key: destination.ip, values: [10.0.0.0/8]}]
  - when: [{key: destination.port, values: ['8080']}]
  - when: [{key: connection.sni, values: ['*.example.com']}]
  - when: [{key: 'experimental.envoy.filters.http.rbac[k]', values: [v, '[v*]']}]
";

/// CUSTOM is decided before there are identities.
const NOT_IN_CUSTOM: [&str; 9] = [
    "rincipals:",
    "amespaces:",
    "ccounts:",
    "omains:",
    "request.auth",
    "source.namespace",
    "source.serviceAccount",
    "source.principal",
    "source.trustDomain",
];

#[rstest]
#[case::allow("ALLOW", false)]
#[case::deny("DENY", false)]
#[case::audit("AUDIT", false)]
#[case::custom("CUSTOM", false)]
#[case::dry_run_allow("ALLOW", true)]
#[case::dry_run_deny("DENY", true)]
fn every_field_and_key(#[case] action: &str, #[case] dry_run: bool) {
    let custom = action == "CUSTOM";
    let provider = if custom { "  provider: {name: p}\n" } else { "" };
    let dry_run = if dry_run { "annotations: {istio.io/dry-run: 'true'}" } else { "" };
    let head = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n  \
         namespace: shop\n  {dry_run}\nspec:\n  action: {action}\n{provider}  rules:\n"
    );
    let claims = claims();
    let rules = FIELDS.lines().filter(|rule| !rule.is_empty());
    for rule in rules.filter(|r| !custom || !NOT_IN_CUSTOM.iter().any(|word| r.contains(word))) {
        let snapshot = scenarios::snapshot(&format!("{head}{rule}\n"));
        for (http, all_sent, token) in [
            (true, true, true),
            (true, true, false),
            (true, false, true),
            (true, false, false),
            (false, true, false),
            (false, false, false),
        ] {
            let call = Shape::Sparse.hit(3);
            let mut attributes = call.attributes();
            attributes.filter_metadata = vec![("envoy.filters.http.rbac".into(), claims.clone())];
            attributes.http = attributes.http.filter(|_| http);
            attributes.missing = Missing {
                peer_certificate: !all_sent,
                tls_session: !all_sent,
                client_address: !all_sent,
                source_address: !all_sent,
                destination: !all_sent,
                metadata: !all_sent,
                headers: if all_sent { SentHeaders::All } else { SentHeaders::Some },
            };
            let identity = Identity { claims: token.then_some(&claims) };
            assert_none(&snapshot.workloads[0], &attributes, &identity);
        }
    }
}

#[test]
fn mutual_tls() {
    let manifest = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";
    let snapshot = scenarios::snapshot(manifest);
    let call = Shape::Sparse.hit(1);
    let mut attributes = call.attributes();
    attributes.peer.names.clear();
    let plan = &snapshot.workloads[0];
    assert_eq!(before_tokens(plan, &attributes), Some(Reason::PeerUnauthenticated));
    assert_none(plan, &attributes, &Identity::default());
}

#[rstest]
#[case::rs256(Algorithm::Rs256)]
#[case::es256(Algorithm::Es256)]
#[case::eddsa(Algorithm::EdDsa)]
#[case::hs256(Algorithm::Hs256)]
fn a_known_token(
    #[case] algorithm: Algorithm,
    #[values("", "    forwardOriginalToken: true\n")] members: &str,
) {
    let snapshot = scenarios::snapshot(&signing::manifest(members));
    let (plan, cache) = (&snapshot.workloads[0].jwt, TokenCache::new(1 << 20));
    let verifier = Verifier {
        keys: &NoKeys,
        cache: Some(&cache),
        now: 1_800_000_000,
        max_token_size: DEFAULT_MAX_TOKEN_SIZE,
    };
    let call = Shape::Sparse.hit(1);
    let mut http = call.attributes().http.unwrap();
    http.headers.append("authorization".into(), algorithm.signed().header.as_bytes().into());
    let first = authenticate(plan, &mut http.clone(), &verifier);
    assert_eq!(first.error, None);
    let counted = measure(|| {
        let result = authenticate(black_box(plan), black_box(&mut http), black_box(&verifier));
        assert!(result.claims.is_some());
        black_box(&result);
    });
    assert_eq!(cache.status().hits, 1);
    assert_eq!(http.headers.values("authorization").count(), usize::from(!members.is_empty()));
    assert_eq!(counted.count_total, 0);
}

fn assert_none(plan: &WorkloadPlan, attributes: &Attributes<'_>, identity: &Identity<'_>) {
    let counted = measure(|| {
        black_box(before_tokens(black_box(plan), black_box(attributes)));
        let verdict = decide(black_box(plan), black_box(attributes), black_box(identity));
        black_box(&verdict);
    });
    assert_eq!(counted.count_total, 0, "{:?}", plan.policies().next());
}

fn claims() -> Value {
    let text = |s: &str| Value::String(s.to_owned());
    let object = |members: Vec<(&str, Value)>| {
        Value::Object(members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
    };
    object(vec![
        ("iss", text("issuer")),
        ("sub", text("alice")),
        ("aud", Value::List(vec![text("shop"), text("x")])),
        ("azp", text("app")),
        ("groups", Value::List(vec![text("admins"), text("staff")])),
        ("realm", object(vec![("roles", Value::List(vec![text("admin")]))])),
        ("k", Value::List(vec![text("v")])),
    ])
}
