#![expect(clippy::needless_pass_by_value, reason = "literals read better by value")]

mod laws;
mod migration;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-02-02T00:00:00Z";

fn by(manager: &str) -> Write<'_> {
    Write { manager, api_version: "security.istio.io/v1", endpoint: Endpoint::Main, now: NOW }
}

fn object(spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": spec,
    })
}

/// A new object, as `object_meta` completes it.
fn created(object: Value) -> Value {
    let mut object = object;
    object["metadata"]["uid"] = json!("u-1");
    object["metadata"]["resourceVersion"] = json!("1");
    object["metadata"]["generation"] = json!(1);
    object["metadata"]["creationTimestamp"] = json!(NOW);
    object
}

fn applied(live: &Value, spec: Value, manager: &str) -> Result<Value, ApiError> {
    apply(Some(live), &object(spec), &by(manager), false)
}

#[test]
fn an_apply_to_nothing_creates() {
    let mut config =
        object(json!({"action": "ALLOW", "rules": [{}], "selector": {"matchLabels": {"x": "y"}}}));
    config["metadata"]["labels"] = json!({"app.kubernetes.io/name": "z"});
    let new = apply(None, &config, &by("kubectl"), false).unwrap();
    let fields = json!([{
        "apiVersion": "security.istio.io/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}},
            "f:spec": {"f:action": {}, "f:rules": {}, "f:selector": {"f:matchLabels": {"f:x": {}}}},
        },
        "manager": "kubectl",
        "operation": "Apply",
        "time": NOW,
    }]);
    assert_eq!(new["metadata"]["managedFields"].to_string(), fields.to_string());
    config["metadata"]["managedFields"] = fields;
    assert_eq!(new, config);
}

#[test]
fn a_create_is_an_update_of_nothing() {
    let mut config = object(json!({"action": "ALLOW", "rules": []}));
    config["metadata"]["annotations"] = json!({"a": "b"});
    config["metadata"]["generateName"] = json!("a");
    let new = update(None, config.clone(), &by("kubectl-create"));
    let fields = json!([{
        "apiVersion": "security.istio.io/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:annotations": {".": {}, "f:a": {}}, "f:generateName": {}},
            "f:spec": {".": {}, "f:action": {}, "f:rules": {}},
        },
        "manager": "kubectl-create",
        "operation": "Update",
        "time": NOW,
    }]);
    assert_eq!(new["metadata"]["managedFields"].to_string(), fields.to_string());
}

#[test]
fn a_conflict_names_the_owner_and_the_field() {
    let live = created(update(None, object(json!({"action": "ALLOW", "rules": [{}]})), &by("M")));
    let error = applied(&live, json!({"rules": []}), "me").unwrap_err();
    assert_eq!(
        error.to_json().to_string(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Apply failed with 1 conflict: conflict with \"M\" using security.istio.io/v1: .spec.rules","reason":"Conflict","details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"M\" using security.istio.io/v1","field":".spec.rules"}]},"code":409}"#
    );
    let error = applied(&live, json!({"rules": [], "action": "DENY"}), "me").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"M\" using security.istio.io/v1:\n- .spec.action\n- .spec.rules"
    );
    let live = created(apply(None, &object(json!({"action": "ALLOW"})), &by("N"), false).unwrap());
    let error = applied(&live, json!({"action": "DENY"}), "me").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"N\": .spec.action"
    );
}

#[test]
fn force_takes_the_fields() {
    let live = created(update(None, object(json!({"action": "ALLOW", "rules": []})), &by("M")));
    let new = apply(Some(&live), &object(json!({"action": "DENY"})), &by("me"), true).unwrap();
    assert_eq!(new["spec"], json!({"action": "DENY", "rules": []}));
    assert_eq!(owned_paths(&new, "me"), [".spec.action"]);
    assert_eq!(owned_paths(&new, "M"), [".spec", ".spec.rules"]);
}

