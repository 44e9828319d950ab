//! The compiled plan and its slow twin agree, whatever the policies and the request.
//!
//! Alphabets are tiny, so that collisions, the interesting part, are common.

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use postern::compile::{Settings, compile};
use postern::decide::{audited_by, custom, decide, reference};
use postern::model::{
    Action, Attachment, Attributes, AuthorizationPolicy, Condition, ConditionKey as Key,
    ConditionValues, Headers, Http, Identity, Located, Mesh, Metadata, Missing, Operation, Peer,
    Resource, Rule, Source, Value, Workload,
};

type U<'a, 'b> = &'b mut Unstructured<'a>;
type Words = &'static [&'static str];

const NAMES: Words = &[
    "*",
    "td/ns/a/sa/b",
    "*/sa/b",
    "td/*",
    "cluster.local/ns/a/sa/b",
    "**",
    "old-td/ns/a/sa/*",
    "a",
    "a*",
    "*b",
    "a/b",
    "b",
    "td",
    "t*",
    "*-td",
    "i/s",
    "*/s",
    "i/*",
    "*i/s",
    "i*",
    "*/*",
];
const TEXTS: Words = &["x", "x*", "*x", "*", "x,y", "[x]", "[x*]", "y", "", "h", "H.x", "*.x"];
const PATTERNS: Words =
    &["/a", "/a/*", "*/b", "*", "/a/{*}", "/{**}/b", "/a/{**}", "/{*}/b", "/ab", "/a/b", "**", "/"];
const METHODS: Words = &["GET", "P*", "*T", "*", "get"];
const BLOCKS: Words =
    &["10.0.0.0/8", "10.1.2.3/32", "10.1.2.3/31", "::/0", "0.0.0.0/0", "2001:db8::/33"];
const PATHS: Words =
    &["/a", "/a/b", "/a/", "/ab?q=/b", "/a//b", "/x/b", "/", "*", "/a/b#/c", "/A", "/a/[", ""];
const PEERS: Words = &[
    "spiffe://td/ns/a/sa/b",
    "spiffe://old-td/ns/a/sa/b",
    "spiffe://td/ns/a/x/sa/b/y",
    "CN=x",
    "spiffe://td/ns/ab/sa/b",
    "a.example.com",
    "spiffe://td",
    "spiffe:///ns/a/sa/b",
    "a\nb",
];
const IPS: Words = &["", "10.1.2.3", "10.1.2.2", "11.0.0.1", "2001:db8::1", "::ffff:10.1.2.3"];

pub(crate) fn run(data: &[u8]) {
    // Input that ends early is no case; the generator itself never fails.
    let _ = case(&mut Unstructured::new(data));
}

fn case(u: U<'_, '_>) -> Result<()> {
    let mut policies = many(u, 4, policy)?;
    let attributes = attributes(u)?;
    let claims = claims(u)?;
    policies.push(crowd(u)?);
    let resources: Vec<_> =
        policies.into_iter().map(|p| Arc::new(Resource::AuthorizationPolicy(p.into()))).collect();
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
    let plan = compile(1, &resources, &[], &settings).workloads.remove(0);
    let identity = Identity { claims: claims.as_ref() };
    let verdict = decide(&plan, &attributes, &identity);
    assert_eq!(verdict, reference::decide(&plan, &attributes, &identity));
    let asked: Vec<_> =
        custom(&plan, &attributes).map(|(name, rule)| (name.clone(), rule)).collect();
    assert_eq!(asked, reference::custom(&plan, &attributes, false));
    let is_audit = |id| plan.policy(id).is_some_and(|p| p.action == Action::Audit && !p.dry_run);
    let traces = reference::traces(&plan, &attributes, &identity);
    let audited = traces.iter().filter(|trace| trace.matches && is_audit(trace.id));
    assert!(audited_by(&plan, &attributes, &identity).eq(audited.map(|trace| trace.id)));
    Ok(())
}

fn many<T>(u: U<'_, '_>, most: u8, one: impl Fn(U<'_, '_>) -> Result<T>) -> Result<Vec<T>> {
    (0..u.int_in_range(0..=most)?).map(|_| one(u)).collect()
}

fn word(u: U<'_, '_>, words: Words) -> Result<&'static str> {
    u.choose(words).copied()
}

/// Mostly absent: a rule of many fields hardly ever matches.
fn some<T>(u: U<'_, '_>, one: impl Fn(U<'_, '_>) -> Result<T>) -> Result<Vec<Located<T>>> {
    if u.ratio(4, 5)? { Ok(Vec::new()) } else { many(u, 2, |u| one(u).map(Located::from)) }
}

