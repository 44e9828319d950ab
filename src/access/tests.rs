//! APIRules from the words to the decision, with no Envoy.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::authn::NoKeys;
use crate::compile::{self, Rejected, Settings};
use crate::decide::{self, Subject, reference};
use crate::explain;
use crate::gate;
use crate::model::{
    AccessPath, AccessRule, AccessRuleId, Action, ApiRule, ApiRuleVersion, Attributes,
    AuthorizationPolicy, Exchange, Headers, Identity, JwtAccess, JwtAuthentication,
    JwtAuthorization, Located, Mesh, Metadata, Missing, Operation, Peer, Position, Reason,
    RequestMutations, Resource, Rule, ServiceReference, StringList, Value, Workload,
};
use crate::plan::{Snapshot, WorkloadPlan};

const HOST: &str = "httpbin.example.com";

fn service(name: &str) -> ServiceReference {
    ServiceReference { namespace: "shop".into(), name: name.into(), port: 8000 }
}

fn rule(path: &str, methods: &[&str], strategies: Vec<AccessStrategy>) -> AccessRule {
    AccessRule {
        position: Position::default(),
        path: AccessPath::Regex(path.to_owned().into()),
        methods: methods.iter().map(|method| (*method).to_owned().into()).collect(),
        service: service("httpbin"),
        strategies,
        mutations: RequestMutations::default(),
    }
}

fn api_rule(name: &str, hosts: &[&str], rules: Vec<AccessRule>) -> ApiRule {
    ApiRule {
        metadata: Metadata { namespace: "shop".into(), name: name.into(), ..Metadata::default() },
        version: ApiRuleVersion::V1beta1,
        hosts: hosts.iter().map(|host| Located::from((*host).to_owned())).collect(),
        rules,
    }
}

fn workload(services: &[&str]) -> Workload {
    Workload {
        namespace: "shop".into(),
        services: services.iter().map(|name| (*name).to_owned()).collect(),
        ..Workload::default()
    }
}

fn snapshot(resources: Vec<Resource>, workload: Workload) -> Snapshot {
    with_refused(resources, &[], workload)
}

fn with_refused(resources: Vec<Resource>, refused: &[Rejected], workload: Workload) -> Snapshot {
    let resources: Vec<_> = resources.into_iter().map(Arc::new).collect();
    let settings = Settings { mesh: Mesh::default(), workloads: vec![workload] };
    compile::compile(1, &resources, refused, &settings)
}

fn by_service(api_rules: Vec<ApiRule>) -> Snapshot {
    let resources = api_rules.into_iter().map(|it| Resource::ApiRule(Arc::new(it))).collect();
    snapshot(resources, workload(&["httpbin"]))
}

fn by_host(api_rules: Vec<ApiRule>) -> Snapshot {
    let resources = api_rules.into_iter().map(|it| Resource::ApiRule(Arc::new(it))).collect();
    snapshot(resources, workload(&[]))
}

fn request<'a>(
    method: &'a str,
    host: &'a str,
    path: &'a str,
    lines: &[(&'a str, &'a str)],
) -> Attributes<'a> {
    let lines =
        lines.iter().map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(v.as_bytes()))).collect();
    Attributes {
        source_ip: None,
        remote_ip: None,
        destination_ip: None,
        destination_port: None,
        sni: "".into(),
        peer: Peer::default(),
        http: Some(Http {
            method: method.into(),
            path: path.into(),
            host: host.into(),
            scheme: "http".into(),
            headers: Headers::new(lines, false),
        }),
        filter_metadata: Vec::new(),
        exchange: Exchange::default(),
        missing: Missing::default(),
    }
}

fn reason(snapshot: &Snapshot, attributes: &mut Attributes<'_>) -> Reason {
    let verifier = Verifier { keys: &NoKeys, cache: None, now: 0, max_token_size: 9_999 };
    gate::pass(&snapshot.workloads[0], attributes, &verifier).verdict.reason
}

fn get(snapshot: &Snapshot, path: &str) -> Reason {
    reason(snapshot, &mut request("GET", HOST, path, &[]))
}

const fn id(api_rule: u32, rule: u32) -> AccessRuleId {
    AccessRuleId { api_rule, rule }
}

