//! The dashboard and the alerts of `deploy/observability`: a real Prometheus scrapes real Posterns that
//! are asked things and have trouble of every kind, and each query has an answer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

#[path = "../blackbox/process.rs"]
mod process;
#[path = "../blackbox/prometheus.rs"]
mod prometheus;
mod queries;
mod rules;
mod scene;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use queries::{Query, alerts, dashboard, documented_metrics};
use scene::Scene;

/// The alerts that the scene has trouble for.
const TROUBLE: [&str; 9] = [
    "PosternResourcesRejected",
    "PosternInstancesDiffer",
    "PosternDeniesForNoPolicy",
    "PosternDeniesMost",
    "PosternKeysNeverFetched",
    "PosternMissingInputs",
    "PosternProviderFails",
    "PosternIntrospectionFails",
    "PosternClusterRefuses",
];

/// One scene for all of it: it takes a while to have trouble.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_has_an_answer() {
    let scene = Scene::start().await;
    let mut left: Vec<Query> = dashboard();
    left.extend(alerts());
    left.extend(TROUBLE.iter().map(|name| Query {
        place: format!("{name} is true"),
        expression: rules::expression(name),
    }));
    let begun = Instant::now();
    for round in 0.. {
        scene.ask(round).await;
        let mut without = Vec::new();
        for query in left {
            if !scene.answers(&query.expression).await {
                without.push(query);
            }
        }
        if without.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "no answer for {without:#?}");
        left = without;
    }
}

/// No query is about a metric that there is not, and each metric that operators are told of is looked at.
#[test]
fn queries_are_about_metrics_that_there_are() {
    let known = documented_metrics();
    let mut used = BTreeSet::new();
    for query in dashboard().into_iter().chain(alerts()) {
        for name in query.metrics() {
            assert!(known.iter().any(|metric| name.starts_with(metric)), "{name}: {query:?}");
            used.extend(known.iter().filter(|metric| name.starts_with(*metric)).cloned());
        }
    }
    let unused: Vec<_> = known.iter().filter(|metric| !used.contains(*metric)).collect();
    // Counted by policy as well.
    let fine =
        ["postern_audited_requests", "postern_kube_status_writes", "postern_token_cache_entries"];
    assert!(unused.iter().all(|metric| fine.contains(&metric.as_str())), "{unused:?}");
}
