use std::borrow::Cow;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use rstest::rstest;
use serde_json::{Value as Json, json};

use super::*;
use crate::authn::Authentication;
use crate::compile::{Settings as PlanSettings, compile};
use crate::manifest;
use crate::model::{
    Attributes, Headers, Http, JwtError, Mesh, Missing, Peer, Reason, Resource, RuleId, Shadow,
    Value, Verdict, Workload,
};
use crate::plan::WorkloadPlan;
use crate::telemetry::metrics::Metrics;

/// Writes a line for each token that it is given.
#[derive(Debug)]
struct Gated {
    may_write: Mutex<Receiver<bool>>,
    lines: Sender<Vec<u8>>,
}

impl Sink for Gated {
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        for line in lines {
            if !self.may_write.lock().unwrap().recv().unwrap() {
                return Err(io::Error::other("full"));
            }
            self.lines.send(line.clone()).unwrap();
        }
        Ok(())
    }
}

struct Opened {
    log: DecisionLog,
    writer: Writer,
    gate: SyncSender<bool>,
    lines: Receiver<Vec<u8>>,
    metrics: Metrics,
}

fn open(settings: Settings) -> Opened {
    let (gate, may_write) = sync_channel(1_000);
    let (to, lines) = channel();
    let metrics = Metrics::new("0.0.0");
    let sink = Gated { may_write: Mutex::new(may_write), lines: to };
    let to = Destination::Lines(Box::new(sink));
    let (log, writer) =
        DecisionLog::open(settings, to, Clock::system(), metrics.decision_log()).unwrap();
    Opened { log, writer, gate, lines, metrics }
}

fn settings(buffer: usize) -> Settings {
    Settings { rates: SampleRates::default(), redaction: Redaction::default(), buffer }
}