fn jwt() -> AccessStrategy {
    AccessStrategy::Jwt(JwtAccess {
        authentications: vec![JwtAuthentication {
            issuer: "https://issuer".into(),
            jwks_uri: "https://issuer/keys".into(),
            from_headers: Vec::new(),
            from_params: Vec::new(),
            position: Position::default(),
        }],
        authorizations: Vec::new(),
        strict_scopes: false,
    })
}

#[test]
fn a_wider_rule_behind_it_does_not_open_a_narrower_one() {
    let narrow_first = vec![
        rule("/headers", &["GET"], vec![jwt()]),
        rule("/.*", &["GET"], vec![AccessStrategy::Allow]),
    ];
    for snapshot in [
        by_service(vec![api_rule("a", &[HOST], narrow_first.clone())]),
        by_host(vec![api_rule("a", &[HOST], narrow_first.clone())]),
    ] {
        let refused = Reason::ApiRuleRefused(id(0, 0), Refusal::NoToken);
        assert_eq!(get(&snapshot, "/headers"), refused);
        assert_eq!(get(&snapshot, "/headers?a"), refused);
        assert_eq!(get(&snapshot, "/headers/"), Reason::ApiRule(id(0, 1)));
    }
    // The other way round the first one is for everything: a warning says so.
    let wide_first =
        by_service(vec![api_rule("a", &[HOST], narrow_first.into_iter().rev().collect())]);
    assert_eq!(get(&wide_first, "/headers"), Reason::ApiRule(id(0, 0)));
}

#[test]
fn regular_expressions_are_for_whole_paths_and_not_prefixes() {
    let open = |path| rule(path, &["GET"], vec![AccessStrategy::Allow]);
    let rules = vec![open("/orders/.*"), open("/(a|b)"), open("/c|/d")];
    let snapshot = by_service(vec![api_rule("a", &[HOST], rules)]);
    assert_eq!(get(&snapshot, "/orders/1"), Reason::ApiRule(id(0, 0)));
    assert_eq!(get(&snapshot, "/orders/.x"), Reason::ApiRule(id(0, 0)));
    assert_eq!(get(&snapshot, "/b"), Reason::ApiRule(id(0, 1)));
    assert_eq!(get(&snapshot, "/d"), Reason::ApiRule(id(0, 2)));
    for path in ["/orders", "/(a|b)", "/ab", "/c/d", "/cx", "/x/d", "/xorders/1"] {
        assert_eq!(get(&snapshot, path), Reason::NoApiRule, "{path}");
    }
}

#[test]
fn a_workload_of_a_service_is_closed_and_one_known_by_hosts_is_not() {
    let rules = || vec![rule("/a", &["GET", "HEAD"], vec![AccessStrategy::NoAuth])];
    let closed = by_service(vec![api_rule("a", &[HOST], rules())]);
    let open = by_host(vec![api_rule("a", &[HOST], rules())]);
    let ask =
        |snapshot, method, host, path| reason(snapshot, &mut request(method, host, path, &[]));
    for host in [HOST, "HTTPBIN.example.com", "httpbin.example.com:8080"] {
        assert_eq!(ask(&closed, "HEAD", host, "/a"), Reason::ApiRule(id(0, 0)));
        assert_eq!(ask(&open, "HEAD", host, "/a"), Reason::ApiRule(id(0, 0)));
        for (method, path) in [("POST", "/a"), ("get", "/a"), ("GET", "/b")] {
            assert_eq!(ask(&closed, method, host, path), Reason::NoApiRule);
            assert_eq!(ask(&open, method, host, path), Reason::NoApiRule);
        }
    }
    for host in ["", "example.com", "xhttpbin.example.com", "httpbin.example.com.evil"] {
        assert_eq!(ask(&closed, "GET", host, "/a"), Reason::NoApiRule);
        assert_eq!(ask(&open, "GET", host, "/a"), Reason::NoAllowPolicy);
    }
    // A connection without HTTP.
    let connection = || Attributes { http: None, ..request("GET", "", "/", &[]) };
    assert_eq!(reason(&closed, &mut connection()), Reason::NoApiRule);
    assert_eq!(reason(&open, &mut connection()), Reason::NoAllowPolicy);
}

