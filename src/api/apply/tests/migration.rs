//! From client-side to server-side apply, call by call as kubectl makes them.

use serde_json::{Value, json};

use super::*;
use crate::api::patch::{json_patch, merge_patch};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What `kubectl apply` of a manifest with that spec creates.
fn client_side(spec: Value) -> Value {
    let mut config = object(spec);
    let mut bare = config.clone();
    bare["metadata"]["annotations"] = json!({});
    config["metadata"]["annotations"] = json!({ANNOTATION: format!("{bare}\n")});
    created(update(None, config, &by("kubectl-client-side-apply")))
}

#[test]
fn as_kubectl_does_it() {
    let live = client_side(json!({"action": "ALLOW", "rules": [{}]}));
    // 1. An apply with the same values shares them.
    let live = applied(&live, json!({"action": "ALLOW", "rules": [{}]}), "kubectl").unwrap();
    assert_eq!(owned_paths(&live, "kubectl"), [".spec.action", ".spec.rules"]);

    // 2. The annotation is applied by another manager.
    let annotation = &live["metadata"]["annotations"][ANNOTATION];
    let config = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "a", "namespace": "shop", "annotations": {ANNOTATION: annotation}},
    });
    let live = apply(Some(&live), &config, &by("kubectl-last-applied"), false).unwrap();

    // 3. The entry of client-side apply is written out of the managed fields.
    let mut fields = live["metadata"]["managedFields"].clone();
    let entries = fields.as_array_mut().unwrap();
    entries.retain(|entry| entry["manager"] != "kubectl-client-side-apply");
    assert_eq!(entries.len(), 2);
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": fields},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "1"},
    ]);
    let new = json_patch(&live, patch.to_string().as_bytes()).unwrap();
    let live = update(Some(&live), new, &by("kubectl"));
    assert_eq!(live["metadata"]["managedFields"], fields);

    // 4. From now on, what is left out goes.
    let live = applied(&live, json!({"action": "DENY"}), "kubectl").unwrap();
    assert_eq!(live["spec"], json!({"action": "DENY"}));
}

#[test]
fn changed_values_are_taken_over_from_client_side_apply() {
    let live = client_side(json!({"action": "ALLOW", "rules": [{}]}));
    let next = applied(&live, json!({"action": "DENY", "rules": [{}]}), "kubectl").unwrap();
    assert_eq!(next["spec"]["action"], "DENY");
    // The annotation is kept in step.
    let text = next["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
    assert_eq!(
        text,
        "{\"apiVersion\":\"security.istio.io/v1\",\"kind\":\"AuthorizationPolicy\",\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\"},\"spec\":{\"action\":\"DENY\",\"rules\":[{}]}}\n"
    );

    // Not by others than kubectl.
    assert!(applied(&live, json!({"action": "DENY"}), "argocd").is_err());
    // Nor what somebody changed after kubectl.
    let edited = merge_patch(&live, &json!({"spec": {"action": "AUDIT"}})).unwrap();
    let edited = update(Some(&live), edited, &by("kubectl-edit"));
    let error = applied(&edited, json!({"action": "DENY", "rules": []}), "kubectl").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using security.istio.io/v1: .spec.action"
    );
}

#[test]
fn without_the_annotation_nothing_is_taken_over() {
    let live = created(update(None, object(json!({"action": "ALLOW"})), &by("u")));
    assert!(applied(&live, json!({"action": "DENY"}), "kubectl").is_err());
}