fn list(u: U<'_, '_>, words: Words) -> Result<Vec<Located<String>>> {
    some(u, |u| word(u, words).map(str::to_owned))
}

fn blocks(u: U<'_, '_>) -> Result<Vec<Located<ipnet::IpNet>>> {
    some(u, |u| Ok(word(u, BLOCKS)?.parse().expect("a block")))
}

fn port(u: U<'_, '_>) -> Result<u16> {
    u.choose(&[80, 8080, 1]).copied()
}

fn policy(u: U<'_, '_>) -> Result<AuthorizationPolicy> {
    let actions =
        [Action::Allow, Action::Deny, Action::Audit, Action::Custom { provider: "p".into() }];
    let name = word(u, &["p", "q", "r"])?;
    // Those that select the workload are in a layer of their own.
    let selector = (name == "q").then(|| [("app".to_owned(), "a".to_owned())].into());
    Ok(AuthorizationPolicy {
        metadata: Metadata {
            namespace: word(u, &["foo", "istio-system"])?.into(),
            name: name.into(),
            ..Metadata::default()
        },
        attachment: Attachment { selector, ..Attachment::default() },
        action: u.choose(&actions)?.clone(),
        rules: many(u, 3, rule)?,
        dry_run: u.arbitrary()?,
        deny_response: None,
    })
}

fn rule(u: U<'_, '_>) -> Result<Rule> {
    Ok(Rule {
        from: many(u, 2, source)?,
        to: many(u, 2, operation)?,
        when: many(u, 2, condition)?,
        position: Default::default(),
    })
}

fn source(u: U<'_, '_>) -> Result<Source> {
    Ok(Source {
        principals: list(u, NAMES)?,
        not_principals: list(u, NAMES)?,
        request_principals: list(u, NAMES)?,
        not_request_principals: list(u, NAMES)?,
        namespaces: list(u, NAMES)?,
        not_namespaces: list(u, NAMES)?,
        service_accounts: list(u, NAMES)?,
        not_service_accounts: list(u, NAMES)?,
        trust_domains: list(u, NAMES)?,
        not_trust_domains: list(u, NAMES)?,
        ip_blocks: blocks(u)?,
        not_ip_blocks: blocks(u)?,
        remote_ip_blocks: blocks(u)?,
        not_remote_ip_blocks: blocks(u)?,
        position: Default::default(),
    })
}

fn operation(u: U<'_, '_>) -> Result<Operation> {
    Ok(Operation {
        hosts: list(u, TEXTS)?,
        not_hosts: list(u, TEXTS)?,
        ports: some(u, port)?,
        not_ports: some(u, port)?,
        methods: list(u, METHODS)?,
        not_methods: list(u, METHODS)?,
        paths: many(u, 2, |u| Ok(Located::from(word(u, PATTERNS)?.to_owned())))?,
        not_paths: list(u, PATTERNS)?,
        position: Default::default(),
    })
}

/// Many rules that ask for the same few things: lists, nodes in nodes and sets of the index.
fn crowd(u: U<'_, '_>) -> Result<AuthorizationPolicy> {
    let mut policy = policy(u)?;
    policy.metadata.name = "crowd".into();
    if u.ratio(1, 4)? {
        policy.rules.extend(many(u, 60, crowded_rule)?);
    }
    Ok(policy)
}

fn crowded_rule(u: U<'_, '_>) -> Result<Rule> {
    let header = Condition {
        key: Key::RequestHeader("x-a".into()),
        values: ConditionValues::Patterns(few_or_many(u, TEXTS)?),
        not_values: ConditionValues::Patterns(Vec::new()),
        position: Default::default(),
    };
    let source = Source {
        principals: few_or_many(u, &["td/ns/a/sa/b", "td/ns/ab/sa/b", "td/ns/a/*"])?,
        ip_blocks: blocks(u)?,
        ..Source::default()
    };
    let operation = Operation { paths: few_or_many(u, PATTERNS)?, ..Operation::default() };
    Ok(Rule { from: vec![source], to: vec![operation], when: vec![header], ..Rule::default() })
}

/// Mostly one; as many as make a set from time to time, the last of them drawn.
fn few_or_many(u: U<'_, '_>, words: Words) -> Result<Vec<Located<String>>> {
    let others = if u.ratio(1, 16)? { 20 } else { 0 };
    let others = (0..others).map(|n| format!("{}{n}", words.first().copied().unwrap_or_default()));
    Ok(others.chain([word(u, words)?.to_owned()]).map(Located::from).collect())
}