#[test]
fn rules_belong_to_the_workloads_of_their_services() {
    let mut other = rule("/.*", &["GET"], vec![AccessStrategy::Allow]);
    other.service = service("other");
    let mut elsewhere = rule("/.*", &["GET"], vec![AccessStrategy::Allow]);
    elsewhere.service.namespace = "bank".into();
    let own = rule("/own", &["GET"], vec![AccessStrategy::Allow]);
    let resources =
        vec![Resource::ApiRule(Arc::new(api_rule("a", &[HOST], vec![other, elsewhere, own])))];
    let resources: Vec<_> = resources.into_iter().map(Arc::new).collect();
    let workloads = vec![workload(&["httpbin"]), workload(&["nobodys"]), workload(&[])];
    let settings = Settings { mesh: Mesh::default(), workloads };
    let snapshot = compile::compile(1, &resources, &[], &settings);
    assert_eq!(get(&snapshot, "/own"), Reason::ApiRule(id(0, 2)));
    assert_eq!(get(&snapshot, "/other"), Reason::NoApiRule);
    // Services are known, and none of theirs has a rule.
    assert!(snapshot.workloads[1].access.is_none());
    assert!(snapshot.workloads[2].access.is_none());
}

#[test]
fn the_most_specific_host_counts_alone() {
    let open = |path| vec![rule(path, &["GET"], vec![AccessStrategy::Allow])];
    let snapshot = by_host(vec![
        api_rule("a", &["*.example.com"], open("/wide")),
        api_rule("b", &["*.a.example.com"], open("/narrow")),
        api_rule("c", &["x.a.example.com"], open("/exact")),
    ]);
    let ask = |host, path| reason(&snapshot, &mut request("GET", host, path, &[]));
    for (host, paths) in [
        ("x.a.example.com", &["/exact"]),
        ("y.a.example.com", &["/narrow"]),
        ("y.z.a.example.com", &["/narrow"]),
        ("a.example.com", &["/wide"]),
    ] {
        let paths: &[&str] = paths;
        for path in ["/wide", "/narrow", "/exact"] {
            let found = ask(host, path);
            assert_eq!(matches!(found, Reason::ApiRule(_)), paths.contains(&path), "{host} {path}");
        }
    }
    for host in ["example.com", ".example.com", "wexample.com"] {
        assert_eq!(ask(host, "/wide"), Reason::NoAllowPolicy, "{host}");
    }
}

#[test]
fn deny_rules_come_first_and_allow_rules_stand_beside() {
    let policy = |name: &str, action, path: &str| {
        let operation = Operation { paths: list(path), ..Operation::default() };
        Resource::AuthorizationPolicy(Arc::new(AuthorizationPolicy {
            metadata: Metadata {
                namespace: "shop".into(),
                name: name.into(),
                ..Metadata::default()
            },
            attachment: crate::model::Attachment::default(),
            action,
            rules: vec![Rule { to: vec![operation], ..Rule::default() }],
            dry_run: false,
            deny_response: None,
        }))
    };
    let rules = vec![
        rule("/open", &["GET"], vec![AccessStrategy::Allow]),
        rule("/.*", &["GET"], vec![AccessStrategy::Unauthorized]),
    ];
    let resources = vec![
        Resource::ApiRule(Arc::new(api_rule("a", &[HOST], rules))),
        policy("deny", Action::Deny, "/open/../no"),
        policy("deny-too", Action::Deny, "/open"),
        policy("allow", Action::Allow, "/mine"),
    ];
    let with_deny = snapshot(resources.clone(), workload(&["httpbin"]));
    assert!(matches!(get(&with_deny, "/open"), Reason::DenyRule(_)));
    let without: Vec<_> =
        resources.into_iter().filter(|r| &*r.metadata().name != "deny-too").collect();
    let without = snapshot(without, workload(&["httpbin"]));
    assert_eq!(get(&without, "/open"), Reason::ApiRule(id(0, 0)));
    assert!(matches!(get(&without, "/mine"), Reason::AllowRule(_)));
    let refused = Reason::ApiRuleRefused(id(0, 1), Refusal::Unauthorized);
    assert_eq!(get(&without, "/other"), refused);
}

fn list(entry: &str) -> StringList {
    [entry.to_owned().into()].into()
}

