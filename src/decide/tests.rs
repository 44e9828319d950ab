//! The compiled plan and the policies as written never disagree.

mod crowds;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{before_tokens, custom, decide, reference, shadow_custom};
use crate::compile::{Settings, compile};
use crate::model::{
    Action, Attachment, Attributes, AuthorizationPolicy, Condition, ConditionKey, ConditionValues,
    Headers, Http, Identity, Located, Mesh, Metadata, Missing, Operation, Peer, Reason, Resource,
    Rule, SentHeaders, Source, Value, Workload,
};
use crate::plan::WorkloadPlan;

/// Tiny alphabets, so that collisions, the interesting part, are common.
fn list<T: Clone + std::fmt::Debug + 'static>(
    values: &'static [T],
) -> BoxedStrategy<Vec<Located<T>>> {
    // Mostly absent: a rule of many fields hardly ever matches.
    prop_oneof![
        4 => Just(Vec::new()),
        1 => vec(select(values).prop_map(Located::from), 1..3),
    ]
    .boxed()
}

fn strings(values: &'static [&'static str]) -> BoxedStrategy<Vec<Located<String>>> {
    list(values)
        .prop_map(|l| l.into_iter().map(|e| Located::from(e.value.to_owned())).collect())
        .boxed()
}

const PRINCIPALS: &[&str] = &[
    "*",
    "td/ns/a/sa/b",
    "*/sa/b",
    "td/*",
    "cluster.local/ns/a/sa/b",
    "**",
    "*-td/ns/a/sa/b",
    "old-td/ns/a/sa/*",
];
const NAMES: &[&str] = &[
    "spiffe://td/ns/a/sa/b",
    "spiffe://old-td/ns/a/sa/b",
    "spiffe://td/ns/a/x/sa/b/y",
    "spiffe://td/ns/ab/sa/b",
    "a.example.com",
    "spiffe://td",
    "CN=x",
    "spiffe:///ns/a/sa/b",
];
const NAMESPACES: &[&str] = &["a", "a*", "*", "a*b", "*b"];
const ACCOUNTS: &[&str] = &["b", "a/b", "ab/b", "x"];
const DOMAINS: &[&str] = &["td", "*", "t*", "*-td", "cluster.local", "old-td"];
const REQUEST_PRINCIPALS: &[&str] =
    &["*", "i/s", "*/s", "i/*", "*i/s", "i*", "*s", "i", "*/*", "i/s*", "i/*s*", "**"];
const HOSTS: &[&str] = &["h", "H.x", "*.x", "h*", "*"];
const METHODS: &[&str] = &["GET", "P*", "*T", "*"];
const PATHS: &[&str] =
    &["/a", "/a/*", "*/b", "*", "/a/{*}", "/{**}/b", "/a/{**}", "/{*}/b", "/ab", "/a/b", "**", "/"];
const REQUEST_PATHS: &[&str] =
    &["/a", "/a/b", "/a/", "/ab?q=/b", "/a//b", "/x/b", "/", "*", "/a/b#/c", "/A", "/a/[", ""];
const IP_BLOCKS: &[&str] =
    &["10.0.0.0/8", "10.1.2.3/32", "10.1.2.3/31", "::/0", "0.0.0.0/0", "2001:db8::/33"];
const IPS: &[&str] = &["10.1.2.3", "10.1.2.2", "11.0.0.1", "2001:db8::1", "::ffff:10.1.2.3"];
const VALUES: &[&str] = &["x", "x*", "*x", "*", "x,y", "[x]", "[x*]", "y"];

fn blocks() -> BoxedStrategy<Vec<Located<ipnet::IpNet>>> {
    strings(IP_BLOCKS)
        .prop_map(|l| {
            l.into_iter().map(|e| Located::from(e.value.parse::<ipnet::IpNet>().unwrap())).collect()
        })
        .boxed()
}

