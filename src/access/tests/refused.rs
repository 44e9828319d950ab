//! APIRules that never had an accepted form: what is closed because of them, and what is not.

use super::*;
use crate::manifest;
use crate::model::RefusedScope;

const BROKEN: &str = "
apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {name: broken, namespace: far}
spec:
  host: Broken.example.com
  gateway: a/b
  service: {name: httpbin, namespace: shop, port: 80}
  rules: [{path: /, methods: [GET], accessStrategies: [{handler: nobody}]}]
";

fn scope_of(text: &str) -> Option<RefusedScope> {
    let decoded = manifest::decode(text, Some("a.yaml"), &manifest::Options::default());
    let document = decoded.documents.into_iter().next().unwrap();
    assert!(!document.admitted);
    document.scope
}

fn refused(text: &str) -> Rejected {
    let decoded = manifest::decode(text, Some("a.yaml"), &manifest::Options::default());
    let document = decoded.documents.into_iter().next().unwrap();
    Rejected { id: document.id.unwrap(), scope: document.scope }
}

fn open(host: &str) -> Resource {
    let rules = vec![rule("/.*", &["GET"], vec![AccessStrategy::Allow])];
    Resource::ApiRule(Arc::new(api_rule("open", &[host], rules)))
}

fn at(snapshot: &Snapshot, host: &str) -> Reason {
    reason(snapshot, &mut request("GET", host, "/", &[]))
}

type Hosts = &'static [&'static str];
type Services = &'static [(&'static str, &'static str)];

#[rstest]
#[case::v1beta1(BROKEN, Some(&["broken.example.com"][..]), Some(&[("shop", "httpbin")][..]))]
#[case::v1alpha1(
    "{apiVersion: gateway.kyma-project.io/v1alpha1, kind: APIRule, metadata: {name: a, namespace: ns}, \
     spec: {service: {name: s, host: h.x}, rules: []}}",
    Some(&["h.x"][..]),
    Some(&[("ns", "s")][..])
)]
#[case::v2(
    "{apiVersion: gateway.kyma-project.io/v2, kind: APIRule, metadata: {name: a, namespace: ns}, \
     spec: {hosts: ['*.h.x', one.x], service: {name: s}, \
     rules: [{service: {name: own}}, {service: {name: far, namespace: m}}, {}]}}",
    Some(&["*.h.x", "one.x"][..]),
    Some(&[("m", "far"), ("ns", "own"), ("ns", "s")][..])
)]
#[case::no_host(
    "{apiVersion: gateway.kyma-project.io/v1beta1, kind: APIRule, metadata: {name: a}, \
     spec: {service: {name: s}, rules: []}}",
    None,
    Some(&[("default", "s")][..])
)]
#[case::a_rule_without_service(
    "{apiVersion: gateway.kyma-project.io/v1beta1, kind: APIRule, metadata: {name: a}, \
     spec: {host: h.x, rules: [{service: {name: s}}, {}]}}",
    Some(&["h.x"][..]),
    None
)]
#[case::rules_that_are_no_list(
    "{apiVersion: gateway.kyma-project.io/v1beta1, kind: APIRule, metadata: {name: a}, \
     spec: {host: h.x, service: {name: s}, rules: {service: {name: t}}}}",
    Some(&["h.x"][..]),
    None
)]
#[case::no_spec(
    "{apiVersion: gateway.kyma-project.io/v1beta1, kind: APIRule, metadata: {name: a}}",
    None,
    None
)]
fn what_one_would_be_about(
    #[case] written: &str,
    #[case] hosts: Option<Hosts>,
    #[case] services: Option<Services>,
) {
    let owned = |(of, name): &(&str, &str)| ((*of).to_owned(), (*name).to_owned());
    let expected = RefusedScope::ApiRule {
        hosts: hosts.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect()),
        services: services.map(|services| services.iter().map(owned).collect()),
    };
    assert_eq!(scope_of(written), Some(expected));
}