#[rstest]
#[case::in_order(vec![AccessStrategy::Anonymous, AccessStrategy::Unauthorized], false, None)]
#[case::the_next(
    vec![AccessStrategy::Anonymous, AccessStrategy::Unauthorized],
    true,
    Some(Refusal::Unauthorized)
)]
#[case::nobody(vec![AccessStrategy::Anonymous], true, Some(Refusal::NoCredentials))]
#[case::first_error(
    vec![AccessStrategy::Unauthorized, AccessStrategy::Noop],
    false,
    Some(Refusal::Unauthorized)
)]
#[case::noop(vec![AccessStrategy::Noop], true, None)]
fn the_first_responsible_strategy_decides(
    #[case] strategies: Vec<AccessStrategy>,
    #[case] has_credentials: bool,
    #[case] expect: Option<Refusal>,
) {
    let snapshot = by_service(vec![api_rule("a", &[HOST], vec![rule("/", &["GET"], strategies)])]);
    let lines: &[_] = if has_credentials { &[("authorization", "Basic x")] } else { &[] };
    let expect = expect
        .map_or(Reason::ApiRule(id(0, 0)), |refusal| Reason::ApiRuleRefused(id(0, 0), refusal));
    assert_eq!(reason(&snapshot, &mut request("GET", HOST, "/", lines)), expect);
}

fn claims(members: &[(&str, Value)]) -> Value {
    let fixed = [("iss", "https://issuer"), ("sub", "alice")];
    let fixed = fixed.map(|(n, v)| (n.to_owned(), Value::String(v.to_owned())));
    let own = members.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
    let own: Vec<_> = own.collect();
    let fixed = fixed.into_iter().filter(|(n, _)| !own.iter().any(|(own, _)| own == n));
    Value::Object(fixed.chain(own.clone()).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn texts(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|t| text(t)).collect())
}

/// As Istio has it: a text is split in `scope` alone.
#[rstest]
#[case::scope(&[("scope", text("x read"))], true, true)]
#[case::scp(&[("scp", text("x read"))], true, false)]
#[case::scopes(&[("scopes", text("x read"))], true, false)]
#[case::scp_by_itself(&[("scp", text("read"))], true, true)]
#[case::scp_as_list(&[("scp", texts(&["x", "read"]))], true, true)]
#[case::not_strict(&[("scp", text("x read"))], false, true)]
fn strict_scopes(#[case] members: &[(&str, Value)], #[case] strict: bool, #[case] passes: bool) {
    let AccessStrategy::Jwt(mut access) = jwt() else { panic!("not a jwt") };
    access.strict_scopes = strict;
    access.authorizations =
        vec![JwtAuthorization { required_scopes: vec!["read".into()], audiences: Vec::new() }];
    let rules = vec![rule("/", &["GET"], vec![AccessStrategy::Jwt(access)])];
    let snapshot = by_service(vec![api_rule("a", &[HOST], rules)]);
    let (plan, claims) = (&snapshot.workloads[0], claims(members));
    let identity = Identity { claims: Some(&claims) };
    let verdict = decide::decide(plan, &request("GET", HOST, "/", &[]), &identity);
    assert_eq!(verdict.reason == Reason::ApiRule(id(0, 0)), passes, "{verdict:?}");
}

