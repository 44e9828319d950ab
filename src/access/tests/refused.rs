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

type HostsAndServices = (&'static [&'static str], &'static [(&'static str, &'static str)]);

#[rstest]
#[case::v1beta1(BROKEN, Some((&["broken.example.com"][..], &[("shop", "httpbin")][..])))]
#[case::v1alpha1(
    "{apiVersion: gateway.kyma-project.io/v1alpha1, kind: APIRule, metadata: {name: a, namespace: ns}, \
     spec: {service: {name: s, host: h.x}, rules: []}}",
    Some((&["h.x"][..], &[("ns", "s")][..]))
)]
#[case::v2(
    "{apiVersion: gateway.kyma-project.io/v2, kind: APIRule, metadata: {name: a, namespace: ns}, \
     spec: {hosts: ['*.h.x', one], service: {name: s}, \
     rules: [{service: {name: own}}, {service: {name: far, namespace: m}}, {}]}}",
    Some((&["*.h.x", "one"][..], &[("m", "far"), ("ns", "own"), ("ns", "s")][..]))
)]
#[case::no_host(
    "{apiVersion: gateway.kyma-project.io/v1beta1, kind: APIRule, metadata: {name: a}, \
     spec: {service: {name: s}, rules: []}}",
    None
)]
#[case::a_rule_without_service(
    "{apiVersion: gateway.kyma-project.io/v1beta1, kind: APIRule, metadata: {name: a}, \
     spec: {host: h.x, rules: [{service: {name: s}}, {}]}}",
    None
)]
#[case::a_list_for_a_host(
    "{apiVersion: gateway.kyma-project.io/v1beta1, kind: APIRule, metadata: {name: a}, \
     spec: {host: [h.x], service: {name: s}, rules: []}}",
    None
)]
#[case::a_star_in_the_middle(
    "{apiVersion: gateway.kyma-project.io/v2, kind: APIRule, metadata: {name: a}, \
     spec: {hosts: ['h.*.x'], service: {name: s}, rules: []}}",
    None
)]
fn what_one_would_be_about(#[case] text: &str, #[case] expected: Option<HostsAndServices>) {
    let expected = expected.map(|(hosts, services)| RefusedScope::ApiRule {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        services: services
            .iter()
            .map(|(of, name)| ((*of).to_owned(), (*name).to_owned()))
            .collect(),
    });
    assert_eq!(scope_of(text), expected);
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
fn of_whom_nothing_is_known_it_closes_its_namespace() {
    let text = BROKEN.replace("  host: Broken.example.com\n", "").replace("far", "shop");
    let snapshot = with_refused(vec![open(HOST)], &[refused(&text)], workload(&["httpbin"]));
    assert_eq!(at(&snapshot, HOST), Reason::InvalidPolicy);
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
