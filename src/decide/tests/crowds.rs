//! Many rules that share what they ask for, so that the index has nodes in nodes, lists and sets.
//!
//! The law is that of the parent: the plan and the policies as written never disagree.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::{audited_by, custom, decide, reference, shadow_custom};
use super::{plan, sent_headers};
use crate::model::{
    Action, Attributes, AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Headers,
    Http, Identity, Located, Metadata, Missing, Operation, Peer, Rule, RuleId, Source, Value,
};
use crate::plan::{DecisionTree, Trees, WorkloadPlan};

type List<T> = Vec<Located<T>>;

/// One entry, seldom a few, seldom more than are tried one by one.
fn entries<T: std::fmt::Debug + 'static>(
    one: impl Strategy<Value = T> + Clone + 'static,
) -> BoxedStrategy<List<T>> {
    let one = one.prop_map(Located::from);
    prop_oneof![
        90 => vec(one.clone(), 1),
        9 => vec(one.clone(), 2..4),
        1 => vec(one, 17..30),
    ]
    .boxed()
}

fn maybe<T: std::fmt::Debug + 'static>(
    percent: u32,
    list: impl Strategy<Value = List<T>> + 'static,
) -> BoxedStrategy<List<T>> {
    (0u32..100, list).prop_map(move |(n, list)| if n < percent { list } else { Vec::new() }).boxed()
}

/// Mostly exact, else prefix or suffix of the same few texts.
fn starred(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    (select(texts), 0u8..10).prop_map(|(text, star)| match star {
        0 => format!("*{}", text.trim_start_matches('/')),
        1 => format!("{text}*"),
        _ => text.to_owned(),
    })
}

fn plain(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(texts).prop_map(str::to_owned)
}

const PATHS: &[&str] = &["/a", "/a/a", "/ab", "/b/a"];
const TEMPLATES: &[&str] = &["/{*}", "/a/{**}", "/{**}/b", "/{*}/ab", "/aa/{*}", "*"];
const REQUEST_PATHS: &[&str] =
    &["/a", "/b", "/a/a", "/a/b", "/ab", "/b/a", "/ba", "/aa", "/a//b", "/", "/*"];
const PRINCIPALS: &[&str] = &["td/ns/a/sa/a", "td/ns/a/sa/b"];
const NAMES: &[&str] = &[
    "spiffe://td/ns/a/sa/a",
    "spiffe://td/ns/a/sa/b",
    "spiffe://td/ns/ab/sa/b",
    "spiffe://td/ns/a/x/sa/a",
    "spiffe://td/ns/a/sa/ab",
    "a",
];
const TEXTS: &[&str] = &["a", "b", "ab", "ba"];
const LINES: &[&str] = &["a", "b", "ab", "ba", "aa", "bb", "a,b", "a!"];
const HOSTS: &[&str] = &["a.x", "B.x", "ab.X"];
const REQUEST_HOSTS: &[&str] = &["a.x", "b.X", "B.x", "AB.x", "a.x:80", "x"];

fn path() -> impl Strategy<Value = String> + Clone {
    prop_oneof![9 => starred(PATHS), 1 => plain(TEMPLATES)]
}

/// Blocks around one address and its neighbours, one in the other.
fn block() -> impl Strategy<Value = ipnet::IpNet> + Clone {
    (address(), 0u8..=32).prop_map(|(ip, bits)| ipnet::IpNet::new(ip.into(), bits).unwrap()).boxed()
}

fn address() -> impl Strategy<Value = [u8; 4]> + Clone {
    select(&[[10, 1, 2, 3], [10, 1, 2, 2], [10, 1, 130, 3], [10, 200, 2, 3], [11, 1, 2, 3]][..])
}

/// How many of a hundred rules of a policy ask for what.
#[derive(Debug, Clone, Copy)]
struct Likely {
    principal: u32,
    /// Namespace, account or domain of the peer.
    peer: u32,
    block: u32,
    path: u32,
    method: u32,
    host: u32,
    value: u32,
    /// How many of those values are not of a header.
    elsewhere: u32,
    /// All else.
    other: u32,
    /// At most so many sources and operations.
    alternatives: usize,
}

const NOTHING: Likely = Likely {
    principal: 0,
    peer: 0,
    block: 0,
    path: 0,
    method: 0,
    host: 0,
    value: 0,
    elsewhere: 0,
    other: 0,
    alternatives: 1,
};

/// Of the first kinds, all rules ask for the same: nodes in nodes are filled. Others have one thing
/// alone to be found by.
const KINDS: &[Likely] = &[
    Likely { principal: 100, path: 100, value: 100, ..NOTHING },
    Likely { block: 100, path: 100, method: 100, ..NOTHING },
    Likely { principal: 100, path: 90, block: 50, method: 50, other: 1, ..NOTHING },
    Likely { path: 100, value: 50, alternatives: 2, ..NOTHING },
    Likely { host: 100, method: 30, ..NOTHING },
    Likely { peer: 60, method: 30, ..NOTHING },
    Likely { value: 100, elsewhere: 100, method: 30, ..NOTHING },
    Likely {
        principal: 50,
        block: 30,
        path: 60,
        method: 30,
        value: 50,
        elsewhere: 30,
        other: 10,
        alternatives: 2,
        ..NOTHING
    },
];

