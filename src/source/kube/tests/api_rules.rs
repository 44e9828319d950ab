//! APIRules, which are followed only where that is wanted.

use serde_json::json;

use super::*;

fn api_rule(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "gateway.kyma-project.io/v1beta1",
        "kind": "APIRule",
        "metadata": { "name": name, "namespace": "shop", "resourceVersion": "8" },
        "spec": spec,
    })
}

/// Without a webhook, all versions are shown in the form that was written: what the text says it is
/// written in follows from its form.
#[tokio::test]
async fn api_rules_are_followed_in_a_version() {
    let mut server = Server::start().await;
    let metrics = Metrics::new("0");
    let cluster = Cluster { api_rules: Some("v1beta1"), ..server.cluster() };
    let source = KubeSource::new(&cluster, fast(), &metrics).await.unwrap();
    let (sender, mut corpora) = watch::channel(Arc::default());
    let source = tokio::spawn(source.watch(sender));
    let mut open = Vec::new();
    for plural in [POLICIES].into_iter().chain(OTHERS) {
        open.push(server.nothing_of(plural).await);
    }
    let path = "/apis/gateway.kyma-project.io/v1beta1/apirules";
    let list = server.list(path).await;
    assert!(!corpora.has_changed().unwrap());
    list.items(
        &[api_rule("a", &json!({ "host": "a.b" })), api_rule("b", &json!({ "hosts": [] }))],
        "7",
    );
    open.push(server.watch(path).await.stream());
    let corpus = within(corpora.wait_for(|corpus| corpus.files.len() == 2)).await.unwrap().clone();
    let [one, two] = corpus.files.as_slice() else { panic!() };
    assert_eq!((&*one.name, &*two.name), ("apirules/shop/a", "apirules/shop/b"));
    assert!(one.text.contains("\"gateway.kyma-project.io/v1beta1\""), "{}", one.text);
    assert!(two.text.contains("\"gateway.kyma-project.io/v2\""), "{}", two.text);
    source.abort();
}
