use std::sync::Arc;

use rstest::rstest;

use super::*;
use crate::compile::{Settings, compile};
use crate::manifest;
use crate::model::{Headers, Http, JwtError, Mesh, Missing, RuleId};

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: first, namespace: shop}
spec: {rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: nope
  namespace: shop
  annotations: {postern.dev/deny-status: "404", postern.dev/deny-headers: "x-by: nope"}
spec: {action: DENY, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: second, namespace: shop, annotations: {postern.dev/deny-body: "of second"}}
spec: {rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: a-dry-run
  namespace: shop
  annotations: {postern.dev/deny-body: "of a dry run", istio.io/dry-run: "true"}
spec: {rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: third, namespace: shop, annotations: {postern.dev/deny-body: "of third"}}
spec: {rules: [{}]}
"#;

fn plan() -> Arc<WorkloadPlan> {
    let options =
        manifest::Options { default_namespace: "shop".into(), ..manifest::Options::default() };
    let decoded = manifest::decode(POLICIES, None, &options);
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let labels = [("app".to_owned(), "web".to_owned())].into();
    let workloads = vec![Workload { namespace: "shop".into(), labels, ..Workload::default() }];
    compile(1, &resources, &[], &Settings { mesh: Mesh::default(), workloads }).workloads.remove(0)
}

fn rule(plan: &WorkloadPlan, name: &str) -> RuleId {
    let policy = plan.policies().position(|policy| *policy.metadata.name == *name).unwrap();
    RuleId { policy: policy.try_into().unwrap(), rule: 0 }
}

fn attributes(ip: &str, name: &str) -> Attributes<'static> {
    Attributes {
        source_ip: ip.parse().ok(),
        // What a client may say of itself is nothing to go by.
        remote_ip: "10.1.2.3".parse().ok(),
        destination_ip: None,
        destination_port: None,
        sni: "".into(),
        peer: Peer { names: Vec::from_iter((!name.is_empty()).then(|| name.to_owned().into())) },
        http: Some(Http {
            method: "GET".into(),
            path: "/a?b".into(),
            host: "h".into(),
            scheme: "https".into(),
            headers: Headers::new(
                vec![("x-forwarded-for".into(), b"10.1.2.3".as_slice().into())],
                false,
            ),
        }),
        filter_metadata: Vec::new(),
        exchange: crate::model::Exchange::default(),
        missing: Missing::default(),
    }
}

fn body(text: &str) -> Denials {
    let policies = DenyResponse { body: Some(text.into()), ..DenyResponse::default() };
    Denials { policies, ..Denials::default() }
}

fn refusal(settings: &DenialSettings, reason: Reason) -> RefusalText {
    settings.refusal(&plan(), Verdict::from_reason(reason), &attributes("10.9.9.9", ""))
}

#[test]
fn annotations_count_only_where_they_may() {
    let plan = plan();
    let denied = Reason::DenyRule(rule(&plan, "nope"));
    let native = RefusalText { status: 403, body: ACCESS_DENIED.into(), headers: Vec::new() };
    let off = DenialSettings::default();
    assert_eq!(refusal(&off, denied), native);
    assert_eq!(refusal(&off, Reason::NoAllowRule), native);

    let on = DenialSettings { annotations: true, all: body("of all"), ..off };
    let expected = RefusalText {
        status: 404,
        body: "of all".into(),
        headers: vec![("x-by".into(), "nope".into())],
    };
    assert_eq!(refusal(&on, denied), expected);
    // Of those that are enforced the first that says something, in the order of precedence.
    assert_eq!(refusal(&on, Reason::NoAllowRule).body, "of second");
    assert_eq!(refusal(&on, Reason::PeerUnauthenticated).body, "of all");
}

#[test]
fn the_first_entry_for_a_workload_counts_before_what_is_for_all() {
    let entry = |namespace: Option<&str>, label: Option<&str>, text: &str| WorkloadDenials {
        namespace: namespace.map(Into::into),
        labels: label.map(|value| ("app".to_owned(), value.to_owned())).into_iter().collect(),
        denials: body(text),
    };
    let of = |workloads| {
        let settings = DenialSettings { workloads, all: body("all"), ..DenialSettings::default() };
        refusal(&settings, Reason::NoAllowRule).body
    };
    assert_eq!(of(vec![entry(Some("other"), None, "1"), entry(None, Some("api"), "2")]), "all");
    assert_eq!(of(vec![entry(Some("shop"), Some("web"), "1"), entry(None, None, "2")]), "1");
    assert_eq!(of(vec![entry(Some("shop"), Some("x"), "1"), entry(None, None, "2")]), "2");
}

#[test]
fn a_challenge_stays_with_the_status_that_it_belongs_to() {
    let tokens = |status: Option<u16>, header: Option<(&str, &str)>| {
        let headers = header.map(|(name, value)| [(name.into(), value.into())].into());
        let tokens = DenyResponse { status, body: None, headers };
        let all = Denials { tokens, ..body("of policies") };
        DenialSettings { all, ..DenialSettings::default() }
    };
    let names = |settings: &DenialSettings, error| {
        let RefusalText { status, body, headers } = refusal(settings, Reason::Jwt(error));
        assert_eq!(body, error.to_string());
        (status, headers)
    };
    let challenge = "Bearer realm=\"https://h/a?b\", error=\"invalid_token\"";
    let challenged = vec![("www-authenticate".to_owned(), challenge.to_owned())];
    let native = tokens(None, None);
    assert_eq!(names(&native, JwtError::Expired), (401, challenged.clone()));
    assert_eq!(names(&native, JwtError::AudienceNotAllowed), (403, challenged.clone()));
    assert_eq!(names(&tokens(Some(401), None), JwtError::AudienceNotAllowed), (401, challenged));
    assert_eq!(names(&tokens(Some(404), None), JwtError::Expired), (404, Vec::new()));
    let own = tokens(None, Some(("www-authenticate", "Bearer")));
    let expected = vec![("www-authenticate".to_owned(), "Bearer".to_owned())];
    assert_eq!(names(&own, JwtError::Expired), (401, expected));
}

#[rstest]
#[case::nobody("10.9.9.9", "", false)]
#[case::address("192.0.2.7", "", true)]
#[case::mapped("::ffff:192.0.2.7", "", true)]
#[case::neighbour("192.0.3.7", "", false)]
#[case::principal("10.9.9.9", "spiffe://td/ns/shop/sa/web", true)]
#[case::longer("10.9.9.9", "spiffe://td/ns/shop/sa/web2", false)]
#[case::other_scheme("10.9.9.9", "td/ns/shop/sa/web", false)]
#[case::unix_socket("", "", false)]
fn only_trusted_callers_are_told_why(#[case] ip: &str, #[case] name: &str, #[case] told: bool) {
    let plan = plan();
    let reason_for = TrustedCallers {
        addresses: vec!["192.0.2.0/24".parse().unwrap()],
        principals: vec!["td/ns/shop/sa/web".into()],
    };
    let settings = DenialSettings { reason_for, ..DenialSettings::default() };
    let verdict = Verdict::from_reason(Reason::DenyRule(rule(&plan, "nope")));
    let found = settings.refusal(&plan, verdict, &attributes(ip, name));
    let text = "deny_rule; policy=shop/nope; rule=0";
    let expected = told.then(|| (REASON_HEADER.to_owned(), text.to_owned()));
    assert_eq!(found.headers, Vec::from_iter(expected));
    assert_eq!((found.status, &*found.body), (403, ACCESS_DENIED));
}

#[test]
fn a_reason_is_fit_for_a_header_whatever_names_hold() {
    let mut plan = Arc::into_inner(plan()).unwrap();
    let number = rule(&plan, "nope");
    // The plan alone has it.
    let attached = &mut plan.layers[0];
    let layer = Arc::get_mut(&mut attached.layer).unwrap();
    let policy = Arc::make_mut(&mut layer.policies[number.policy as usize]);
    policy.metadata.name = format!("a\r\nset-cookie: é{}", "x".repeat(1_000)).into();
    let text = reason_text(Some(&plan), Verdict::from_reason(Reason::DenyRule(number)));
    assert_eq!(text.len(), 400);
    assert!(text.starts_with("deny_rule; policy=shop/a??set-cookie: ?xxx"), "{text}");
}
