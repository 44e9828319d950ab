#![expect(clippy::needless_pass_by_value, reason = "literals read better by value")]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

// The examples of RFC 7386, appendix A.
#[rstest]
#[case(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}))]
#[case(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}))]
#[case(json!({"a": "b"}), json!({"a": null}), json!({}))]
#[case(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}))]
#[case(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}))]
#[case(json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]}))]
#[case(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}))]
#[case(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}))]
#[case(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}))]
#[case(json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"}))]
#[case(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}))]
fn merges(#[case] target: Value, #[case] patch: Value, #[case] expect: Value) {
    assert_eq!(merge_patch(&target, &patch), Ok(expect));
}

#[rstest]
#[case(json!([]))]
#[case(json!(null))]
#[case(json!("x"))]
fn merge_patches_that_are_none(#[case] patch: Value) {
    assert_eq!(merge_patch(&json!({}), &patch).unwrap_err().code(), 400);
}

fn patched(target: Value, patch: Value) -> Result<Value, ApiError> {
    json_patch(&target, patch.to_string().as_bytes())
}

#[rstest]
#[case(json!([{"op": "add", "path": "/a/b", "value": 1}]), json!({"a": {"x/y": [1, 2], "b": 1}}))]
#[case(json!([{"op": "remove", "path": "/a/x~1y"}]), json!({"a": {}}))]
#[case(json!([{"op": "replace", "path": "/a", "value": null}]), json!({"a": null}))]
#[case(json!([{"op": "add", "path": "/a/x~1y/-", "value": 3}]), json!({"a": {"x/y": [1, 2, 3]}}))]
#[case(json!([{"op": "add", "path": "/a/x~1y/0", "value": 3}]), json!({"a": {"x/y": [3, 1, 2]}}))]
#[case(json!([{"op": "move", "from": "/a/x~1y", "path": "/b"}]), json!({"a": {}, "b": [1, 2]}))]
#[case(json!([{"op": "copy", "from": "/a/x~1y/1", "path": "/b"}]), json!({"a": {"x/y": [1, 2]}, "b": 2}))]
#[case(json!([{"op": "test", "path": "/a/x~1y", "value": [1, 2]}, {"op": "remove", "path": "/a"}]), json!({}))]
#[case(json!([]), json!({"a": {"x/y": [1, 2]}}))]
fn operations(#[case] patch: Value, #[case] expect: Value) {
    assert_eq!(patched(json!({"a": {"x/y": [1, 2]}}), patch), Ok(expect));
}

#[rstest]
#[case(json!([{"op": "test", "path": "/a", "value": 2}]))]
#[case(json!([{"op": "test", "path": "/b", "value": null}]))]
#[case(json!([{"op": "remove", "path": "/b"}]))]
#[case(json!([{"op": "replace", "path": "/b", "value": 1}]))]
#[case(json!([{"op": "add", "path": "/b/c", "value": 1}]))]
#[case(json!([{"op": "add", "path": "/l/9", "value": 1}]))]
#[case(json!([{"op": "add", "path": "/l/01", "value": 1}]))]
#[case(json!([{"op": "move", "from": "/o", "path": "/o/p"}]))]
#[case(json!([{"op": "copy", "from": "/b", "path": "/c"}]))]
#[case(json!([{"op": "replace", "path": "", "value": []}]))]
#[case(json!([{"op": "remove", "path": ""}]))]
fn patches_that_do_not_fit(#[case] patch: Value) {
    let error = patched(json!({"a": 1, "l": [], "o": {}}), patch).unwrap_err();
    let expect = "the server rejected our request due to an error in our request";
    assert_eq!((error.code(), error.to_string().as_str()), (422, expect));
}

#[rstest]
#[case(json!({}))]
#[case(json!([1]))]
#[case(json!([{"op": "put", "path": "/a", "value": 1}]))]
#[case(json!([{"op": "add", "path": "/a"}]))]
#[case(json!([{"op": "add", "path": "a", "value": 1}]))]
#[case(json!([{"path": "/a", "value": 1}]))]
fn patches_that_are_none(#[case] patch: Value) {
    let error = patched(json!({"a": 1}), patch).unwrap_err();
    assert_eq!(error.code(), 400);
    assert!(error.to_string().starts_with("error decoding patch: "), "{error}");
}

#[test]
fn limits() {
    let test = json!({"op": "test", "path": "/a", "value": 1});
    let target = json!({"a": 1});
    assert!(patched(target.clone(), Value::Array(vec![test.clone(); MAX_OPERATIONS])).is_ok());
    let error = patched(target.clone(), Value::Array(vec![test; MAX_OPERATIONS + 1])).unwrap_err();
    assert_eq!(error.code(), 413);

    let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
    let error = patched(json!({"a": ["x".repeat(100)]}), Value::Array(vec![double; 64]));
    assert_eq!(error.unwrap_err().code(), 413);

    let deeper = json!({"op": "move", "from": "/a", "path": "/b/a"});
    let rename = json!({"op": "move", "from": "/b", "path": "/a"});
    let new = json!({"op": "add", "path": "/b", "value": {}});
    let round = [new, deeper, rename];
    let many: Vec<_> = round.iter().cycle().take(3 * MAX_DEPTH).cloned().collect();
    assert_eq!(patched(target, Value::Array(many)).unwrap_err().code(), 413);
}

#[rstest]
#[case(Some("application/json-patch+json"), Some(PatchType::Json))]
#[case(Some("application/merge-patch+json; charset=utf-8"), Some(PatchType::Merge))]
#[case(Some("Application/Apply-Patch+YAML"), Some(PatchType::Apply))]
#[case(Some("application/strategic-merge-patch+json"), None)]
#[case(Some("application/json"), None)]
#[case(None, None)]
fn media_types(#[case] header: Option<&str>, #[case] expect: Option<PatchType>) {
    let found = PatchType::from_content_type(header);
    assert_eq!(found.as_ref().ok(), expect.as_ref());
    if let Err(error) = found {
        let expect = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        assert_eq!((error.code(), error.to_string().as_str()), (415, expect));
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        "[ab]".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            object(inner),
        ]
    })
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abc]", inner, 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #[test]
    fn a_merge_patch_is_idempotent(target in object(value()), patch in object(value())) {
        let once = merge_patch(&target, &patch).unwrap();
        prop_assert_eq!(merge_patch(&once, &patch).unwrap(), once);
    }

    #[test]
    fn nothing_changes_nothing(target in object(value())) {
        let (merged, patched) = (merge_patch(&target, &json!({})), json_patch(&target, b"[]"));
        prop_assert_eq!(merged.as_ref(), Ok(&target));
        prop_assert_eq!(patched.as_ref(), Ok(&target));
    }

    #[test]
    fn any_body_is_read_or_refused(body in ".{0,40}", target in object(value())) {
        drop(json_patch(&target, body.as_bytes()));
    }
}