/// What cannot be the host of a request might be meant for any.
#[rstest]
#[case::short_without_a_domain("httpbin")]
#[case::dot_behind("'httpbin.example.com.'")]
#[case::port("'httpbin.example.com:443'")]
#[case::url("'https://httpbin.example.com'")]
#[case::blanks("' httpbin.example.com '")]
#[case::list("[httpbin.example.com]")]
#[case::null("null")]
#[case::star("'httpbin.*.com'")]
fn a_host_that_is_none_closes_everything(#[case] host: &str) {
    let text = BROKEN.replace("host: Broken.example.com", &format!("host: {host}"));
    let by_service = with_refused(vec![open(HOST)], &[refused(&text)], workload(&["httpbin"]));
    assert_eq!(at(&by_service, HOST), Reason::InvalidPolicy);
    let other = with_refused(vec![open(HOST)], &[refused(&text)], workload(&["other"]));
    assert_eq!(at(&other, HOST), Reason::NoAllowPolicy);
    let text = text.replace("namespace: far", "namespace: shop");
    let by_host = with_refused(vec![open(HOST)], &[refused(&text)], workload(&[]));
    assert_eq!(at(&by_host, HOST), Reason::InvalidPolicy);
}

#[test]
fn its_host_is_closed_and_no_other() {
    for services in [&["httpbin"][..], &[]] {
        let snapshot = with_refused(vec![open(HOST)], &[refused(BROKEN)], workload(services));
        assert_eq!(at(&snapshot, "BROKEN.example.com:80"), Reason::InvalidPolicy);
        assert_eq!(at(&snapshot, HOST), Reason::ApiRule(id(0, 0)));
    }
    // Those of another Service have nothing to do with it.
    let snapshot = with_refused(vec![open(HOST)], &[refused(BROKEN)], workload(&["other"]));
    assert_eq!(at(&snapshot, "broken.example.com"), Reason::NoAllowPolicy);
}

#[test]
fn a_wildcard_does_not_open_it() {
    let snapshot = with_refused(vec![open("*.example.com")], &[refused(BROKEN)], workload(&[]));
    assert_eq!(at(&snapshot, "broken.example.com"), Reason::InvalidPolicy);
    assert_eq!(at(&snapshot, "other.example.com"), Reason::ApiRule(id(0, 0)));
}

#[test]
fn nobody_closes_a_host_that_another_has() {
    let taken = open("broken.example.com");
    let snapshot = with_refused(vec![taken], &[refused(BROKEN)], workload(&["httpbin"]));
    assert_eq!(at(&snapshot, "broken.example.com"), Reason::ApiRule(id(0, 0)));
}

#[test]
fn without_its_services_it_closes_its_namespace() {
    let text = BROKEN.replace("service: {name: httpbin, namespace: shop, port: 80}", "timeout: 1");
    for (namespace, expected) in
        [("shop", Reason::InvalidPolicy), ("far", Reason::ApiRule(id(0, 0)))]
    {
        let text = text.replace("namespace: far", &format!("namespace: {namespace}"));
        let snapshot = with_refused(vec![open(HOST)], &[refused(&text)], workload(&["httpbin"]));
        assert_eq!(at(&snapshot, HOST), expected);
    }
}

/// To DNS the dot behind a whole name changes nothing.
#[test]
fn a_dot_behind_a_host_is_no_way_around() {
    let rules = vec![rule("/.*", &["GET"], vec![AccessStrategy::Unauthorized])];
    let closed = Resource::ApiRule(Arc::new(api_rule("closed", &[HOST], rules)));
    let snapshot = with_refused(vec![closed], &[], workload(&[]));
    for host in [HOST, "httpbin.example.com.", "httpbin.example.com.:80"] {
        assert_eq!(at(&snapshot, host), Reason::ApiRuleRefused(id(0, 0), Refusal::Unauthorized));
    }
}

#[test]
fn explanations_name_it() {
    let snapshot = with_refused(vec![open(HOST)], &[refused(BROKEN)], workload(&[]));
    let attributes = request("GET", "broken.example.com", "/", &[]);
    let decided = decided(&snapshot, attributes);
    insta::assert_snapshot!(explain::human(&decided, false), @"DENY   never valid: APIRule/far/broken");
    assert_eq!(
        explain::json(&decided, false)["invalid"],
        serde_json::json!(["APIRule/far/broken"])
    );
}
