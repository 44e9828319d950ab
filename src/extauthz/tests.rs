//! Missing and absurd parts are denied with a whole response, never a panic.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request, TlsSession,
};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use proptest::prelude::*;
use prost::Message as _;
use rstest::rstest;

use super::*;
use crate::authn::NoKeys;
use crate::authn::clock::Clock;
use crate::compile::{Rejected, Settings, compile};
use crate::control::publish::SnapshotCell;
use crate::manifest;
use crate::model::{JwtError, Kind, Mesh, Outcome, Reason, ResourceId, Workload};

pub(super) fn service(policies: &str) -> AuthorizationService {
    service_with(policies, &[], RequestSettings::default())
}

pub(super) fn service_with(
    policies: &str,
    rejected: &[Rejected],
    settings: RequestSettings,
) -> AuthorizationService {
    let decoded = manifest::decode(
        policies,
        None,
        &manifest::Options { default_namespace: "foo".into(), ..manifest::Options::default() },
    );
    assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let compile_settings = Settings {
        mesh: Mesh::default(),
        workloads: vec![Workload {
            namespace: "foo".into(),
            labels: [].into(),
            ..Workload::default()
        }],
    };
    let snapshot = compile(7, &resources, rejected, &compile_settings);
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(snapshot)));
    let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    AuthorizationService::new(cell, Arc::new(NoKeys), settings, clock)
}

pub(super) fn address(ip: &str, port: u32) -> Option<Address> {
    Some(Address {
        address: Some(AddressKind::SocketAddress(SocketAddress {
            address: ip.into(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    })
}

pub(super) fn check(change: impl FnOnce(&mut AttributeContext)) -> CheckRequest {
    let mut attributes = AttributeContext {
        source: Some(Peer { address: address("127.0.0.5", 1234), ..Peer::default() }),
        destination: Some(Peer { address: address("10.9.8.7", 8080), ..Peer::default() }),
        request: Some(Request {
            http: Some(HttpRequest {
                method: "GET".into(),
                path: "/".into(),
                host: "h".into(),
                scheme: "http".into(),
                header_map: Some(HeaderMap::default()),
                ..HttpRequest::default()
            }),
            ..Request::default()
        }),
        tls_session: Some(TlsSession::default()),
        ..AttributeContext::default()
    };
    change(&mut attributes);
    CheckRequest { attributes: Some(attributes) }
}

fn check_http(change: impl FnOnce(&mut HttpRequest)) -> CheckRequest {
    check(|a| change(a.request.as_mut().unwrap().http.as_mut().unwrap()))
}

pub(super) fn header(key: &str, value: &[u8]) -> HeaderValue {
    HeaderValue { key: key.into(), raw_value: value.to_vec(), ..HeaderValue::default() }
}

/// The HTTP status of a denial; 200 for what passes. Fails on a response that leaves anything out.
fn status(response: &CheckResponse) -> i32 {
    let code = response.status.as_ref().expect("a status, always").code;
    match response.http_response.as_ref().expect("an HTTP response, always") {
        HttpResponse::OkResponse(_) => {
            assert_eq!(code, 0);
            200
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(code, 0);
            denied.status.as_ref().expect("an HTTP status, always").code
        }
        HttpResponse::ErrorResponse(_) => panic!("never sent"),
    }
}

#[rstest]
#[case::nothing(CheckRequest::default(), Reason::MalformedRequest)]
#[case::no_http(check(|a| a.request = Some(Request::default())), Reason::MalformedRequest)]
#[case::no_method(check_http(|h| h.method.clear()), Reason::MalformedRequest)]
#[case::empty_path(check_http(|h| h.path.clear()), Reason::MalformedRequest)]
#[case::relative_path(check_http(|h| h.path = "admin".into()), Reason::MalformedRequest)]
#[case::star_is_for_options(check_http(|h| h.path = "*".into()), Reason::MalformedRequest)]
#[case::absolute_form(check_http(|h| h.path = "http://h/admin".into()), Reason::MalformedRequest)]
#[case::broken_certificate(
    check(|a| a.source.as_mut().unwrap().certificate = "-----BEGIN%20CERT".into()),
    Reason::MalformedRequest
)]
#[case::unknown_workload(
    check(|a| _ = a.context_extensions.insert("postern.namespace".into(), "bar".into())),
    Reason::UnknownWorkload
)]
#[case::unknown_named_workload(
    check(|a| _ = a.context_extensions.insert("postern.workload".into(), "foo/x".into())),
    Reason::UnknownWorkload
)]
#[case::broken_labels(
    check(|a| _ = a.context_extensions.insert("postern.labels".into(), "nonsense".into())),
    Reason::UnknownWorkload
)]
fn malformed_is_denied(#[case] check: CheckRequest, #[case] expect: Reason) {
    // Without a policy everything that can be decided passes.
    let checked = service("").answer(&check);
    assert_eq!(checked.verdict.reason, expect);
    assert_eq!(status(&checked.response), 403);
}

