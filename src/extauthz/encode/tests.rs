//! The bytes are those of the slow twin's message, but for the order in its maps.

use std::sync::{Arc, LazyLock};

use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;

use super::super::cache_hint::Once;
use super::super::denial::Denial;
use super::super::reply::Realm;
use super::super::response;
use super::*;
use crate::compile::{Settings, compile};
use crate::manifest;
use crate::model::{
    AccessRuleId, Headers, JwtError, Mesh, Refusal as AccessRefusal, Shadow, Verdict, Workload,
};
use crate::plan::Snapshot;

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let policy = |namespace: &str, name: &str, more: &str, action: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: {name}, namespace: {namespace}{more}}}\n\
             spec: {{action: {action}, rules: [{{}}, {{to: [{{operation: {{ports: ['1']}}}}]}}]}}\n"
        )
    };
    let dry_run = ", annotations: {istio.io/dry-run: 'true'}";
    let text = [
        policy("istio-system", &"long".repeat(40), "", "CUSTOM, provider: {name: p}"),
        policy("foo", "a", dry_run, "ALLOW"),
        policy("foo", "b", dry_run, "DENY"),
        policy("foo", "c", "", "AUDIT"),
        "---\napiVersion: gateway.kyma-project.io/v1beta1\nkind: APIRule\n\
         metadata: {name: api, namespace: foo}\nspec:\n  gateway: kyma-system/kyma-gateway\n  \
         host: h.example.com\n  service: {name: s, port: 80}\n  rules:\n  - path: /.*\n    \
         methods: [GET]\n    accessStrategies: [{handler: allow}]\n"
            .to_owned(),
    ]
    .concat();
    let options =
        manifest::Options { default_namespace: "foo".into(), ..manifest::Options::default() };
    let decoded = manifest::decode(&text, None, &options);
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    assert_eq!(resources.len(), 5);
    let workload = |namespace: &str| Workload {
        namespace: namespace.into(),
        labels: [].into(),
        ..Workload::default()
    };
    let workloads = vec![workload("foo"), workload("bar")];
    compile(1, &resources, &[], &Settings { mesh: Mesh::default(), workloads })
});

fn rule() -> impl Strategy<Value = RuleId> {
    // Of five policies there are four, or one.
    (0..5_u32, 0..2_u32).prop_map(|(policy, rule)| RuleId { policy, rule })
}

fn access_rule() -> impl Strategy<Value = AccessRuleId> {
    // Of two there is one, with one rule.
    (0..2_u32, 0..2_u32).prop_map(|(api_rule, rule)| AccessRuleId { api_rule, rule })
}

fn refusal() -> impl Strategy<Value = AccessRefusal> {
    select(vec![
        AccessRefusal::NoCredentials,
        AccessRefusal::NoAuthorization,
        AccessRefusal::Jwt(JwtError::Expired),
        AccessRefusal::TooManyRequests { retry_after: Some(7) },
        AccessRefusal::NoAnswer,
    ])
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::NoAllowPolicy),
        rule().prop_map(Reason::AllowRule),
        rule().prop_map(Reason::DenyRule),
        Just(Reason::NoAllowRule),
        Just(Reason::NoApiRule),
        access_rule().prop_map(Reason::ApiRule),
        (access_rule(), refusal())
            .prop_map(|(rule, refusal)| Reason::ApiRuleRefused(rule, refusal)),
        rule().prop_map(Reason::CustomProviderUndefined),
        Just(Reason::Jwt(JwtError::Expired)),
        Just(Reason::Jwt(JwtError::AudienceNotAllowed)),
        Just(Reason::MalformedRequest),
    ]
}

fn shadow() -> impl Strategy<Value = Shadow> {
    (reason(), option::of(rule()), option::of(rule()), option::of(rule())).prop_map(
        |(reason, deny_rule, allow_rule, custom_rule)| Shadow {
            reason,
            deny_rule,
            allow_rule,
            custom_rule,
        },
    )
}