#[test]
fn equal_values_are_shared() {
    let live = created(apply(None, &object(json!({"action": "ALLOW"})), &by("a"), false).unwrap());
    let live = applied(&live, json!({"action": "ALLOW"}), "b").unwrap();
    assert_eq!(owned_paths(&live, "a"), [".spec.action"]);
    assert_eq!(owned_paths(&live, "b"), [".spec.action"]);
    // Whoever changes it now is in conflict with the other.
    let error = applied(&live, json!({"action": "DENY"}), "a").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"b\": .spec.action"
    );
    // And whoever leaves it out leaves it to the other.
    let live = applied(&live, json!({}), "a").unwrap();
    assert_eq!(live["spec"], json!({"action": "ALLOW"}));
    let live = applied(&live, json!({"rules": []}), "b").unwrap();
    assert_eq!(live["spec"], json!({"rules": []}));
}

#[test]
fn what_is_no_longer_applied_goes() {
    let mut config =
        object(json!({"action": "ALLOW", "selector": {"matchLabels": {"x": "1", "y": "2"}}}));
    config["metadata"]["labels"] = json!({"a": "1"});
    let live = created(apply(None, &config, &by("a"), false).unwrap());
    let next = applied(&live, json!({"selector": {"matchLabels": {"y": "2"}}}), "a").unwrap();
    assert_eq!(next["spec"], json!({"selector": {"matchLabels": {"y": "2"}}}));
    assert_eq!(next["metadata"].get("labels"), None);
    assert_eq!(next["metadata"]["uid"], "u-1");
    let next = apply(
        Some(&live),
        &json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "a"},
        }),
        &by("a"),
        false,
    )
    .unwrap();
    assert_eq!(next.get("spec"), None);
    assert_eq!(next["metadata"].get("managedFields"), None);
}

#[test]
fn what_others_put_below_stays() {
    let live = created(
        apply(None, &object(json!({"selector": {"matchLabels": {"x": "1"}}})), &by("a"), false)
            .unwrap(),
    );
    let mut other = live.clone();
    other["spec"]["selector"]["matchLabels"]["z"] = json!("3");
    let live = update(Some(&live), other, &by("b"));
    assert_eq!(owned_paths(&live, "b"), [".spec.selector.matchLabels.z"]);
    let next = applied(&live, json!({"action": "DENY"}), "a").unwrap();
    assert_eq!(next["spec"], json!({"action": "DENY", "selector": {"matchLabels": {"z": "3"}}}));
}

