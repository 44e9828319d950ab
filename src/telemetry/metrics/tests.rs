use std::collections::BTreeSet;
use std::sync::Arc;

use crate::compile::{Settings, compile};
use crate::manifest;
use crate::model::{Mesh, Outcome, Reason, RuleId, Shadow, Verdict, Workload};
use crate::plan::{Series, SeriesNames};

use super::*;

const RULE: RuleId = RuleId { policy: 0, rule: 0 };

fn exposition(metrics: &Metrics) -> String {
    metrics.encode().unwrap()
}

#[test]
fn every_reason_is_listed_from_the_start() {
    let text = exposition(&Metrics::new("0.0.0"));
    let listed: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.starts_with("postern_decisions_total{"))
        .filter_map(|line| line.split("reason=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(listed, BTreeSet::from(Reason::LABELS));
}

#[test]
fn every_metric_is_documented() {
    documented(&exposition(&all()));
}

#[track_caller]
fn documented(text: &str) {
    let documented = include_str!("../../../docs/metrics.md");
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = name.split(' ').next().unwrap();
        assert!(documented.contains(&format!("`{name}")), "`{name}` is not in docs/metrics.md");
    }
}

#[cfg(feature = "management")]
#[test]
fn requests_of_the_management_api() {
    let metrics = Metrics::new("0.0.0");
    assert!(!exposition(&metrics).contains("postern_management"));
    let management = metrics.management();
    management.answered("/status", 200, Duration::from_millis(3));
    management.answered("/status", 401, Duration::from_millis(1));
    management.answered("", 401, Duration::from_secs(60));
    let text = exposition(&metrics);
    for line in [
        r#"postern_management_requests_total{endpoint="/status",code="200"} 1"#,
        r#"postern_management_requests_total{endpoint="/status",code="401"} 1"#,
        r#"postern_management_requests_total{endpoint="",code="401"} 1"#,
        r#"postern_management_request_duration_seconds_bucket{le="0.0025"} 1"#,
        r#"postern_management_request_duration_seconds_bucket{le="10.0"} 2"#,
        "postern_management_request_duration_seconds_count 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    documented(&text);
}

#[test]
fn an_input_is_reported_once() {
    let inputs = Metrics::new("0.0.0").inputs();
    assert!(inputs.missing(Input::RawHeaders));
    assert!(!inputs.missing(Input::RawHeaders));
    assert_eq!(inputs.seen_missing(), [Input::RawHeaders]);
}

/// A dry-run DENY rule, a dry-run ALLOW rule that changes nothing, and two rules of an AUDIT policy, of
/// one request; of another, dry-run ALLOW policies without a rule for it.
fn watched(decisions: &DecisionMetrics) {
    let policy = |name: &str, dry_run: &str, action: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: {name}, annotations: {{istio.io/dry-run: '{dry_run}'}}}}\n\
             spec: {{action: {action}, rules: [{{}}, {{}}]}}\n"
        )
    };
    let text = [
        policy("allow", "true", "ALLOW"),
        policy("deny", "true", "DENY"),
        policy("watch", "false", "AUDIT").replace(", annotations: {istio.io/dry-run: 'false'}", ""),
    ]
    .concat();
    let options =
        manifest::Options { default_namespace: "shop".into(), ..manifest::Options::default() };
    let decoded = manifest::decode(&text, None, &options);
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let workloads = vec![Workload { namespace: "shop".into(), ..Workload::default() }];
    let settings = Settings { mesh: Mesh::default(), workloads };
    let snapshot = compile(1, &resources, &[], &settings);
    let plan = &snapshot.workloads[0];
    assert_eq!(plan.policies().count(), 3);

    let rule = |policy, rule| RuleId { policy, rule };
    let shadow = Shadow {
        reason: Reason::DenyRule(rule(1, 0)),
        deny_rule: Some(rule(1, 0)),
        allow_rule: Some(rule(0, 1)),
        custom_rule: None,
    };
    let none = Verdict::from_reason(Reason::NoAllowPolicy);
    let verdict = Verdict { shadow: Some(shadow), ..none };
    let audits = [rule(2, 0), rule(2, 1)];
    decisions.record_policies(&PolicyMatches::of(plan, verdict, &audits).unwrap());
    let reason = Reason::NoAllowRule;
    let shadow = Shadow { reason, deny_rule: None, allow_rule: None, custom_rule: None };
    let verdict = Verdict { shadow: Some(shadow), ..none };
    decisions.record_policies(&PolicyMatches::of(plan, verdict, &[]).unwrap());
    assert!(PolicyMatches::of(plan, none, &[]).is_none());
}

fn all() -> Metrics {
    let metrics = Metrics::new("0.0.0");
    metrics.register_key_sources(|| {
        let sample = |seconds, failing| KeySourceSample {
            issuer: "https://a.example".into(),
            age: Some(Duration::from_secs(seconds)),
            failing,
        };
        let dead = KeySourceSample {
            issuer: "https://dead.example".into(),
            age: None,
            failing: Some(("connect", 4)),
        };
        vec![sample(9, Some(("timeout", 2))), sample(3, None), dead]
    });
    metrics.register_token_cache(|| TokenCacheSample {
        hits: 5,
        misses: 4,
        rejections: 3,
        entries: 2,
        bytes: 4096,
    });
    let key_sources = metrics.key_sources();
    key_sources.expect(["ok", "timeout"]);
    key_sources.refreshed("ok");
    let decisions = metrics.decisions();
    let shadow = Shadow {
        reason: Reason::DenyRule(RULE),
        deny_rule: Some(RULE),
        allow_rule: None,
        custom_rule: None,
    };
    decisions.record(
        &Verdict { reason: Reason::AllowRule(RULE), audited_by: Some(RULE), shadow: Some(shadow) },
        Duration::from_micros(40),
    );
    watched(&decisions);
    decisions.record(&Verdict::from_reason(Reason::NoAllowRule), Duration::from_micros(50));
    decisions.record(&Verdict::from_reason(Reason::NoAllowRule), Duration::from_secs(60));
    let mut names = SeriesNames::default();
    let workload = Workload {
        namespace: "shop".into(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        ..Workload::default()
    };
    let workloads = metrics.workloads();
    workloads.record(names.of(&workload), Outcome::Deny);
    workloads.record(Series::default(), Outcome::Allow);
    workloads.name(&names);
    let snapshot = metrics.snapshot();
    snapshot.published(42, Duration::from_millis(3));
    snapshot.rejected(1);
    snapshot.resources(Kind::AuthorizationPolicy, 7);
    metrics.inputs().missing(Input::PeerCertificate);
    metrics
}

#[test]
fn exposition_is_stable() {
    // A family lists its members in no particular order.
    let text = exposition(&all());
    let mut families: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("# HELP") || line == "# EOF" {
            families.push(Vec::new());
        }
        families.last_mut().unwrap().push(line);
    }
    for family in &mut families {
        family.sort_by_key(|line| match line {
            line if line.starts_with('#') || line.contains("le=\"") => "",
            line => line,
        });
    }
    insta::assert_snapshot!(families.concat().join("\n"));
}