#[rstest]
#[case::plain(check_http(|_| ()))]
#[case::options_star(check_http(|h| { h.method = "OPTIONS".into(); h.path = "*".into() }))]
#[case::connect_without_path(check_http(|h| { h.method = "CONNECT".into(); h.path.clear() }))]
#[case::empty_host(check_http(|h| h.host.clear()))]
#[case::connection(check(|a| a.request = None))]
#[case::unix_socket_peer(check(|a| a.source = None))]
#[case::known_workload(check(|a| _ = a.context_extensions.insert("postern.namespace".into(), "foo".into())))]
fn odd_but_whole_requests_are_decided(#[case] check: CheckRequest) {
    let checked = service("").answer(&check);
    assert_eq!(checked.verdict.reason, Reason::NoAllowPolicy);
    assert_eq!(status(&checked.response), 200);
}

#[test]
fn large_headers_are_decided() {
    let check = check_http(|h| {
        let headers = (0..60).map(|i| header(&format!("x-{i}"), &[b'a'; 1024])).collect();
        h.header_map = Some(HeaderMap { headers });
    });
    assert_eq!(service("").answer(&check).verdict.outcome(), Outcome::Allow);
}

const ALLOW_TIER: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: foo}
spec:
  rules:
  - when: [{key: 'request.headers[x-tier]', values: [gold]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: d, namespace: foo}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ['/d']}}]
    when: [{key: 'request.headers[x-role]', values: [admin]}]
  - to: [{operation: {paths: ['/sni']}}]
    when: [{key: connection.sni, values: [a.example]}]
  - to: [{operation: {paths: ['/names']}}]
    from: [{source: {notPrincipals: [cluster.local/ns/a/sa/a]}}]
";

#[test]
fn bytes_that_are_not_text_match_nothing_by_accident() {
    let check = check_http(|h| {
        h.header_map = Some(HeaderMap { headers: vec![header("X-Tier", b"gold\xff")] });
    });
    assert_eq!(service(ALLOW_TIER).answer(&check).verdict.reason, Reason::NoAllowRule);
}

/// A request without what the settings of the filter would have sent.
fn bare(path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let mut check = check_http(|h| {
        h.path = path.into();
        h.header_map = None;
        h.headers = headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    });
    let attributes = check.attributes.as_mut().unwrap();
    attributes.tls_session = None;
    attributes.source.as_mut().unwrap().principal = "spiffe://cluster.local/ns/b/sa/b".into();
    check
}

#[rstest]
#[case::one_value("/", &[("x-tier", "gold")], "allow_rule")]
#[case::joined_allows_nothing("/", &[("x-tier", "gold,silver")], "no_allow_rule")]
#[case::joined_denies("/d", &[("x-tier", "gold"), ("x-role", "user,admin")], "deny_rule")]
#[case::other_value_does_not("/d", &[("x-tier", "gold"), ("x-role", "user")], "allow_rule")]
#[case::unknown_sni_denies("/sni", &[("x-tier", "gold")], "deny_rule")]
#[case::hidden_names_deny("/names", &[("x-tier", "gold")], "deny_rule")]
fn absent_inputs_fail_closed(
    #[case] path: &str,
    #[case] headers: &[(&str, &str)],
    #[case] expect: &str,
) {
    let checked = service(ALLOW_TIER).answer(&bare(path, headers));
    assert_eq!(checked.verdict.reason.as_str(), expect);
}