pub(crate) fn source() -> impl Strategy<Value = Source> {
    (
        (
            strings(PRINCIPALS),
            strings(PRINCIPALS),
            strings(REQUEST_PRINCIPALS),
            strings(REQUEST_PRINCIPALS),
        ),
        (strings(NAMESPACES), strings(NAMESPACES), strings(ACCOUNTS), strings(ACCOUNTS)),
        (strings(DOMAINS), strings(DOMAINS)),
        (blocks(), blocks(), blocks(), blocks()),
    )
        .prop_map(|(p, n, d, i)| Source {
            principals: p.0,
            not_principals: p.1,
            request_principals: p.2,
            not_request_principals: p.3,
            namespaces: n.0,
            not_namespaces: n.1,
            service_accounts: n.2,
            not_service_accounts: n.3,
            trust_domains: d.0,
            not_trust_domains: d.1,
            ip_blocks: i.0,
            not_ip_blocks: i.1,
            remote_ip_blocks: i.2,
            not_remote_ip_blocks: i.3,
            ..Source::default()
        })
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    (
        (strings(HOSTS), strings(HOSTS), strings(METHODS), strings(METHODS)),
        (vec(select(PATHS).prop_map(|p| Located::from(p.to_owned())), 0..3), strings(PATHS)),
        (list(&[80u16, 8080]), list(&[80u16, 8080])),
    )
        .prop_map(|(h, p, ports)| Operation {
            hosts: h.0,
            not_hosts: h.1,
            methods: h.2,
            not_methods: h.3,
            paths: p.0,
            not_paths: p.1,
            ports: ports.0,
            not_ports: ports.1,
            ..Operation::default()
        })
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    let key = select(vec![
        ConditionKey::RequestHeader("x-a".into()),
        ConditionKey::RequestHeader(":path".into()),
        ConditionKey::RequestHeader("accept".into()),
        ConditionKey::SourceIp,
        ConditionKey::RemoteIp,
        ConditionKey::SourceNamespace,
        ConditionKey::SourceServiceAccount,
        ConditionKey::SourcePrincipal,
        ConditionKey::SourceTrustDomain,
        ConditionKey::RequestPrincipal,
        ConditionKey::RequestAudiences,
        ConditionKey::RequestPresenter,
        ConditionKey::RequestClaims(vec!["c".into()]),
        ConditionKey::RequestClaims(vec!["c".into(), "d".into()]),
        ConditionKey::DestinationIp,
        ConditionKey::DestinationPort,
        ConditionKey::ConnectionSni,
        ConditionKey::EnvoyFilterMetadata { filter: "f".into(), key: "k".into() },
    ]);
    key.prop_flat_map(|key| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys take any pattern")]
        let values = || match key {
            ConditionKey::SourceIp | ConditionKey::RemoteIp | ConditionKey::DestinationIp => {
                blocks().prop_map(ConditionValues::IpBlocks).boxed()
            }
            ConditionKey::DestinationPort => {
                list(&[80u16, 8080]).prop_map(ConditionValues::Ports).boxed()
            }
            ConditionKey::SourceNamespace => {
                strings(NAMESPACES).prop_map(ConditionValues::Patterns).boxed()
            }
            ConditionKey::SourceServiceAccount => {
                strings(ACCOUNTS).prop_map(ConditionValues::Patterns).boxed()
            }
            ConditionKey::SourcePrincipal => {
                strings(PRINCIPALS).prop_map(ConditionValues::Patterns).boxed()
            }
            ConditionKey::SourceTrustDomain => {
                strings(DOMAINS).prop_map(ConditionValues::Patterns).boxed()
            }
            ConditionKey::RequestPrincipal => {
                strings(REQUEST_PRINCIPALS).prop_map(ConditionValues::Patterns).boxed()
            }
            _ => strings(VALUES).prop_map(ConditionValues::Patterns).boxed(),
        };
        let (key, values, not_values) = (Just(key.clone()), values(), values());
        (key, values, not_values)
    })
    .prop_map(|(key, values, not_values)| Condition {
        key,
        values,
        not_values,
        position: Default::default(),
    })
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    (vec(source(), 0..3), vec(operation(), 0..3), vec(condition(), 0..2))
        .prop_map(|(from, to, when)| Rule { from, to, when, position: Default::default() })
}