fn source(likely: Likely) -> impl Strategy<Value = Source> {
    let Likely { principal, peer, block: of_block, other, .. } = likely;
    let peer = peer.max(other);
    (
        maybe(principal, entries(starred(PRINCIPALS))),
        maybe(other, entries(starred(PRINCIPALS))),
        maybe(peer, entries(starred(&["a", "ab", "b"]))),
        maybe(peer, entries(plain(&["a/a", "a/b", "ab/b"]))),
        maybe(peer, entries(plain(&["td", "t*", "*d", "x", "*"]))),
        (maybe(of_block, entries(block())), maybe(other, entries(block()))),
        maybe(other, entries(plain(&["i/a", "i/b", "i/*", "*/b", "j*"]))),
    )
        .prop_map(
            |(principals, not_principals, namespaces, accounts, domains, blocks, tokens)| Source {
                principals,
                not_principals,
                namespaces,
                service_accounts: accounts,
                trust_domains: domains,
                ip_blocks: blocks.0,
                remote_ip_blocks: blocks.1,
                request_principals: tokens,
                ..Source::default()
            },
        )
}

fn operation(likely: Likely) -> impl Strategy<Value = Operation> {
    let port = select(&[80u16, 8080][..]);
    let method = select(&["GET", "PUT", "P*", "*T"][..]).prop_map(str::to_owned);
    (
        maybe(likely.path, entries(path())),
        maybe(likely.other, entries(path())),
        maybe(likely.method, entries(method)),
        maybe(likely.host.max(likely.other), entries(starred(HOSTS))),
        maybe(likely.other, entries(port)),
    )
        .prop_map(|(paths, not_paths, methods, hosts, ports)| Operation {
            paths,
            not_paths,
            methods,
            hosts,
            ports,
            ..Operation::default()
        })
}

fn condition(Likely { elsewhere, other, .. }: Likely) -> impl Strategy<Value = Condition> {
    let header = Just(ConditionKey::RequestHeader("x-a".into()));
    let all = select(vec![
        ConditionKey::RequestClaims(vec!["c".into()]),
        ConditionKey::ConnectionSni,
        ConditionKey::EnvoyFilterMetadata { filter: "f".into(), key: "k".into() },
    ]);
    let key = (0u32..100, header, all)
        .prop_map(move |(n, header, key)| if n < elsewhere { key } else { header });
    (key, entries(starred(TEXTS)), maybe(other, entries(starred(TEXTS)))).prop_map(
        |(key, values, not_values)| Condition {
            key,
            values: ConditionValues::Patterns(values),
            not_values: ConditionValues::Patterns(not_values),
            position: Default::default(),
        },
    )
}

fn rule(likely: Likely) -> impl Strategy<Value = Rule> {
    (
        vec(source(likely), 1..=likely.alternatives),
        vec(operation(likely), 1..=likely.alternatives),
        (0u32..100, condition(likely)),
    )
        .prop_map(move |(from, to, (n, condition))| Rule {
            from,
            to,
            when: (n < likely.value).then_some(condition).into_iter().collect(),
            position: Default::default(),
        })
}

fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    let action = select(vec![
        Action::Allow,
        Action::Deny,
        Action::Audit,
        Action::Custom { provider: "p".into() },
        Action::Custom { provider: "o".into() },
    ]);
    let rules = select(KINDS).prop_flat_map(|likely| vec(rule(likely), 1..150));
    let policy =
        (action, any::<bool>(), rules).prop_map(|(action, dry_run, rules)| AuthorizationPolicy {
            metadata: Metadata { namespace: "foo".into(), ..Metadata::default() },
            attachment: Default::default(),
            action,
            rules,
            dry_run,
            deny_response: None,
        });
    (vec(policy, 1..5), any::<bool>()).prop_map(|(mut policies, alike)| {
        if let [first, others @ ..] = &mut *policies
            && alike
        {
            // One crowd of all of them.
            others.iter_mut().for_each(|p| p.action.clone_from(&first.action));
            others.iter_mut().for_each(|p| p.dry_run = first.dry_run);
        }
        for (policy, name) in policies.iter_mut().zip(["p", "q", "r", "s"]) {
            policy.metadata.name = name.into();
            if !alike {
                policy.attachment = super::attachment(name);
            }
        }
        policies
    })
}

