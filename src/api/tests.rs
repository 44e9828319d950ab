//! The steps of a write, one after the other, as a server takes them.

use serde_json::{Value, json};

use super::apply::{Write, apply, update};
use super::object_meta::{
    Birth, Endpoint, Target, check_identity, is_unchanged, prepare_create, prepare_update,
};
use super::patch::{json_patch, merge_patch};
use super::status::{ApiError, ResourceType};

const TARGET: Target<'static> = Target {
    resource: ResourceType::AUTHORIZATION_POLICY,
    version: "v1",
    namespace: Some("shop"),
    name: Some("a"),
};
const BIRTH: Birth<'static> =
    Birth { uid: "u-1", creation_timestamp: "2026-01-01T00:00:00Z", random: 7 };

fn by(manager: &str) -> Write<'_> {
    Write {
        manager,
        api_version: "security.istio.io/v1",
        endpoint: Endpoint::Main,
        now: "2026-01-01T00:00:00Z",
    }
}

fn policy(spec: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "a"}, "spec": spec,
    })
}

fn create(spec: &Value) -> Value {
    let mut object = policy(spec);
    check_identity(TARGET, &mut object).unwrap();
    prepare_create(TARGET, &mut object, BIRTH).unwrap();
    let mut object = update(None, object, &by("kubectl-create"));
    object["metadata"]["resourceVersion"] = json!("5");
    object
}

/// PUT, or a patch whose result is `new`.
fn write(stored: &Value, mut new: Value, write: &Write<'_>) -> Result<Value, ApiError> {
    check_identity(TARGET, &mut new)?;
    let new = prepare_update(TARGET, stored, new, write.endpoint)?;
    Ok(update(Some(stored), new, write))
}

fn apply_to(stored: &Value, mut config: Value, write: &Write<'_>) -> Result<Value, ApiError> {
    check_identity(TARGET, &mut config)?;
    prepare_update(TARGET, stored, apply(Some(stored), &config, write, false)?, write.endpoint)
}

#[test]
fn a_replace_without_changes_is_none() {
    let stored = create(&json!({"action": "ALLOW"}));
    let new = write(&stored, stored.clone(), &by("kubectl-replace")).unwrap();
    assert!(is_unchanged(&stored, &new));
}

#[test]
fn an_edit_moves_the_field_and_the_generation() {
    let stored = create(&json!({"action": "ALLOW", "rules": []}));
    let new = merge_patch(&stored, &json!({"spec": {"action": "DENY"}})).unwrap();
    let new = write(&stored, new, &by("kubectl-edit")).unwrap();
    assert_eq!(new["metadata"]["generation"], 2);
    assert_eq!(new["metadata"]["managedFields"].as_array().unwrap().len(), 2);
    let config = policy(&json!({"action": "AUDIT"}));
    let error = apply_to(&new, config, &by("kubectl")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using security.istio.io/v1: .spec.action"
    );
}

#[test]
fn a_label_does_not_raise_the_generation() {
    let stored = create(&json!({}));
    let new = merge_patch(&stored, &json!({"metadata": {"labels": {"x": "y"}}})).unwrap();
    let new = write(&stored, new, &by("kubectl-label")).unwrap();
    assert_eq!(new["metadata"]["generation"], 1);
    assert!(!is_unchanged(&stored, &new));
}

#[test]
fn an_apply_twice_is_one() {
    let stored = create(&json!({}));
    let config = policy(&json!({"action": "ALLOW"}));
    let once = apply_to(&stored, config.clone(), &by("kubectl")).unwrap();
    assert_eq!(once["metadata"]["generation"], 2);
    let later = Write { now: "2027-01-01T00:00:00Z", ..by("kubectl") };
    assert!(is_unchanged(&once, &apply_to(&once, config, &later).unwrap()));
}

#[test]
fn an_apply_to_the_status_keeps_its_owner() {
    let stored = create(&json!({"action": "ALLOW"}));
    let status = Write { endpoint: Endpoint::Status, ..by("postern") };
    let mut config = policy(&json!({"action": "DENY"}));
    config["status"] = json!({"observedGeneration": 1});
    let new = apply_to(&stored, config, &status).unwrap();
    assert_eq!(new["spec"], json!({"action": "ALLOW"}));
    assert_eq!(new["status"], json!({"observedGeneration": 1}));
    assert_eq!(new["metadata"]["generation"], 1);
    let owner = &new["metadata"]["managedFields"][0];
    assert_eq!((&owner["manager"], &owner["subresource"]), (&json!("postern"), &json!("status")));

    // With a plain patch, what the client says of owners does not count.
    let mut patched = merge_patch(&new, &json!({"status": {"observedGeneration": 2}})).unwrap();
    patched["metadata"]["managedFields"] = json!([{}]);
    let patched = write(&new, patched, &Write { manager: "other", ..status }).unwrap();
    let owners = patched["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(owners.iter().filter(|owner| owner["manager"] == "other").count(), 1);
    assert_eq!(owners.iter().filter(|owner| owner["manager"] == "kubectl-create").count(), 1);
}

#[test]
fn a_stale_version_in_any_patch_is_a_conflict() {
    let stored = create(&json!({}));
    let merged = merge_patch(&stored, &json!({"metadata": {"resourceVersion": "4"}})).unwrap();
    let patch = br#"[{"op": "replace", "path": "/metadata/resourceVersion", "value": "4"}]"#;
    let patched = json_patch(&stored, patch).unwrap();
    for new in [merged, patched] {
        assert_eq!(write(&stored, new, &by("x")).unwrap_err().code(), 409);
    }
    let mut config = policy(&json!({}));
    config["metadata"]["resourceVersion"] = json!("4");
    assert_eq!(apply_to(&stored, config.clone(), &by("x")).unwrap_err().code(), 409);
    config["metadata"]["resourceVersion"] = json!("5");
    assert!(apply_to(&stored, config, &by("x")).is_ok());
}

#[test]
fn a_patch_cannot_rename() {
    let stored = create(&json!({}));
    for (patch, expect) in [
        (
            json!({"metadata": {"name": "b"}}),
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            json!({"metadata": {"namespace": "b"}}),
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            json!({"apiVersion": "v1"}),
            "the API version in the data (v1) does not match the expected API version (security.istio.io/v1)",
        ),
    ] {
        let new = merge_patch(&stored, &patch).unwrap();
        let error = write(&stored, new, &by("x")).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (400, expect));
    }
}