/// Some select the workload, and so are in a layer of their own.
fn attachment(name: &str) -> Attachment {
    let selector = (name == "q").then(|| [("app".to_owned(), "a".to_owned())].into());
    Attachment { selector, ..Attachment::default() }
}

pub(crate) fn policy() -> impl Strategy<Value = AuthorizationPolicy> {
    let action = select(vec![
        Action::Allow,
        Action::Allow,
        Action::Deny,
        Action::Audit,
        Action::Custom { provider: "p".into() },
        Action::Custom { provider: "o".into() },
    ]);
    let place = (select(&["istio-system", "foo"][..]), select(&["p", "q", "r"][..]));
    (place, action, any::<bool>(), vec(rule(), 0..4)).prop_map(
        |((namespace, name), action, dry_run, rules)| AuthorizationPolicy {
            metadata: Metadata {
                namespace: namespace.into(),
                name: name.into(),
                ..Metadata::default()
            },
            attachment: attachment(name),
            action,
            rules,
            dry_run,
            deny_response: None,
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => select(VALUES).prop_map(|s| Value::String(s.to_owned())),
        1 => Just(Value::Number(5.0)),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            (select(&["c", "d", "k"][..]), inner)
                .prop_map(|(name, v)| Value::Object(vec![(name.to_owned(), v)])),
        ]
    })
}

pub(crate) fn claims() -> impl Strategy<Value = Option<Value>> {
    let text = |values: &'static [&'static str]| {
        proptest::option::of(select(values).prop_map(|s| Value::String(s.to_owned())))
    };
    let members = (
        text(&["i", "xi", ""]),
        text(&["s", "*", "ss", ""]),
        proptest::option::of(value()),
        text(VALUES),
    );
    proptest::option::of(members.prop_map(|(iss, sub, c, aud)| {
        let all = [("iss", iss), ("sub", sub), ("c", c), ("aud", aud)];
        Value::Object(all.into_iter().filter_map(|(n, v)| Some((n.to_owned(), v?))).collect())
    }))
}

pub(crate) fn attributes() -> impl Strategy<Value = Attributes<'static>> {
    let http = (
        select(&["GET", "PUT", "get"][..]),
        select(REQUEST_PATHS),
        select(&["h", "h.x", "H.X", ""][..]),
        vec((select(&["x-a", "accept"][..]), select(&["x", "y", "x,y", "", "x\u{fe}"][..])), 0..3),
        any::<bool>(),
    )
        .prop_map(|(method, path, host, lines, joined)| Http {
            method: method.into(),
            path: path.into(),
            host: host.into(),
            scheme: "http".into(),
            headers: Headers::new(
                lines.into_iter().map(|(n, v)| (n.into(), Cow::Borrowed(v.as_bytes()))).collect(),
                joined,
            ),
        });
    let ip = || proptest::option::of(select(IPS).prop_map(|ip| ip.parse::<IpAddr>().unwrap()));
    (
        (ip(), ip(), ip(), proptest::option::of(select(&[80u16, 8080, 1][..]))),
        select(&["", "x", "y.x"][..]),
        vec(select(NAMES), 0..3),
        proptest::option::of(http),
        proptest::option::of(value()),
        [(); 6].map(|()| proptest::bool::weighted(0.2)),
        sent_headers(),
    )
        .prop_map(|(ips, sni, names, http, metadata, missing, sent)| Attributes {
            source_ip: ips.0,
            remote_ip: ips.1,
            destination_ip: ips.2,
            destination_port: ips.3,
            sni: sni.into(),
            peer: Peer { names: names.into_iter().map(Cow::Borrowed).collect() },
            http,
            filter_metadata: metadata.into_iter().map(|v| ("f".into(), v)).collect(),
            exchange: crate::model::Exchange::default(),
            missing: Missing {
                peer_certificate: missing[0],
                tls_session: missing[1],
                client_address: missing[2],
                source_address: missing[3],
                destination: missing[4],
                metadata: missing[5],
                headers: sent,
            },
        })
}