fn attributes() -> impl Strategy<Value = Attributes<'static>> {
    let http = (
        select(&["GET", "PUT", "PATCH"][..]),
        select(REQUEST_PATHS),
        select(REQUEST_HOSTS),
        vec(select(LINES), 0..3),
        any::<bool>(),
    )
        .prop_map(|(method, path, host, lines, joined)| Http {
            method: method.into(),
            path: path.into(),
            host: host.into(),
            scheme: "http".into(),
            headers: Headers::new(
                lines.into_iter().map(|v| ("x-a".into(), v.as_bytes().into())).collect(),
                joined,
            ),
        });
    (
        (address(), address(), select(&[80u16, 8080][..])),
        (select(&["a", "b", "ab", "AB"][..]), weighted(0.5, claim())),
        vec(select(NAMES), 0..3),
        weighted(0.9, http),
        [(); 6].map(|()| proptest::bool::weighted(0.1)),
        sent_headers(),
    )
        .prop_map(|((source, remote, port), (sni, k), names, http, missing, sent)| {
            Attributes {
                source_ip: Some(source.into()),
                remote_ip: Some(remote.into()),
                destination_ip: None,
                destination_port: Some(port),
                sni: sni.into(),
                peer: Peer { names: names.into_iter().map(Into::into).collect() },
                http,
                filter_metadata: k
                    .map(|k| ("f".into(), Value::Object(vec![("k".to_owned(), k)])))
                    .into_iter()
                    .collect(),
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
            }
        })
}

fn claim() -> impl Strategy<Value = Value> {
    let text = || plain(TEXTS).prop_map(Value::String);
    prop_oneof![text(), vec(text(), 0..3).prop_map(Value::List)]
}

fn claims() -> impl Strategy<Value = Option<Value>> {
    weighted(
        0.7,
        (plain(&["i", "j"]), plain(&["a", "b"]), claim()).prop_map(|(iss, sub, c)| {
            Value::Object(vec![
                ("iss".to_owned(), Value::String(iss)),
                ("sub".to_owned(), Value::String(sub)),
                ("c".to_owned(), c),
            ])
        }),
    )
}

/// All AUDIT rules that the twin sees matching.
fn audited(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Vec<RuleId> {
    let is_audit =
        |id| plan.policy(id).is_some_and(|p| matches!(p.action, Action::Audit) && !p.dry_run);
    let traces = reference::traces(plan, attributes, identity);
    traces.into_iter().filter(|t| t.matches && is_audit(t.id)).map(|t| t.id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_crowded_plan_equals_the_reference(
        policies in policies(),
        requests in vec((attributes(), claims()), 6),
    ) {
        let plan = plan(policies);
        for (attributes, claims) in &requests {
            let identity = Identity { claims: claims.as_ref() };
            let verdict = decide(&plan, attributes, &identity);
            prop_assert_eq!(verdict, reference::decide(&plan, attributes, &identity));
            let asked: Vec<_> = custom(&plan, attributes).map(|(name, rule)| (name.clone(), rule)).collect();
            prop_assert_eq!(asked, reference::custom(&plan, attributes, false));
            let asked: Vec<_> =
                shadow_custom(&plan, attributes).map(|(name, rule)| (name.clone(), rule)).collect();
            prop_assert_eq!(asked, reference::custom(&plan, attributes, true));
            let found: Vec<_> = audited_by(&plan, attributes, &identity).collect();
            prop_assert_eq!(found, audited(&plan, attributes, &identity));
        }
    }
}

#[test]
fn crowds_really_fill_the_index() {
    // Guards the generators above, as in the parent.
    let mut runner = TestRunner::deterministic();
    let (mut nodes, mut deep, mut sets, mut late, mut missed) = (0, 0, 0, 0, 0);
    for _ in 0..200 {
        let plan = plan(policies().new_tree(&mut runner).unwrap().current());
        let trees = plan.trees(true).flat_map(|trees| {
            let Trees { custom, deny, allow, audit, shadow_deny, shadow_allow, .. } = trees;
            let custom = custom.iter().map(|custom| &custom.tree);
            [deny, allow, audit, shadow_deny, shadow_allow].into_iter().chain(custom)
        });
        let trees: Vec<_> = trees.collect();
        let count = |wanted: fn(&DecisionTree) -> bool| trees.iter().filter(|t| wanted(t)).count();
        nodes += count(|tree| tree.index.nodes.len() > 1);
        deep += count(|tree| tree.index.nodes.len() > 4);
        sets += count(|tree| !tree.index.sets.is_empty());
        for attributes in vec(attributes(), 4).new_tree(&mut runner).unwrap().current() {
            let verdict = decide(&plan, &attributes, &Identity::default());
            match verdict.reason.rule() {
                Some(id) => late += usize::from(id.rule > 8),
                None => missed += 1,
            }
        }
    }
    let counts = [nodes, deep, sets, late, missed];
    assert!(counts.iter().all(|n| *n > 2), "{counts:?}");
}
