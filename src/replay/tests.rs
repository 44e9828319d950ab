use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::authn::Authentication as Authenticated;
use crate::authn::clock::Clock;
use crate::compile::{Settings, compile};
use crate::custom::Standing;
use crate::gate::{self, RecordedPassage, RecordedTokens};
use crate::manifest;
use crate::model::{
    Attributes, Headers, Http, Mesh, Missing, Outcome, Peer, Resource, SentHeaders, Value, Verdict,
    Workload,
};
use crate::plan::WorkloadPlan;
use crate::telemetry::decision_log::{
    Decision, DecisionLog, Destination, Redaction, SampleRates, Settings as LogSettings, Sink,
};
use crate::telemetry::metrics::Metrics;

/// A log whose lines come back.
struct Loopback {
    log: DecisionLog,
    lines: Mutex<Receiver<Vec<u8>>>,
}

#[derive(Debug)]
struct ToChannel(Sender<Vec<u8>>);

impl Sink for ToChannel {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        for line in lines {
            self.0.send(line.clone()).unwrap();
        }
        Ok(())
    }
}

impl Loopback {
    fn new() -> Self {
        let (to, lines) = channel();
        let settings = LogSettings {
            rates: SampleRates::default(),
            redaction: Redaction::default(),
            buffer: 1 << 20,
        };
        let metrics = Metrics::new("0.0.0").decision_log();
        let to = Destination::Lines(Box::new(ToChannel(to)));
        let (log, _) = DecisionLog::open(settings, to, Clock::system(), metrics).unwrap();
        Self { log, lines: Mutex::new(lines) }
    }

    fn line(&self, decision: &Decision<'_>) -> Vec<u8> {
        self.log.log(self.log.draft(decision).unwrap(), Duration::from_micros(7));
        self.lines.lock().unwrap().recv().unwrap()
    }
}

fn workload() -> Workload {
    Workload {
        namespace: "shop".into(),
        labels: [("app".into(), "web".into())].into(),
        ..Workload::default()
    }
}

fn resources(text: &str) -> Vec<Arc<Resource>> {
    let decoded = manifest::decode(text, None, &manifest::Options::default());
    assert!(!decoded.has_errors(), "{:?}\n{text}", decoded.diagnostics);
    decoded.accepted().cloned().map(Arc::new).collect()
}

fn plan(resources: &[Arc<Resource>]) -> Arc<WorkloadPlan> {
    let settings = Settings { mesh: Mesh::default(), workloads: vec![workload()] };
    compile(1, resources, &[], &settings).workloads[0].clone()
}

/// A request, all of it.
#[derive(Debug, Clone)]
struct Request {
    method: Option<&'static str>,
    path: &'static str,
    host: &'static str,
    headers: Vec<(&'static str, &'static [u8])>,
    joined: bool,
    names: Vec<&'static str>,
    ip: Option<&'static str>,
    port: Option<u16>,
    sni: &'static str,
    metadata: Option<Value>,
    claims: Option<Value>,
    missing: Missing,
}