#[test]
fn an_update_takes_what_it_changes_and_forgets_what_it_removes() {
    let config = object(json!({"action": "ALLOW", "rules": [], "provider": {"name": "p"}}));
    let live = created(apply(None, &config, &by("a"), false).unwrap());
    let mut new = live.clone();
    new["spec"] = json!({"action": "DENY", "rules": []});
    let write = Write { now: LATER, ..by("kubectl-edit") };
    let new = update(Some(&live), new, &write);
    assert_eq!(owned_paths(&new, "a"), [".spec.rules"]);
    assert_eq!(owned_paths(&new, "kubectl-edit"), [".spec.action"]);
    let times: Vec<_> = new["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["time"].clone())
        .collect();
    assert_eq!(times, [NOW, LATER]);
}

#[test]
fn nothing_new_changes_nothing() {
    let later = Write { now: LATER, ..by("a") };
    let live = created(apply(None, &object(json!({"action": "ALLOW"})), &by("a"), false).unwrap());
    assert_eq!(
        apply(Some(&live), &object(json!({"action": "ALLOW"})), &later, false),
        Ok(live.clone())
    );
    assert_eq!(update(Some(&live), live.clone(), &later), live);
    assert_eq!(update(Some(&live), live.clone(), &Write { now: LATER, ..by("b") }), live);
    let next = apply(Some(&live), &object(json!({"action": "DENY"})), &later, false).unwrap();
    assert_eq!(next["metadata"]["managedFields"][0]["time"], LATER);
}

#[test]
fn preconditions_are_passed_on() {
    let live = created(apply(None, &object(json!({})), &by("a"), false).unwrap());
    let mut config = object(json!({}));
    config["metadata"]["resourceVersion"] = json!("0815");
    config["metadata"]["creationTimestamp"] = Value::Null;
    let next = apply(Some(&live), &config, &by("a"), false).unwrap();
    assert_eq!(next["metadata"]["resourceVersion"], "0815");
    assert_eq!(next["metadata"]["creationTimestamp"], NOW);
    assert_eq!(next["metadata"]["uid"], "u-1");
}

#[test]
fn one_who_applies_is_the_same_in_every_version() {
    let live = created(
        apply(None, &object(json!({"action": "ALLOW", "rules": []})), &by("a"), false).unwrap(),
    );
    let beta = Write { api_version: "security.istio.io/v1beta1", ..by("a") };
    let mut config = object(json!({"rules": []}));
    config["apiVersion"] = json!(beta.api_version);
    let next = apply(Some(&live), &config, &beta, false).unwrap();
    assert_eq!(next["spec"], json!({"rules": []}));
    assert_eq!(next["apiVersion"], beta.api_version);
    let entries = next["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["apiVersion"], beta.api_version);
    // One who updates is another in another version.
    let mut new = next.clone();
    new["spec"] = json!({"rules": [], "action": "ALLOW"});
    let next = update(Some(&next), new.clone(), &by("u"));
    new["metadata"] = next["metadata"].clone();
    new["spec"]["provider"] = json!({"name": "p"});
    let next = update(Some(&next), new, &Write { manager: "u", ..beta });
    assert_eq!(next["metadata"]["managedFields"].as_array().unwrap().len(), 3);
}

#[test]
fn status_has_its_own_owners() {
    let status = Write { endpoint: Endpoint::Status, ..by("postern") };
    let mut config = object(json!({"action": "ALLOW"}));
    config["status"] = json!({"mine": true});
    let live = created(update(None, config.clone(), &by("a")));
    assert_eq!(owned_paths(&live, "a"), [".spec", ".spec.action"]);
    let mut live = live;
    live.as_object_mut().unwrap().remove("status");

    let mut new = live.clone();
    new["status"] = json!({"conditions": []});
    let live = update(Some(&live), new, &status);
    assert_eq!(owned_paths(&live, "postern"), [".status", ".status.conditions"]);
    assert_eq!(live["metadata"]["managedFields"][1]["subresource"], "status");

    // Through the object itself, the status cannot be touched.
    config["status"] = json!({"conditions": [1]});
    let next = apply(Some(&live), &config, &by("b"), false).unwrap();
    assert_eq!(next["status"], json!({"conditions": []}));
    assert_eq!(owned_paths(&next, "b"), [".spec.action"]);

    // And through the status, nothing else.
    let mut other = object(json!({"action": "DENY"}));
    other["status"] = json!({"conditions": [1]});
    let write = Write { manager: "c", ..status };
    let error = apply(Some(&next), &other, &write, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"postern\" with subresource \"status\" using security.istio.io/v1: .status.conditions"
    );
    let next = apply(Some(&next), &other, &write, true).unwrap();
    assert_eq!(next["spec"], json!({"action": "ALLOW"}));
    assert_eq!(next["status"], json!({"conditions": [1]}));
    assert_eq!(owned_paths(&next, "c"), [".status.conditions"]);
    assert_eq!(owned_paths(&next, "postern"), [".status"]);
}

#[test]
fn finalizers_are_a_set_and_owner_references_have_keys() {
    let with = |finalizers: Value, owners: Value| {
        let mut config = object(json!({}));
        config["metadata"]["finalizers"] = finalizers;
        config["metadata"]["ownerReferences"] = owners;
        config
    };
    let owner = |uid: &str, name: &str| json!({"uid": uid, "name": name});
    let config = with(json!(["x/a", "x/b"]), json!([owner("1", "one")]));
    let live = created(apply(None, &config, &by("a"), false).unwrap());
    assert_eq!(
        owned_paths(&live, "a"),
        [
            ".metadata.finalizers[=\"x/a\"]",
            ".metadata.finalizers[=\"x/b\"]",
            ".metadata.ownerReferences[uid=\"1\"]",
            ".spec"
        ]
    );
    let config = with(json!(["x/c", "x/b"]), json!([owner("2", "two")]));
    let live = apply(Some(&live), &config, &by("b"), false).unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["x/a", "x/b", "x/c"]));
    assert_eq!(live["metadata"]["ownerReferences"], json!([owner("1", "one"), owner("2", "two")]));
    let error = apply(Some(&live), &with(json!([]), json!([owner("2", "zwei")])), &by("a"), false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"b\": .metadata.ownerReferences[uid=\"2\"]"
    );
    let live = apply(Some(&live), &with(json!([]), json!([])), &by("a"), false).unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!(["x/b", "x/c"]));
    assert_eq!(live["metadata"]["ownerReferences"], json!([owner("2", "two")]));
}