/// The table of the documentation's example with two authorizations.
#[rstest]
#[case::scopes_in_scp(&[("scp", texts(&["write", "read"]))], true)]
#[case::scopes_in_scope(&[("scope", text("read write"))], true)]
#[case::scopes_in_scopes(&[("scopes", text("x write read"))], true)]
#[case::scopes_as_list(&[("scope", texts(&["read", "write"]))], true)]
#[case::spread_over_claims(&[("scp", text("read")), ("scope", text("write"))], false)]
#[case::one_scope(&[("scope", text("read"))], false)]
#[case::first_without_audiences(&[("scope", text("test"))], false)]
#[case::first_with_one(&[("scope", text("test")), ("aud", text("example.com"))], false)]
#[case::first(
    &[("scope", text("test")), ("aud", texts(&["example.org", "x", "example.com"]))],
    true
)]
#[case::audiences_alone(&[("aud", texts(&["example.org", "example.com"]))], false)]
#[case::audiences_are_not_split(
    &[("scope", text("test")), ("aud", text("example.com example.org"))],
    false
)]
#[case::number(&[("scope", Value::Number(1.0))], false)]
#[case::nothing(&[], false)]
#[case::other_issuer(&[("iss", text("https://other")), ("scope", text("read write"))], false)]
#[case::longer_issuer(&[("iss", text("https://issuer/x")), ("scope", text("read write"))], false)]
#[case::empty_subject(&[("sub", text("")), ("scope", text("read write"))], false)]
#[case::no_subject(&[("sub", Value::Null), ("scope", text("read write"))], false)]
fn authorizations(#[case] members: &[(&str, Value)], #[case] passes: bool) {
    let AccessStrategy::Jwt(mut access) = jwt() else { panic!("not a jwt") };
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    access.authorizations = vec![
        JwtAuthorization {
            required_scopes: owned(&["test"]),
            audiences: owned(&["example.com", "example.org"]),
        },
        JwtAuthorization { required_scopes: owned(&["read", "write"]), audiences: Vec::new() },
    ];
    let rules = vec![rule("/", &["GET"], vec![AccessStrategy::Jwt(access)])];
    let snapshot = by_service(vec![api_rule("a", &[HOST], rules)]);
    let claims = claims(members);
    let verdict = decide::decide(
        &snapshot.workloads[0],
        &request("GET", HOST, "/", &[]),
        &Identity { claims: Some(&claims) },
    );
    assert_eq!(verdict.reason == Reason::ApiRule(id(0, 0)), passes, "{:?}", verdict.reason);
}

#[test]
fn headers_are_set_where_a_request_passes_and_clients_cannot_set_them() {
    let mut with_headers = rule("/.*", &["GET"], vec![AccessStrategy::Allow]);
    let format = |text: &str| Located::from(text.to_owned());
    with_headers.mutations = RequestMutations {
        headers: BTreeMap::from([
            ("x-custom-auth".to_owned(), format("%REQ(Authorization)%")),
            ("x-some-data".to_owned(), format("some-data")),
            ("x-swap".to_owned(), format("%REQ(x-some-data)%")),
        ]),
        cookies: BTreeMap::from([
            ("b".to_owned(), format("2")),
            ("a".to_owned(), format("%REQ(x-none)%1")),
        ]),
    };
    let snapshot = by_service(vec![api_rule("a", &[HOST], vec![with_headers])]);
    let lines = [
        ("x-custom-auth", "forged"),
        ("x-some-data", "client"),
        ("x-some-data", "client again"),
        ("cookie", "session=1"),
        ("x-other", "stays"),
    ];
    let verifier = Verifier { keys: &NoKeys, cache: None, now: 0, max_token_size: 9_999 };
    let mut attributes = request("GET", HOST, "/", &lines);
    let passage = gate::pass(&snapshot.workloads[0], &mut attributes, &verifier);
    let changed: Vec<_> = passage.authentication.changes.headers().collect();
    assert_eq!(changed, ["cookie", "x-custom-auth", "x-some-data", "x-swap"]);
    let headers = attributes.http.unwrap().headers;
    let all = |name| headers.values(name).map(|v| str::from_utf8(v).unwrap()).collect::<Vec<_>>();
    assert_eq!(all("x-custom-auth"), [""; 0], "there is no authorization header");
    assert_eq!(all("x-some-data"), ["some-data"]);
    assert_eq!(all("x-swap"), ["client"], "made of the request as it was");
    assert_eq!(all("cookie"), ["a=1; b=2"]);
    assert_eq!(all("x-other"), ["stays"]);

    // One that is refused is left alone.
    let mut attributes = request("POST", HOST, "/", &lines);
    let passage = gate::pass(&snapshot.workloads[0], &mut attributes, &verifier);
    assert_eq!(passage.authentication.changes.headers().count(), 0);
}

#[test]
fn what_cannot_be_compiled_closes() {
    let open = |path| rule(path, &["GET"], vec![AccessStrategy::Allow]);
    let mut with_header = open("/");
    with_header.mutations.headers.insert("x".into(), "%RESP(x)%".to_owned().into());
    let mut with_template = open("/");
    with_template.path = AccessPath::Template("/{**}/{*}".to_owned().into());
    for bad in [open("/(?!a)"), with_header, with_template] {
        let snapshot = by_service(vec![api_rule("a", &[HOST], vec![open("/"), bad])]);
        assert_eq!(get(&snapshot, "/"), Reason::InvalidPolicy);
        assert_eq!(snapshot.workloads[0].invalid[0].to_string(), "APIRule/shop/a");
    }
}