impl Request {
    fn attributes(&self) -> Attributes<'_> {
        let ip = self.ip.map(|ip| ip.parse().unwrap());
        let lines = self.headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Attributes {
            source_ip: ip,
            remote_ip: ip,
            destination_ip: ip,
            destination_port: self.port,
            sni: self.sni.into(),
            peer: Peer { names: self.names.iter().map(|name| (*name).into()).collect() },
            http: self.method.map(|method| Http {
                method: method.into(),
                path: self.path.into(),
                host: self.host.into(),
                scheme: "http".into(),
                headers: Headers::new(lines.collect(), self.joined),
            }),
            filter_metadata: self
                .metadata
                .iter()
                .map(|v| ("envoy.filters.f".into(), v.clone()))
                .collect(),
            exchange: crate::model::Exchange::default(),
            missing: self.missing,
        }
    }

    /// What the policies say, and what is logged of that.
    fn decided(&self, plan: &WorkloadPlan, loopback: &Loopback) -> (Verdict, Vec<u8>) {
        let mut attributes = self.attributes();
        let forgotten = gate::forgets_peer(plan, &attributes)
            .then(|| (attributes.peer.clone(), attributes.missing));
        let verdict = self.verdict(plan, &mut attributes);
        let claims = self.seen_claims(plan).map(|claims| Arc::new(claims.clone()));
        let authentication = Authenticated { claims, ..Authenticated::default() };
        let decision = Decision {
            verdict,
            plan: Some(plan),
            attributes: Some(&attributes),
            forgotten: forgotten.as_ref(),
            authentication: Decision::reached_tokens(verdict.reason).then_some(&authentication),
            ..Decision::undecided(verdict.reason, 1)
        };
        (verdict, loopback.line(&decision))
    }

    /// Without token rules nobody looks for tokens.
    fn seen_claims(&self, plan: &WorkloadPlan) -> Option<&Value> {
        self.claims.as_ref().filter(|_| self.method.is_some() && !plan.jwt.rules.is_empty())
    }

    fn verdict(&self, plan: &WorkloadPlan, attributes: &mut Attributes<'_>) -> Verdict {
        let tokens = match self.seen_claims(plan) {
            Some(claims) => RecordedTokens::Verified(claims),
            None => RecordedTokens::None,
        };
        match gate::pass_recorded(plan, attributes, tokens, Standing::default()) {
            RecordedPassage::Decided(verdict) => verdict,
            other @ (RecordedPassage::TokenRefused | RecordedPassage::NotAsked(_)) => {
                panic!("{other:?}")
            }
        }
    }
}

fn one<T: Clone + std::fmt::Debug + 'static>(of: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(of)
}

fn request() -> impl Strategy<Value = Request> {
    const LINES: &[(&str, &[u8])] = &[
        ("x-a", b"1"),
        ("x-a", b"2"),
        ("x-a", b"1,2"),
        ("x-a", b"\xff"),
        ("x-b", b"1"),
        ("cookie", b"1"),
        ("x-request-id", b"7"),
    ];
    let claims = one(&["1", "2", "*"]).prop_flat_map(|sub| {
        let leaf = |text: &str| Value::String(text.to_owned());
        let one = prop::sample::select(vec![
            Value::Null,
            leaf("1"),
            leaf("2"),
            Value::Number(1.5),
            Value::List(vec![leaf("1"), Value::Bool(true), leaf("2")]),
            Value::Object(vec![("p".into(), leaf("1"))]),
            Value::Object(vec![
                ("q".into(), leaf("2")),
                ("p".into(), Value::List(vec![leaf("2")])),
            ]),
        ]);
        prop::collection::btree_map(prop::sample::select(vec!["g", "o", "aud"]), one, 0..3)
            .prop_map(move |others| {
                let own = [("iss".to_owned(), leaf("i")), ("sub".to_owned(), leaf(sub))];
                let others = others.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(own.into_iter().chain(others).collect())
            })
    });
    let metadata = prop::sample::select(vec![
        None,
        Some(Value::Object(vec![])),
        Some(Value::Object(vec![("k".into(), Value::String("1".into()))])),
        Some(Value::Object(vec![("k".into(), Value::List(vec![Value::String("1".into())]))])),
    ]);
    // Not `Some`: by it a CUSTOM rule may match for a header that token rules set, and a record does
    // not tell what that was before them.
    let sent = prop::sample::select(vec![
        SentHeaders::All,
        SentHeaders::ThroughEnvoy,
        SentHeaders::ThroughProxy,
    ]);
    let missing = ([(); 6].map(|()| any::<bool>()), sent).prop_map(|(missing, headers)| Missing {
        peer_certificate: missing[0],
        tls_session: missing[1],
        client_address: missing[2],
        source_address: missing[3],
        destination: missing[4],
        metadata: missing[5],
        headers,
    });
    let missing = prop_oneof![3 => Just(Missing::default()), 1 => missing];
    let http = (
        one(&[Some("GET"), Some("GET"), Some("PUT"), None]),
        one(&["/a", "/a/b", "/b", "/a?1", "/é\"\\\u{1}"]),
        one(&["h", "h:80", "[::1]:80", "h:080", "::1", ""]),
        prop::collection::vec(one(LINES), 0..4),
        prop_oneof![3 => Just(false), 1 => Just(true)],
    );
    let connection = (
        prop::collection::vec(
            one(&[
                "spiffe://cluster.local/ns/a/sa/x",
                "spiffe://cluster.local/ns/b/sa/y",
                "CN=a,b",
            ]),
            0..2,
        ),
        one(&[None, Some("10.0.0.1"), Some("10.1.0.1"), Some("::1")]),
        one(&[None, Some(80), Some(81)]),
        one(&["", "a", "b"]),
        metadata,
        prop::option::of(claims),
        missing,
    );
    (http, connection).prop_map(
        |(
            (method, path, host, headers, joined),
            (names, ip, port, sni, metadata, claims, missing),
        )| {
            Request {
                method,
                path,
                host,
                headers,
                joined,
                names,
                ip,
                port,
                sni,
                metadata,
                claims,
                missing,
            }
        },
    )
}