#[test]
fn ports_are_fields_themselves() {
    let config = object(json!({"portLevelMtls": {"80": {"mode": "STRICT"}}}));
    let live = created(apply(None, &config, &by("a"), false).unwrap());
    assert_eq!(owned_paths(&live, "a"), [".spec.portLevelMtls.80", ".spec.portLevelMtls.80.mode"]);
    let next = applied(&live, json!({"portLevelMtls": {"81": {}}}), "a").unwrap();
    assert_eq!(next["spec"], json!({"portLevelMtls": {"81": {}}}));
}

#[test]
fn managed_fields_cannot_be_applied() {
    for (fields, code) in [(json!([]), Some(400)), (json!([{}]), Some(400)), (Value::Null, None)] {
        let mut config = object(json!({}));
        config["metadata"]["managedFields"] = fields;
        let error = apply(None, &config, &by("a"), false).err();
        assert_eq!(error.as_ref().map(ApiError::code), code);
    }
}

#[rstest]
#[case::reset(json!([{}]), &[], &[])]
#[case::ignored(json!([]), &[".spec.action"], &[])]
#[case::null(Value::Null, &[".spec.action"], &[])]
#[case::unreadable(json!([{"manager": "x", "operation": "Apply", "fieldsType": "FieldsV2"}]), &[".spec.action"], &[])]
#[case::unreadable_field(json!([{"manager": "x", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"spec": {}}}]), &[".spec.action"], &[])]
#[case::unknown_operation(json!([{"manager": "x", "operation": "Patch", "fieldsType": "FieldsV1"}]), &[".spec.action"], &[])]
#[case::written(
    json!([{"manager": "x", "operation": "Apply", "apiVersion": "security.istio.io/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:action": {}}}}]),
    &[],
    &[".spec.action"]
)]
fn managed_fields_can_be_written(#[case] fields: Value, #[case] a: &[&str], #[case] x: &[&str]) {
    let live = created(apply(None, &object(json!({"action": "ALLOW"})), &by("a"), false).unwrap());
    let mut new = live.clone();
    new["metadata"]["managedFields"] = fields.clone();
    let new = update(Some(&live), new, &by("me"));
    assert_eq!(owned_paths(&new, "a"), a);
    assert_eq!(owned_paths(&new, "x"), x);
    assert_eq!(owned_paths(&new, "me"), [""; 0]);
    // Not through the status.
    let mut new = live.clone();
    new["metadata"]["managedFields"] = fields;
    let new = update(Some(&live), new, &Write { endpoint: Endpoint::Status, ..by("me") });
    assert_eq!(new, live);
}

#[test]
fn without_records_what_is_there_is_somebodys_from_the_first_apply_on() {
    let live = created(object(json!({"action": "ALLOW", "rules": []})));
    let mut new = live.clone();
    new["spec"]["action"] = json!("DENY");
    let live = update(Some(&live), new.clone(), &by("u"));
    assert_eq!(live, new);
    let error = applied(&live, json!({"action": "AUDIT"}), "a").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using security.istio.io/v1: .spec.action"
    );
    let next = applied(&live, json!({"action": "DENY"}), "a").unwrap();
    assert_eq!(owned_paths(&next, "before-first-apply"), [".spec", ".spec.action", ".spec.rules"]);
}

#[test]
fn old_updates_are_thrown_together() {
    let mut live = created(update(None, object(json!({})), &by("m-00")));
    for n in 1..15 {
        let manager = format!("m-{n:02}");
        let now = format!("2026-01-01T00:00:{n:02}Z");
        let mut new = live.clone();
        new["spec"][&manager] = json!(n);
        live = update(Some(&live), new, &Write { now: &now, ..by(&manager) });
    }
    let managers: Vec<_> = live["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["manager"].as_str().unwrap())
        .collect();
    assert_eq!(
        managers,
        ["ancient-changes", "m-06", "m-07", "m-08", "m-09", "m-10", "m-11", "m-12", "m-13", "m-14"]
    );
    assert_eq!(owned_paths(&live, "ancient-changes").len(), 6);
    assert_eq!(live["metadata"]["managedFields"][0]["time"], "2026-01-01T00:00:05Z");
}