#[test]
fn a_policy_that_was_never_valid_denies_its_namespace() {
    let id = |namespace: &str| ResourceId {
        kind: Kind::AuthorizationPolicy,
        namespace: namespace.into(),
        name: "broken".into(),
    };
    for (namespace, expect) in [
        ("foo", Reason::InvalidPolicy),
        ("istio-system", Reason::InvalidPolicy),
        ("bar", Reason::NoAllowPolicy),
    ] {
        let rejected = [Rejected { id: id(namespace), scope: None }];
        let service = service_with("", &rejected, RequestSettings::default());
        assert_eq!(service.answer(&check_http(|_| ())).verdict.reason, expect, "{namespace}");
    }
}

#[test]
fn before_the_first_snapshot_everything_is_denied() {
    let (cell, _publisher) = SnapshotCell::new();
    let service = AuthorizationService::new(
        cell,
        Arc::new(NoKeys),
        RequestSettings::default(),
        Clock::system(),
    );
    let checked = service.answer(&check_http(|_| ()));
    assert_eq!(checked.verdict.reason, Reason::UnknownWorkload);
    assert_eq!(status(&checked.response), 403);
}

#[test]
fn the_metadata_names_the_rule() {
    let check = check_http(|h| {
        h.path = "/d".into();
        h.header_map = Some(HeaderMap { headers: vec![header("x-role", b"admin")] });
    });
    let response = service(ALLOW_TIER).answer(&check).response;
    let fields = response.dynamic_metadata.unwrap().fields;
    let mut text: Vec<_> =
        fields.iter().map(|(name, v)| format!("{name}: {:?}", v.kind.clone().unwrap())).collect();
    text.sort();
    insta::assert_snapshot!(text.join("\n"), @r#"
    decision: StringValue("deny")
    policy: StringValue("foo/d")
    reason: StringValue("deny_rule")
    revision: NumberValue(7.0)
    rule: NumberValue(0.0)
    "#);
}

#[test]
fn normalisation_is_left_to_envoy_unless_asked_for() {
    let policies = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: d, namespace: foo}
spec: {action: DENY, rules: [{to: [{operation: {paths: ['/admin']}}]}]}
";
    let check = check_http(|h| h.path = "/x/../admin".into());
    assert_eq!(service(policies).answer(&check).verdict.outcome(), Outcome::Allow);
    let settings = RequestSettings {
        path_normalization: crate::normalize::PathNormalization::Base,
        ..RequestSettings::default()
    };
    let service = service_with(policies, &[], settings);
    assert_eq!(service.answer(&check).verdict.outcome(), Outcome::Deny);
    let check = check_http(|h| h.path = "/a%00b".into());
    let refused = service.answer(&check);
    assert_eq!(refused.verdict.reason, Reason::MalformedRequest);
    assert_eq!(status(&refused.response), 400, "as Envoy's own normalisation answers");
}

