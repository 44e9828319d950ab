//! The plan against the slow twin.

use super::*;
use crate::model::{Kind, RefusedScope, ResourceId};

fn arbitrary_rule() -> impl Strategy<Value = AccessRule> {
    let path = prop_oneof![
        "/[ab.*|]{0,4}(\\.\\*)?"
            .prop_filter("compiles", |path| { crate::path_regex::PathRegex::parse(path).is_ok() })
            .prop_map(|path| AccessPath::Regex(path.into())),
        "(/[ab]|/\\{\\*\\}){0,2}(/\\{\\*\\*\\})?"
            .prop_map(|path| AccessPath::Template(path.into())),
    ];
    let methods = prop::collection::vec(prop_oneof![Just("GET"), Just("PUT")], 0..3);
    let strategies = prop::collection::vec(arbitrary_strategy(), 1..3);
    let service = prop_oneof![3 => Just("httpbin"), 1 => Just("other")];
    (path, methods, strategies, service).prop_map(|(path, methods, strategies, name)| AccessRule {
        path,
        service: service_named(name),
        ..rule("/", &methods, strategies)
    })
}

fn service_named(name: &str) -> ServiceReference {
    service(name)
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]", 0..3)
}

fn arbitrary_strategy() -> impl Strategy<Value = AccessStrategy> {
    let authorization = (words(), words())
        .prop_map(|(required_scopes, audiences)| JwtAuthorization { required_scopes, audiences });
    let issuers = prop::collection::vec(prop_oneof![Just("https://issuer"), Just("other")], 0..3);
    let access = (issuers, prop::collection::vec(authorization, 0..3), any::<bool>()).prop_map(
        |(issuers, authorizations, strict_scopes)| {
            let AccessStrategy::Jwt(JwtAccess { authentications, .. }) = jwt() else {
                unreachable!("what `jwt` makes")
            };
            let of = |issuer: &str| JwtAuthentication {
                issuer: issuer.into(),
                ..authentications[0].clone()
            };
            JwtAccess {
                authentications: issuers.into_iter().map(of).collect(),
                authorizations,
                strict_scopes,
            }
        },
    );
    let access = access.boxed();
    let restrictions = prop::option::of(access.clone());
    prop_oneof![
        Just(AccessStrategy::Allow),
        Just(AccessStrategy::Anonymous),
        Just(AccessStrategy::Unauthorized),
        restrictions.prop_map(|restrictions| AccessStrategy::ExtAuth {
            authorizers: vec!["provider".to_owned().into()],
            restrictions,
        }),
        access.prop_map(AccessStrategy::Jwt),
    ]
}

fn arbitrary_claims() -> impl Strategy<Value = Value> {
    let list =
        words().prop_map(|words| Value::List(words.into_iter().map(Value::String).collect()));
    let value = prop_oneof![
        "([ab] {0,2}){0,2}".prop_map(Value::String),
        list,
        Just(Value::Number(1.0)),
        Just(Value::Null),
    ];
    let name = prop_oneof![Just("scp"), Just("scope"), Just("scopes"), Just("aud")];
    let subject = prop::option::of("[a]?");
    let issuer = prop_oneof![4 => Just("https://issuer"), 1 => Just("https://issuer/x")];
    (prop::collection::vec((name, value), 0..4), subject, issuer).prop_map(
        |(mut all, subject, issuer)| {
            all.extend(subject.map(|subject| ("sub", Value::String(subject))));
            all.push(("iss", text(issuer)));
            let members = all.into_iter().map(|(name, value)| (name.into(), value));
            Value::Object(members.collect())
        },
    )
}

fn arbitrary_host() -> impl Strategy<Value = String> {
    "(\\*\\.)?([ab]\\.){0,2}[ab]"
}

fn arbitrary_refused() -> impl Strategy<Value = Rejected> {
    let service = prop_oneof![3 => Just("httpbin"), 1 => Just("other")];
    let hosts = prop::collection::btree_set(arbitrary_host(), 1..3);
    (hosts, service, "[a-c]").prop_map(|(hosts, service, name)| Rejected {
        id: ResourceId { kind: Kind::ApiRule, namespace: "far".into(), name: name.into() },
        scope: Some(RefusedScope::ApiRule {
            hosts: Some(hosts),
            services: Some([("shop".to_owned(), service.to_owned())].into()),
        }),
    })
}

proptest! {
    /// The rule that the index finds is the one that is found by looking at each of them, its
    /// strategies say what they say one by one, and what is refused closes what only it has.
    #[test]
    fn plan_equals_reference(
        api_rules in prop::collection::vec(
            (prop::collection::vec(arbitrary_host(), 1..3),
             prop::collection::vec(arbitrary_rule(), 1..4)),
            0..4,
        ),
        refused in prop::collection::vec(arbitrary_refused(), 0..2),
        is_closed in any::<bool>(),
        requests in prop::collection::vec(
            ("([ABab]\\.){0,3}[ab]\\.?(:1)?", "/[ab]{0,2}(/[ab]?){0,2}(\\?a)?", any::<bool>()),
            8,
        ),
        claims in prop::option::of(arbitrary_claims()),
    ) {
        let api_rules = api_rules.into_iter().enumerate().map(|(number, (hosts, rules))| {
            let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
            Resource::ApiRule(Arc::new(api_rule(&format!("a{number}"), &hosts, rules)))
        }).collect();
        let services: &[&str] = if is_closed { &["httpbin"] } else { &[] };
        let snapshot = with_refused(api_rules, &refused, workload(services));
        let plan: &WorkloadPlan = &snapshot.workloads[0];
        let identity = Identity { claims: claims.as_ref() };
        for (host, path, is_get) in &requests {
            let method = if *is_get { "GET" } else { "PUT" };
            let attributes = request(method, host, path, &[]);
            let closing = reference::closing_api_rules(plan, &attributes);
            let early = decide::before_custom(plan, &attributes);
            prop_assert_eq!(early.is_some(), !closing.is_empty(), "{}", host);
            let (is_subject, rule) = reference::access_rule(plan, &attributes);
            let found = match decide::subject(plan, &attributes) {
                Subject::Free => (false, None),
                Subject::Unrouted => (true, None),
                Subject::Rule(route) => (true, Some(route.id)),
            };
            prop_assert_eq!(found, (is_subject, rule), "{} {}", host, path);
            let fast = decide::decide(plan, &attributes, &identity);
            prop_assert_eq!(fast, reference::decide(plan, &attributes, &identity));
        }
    }
}