fn claims() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![
            Just(0.0),
            Just(-0.0),
            any::<f64>().prop_filter("equals itself", |n| !n.is_nan())
        ]
        .prop_map(Value::Number),
        "\\PC{0,3}".prop_map(Value::String),
        "a{0,300}".prop_map(Value::String),
    ];
    let any = leaf.prop_recursive(100, 40, 3, |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(Value::List), members(inner.boxed()),]
    });
    members(any.boxed())
}

fn members(value: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-c]{0,2}", value, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// Deeper than Envoy reads.
fn deep_claims() -> impl Strategy<Value = Value> {
    (0..100_usize, any::<bool>()).prop_map(|(depth, lists)| {
        let wrap = |value| match lists {
            true => Value::List(vec![value]),
            false => Value::Object(vec![("a".to_owned(), value)]),
        };
        let deep = (0..depth).fold(Value::Null, |value, _| wrap(value));
        Value::Object(vec![("deep".to_owned(), deep), ("b".to_owned(), Value::Bool(true))])
    })
}

fn lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let value =
        prop_oneof![4 => "[a-z]{0,3}".prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..3)];
    vec(("x-[a-c]", value), 0..5)
}

fn check(reply: &Reply<'_>) {
    let bytes = bytes(reply);
    let message = response::message(reply);
    assert_eq!(CheckResponse::decode(&*bytes).unwrap(), message);
    assert_eq!(bytes.len(), message.encoded_len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn bytes_are_the_message(
        (reason, shadow, audited_by) in (reason(), option::of(shadow()), vec(rule(), 0..3)),
        claims in option::of(prop_oneof![3 => claims(), 1 => deep_claims()]),
        (revision, workload) in (any::<u64>(), 0..3_usize),
        (has_http, is_changed) in (any::<bool>(), any::<bool>()),
        (method, path) in ("[a-z]{0,3}", "/\\PC{0,300}"),
        (status, body, reason_header) in (
            option::of(select(&[401, 403, 404][..])),
            option::of("\\PC{0,300}"),
            option::of("[ -~]{0,9}"),
        ),
        hint in option::of((0..3, any::<u64>())),
        headers in vec(("x-[a-c]|www-authenticate", "[ -~]{0,9}"), 0..3),
        lines in lines(),
        changed in proptest::collection::btree_set("x-[a-d]", 0..4),
    ) {
        let headers: Vec<(Arc<str>, Arc<str>)> =
            headers.iter().map(|(name, value)| (&**name, &**value)).map(|(n, v)| (n.into(), v.into())).collect();
        let plan = SNAPSHOT.workloads.get(workload).map(AsRef::as_ref);
        let verdict = Verdict { reason, audited_by: None, shadow };
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let http = Http {
            method: method.into(),
            path: path.into(),
            host: "h".into(),
            scheme: "http".into(),
            headers: Headers::new(lines, false),
        };
        let mut changes = Changes::default();
        changes.path = is_changed;
        changed.iter().for_each(|name| changes.note_header(&name.as_str().into()));
        let answers = [
            Answer::Allowed { http: has_http.then_some(&http), changes: &changes },
            Answer::Denied { realm: has_http.then(|| Realm::of(&http)), denial: Denial::default() },
            Answer::Denied {
                realm: has_http.then(|| Realm::of(&http)),
                denial: Denial {
                    status,
                    body: body.as_deref(),
                    headers: &headers,
                    reason: reason_header,
                },
            },
            Answer::BadRequest,
        ];
        for answer in answers {
            let report = Report {
                verdict, revision, plan, audited_by: audited_by.clone(), claims: claims.as_ref(),
                cache: plan.zip(hint).map(|(plan, (kind, until))| match kind {
                    0 => CacheHint::Once(Once::KeysMayCome),
                    kind => CacheHint::Holds {
                        until, plan, is_http: has_http, peer_counts: kind == 1,
                    },
                }),
            };
            check(&Reply { report, answer, consulted: None });
        }
    }
}