/// The default of the enum would append to what the client sent, on Envoys that heed it; `raw_value`
/// and `append` are read otherwise than their names say.
#[test]
fn what_is_set_is_said_to_overwrite() {
    let verdict = crate::model::Verdict::from_reason(Reason::NoAllowPolicy);
    let report = reply::Report {
        verdict,
        revision: 1,
        plan: None,
        audited_by: Vec::new(),
        claims: None,
        cache: None,
    };
    let line = |name: &'static str, value: &'static str| (name.into(), value.as_bytes().into());
    let http = crate::model::Http {
        method: "GET".into(),
        path: "/a".into(),
        host: "h".into(),
        scheme: "http".into(),
        headers: crate::model::Headers::new(
            vec![line("x-a", "1"), line("x-b", "2"), line("x-b", "3"), line("x-c", "")],
            false,
        ),
    };
    let mut changes = crate::authn::Changes::default();
    changes.path = true;
    for name in ["x-c", "x-b", "x-gone", "x-a", "x-b"] {
        changes.note_header(&name.into());
    }
    let answer = reply::Answer::Allowed { http: Some(&http), changes: &changes };
    let reply = reply::Reply { report, answer, consulted: None };
    let response = response::message(&reply);
    assert_eq!(CheckResponse::decode(&*encode::bytes(&reply)).unwrap(), response);
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("denied") };
    assert_eq!(ok.headers_to_remove, ["x-gone"]);
    let set = ok.headers.iter().map(|option| {
        assert_eq!(option.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd);
        let header = option.header.as_ref().unwrap();
        let only = HeaderValue {
            key: header.key.clone(),
            value: header.value.clone(),
            ..Default::default()
        };
        assert_eq!(*header, only);
        #[expect(deprecated, reason = "so that it is seen not to be used")]
        let append = &option.append;
        assert_eq!(*append, None);
        (header.key.as_str(), header.value.as_str())
    });
    let set: Vec<_> = set.collect();
    assert_eq!(set, [("x-a", "1"), ("x-b", "2,3"), ("x-c", ""), (":path", "/a")]);
    assert_eq!((ok.query_parameters_to_remove.len(), ok.query_parameters_to_set.len()), (0, 0));
    assert_eq!(ok.response_headers_to_add, []);
}

const BY_CLIENT: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: foo}
spec:
  rules:
  - to: [{operation: {paths: ['/in']}}]
    from: [{source: {remoteIpBlocks: [10.1.0.0/16]}}]
  - to: [{operation: {paths: ['/out']}}]
    from: [{source: {notRemoteIpBlocks: [10.1.0.0/16]}}]
  - to: [{operation: {paths: ['/header']}}]
    when: [{key: 'request.headers[x-client]', values: ['*']}]
  - to: [{operation: {paths: ['/deny*']}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: d, namespace: foo}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ['/deny-in']}}]
    when: [{key: remote.ip, values: [10.1.0.0/16]}]
  - to: [{operation: {paths: ['/deny-out']}}]
    when: [{key: remote.ip, notValues: [10.1.0.0/16]}]
";

// Without a usable header there is no telling, so nothing is allowed by it and everything denied.
#[rstest]
#[case::known(&["10.1.2.3"], &["/in", "/deny-out"])]
#[case::another(&["10.2.2.3"], &["/out", "/deny-in"])]
#[case::absent(&[], &[])]
#[case::garbage(&["garbage"], &[])]
#[case::two_lines(&["10.1.2.3", "10.1.2.3"], &[])]
fn the_client_out_of_a_header(#[case] lines: &[&str], #[case] allowed: &[&str]) {
    let settings =
        RequestSettings { client_address_header: Some("x-client".into()), ..Default::default() };
    let service = service_with(BY_CLIENT, &[], settings);
    for path in ["/in", "/out", "/header", "/deny-in", "/deny-out"] {
        let check = check_http(|h| {
            h.path = path.into();
            let headers = lines.iter().map(|line| header("X-Client", line.as_bytes())).collect();
            h.header_map = Some(HeaderMap { headers });
        });
        let checked = service.answer(&check);
        let outcome = checked.verdict.outcome();
        assert_eq!(outcome == Outcome::Allow, allowed.contains(&path), "{path}");
        if let Some(HttpResponse::OkResponse(ok)) = checked.response.http_response {
            assert_eq!(ok.headers_to_remove, ["x-client"], "nor does the upstream see it");
        }
    }
    // A connection has no headers: its client is its peer.
    let mut connection = check(|a| a.request = None);
    connection.attributes.as_mut().unwrap().source.as_mut().unwrap().address =
        address("10.1.0.1", 1);
    let policies = BY_CLIENT.replace("- to: [{operation: {paths: ['/in']}}]\n    from", "- from");
    let settings =
        RequestSettings { client_address_header: Some("x-client".into()), ..Default::default() };
    let checked = service_with(&policies, &[], settings).answer(&connection);
    assert_eq!(checked.verdict.reason.as_str(), "deny_rule", "paths are left out of DENY rules");
}

