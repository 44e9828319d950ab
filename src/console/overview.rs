//! How the server stands, at one glance.
//!
//! Rates are the page's business: it has counts, and the time at which they were read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Console;
use crate::admin::{KeySourceStatus, diagnostic_json, rejection_json};
use crate::control::ControlStatus;
use crate::manifest::time::format_timestamp;
use crate::model::Kind;
use crate::telemetry::metrics::{DecisionSample, DurationSample};

/// More of one kind of problem are counted and not shown.
const MOST: usize = 100;

pub(super) fn overview(console: &Console) -> Value {
    let Console { admin, snapshots, tap, clock, .. } = console;
    let checks = admin.readiness.checks();
    let control = admin.control.borrow().clone();
    let now = clock.now();
    let snapshot = snapshots.load();
    let resources = Kind::ALL.map(|kind| (kind.as_str().to_owned(), json!(control.count(kind))));
    let shown = control.rejected.iter().take(MOST);
    let findings = control.findings.iter().take(MOST);
    let missing = admin.metrics.inputs().seen_missing();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "atSeconds": seconds_since_1970(now),
        "readiness": {
            "ready": checks.ready(),
            "waitingFor": checks.waiting_for(),
            "checks": [
                { "name": "policies are in force", "passed": checks.policies },
                { "name": "the gRPC port accepts calls", "passed": checks.grpc },
                { "name": "each key set was asked for", "passed": checks.key_sources },
                { "name": "not shutting down", "passed": !checks.draining },
            ],
        },
        "snapshot": published(&control, now),
        "workloads": snapshot.workloads.len(),
        "resources": resources.into_iter().collect::<serde_json::Map<_, _>>(),
        "compiledBytes": control.size.bytes,
        "counts": counts(&admin.metrics.decisions().sample()),
        "rejected": {
            "total": control.rejected.len(),
            "items": shown.map(rejection_json).collect::<Vec<_>>(),
        },
        "findings": {
            "total": control.findings.len(),
            "items": findings.map(diagnostic_json).collect::<Vec<_>>(),
        },
        "keySets": (admin.key_sources)().iter().map(key_set).collect::<Vec<_>>(),
        "missingInputs": missing.iter().map(|input| input.as_str()).collect::<Vec<_>>(),
        "stream": { "watchers": tap.watchers(), "most": tap.most() },
    })
}

fn published(control: &ControlStatus, now: SystemTime) -> Value {
    let age = control.published.map(|at| at.elapsed());
    let at = age.and_then(|age| now.checked_sub(age));
    let at = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    json!({
        "revision": control.revision,
        "ageSeconds": age.map(|age| age.as_secs()),
        "publishedAt": at.and_then(|at| format_timestamp(at.as_secs())),
        "compileSeconds": control.compile.as_secs_f64(),
    })
}

fn counts(DecisionSample { decisions, durations }: &DecisionSample) -> Value {
    let decisions = decisions.iter().map(|(reason, count)| {
        json!({
            "outcome": reason.outcome().as_str(),
            "reason": reason.as_str(),
            "count": count,
        })
    });
    let DurationSample { buckets, sum } = durations;
    // The last bound is infinite, which JSON cannot say.
    let buckets = buckets
        .iter()
        .map(|(bound, count)| json!({ "le": bound.is_finite().then_some(bound), "count": count }));
    json!({
        "decisions": decisions.collect::<Vec<_>>(),
        "durations": { "buckets": buckets.collect::<Vec<_>>(), "sumSeconds": sum },
    })
}

fn key_set(source: &KeySourceStatus) -> Value {
    json!({
        "issuer": &*source.issuer,
        "origin": source.origin(),
        "state": source.freshness().as_str(),
        "keys": source.keys,
        "ageSeconds": source.age.map(|age| age.as_secs()),
        "lastFailureSeconds": source.last_failure.map(|since| since.as_secs()),
        "failures": source.failures,
        "error": source.error,
    })
}

fn seconds_since_1970(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