/// Mostly all.
pub(crate) fn sent_headers() -> impl Strategy<Value = SentHeaders> {
    use SentHeaders as S;
    prop_oneof![
        8 => Just(S::All),
        1 => select(&[S::ThroughEnvoy, S::ThroughProxy, S::Some][..]),
    ]
}

pub(crate) fn plan(policies: Vec<AuthorizationPolicy>) -> Arc<WorkloadPlan> {
    let settings = Settings {
        mesh: Mesh {
            trust_domain: "td".into(),
            trust_domain_aliases: vec!["old-td".into()],
            ..Mesh::default()
        },
        workloads: vec![Workload {
            namespace: "foo".into(),
            labels: [("app".to_owned(), "a".to_owned())].into(),
            ..Workload::default()
        }],
    };
    let resources: Vec<_> =
        policies.into_iter().map(|p| Arc::new(Resource::AuthorizationPolicy(p.into()))).collect();
    compile(1, &resources, &[], &settings).workloads.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn plan_equals_reference(
        policies in vec(policy(), 0..5),
        attributes in attributes(),
        claims in claims(),
    ) {
        let plan = plan(policies);
        let identity = Identity { claims: claims.as_ref() };
        let verdict = decide(&plan, &attributes, &identity);
        prop_assert_eq!(verdict, reference::decide(&plan, &attributes, &identity));
        let asked: Vec<_> = custom(&plan, &attributes).map(|(name, rule)| (name.clone(), rule)).collect();
            prop_assert_eq!(asked, reference::custom(&plan, &attributes, false));
            let asked: Vec<_> =
                shadow_custom(&plan, &attributes).map(|(name, rule)| (name.clone(), rule)).collect();
            prop_assert_eq!(asked, reference::custom(&plan, &attributes, true));
        let audited: Vec<_> = super::audited_by(&plan, &attributes, &identity).collect();
        prop_assert_eq!(audited.first().copied(), verdict.audited_by);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        policies in vec(policy(), 0..5).prop_shuffle(),
        attributes in attributes(),
    ) {
        // Names make the order; equal ones would be one resource.
        let mut seen = std::collections::BTreeSet::new();
        let policies: Vec<_> = policies
            .into_iter()
            .filter(|p| seen.insert((p.metadata.namespace.clone(), p.metadata.name.clone())))
            .collect();
        let backwards: Vec<_> = policies.iter().rev().cloned().collect();
        let identity = Identity::default();
        prop_assert_eq!(
            decide(&plan(policies), &attributes, &identity),
            decide(&plan(backwards), &attributes, &identity)
        );
    }
}

#[test]
fn rules_really_match_and_miss() {
    // Guards the generators above: if every case ended alike, the law would say nothing.
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut reasons = std::collections::BTreeMap::<&str, u32>::new();
    for _ in 0..2_000 {
        let policies = vec(policy(), 0..5).new_tree(&mut runner).unwrap().current();
        let attributes = attributes().new_tree(&mut runner).unwrap().current();
        let plan = plan(policies);
        let reason = before_tokens(&plan, &attributes)
            .unwrap_or_else(|| decide(&plan, &attributes, &Identity::default()).reason);
        *reasons.entry(reason.as_str()).or_default() += 1;
        assert_ne!(reason, Reason::MalformedRequest);
    }
    for label in
        ["allow_rule", "deny_rule", "no_allow_rule", "no_allow_policy", "custom_provider_undefined"]
    {
        assert!(reasons.get(label).is_some_and(|n| *n > 100), "{label} is rare: {reasons:?}");
    }
}