fn policies() -> impl Strategy<Value = String> {
    const SOURCES: &[&str] = &[
        "principals: [cluster.local/ns/a/sa/x]",
        "notPrincipals: ['*']",
        "requestPrincipals: ['i/1']",
        "requestPrincipals: ['*']",
        "notRequestPrincipals: ['i/*']",
        "namespaces: [a]",
        "ipBlocks: [10.0.0.0/16]",
        "notRemoteIpBlocks: [10.0.0.0/16]",
    ];
    const OPERATIONS: &[&str] = &[
        "methods: [GET]",
        "notMethods: [GET]",
        "paths: ['/a*']",
        "notPaths: [/b]",
        "hosts: [h, 'h:80']",
        "ports: ['80']",
    ];
    const CONDITIONS: &[&str] = &[
        "key: 'request.headers[x-a]', values: ['1']",
        "key: 'request.headers[x-a]', notValues: ['1']",
        "key: 'request.headers[x-b]', values: ['*']",
        "key: 'request.headers[cookie]', values: ['1']",
        "key: 'request.headers[cookie]', notValues: ['*']",
        "key: 'request.headers[:path]', values: [/a]",
        "key: 'request.auth.claims[g]', values: ['1']",
        "key: 'request.auth.claims[g]', notValues: ['1']",
        "key: 'request.auth.claims[o]', values: ['2']",
        "key: 'request.auth.claims[o][p]', values: ['1']",
        "key: 'request.auth.claims[o][p]', notValues: ['2']",
        "key: request.auth.audiences, values: ['2']",
        "key: connection.sni, values: [a]",
        "key: destination.port, values: ['80']",
        "key: 'experimental.envoy.filters.f[k]', values: ['1']",
        "key: 'experimental.envoy.filters.f[k]', values: ['[1]']",
    ];
    let entries = |of: &'static [&'static str], name: &'static str| {
        prop::collection::vec(one(of), 0..2).prop_map(move |list| {
            let list: Vec<_> = list.iter().map(|text| format!("{{{name}: {{{text}}}}}")).collect();
            list.join(", ")
        })
    };
    let conditions = prop::collection::vec(one(CONDITIONS), 0..3).prop_map(|list| {
        list.iter().map(|text| format!("{{{text}}}")).collect::<Vec<_>>().join(", ")
    });
    let rule = (entries(SOURCES, "source"), entries(OPERATIONS, "operation"), conditions).prop_map(
        |(from, to, when)| {
            let part = |name: &str, list: String| {
                if list.is_empty() { String::new() } else { format!("{name}: [{list}], ") }
            };
            format!("{{{}{}{}}}", part("from", from), part("to", to), part("when", when))
        },
    );
    const CUSTOM_RULES: &[&str] = &[
        "{to: [{operation: {methods: [PUT], hosts: [h]}}]}",
        "{when: [{key: 'request.headers[x-a]', values: ['2']}]}",
        "{when: [{key: 'request.headers[x-b]', values: ['*']}]}",
        "{when: [{key: 'request.headers[cookie]', values: ['1']}]}",
    ];
    const ACTIONS: &[&str] = &[
        "action: ALLOW",
        "action: ALLOW",
        "action: DENY",
        "action: AUDIT",
        "action: CUSTOM, provider: {name: p}",
    ];
    let policy = (one(ACTIONS), any::<u8>(), prop::collection::vec(rule, 1..3));
    let tokens =
        one(&["", "{issuer: i}", "{issuer: i}", "{issuer: i, outputPayloadToHeader: x-b}"]);
    let peer = one(&["PERMISSIVE", "PERMISSIVE", "STRICT", "DISABLE"]);
    (prop::collection::vec(policy, 0..4), tokens, peer).prop_map(|(policies, tokens, peer)| {
        let mut text = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{name: p, namespace: shop}}\nspec: {{mtls: {{mode: {peer}}}}}\n"
        );
        if !tokens.is_empty() {
            text += &format!(
                "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
                 metadata: {{name: t, namespace: shop}}\nspec: {{jwtRules: [{tokens}]}}\n"
            );
        }
        for (number, (action, dry, mut rules)) in policies.into_iter().enumerate() {
            if action.contains("CUSTOM") {
                // Istio admits no identities there.
                rules = vec![CUSTOM_RULES[usize::from(dry) % CUSTOM_RULES.len()].to_owned()];
            }
            let can_be_dry = action.ends_with("ALLOW") || action.ends_with("DENY");
            let dry = if can_be_dry && dry < 40 {
                ", annotations: {istio.io/dry-run: 'true'}"
            } else {
                ""
            };
            text += &format!(
                "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {{name: p{number}, namespace: shop{dry}}}\n\
                 spec: {{{action}, rules: [{}]}}\n",
                rules.join(", ")
            );
        }
        text
    })
}