#[test]
fn many_hosts_share_what_they_can_and_find_their_own() {
    let api_rules = (0..1000).map(|n| {
        let rules = vec![rule("/.*", &["GET"], vec![AccessStrategy::Allow])];
        api_rule(&format!("a{n:04}"), &[&format!("h{n}.example.com")], rules)
    });
    let snapshot = by_host(api_rules.collect());
    let plan: &WorkloadPlan = &snapshot.workloads[0];
    let access = plan.access.as_ref().unwrap();
    assert_eq!(access.hosts.len(), 1000);
    assert!(access.hosts.values().all(|host| host.routes.len() == 1));
    let attributes = request("GET", "h777.example.com", "/x", &[]);
    assert!(matches!(
        decide::subject(plan, &attributes),
        Subject::Rule(route) if route.id == id(777, 0)
    ));
}

#[test]
fn explanations_say_which_of_several_strategies_decided() {
    let strategies = vec![AccessStrategy::Anonymous, AccessStrategy::Unauthorized];
    let snapshot = by_host(vec![api_rule("a", &[HOST], vec![rule("/.*", &["GET"], strategies)])]);
    let of = |lines: &[(&'static str, &'static str)]| {
        let decided = decided(&snapshot, request("GET", HOST, "/", lines));
        (explain::human(&decided, false), explain::json(&decided, false))
    };
    let (text, json) = of(&[]);
    assert!(text.contains("of these, anonymous decided"), "{text}");
    assert_eq!(json["accessStrategy"], "anonymous");
    let (text, json) = of(&[("authorization", "Basic a")]);
    assert!(text.contains("of these, unauthorized decided"), "{text}");
    assert_eq!(json["accessStrategy"], "unauthorized");
}

fn decided<'s>(snapshot: &'s Snapshot, attributes: Attributes<'_>) -> explain::Decided<'s> {
    let verifier = Verifier { keys: &NoKeys, cache: None, now: 0, max_token_size: 9_999 };
    let (plan, standing) = (&snapshot.workloads[0], crate::custom::Standing::default());
    explain::Decided::new(plan, Ok(attributes), &verifier, standing, 3)
}

#[test]
fn explanations_name_apirules() {
    let rules = vec![
        rule("/headers", &["GET", "HEAD"], vec![jwt()]),
        rule("/.*", &["GET"], vec![AccessStrategy::Allow]),
    ];
    let snapshot = by_host(vec![api_rule("orders", &[HOST], rules)]);
    let explained =
        |method, path| explain::human(&decided(&snapshot, request(method, HOST, path, &[])), true);
    insta::assert_snapshot!(explained("GET", "/headers"), @"
    DENY   APIRule/shop/orders rules[0] (/headers, GET HEAD): refused with 403: jwt: there is no token of one of its issuers
           the first rule for this request; its access: jwt

    mutual TLS (PERMISSIVE): the peer has no identity
    APIRule/shop/orders rules[0] (/headers, GET HEAD): is for this request; its access: jwt
    APIRule/shop/orders rules[1] (/.*, GET): fits, but the rule above comes before it
    ");
    insta::assert_snapshot!(explained("GET", "/other"), @"
    ALLOW  APIRule/shop/orders rules[1] (/.*, GET)
           the first rule for this request; its access: allow

    mutual TLS (PERMISSIVE): the peer has no identity
    APIRule/shop/orders rules[0] (/headers, GET HEAD): is not for this path
    APIRule/shop/orders rules[1] (/.*, GET): is for this request; its access: allow
    ");
    insta::assert_snapshot!(explained("POST", "/headers"), @"
    DENY   no rule of an APIRule is for this request

    mutual TLS (PERMISSIVE): the peer has no identity
    APIRule/shop/orders rules[0] (/headers, GET HEAD): is not for this method
    APIRule/shop/orders rules[1] (/.*, GET): is not for this method
    ");
}

mod laws;
mod refused;