fn condition(u: U<'_, '_>) -> Result<Condition> {
    let keys = [
        Key::RequestHeader("x-a".into()),
        Key::RequestHeader(":path".into()),
        Key::RequestHeader("accept".into()),
        Key::SourceIp,
        Key::RemoteIp,
        Key::SourceNamespace,
        Key::SourceServiceAccount,
        Key::SourcePrincipal,
        Key::SourceTrustDomain,
        Key::RequestPrincipal,
        Key::RequestAudiences,
        Key::RequestPresenter,
        Key::RequestClaims(vec!["c".into()]),
        Key::RequestClaims(vec!["c".into(), "d".into()]),
        Key::DestinationIp,
        Key::DestinationPort,
        Key::ConnectionSni,
        Key::EnvoyFilterMetadata { filter: "f".into(), key: "k".into() },
    ];
    let key = u.choose(&keys)?.clone();
    let values = |u: U<'_, '_>| {
        Ok(match key {
            Key::SourceIp | Key::RemoteIp | Key::DestinationIp => {
                ConditionValues::IpBlocks(blocks(u)?)
            }
            Key::DestinationPort => ConditionValues::Ports(some(u, port)?),
            Key::RequestHeader(_) => ConditionValues::Patterns(list(u, TEXTS)?),
            _ => {
                let words = if u.arbitrary()? { NAMES } else { TEXTS };
                ConditionValues::Patterns(list(u, words)?)
            }
        })
    };
    let (values, not_values) = (values(u)?, values(u)?);
    Ok(Condition { key, values, not_values, position: Default::default() })
}

fn attributes(u: U<'_, '_>) -> Result<Attributes<'static>> {
    let ip = |u: U<'_, '_>| Ok(word(u, IPS)?.parse().ok());
    let line = |u: U<'_, '_>| {
        let value = word(u, &["x", "y", "x,y", "", "x\u{fe}"])?;
        Ok((word(u, &["x-a", "accept"])?.into(), value.as_bytes().into()))
    };
    let http = |u: U<'_, '_>| {
        Ok(Http {
            method: word(u, &["GET", "PUT", "get"])?.into(),
            path: word(u, PATHS)?.into(),
            host: word(u, &["h", "h.x", "H.X", ""])?.into(),
            scheme: "http".into(),
            headers: Headers::new(many(u, 2, line)?, u.arbitrary()?),
        })
    };
    Ok(Attributes {
        source_ip: ip(u)?,
        remote_ip: ip(u)?,
        destination_ip: ip(u)?,
        destination_port: if u.arbitrary()? { Some(port(u)?) } else { None },
        sni: word(u, &["", "x", "y.x"])?.into(),
        peer: Peer { names: many(u, 2, |u| Ok(word(u, PEERS)?.into()))? },
        http: if u.ratio(4, 5)? { Some(http(u)?) } else { None },
        filter_metadata: many(u, 1, |u| Ok(("f".into(), value(u, 2)?)))?,
        exchange: postern::model::Exchange::default(),
        missing: Missing {
            peer_certificate: u.ratio(1, 5)?,
            tls_session: u.ratio(1, 5)?,
            client_address: u.ratio(1, 5)?,
            ..Missing::default()
        },
    })
}

fn value(u: U<'_, '_>, depth: u8) -> Result<Value> {
    Ok(match u.int_in_range(0..=if depth == 0 { 2 } else { 4 })? {
        0 => Value::String(word(u, TEXTS)?.to_owned()),
        1 => Value::Number(5.0),
        2 => Value::Null,
        3 => Value::List(many(u, 2, |u| value(u, depth - 1))?),
        _ => Value::Object(vec![(word(u, &["c", "d", "k"])?.to_owned(), value(u, depth - 1)?)]),
    })
}

fn claims(u: U<'_, '_>) -> Result<Option<Value>> {
    if u.arbitrary()? {
        return Ok(None);
    }
    let mut members = Vec::new();
    for (name, words) in [
        ("iss", &["i", "xi", ""][..]),
        ("sub", &["s", "*", "ss", ""]),
        ("aud", TEXTS),
        ("azp", TEXTS),
    ] {
        if u.arbitrary()? {
            members.push((name.to_owned(), Value::String(word(u, words)?.to_owned())));
        }
    }
    if u.arbitrary()? {
        members.push(("c".to_owned(), value(u, 2)?));
    }
    Ok(Some(Value::Object(members)))
}