proptest! {
    #[test]
    fn no_message_makes_it_panic_or_answer_in_part(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(check) = CheckRequest::decode(bytes.as_slice()) {
            let _ = status(&service(ALLOW_TIER).answer(&check).response);
        }
    }

    #[test]
    fn no_request_makes_it_panic_or_answer_in_part(
        method in ".{0,8}", path in ".{0,30}", host in ".{0,10}", key in ".{0,10}",
        value in proptest::collection::vec(any::<u8>(), 0..20), principal in ".{0,20}",
        ip in ".{0,15}", port in any::<u32>(),
    ) {
        let mut check = check_http(|h| {
            h.method = method;
            h.path = path;
            h.host = host;
            h.header_map = Some(HeaderMap { headers: vec![header(&key, &value)] });
        });
        let attributes = check.attributes.as_mut().unwrap();
        attributes.source = Some(Peer { address: address(&ip, port), principal, ..Peer::default() });
        let _ = status(&service(ALLOW_TIER).answer(&check).response);
    }
}

/// Each way in which headers come, and the path, count; nothing of them is read.
#[test]
fn headers_over_the_limit_are_denied() {
    let settings = RequestSettings { max_headers_size: 1_000, ..RequestSettings::default() };
    let service = service_with("", &[], settings);
    let verdict = |edit: &dyn Fn(&mut HttpRequest)| service.answer(&check_http(edit)).verdict;
    let allowed = Reason::NoAllowPolicy;
    let denied = Reason::MalformedRequest;
    let line = |size: usize| HeaderValue {
        key: "x".into(),
        raw_value: vec![b'a'; size],
        ..HeaderValue::default()
    };
    let raw = |lines: Vec<HeaderValue>| {
        verdict(&|http| http.header_map = Some(HeaderMap { headers: lines.clone() })).reason
    };
    assert_eq!(raw(vec![line(1_000 - 34)]), allowed);
    assert_eq!(raw(vec![line(1_000 - 33)]), denied);
    assert_eq!(raw(vec![line(0); 30]), allowed);
    assert_eq!(raw(vec![line(0); 31]), denied, "empty lines count too");
    let map = |size: usize| {
        verdict(&|http| http.headers = [("x".into(), "a".repeat(size))].into()).reason
    };
    assert_eq!(map(900), allowed);
    assert_eq!(map(1_000), denied);
    assert_eq!(verdict(&|http| http.path = format!("/{}", "a".repeat(900))).reason, allowed);
    assert_eq!(verdict(&|http| http.path = format!("/{}", "a".repeat(1_000))).reason, denied);
}

/// The size of a token is the rule's business, so it gets the answer of a bad token.
#[test]
fn a_token_over_the_limit_is_refused() {
    let settings = RequestSettings { max_token_size: 100, ..RequestSettings::default() };
    let policies = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: r, namespace: foo}
spec: {jwtRules: [{issuer: a, jwks: '{\"keys\":[]}'}]}
";
    let service = service_with(policies, &[], settings);
    let error = |size: usize| {
        let value = format!("Bearer {}", "a".repeat(size));
        let check = check_http(|http| http.headers = [("authorization".into(), value)].into());
        service.answer(&check).verdict.reason
    };
    assert_eq!(error(100), Reason::Jwt(JwtError::BadFormat));
    assert_eq!(error(101), Reason::Jwt(JwtError::TooLarge));
}

/// What waits for others is on the heap: every call is moved about with all that it might wait for.
#[test]
fn what_every_call_carries_is_small() {
    let service = service("");
    let call = service.answer_bytes_within(&[], |most| most);
    let bytes = size_of_val(&call);
    assert!(bytes < 4096, "{bytes} bytes");
}
