//! Writing statuses.

use http::Method;

use super::script::Call;
use super::*;
use crate::source::kube::status::Seen;

/// A [`Bench`] whose objects shall have the status that is sent.
struct Writing {
    bench: Bench,
    wanted: watch::Sender<Value>,
    writer: JoinHandle<()>,
    _policies: Watch,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

fn is_lease(call: &Call) -> bool {
    call.path.starts_with("/apis/coordination.k8s.io/v1/namespaces/home/leases")
}

impl Writing {
    async fn start(first: Value) -> Self {
        let mut server = Server::start().await;
        let metrics = Metrics::new("0");
        let source = KubeSource::new(&server.cluster(), fast(), &metrics).await.unwrap();
        let writer = source.status_writer(Some("replica"), Clock::system());
        let (wanted, states) = watch::channel(first);
        let writer = tokio::spawn(writer.write(states, |wanted: &Value| {
            let wanted = wanted.clone();
            move |seen: &Seen, _: &str| {
                (seen.status.as_ref() != Some(&wanted)).then(|| wanted.clone())
            }
        }));
        let (sender, corpora) = watch::channel(Arc::default());
        let source = tokio::spawn(source.watch(sender));
        let mut others = Vec::new();
        for plural in OTHERS {
            others.push(server.nothing_of(plural).await);
        }
        server.list(POLICIES).await.items(&[policy("a", 3)], "5");
        let policies = server.watch(POLICIES).await.stream();
        let mut bench = Bench { server, corpora, metrics, source, others };
        bench.sees(&["a 3"]).await;
        Self { bench, wanted, writer, _policies: policies }
    }

    async fn lease(&mut self, method: Method) -> Call {
        self.bench.server.call(|call| is_lease(call) && call.method == method).await
    }

    /// Nobody else wants it.
    async fn leads(&mut self) -> Value {
        self.lease(Method::GET).await.refuse(404, "NotFound", "no such lease");
        let create = self.lease(Method::POST).await;
        let mut lease = create.body.clone();
        lease["metadata"]["resourceVersion"] = "1".into();
        create.answer(201, &lease);
        lease
    }

    async fn patch(&mut self) -> Call {
        self.bench.server.call(|call| call.method == Method::PATCH).await
    }

    /// No patch was sent so far; the lease is asked for when the writer had its turn.
    fn no_patch(&mut self) {
        let patched = self.bench.server.seen(|call| call.method == Method::PATCH);
        assert!(!patched);
    }
}

#[tokio::test]
async fn the_holder_of_the_lease_writes_what_differs_and_only_once() {
    let mut writing = Writing::start(json!({ "x": 1 })).await;
    let lease = writing.leads().await;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert!(holder.starts_with("replica_"), "{holder}");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 1);
    let patch = writing.patch().await;
    assert_eq!(
        patch.path,
        "/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies/a/status"
    );
    assert!(patch.has("fieldManager=postern"), "{patch:?}");
    assert_eq!(
        patch.body,
        json!({
            "metadata": { "uid": "uid-a", "resourceVersion": "3" },
            // What was there and shall not be there.
            "status": { "x": 1, "conditions": null },
        })
    );
    patch.answer(200, &policy("a", 4));
    // Renewed, and nothing else was written in the meantime.
    writing.lease(Method::GET).await.answer(200, &lease);
    let renewed = writing.lease(Method::PUT).await;
    assert_eq!(renewed.body["metadata"]["resourceVersion"], "1");
    assert_eq!(renewed.body["spec"]["holderIdentity"], holder);
    assert_eq!(renewed.body["spec"]["acquireTime"], lease["spec"]["acquireTime"]);
    let answer = renewed.body.clone();
    renewed.answer(200, &answer);
    writing.lease(Method::GET).await;
    writing.no_patch();
    assert!(writing.bench.counted(r#"postern_kube_status_writes_total{result="ok"} 1"#));
}

#[tokio::test]
async fn a_conflict_is_tried_again_with_the_newer_version() {
    let mut writing = Writing::start(json!({ "x": 1 })).await;
    writing.leads().await;
    writing.patch().await.refuse(409, "Conflict", "the object has been modified");
    writing._policies.event("MODIFIED", &policy("a", 6));
    let again = writing.patch().await;
    assert_eq!(again.body["metadata"]["resourceVersion"], "6");
    again.answer(200, &policy("a", 7));
    // Another state, another status; the object was not seen since.
    writing._policies.event("MODIFIED", &policy("a", 8));
    writing.wanted.send(json!({ "x": 2 })).unwrap();
    let other = writing.bench.server.call(|call| {
        call.method == Method::PATCH && call.body["metadata"]["resourceVersion"] == "8"
    });
    other.await;
}

#[tokio::test]
async fn without_the_lease_nothing_is_written() {
    let mut writing = Writing::start(json!({ "x": 1 })).await;
    let other = |version: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": "postern-status", "resourceVersion": version },
            "spec": { "holderIdentity": "other", "leaseDurationSeconds": 1 },
        })
    };
    // The other one renews it each time.
    for version in ["1", "2", "3", "4", "5"] {
        writing.lease(Method::GET).await.answer(200, &other(version));
    }
    writing.no_patch();
    // And then no more: it is ours once that has lasted as long as was promised.
    let put = loop {
        let call = writing.bench.server.call(is_lease).await;
        if call.method == Method::PUT {
            break call;
        }
        call.answer(200, &other("5"));
    };
    assert_eq!(put.body["metadata"]["resourceVersion"], "5");
    assert_eq!(put.body["spec"]["leaseTransitions"], 1);
    writing.no_patch();
    put.answer(200, &other("6"));
    writing.patch().await;
}

#[tokio::test]
async fn without_the_right_to_leases_nothing_is_written_and_policies_are_followed() {
    let mut writing = Writing::start(json!({ "x": 1 })).await;
    writing.lease(Method::GET).await.refuse(403, "Forbidden", "no leases for you");
    writing._policies.event("MODIFIED", &policy("a", 6));
    writing.bench.sees(&["a 6"]).await;
    writing.no_patch();
}