fn judged(resources: &[Arc<Resource>], line: &[u8]) -> After {
    let mut judge = Judge::new(resources.to_vec(), Mesh::default(), workload());
    let record = Record::read(line).unwrap();
    let (after, plan) = judge.judge(&record).unwrap();
    assert_eq!(plan.workload, workload());
    after
}

#[test]
fn it_says_nothing_that_is_not_so() {
    let loopback = Loopback::new();
    let [told, somehow, untold] = [(); 3].map(|()| Cell::new(0_u32));
    let count = |of: &Cell<u32>| of.set(of.get() + 1);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2_000));
    let law = |(old, new, request): (String, String, Request)| {
        // What tokens change is not known as it was before.
        let changes = old.contains("outputPayloadToHeader") && old.contains("CUSTOM");
        let (old, new) = (resources(&old), resources(&new));
        let (old_plan, new_plan) = (plan(&old), plan(&new));
        let (before, line) = request.decided(&old_plan, &loopback);
        let shown = String::from_utf8_lossy(&line).into_owned();
        let is_hidden = changes || shown.contains("redacted");

        // By the same policies: the same, unless something in the way is hidden.
        match judged(&old, &line) {
            After::Decided(reason) => prop_assert_eq!(reason, before.reason, "{}", &shown),
            After::DecidedSomehow(outcome) => {
                prop_assert!(is_hidden, "{}", &shown);
                prop_assert_eq!(outcome, before.outcome(), "{}", &shown);
            }
            After::CannotTell(_) => prop_assert!(is_hidden, "{}", &shown),
            other @ (After::TokenRefused | After::Unaffected) => {
                prop_assert!(false, "{other:?} {}", &shown);
            }
        }

        // By others: what they say of the request with nothing left out.
        let mut attributes = request.attributes();
        let truth = request.verdict(&new_plan, &mut attributes);
        match judged(&new, &line) {
            After::Decided(reason) => {
                prop_assert_eq!(reason, truth.reason, "{}", &shown);
                count(&told);
            }
            After::DecidedSomehow(outcome) => {
                prop_assert_eq!(outcome, truth.outcome(), "{} {:?}", &shown, truth);
                count(&somehow);
            }
            After::CannotTell(_) => count(&untold),
            other @ (After::TokenRefused | After::Unaffected) => {
                prop_assert!(false, "{other:?} {}", &shown);
            }
        }
        Ok(())
    };
    let inputs = (policies(), policies(), request());
    runner.run(&inputs, law).unwrap_or_else(|error| panic!("{error}"));
    let (told, somehow, untold) = (told.get(), somehow.get(), untold.get());
    assert!(told > untold && untold > 20 && somehow > 20, "{told} {somehow} {untold}");
}

