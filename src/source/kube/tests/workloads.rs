//! Pods as workloads, from lists and watches as an API server gives them.

use serde_json::json;

use super::*;

fn pod(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "labels": { "app": "web" }, "resourceVersion": "8",
        },
        "spec": {},
        "status": { "podIP": ip },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "selector": { "app": "web" } },
    })
}

fn workloads(corpus: &Corpus) -> Vec<String> {
    let shown = |workload: &crate::model::Workload| {
        let (addresses, services) = (&workload.addresses, &workload.services);
        format!("{} {addresses:?} {services:?}", workload.name.as_deref().unwrap())
    };
    corpus.workloads.iter().map(shown).collect()
}

#[tokio::test]
async fn pods_of_a_node_become_workloads() {
    let mut server = Server::start().await;
    let metrics = Metrics::new("0");
    let cluster = Cluster { pods: Pods::OnNode("n1".into()), ..server.cluster() };
    let source = KubeSource::new(&cluster, fast(), &metrics).await.unwrap();
    let (sender, mut corpora) = watch::channel(Arc::default());
    let source = tokio::spawn(source.watch(sender));
    let mut open = Vec::new();
    for plural in [POLICIES].into_iter().chain(OTHERS) {
        open.push(server.nothing_of(plural).await);
    }
    let pods = server.list("/api/v1/pods").await;
    assert!(pods.has("fieldSelector=spec.nodeName%3Dn1"), "{pods:?}");
    pods.items(&[pod("a", "10.0.0.1")], "7");
    let pods = server.watch("/api/v1/pods").await;
    assert!(pods.has("fieldSelector=spec.nodeName%3Dn1"), "{pods:?}");
    let pods = pods.stream();
    // Without the Services, nothing is sent: who is known would not have all policies.
    let services = server.list("/api/v1/services").await;
    assert!(!services.query.contains("fieldSelector"), "{services:?}");
    assert!(!corpora.has_changed().unwrap());
    services.items(&[service()], "3");
    open.push(server.watch("/api/v1/services").await.stream());
    let sees = |expected: &'static str| move |corpus: &Arc<Corpus>| workloads(corpus) == [expected];
    within(corpora.wait_for(sees(r#"a {10.0.0.1} {"web"}"#))).await.unwrap();

    pods.event("MODIFIED", &pod("a", "10.0.0.9"));
    within(corpora.wait_for(sees(r#"a {10.0.0.9} {"web"}"#))).await.unwrap();
    pods.event("DELETED", &pod("a", "10.0.0.9"));
    within(corpora.wait_for(|corpus| corpus.workloads.is_empty())).await.unwrap();
    let samples = metrics.encode().unwrap();
    for sample in [
        r#"postern_kube_changes_total{kind="Pod"} 2"#,
        r#"postern_kube_outage_seconds{kind="Service"} 0.0"#,
    ] {
        assert!(samples.lines().any(|line| line == sample), "{sample}: {samples}");
    }
    source.abort();
}