impl Opened {
    fn count(&self, result: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let name = format!("postern_decision_log_events_total{{result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    fn say(&self, decision: &Decision<'_>) {
        self.log.log(self.log.draft(decision).unwrap(), Duration::from_micros(3));
    }

    fn event(&self, decision: &Decision<'_>) -> Json {
        self.say(decision);
        self.gate.send(true).unwrap();
        serde_json::from_slice(&self.lines.recv().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_and_counted() {
    let opened = open(settings(1_000));
    let decision = Decision::undecided(Reason::MalformedRequest, 1);
    // None is written before it may be: a handful fills the room.
    for _ in 0..100 {
        opened.say(&decision);
    }
    let dropped = opened.count("dropped");
    assert!((80..100).contains(&dropped), "{dropped}");
    for _ in 0..100 {
        opened.gate.send(true).unwrap();
    }
    let kept = 100 - usize::try_from(dropped).unwrap();
    for _ in 0..kept {
        opened.lines.recv().unwrap();
    }
    let Opened { writer, metrics, .. } = opened;
    assert!(writer.finish(Duration::from_secs(10)).await);
    let written = format!("result=\"written\"}} {kept}\n");
    assert!(metrics.encode().unwrap().contains(&written));
}

#[tokio::test]
async fn a_destination_that_fails_is_tried_again() {
    let opened = open(settings(1 << 20));
    let decision = Decision::undecided(Reason::MalformedRequest, 1);
    opened.say(&decision);
    opened.gate.send(false).unwrap();
    opened.gate.send(true).unwrap();
    // Until the first is lost, the second may be lost with it.
    while opened.count("failed") == 0 {
        tokio::task::yield_now().await;
    }
    opened.say(&decision);
    opened.lines.recv().unwrap();
    let Opened { writer, .. } = opened;
    assert!(writer.finish(Duration::from_secs(10)).await);
}

fn plan(manifest: &str) -> Arc<WorkloadPlan> {
    let decoded = manifest::decode(manifest, None, &manifest::Options::default());
    assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
    let resources: Vec<Arc<Resource>> = decoded.accepted().cloned().map(Arc::new).collect();
    let workload = Workload {
        namespace: "shop".into(),
        labels: [("a".into(), "b".into())].into(),
        name: Some("web-1".into()),
        services: ["web".into()].into(),
        ..Workload::default()
    };
    let settings = PlanSettings { mesh: Mesh::default(), workloads: vec![workload] };
    compile(1, &resources, &[], &settings).workloads[0].clone()
}

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all, namespace: shop}
spec:
  rules:
  - when:
    - {key: "request.headers[x-token]", values: ["*"]}
    - {key: "request.headers[x-payload]", values: ["*"]}
    - {key: "request.headers[x-raw]", values: ["*"]}
    - {key: "request.headers[x-absent]", values: ["*"]}
    - {key: "request.auth.claims[groups]", values: [a]}
    - {key: "request.auth.claims[realm][roles]", values: [a]}
    - {key: "request.auth.claims[gone][deep]", values: [a]}
    - {key: "experimental.envoy.filters.f[k]", values: [a]}
    - {key: "experimental.envoy.filters.f[none]", values: [a]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  jwtRules:
  - {issuer: i, fromHeaders: [{name: x-token}], outputPayloadToHeader: x-payload}
"#;

fn attributes() -> Attributes<'static> {
    let lines: [(&str, &[u8]); 4] = [
        ("x-token", b"s3cret"),
        ("x-payload", b"s3cret"),
        ("x-raw", b"\xff"),
        ("x-other", b"s3cret"),
    ];
    let lines = lines.map(|(name, value)| (Cow::from(name), Cow::from(value)));
    let metadata = Value::Object(vec![
        ("k".into(), Value::String("v".into())),
        ("other".into(), Value::String("s3cret".into())),
    ]);
    Attributes {
        source_ip: None,
        remote_ip: None,
        destination_ip: None,
        destination_port: None,
        sni: "".into(),
        peer: Peer::default(),
        http: Some(Http {
            method: "GET".into(),
            path: "/a?b=s3cret#s3cret".into(),
            host: "h:080".into(),
            scheme: "https".into(),
            headers: Headers::new(lines.into(), true),
        }),
        filter_metadata: vec![("envoy.filters.f".into(), metadata)],
        exchange: crate::model::Exchange::default(),
        missing: Missing { client_address: true, ..Missing::default() },
    }
}

fn claims() -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let object = |members: Vec<(&str, Value)>| {
        Value::Object(members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
    };
    object(vec![
        ("iss", text("i")),
        ("sub", text("alice")),
        ("email", text("s3cret")),
        ("groups", Value::List(vec![text("a"), object(vec![("x", text("s3cret"))])])),
        ("realm", object(vec![("roles", text("r")), ("x", text("s3cret"))])),
    ])
}

#[test]
fn secrets_are_left_out_and_named() {
    let plan = plan(POLICIES);
    let opened = open(settings(1 << 20));
    let attributes = attributes();
    let authentication =
        Authentication { claims: Some(Arc::new(claims())), ..Authentication::default() };
    let event = opened.event(&Decision {
        plan: Some(&plan),
        attributes: Some(&attributes),
        authentication: Some(&authentication),
        ..Decision::undecided(Reason::NoAllowRule, 3)
    });
    assert!(!event.to_string().contains("s3cret"), "{event:#}");
    let redacted = [
        "url.query",
        "http.request.header.x-token",
        "http.request.header.x-payload",
        "http.request.header.x-raw",
    ];
    assert_eq!(event["postern.redacted"], json!(redacted));
    let headers = json!({"x-absent": [], "x-request-id": []});
    assert_eq!(event["http.request.header"], headers);
    assert_eq!(event["url.path"], "/a");
    // A port that would not be written so is part of the name.
    assert_eq!((&event["server.address"], &event["server.port"]), (&json!("h:080"), &Json::Null));
    assert_eq!(event["postern.metadata"], json!({"envoy.filters.f": {"k": ["v"], "none": []}}));
    assert_eq!(
        event["postern.claims"],
        json!({
            "iss": "i", "sub": "alice", "groups": ["a"], "realm": {"roles": "r"}, "gone": null
        })
    );
    assert_eq!(
        event["postern.missing_inputs"],
        json!(["client_address_header", "encode_raw_headers"])
    );
    let workload =
        json!({"namespace": "shop", "name": "web-1", "services": ["web"], "labels": {"a": "b"}});
    assert_eq!(event["postern.workload"], workload);
}

#[rstest]
#[case::refused(Reason::Jwt(JwtError::Expired), json!("Jwt is expired"))]
#[case::allowed(Reason::AllowRule(RuleId { policy: 0, rule: 0 }), Json::Null)]
fn what_was_said_of_tokens_is_said(#[case] reason: Reason, #[case] error: Json) {
    let plan = plan(POLICIES);
    let opened = open(settings(1 << 20));
    let refusal = if let Reason::Jwt(error) = reason { Some(error) } else { None };
    // Native metadata has the claims of a token that counts, also where another one is refused.
    let authentication = Authentication {
        error: refusal,
        claims: Some(Arc::new(claims())),
        ..Authentication::default()
    };
    let event = opened.event(&Decision {
        plan: Some(&plan),
        attributes: Some(&attributes()),
        authentication: Some(&authentication),
        ..Decision::undecided(reason, 3)
    });
    assert_eq!(event["postern.error"], error);
    let result = if refusal.is_some() { "refused" } else { "verified" };
    assert_eq!(event["postern.authentication"]["result"], result);
    assert_eq!(event.get("postern.claims").is_none(), refusal.is_some());
}

#[test]
fn dry_runs_audits_and_forgotten_peers_are_in_it() {
    let plan = plan(POLICIES);
    let opened = open(settings(1 << 20));
    let rule = RuleId { policy: 0, rule: 0 };
    let shadow = Shadow {
        reason: Reason::DenyRule(rule),
        deny_rule: Some(rule),
        allow_rule: None,
        custom_rule: None,
    };
    let reason = Reason::NoAllowPolicy;
    let peer = Peer { names: vec!["spiffe://a/ns/b/sa/c".into()] };
    let event = opened.event(&Decision {
        verdict: Verdict { reason, audited_by: Some(rule), shadow: Some(shadow) },
        plan: Some(&plan),
        audited_by: &[rule],
        attributes: Some(&attributes()),
        forgotten: Some(&(peer, Missing::default())),
        ..Decision::undecided(reason, 3)
    });
    assert_eq!(event["postern.audited_by"], json!(["shop/all"]));
    let shadow = json!({
        "outcome": "deny", "reason": "deny_rule", "policy": "shop/all", "rule": 0,
        "deny_policy": "shop/all", "deny_rule": 0,
    });
    assert_eq!(event["postern.shadow"], shadow);
    assert_eq!(event["postern.peer.names"], json!(["spiffe://a/ns/b/sa/c"]));
}