#[rstest]
#[case::nothing("", "ends in the middle at column 0")]
#[case::no_json("{,", "not JSON at column 2")]
#[case::cut("{\"a\":", "ends in the middle at column 5")]
#[case::no_record("{}", "`postern.schema` is missing")]
#[case::other_schema(
    "{\"postern.schema\":\"decision/2\"}",
    "a schema that this version does not know"
)]
#[case::no_ip("{\"client.address\":\"s3cret\"}", "not an IP address at column 26")]
#[case::no_number("{\"server.port\":\"s3cret\"}", "not a whole number")]
#[case::large("{\"server.port\":99999999999}", "the number is too large")]
#[case::no_outcome("{\"postern.outcome\":\"s3cret\"}", "neither `allow` nor `deny`")]
#[case::wrong_type("{\"url.path\":[\"s3cret\"]}", "a value of the wrong type at column")]
#[case::twice("{\"url.path\":\"/\",\"url.path\":\"/\"}", "a field is there twice")]
#[case::header_twice("{\"http.request.header\":{\"a\":[],\"A\":[]}}", "a header is there twice")]
fn what_is_no_record_is_said_without_quoting_it(#[case] line: &str, #[case] expected: &str) {
    let said = Record::read(line.as_bytes()).unwrap_err().to_string();
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("s3cret"));
}

#[test]
fn what_is_not_utf8_is_said() {
    assert_eq!(Record::read(b"\xff").unwrap_err().to_string(), "not UTF-8 text");
}

#[test]
fn workloads_are_those_of_the_records() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                metadata: {name: p, namespace: shop}\n\
                spec: {selector: {matchLabels: {app: web}}, action: DENY, rules: [{}]}\n";
    let mut judge = Judge::new(resources(text), Mesh::default(), workload());
    let mut outcome = |workload: &str| {
        let line = format!(
            "{{\"postern.schema\":\"decision/1\",\"http.request.method\":\"GET\",\"url.path\":\"/\"\
             {workload}}}"
        );
        let record = Record::read(line.as_bytes()).unwrap();
        judge.judge(&record).map(|(after, _)| after.outcome())
    };
    let named = |written: &str| format!(",\"postern.workload\":{written}");
    assert_eq!(outcome(""), Ok(Some(Outcome::Deny)), "the default");
    let web = named("{\"namespace\":\"shop\",\"labels\":{\"app\":\"web\"}}");
    assert_eq!(outcome(&web), Ok(Some(Outcome::Deny)));
    assert_eq!(outcome(&named("{\"namespace\":\"shop\"}")), Ok(Some(Outcome::Allow)));
    assert_eq!(outcome(&named("{\"labels\":{}}")), Err(NoWorkload));
    assert_eq!(outcome(&named("null")), Ok(Some(Outcome::Deny)), "as if it were not there");
}
