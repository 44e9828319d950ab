use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::status::ResourceType;
use super::*;

#[rstest]
#[case(r#"{"a": [1, -2, 1.5, true, null, "x\u00e9"], "b": {}}"#, json!({"a": [1, -2, 1.5, true, null, "xé"], "b": {}}))]
#[case(" 1 ", json!(1))]
#[case("18446744073709551615", json!(u64::MAX))]
fn json_bodies(#[case] body: &str, #[case] expect: Value) {
    let expect = Decoded { value: expect, duplicates: Vec::new() };
    assert_eq!(decode(body.as_bytes(), Format::Json), Ok(expect.clone()));
    assert_eq!(decode(body.as_bytes(), Format::Yaml), Ok(expect));
}

#[rstest]
#[case(r#"{"a": 1, "a": 2}"#, &["a"], json!({"a": 2}))]
#[case(r#"{"a": 1, "a": 2, "a": 3}"#, &["a"], json!({"a": 3}))]
#[case(r#"{"spec": {"rules": [{}, {"to": 1, "to": 2}], "x": {"a": 1}}}"#, &["spec.rules[1].to"], json!({"spec": {"rules": [{}, {"to": 2}], "x": {"a": 1}}}))]
#[case(r#"{"a": {"b": 1, "b": 1}, "a": {"b": 2}}"#, &["a.b", "a"], json!({"a": {"b": 2}}))]
fn keys_that_stand_twice(#[case] body: &str, #[case] expect: &[&str], #[case] value: Value) {
    let duplicates = expect.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(decode(body.as_bytes(), Format::Json), Ok(Decoded { value, duplicates }));
}

#[rstest]
#[case("80", MAX_FINDINGS)]
#[case::one_path_once_it_is_cut(&"k".repeat(100_000), 1)]
fn findings_have_a_limit(#[case] key: &str, #[case] count: usize) {
    let twice: Vec<_> = (0..1000).map(|n| format!(r#""{n}":1,"{n}":1"#)).collect();
    let body = format!(r#"{{"spec":{{"ports":{{"{key}":{{{}}}}}}}}}"#, twice.join(","));
    let mut decoded = decode(body.as_bytes(), Format::Json).unwrap();
    let unknown = prune(&mut decoded.value, &schema());
    assert_eq!(decoded.value["spec"]["ports"][key], json!({}));
    for found in [decoded.duplicates, unknown] {
        assert_eq!(found.len(), count);
        assert!(found.iter().all(|path| path.len() < 2000));
    }
}

#[rstest]
#[case("")]
#[case("{")]
#[case("{} {}")]
#[case("{\"a\": 1,}")]
#[case("{a: 1}")]
#[case("'x'")]
#[case("nul")]
fn bodies_that_are_no_json(#[case] body: &str) {
    let error = decode(body.as_bytes(), Format::Json).unwrap_err();
    assert!(error.0.starts_with("json parse error: "), "{error}");
}

#[test]
fn bodies_that_are_no_text() {
    assert!(decode(b"\"\xff\"", Format::Json).is_err());
    assert!(decode(b"a: \xff", Format::Yaml).is_err());
}

#[rstest]
#[case("a: 1\nb: [x, 'y', yes, ~]\n", json!({"a": 1, "b": ["x", "y", true, null]}))]
#[case("---\na: {b: 0x10}\n", json!({"a": {"b": 16}}))]
#[case("a: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}}))]
#[case("{a: 1}", json!({"a": 1}))]
#[case("on: 1", json!({"on": 1}))]
fn yaml_bodies(#[case] body: &str, #[case] value: Value) {
    assert_eq!(
        decode(body.as_bytes(), Format::Yaml),
        Ok(Decoded { value, duplicates: Vec::new() })
    );
}

#[rstest]
#[case("a: 1\nb: 2\na: 3\n", "yaml: line 3: the key `a` is given twice")]
#[case("a: [", "yaml: line 1: ")]
#[case("", "yaml: the text is empty")]
#[case("a: 1\n---\nb: 2\n", "yaml: there is more than one document")]
fn bodies_that_are_no_yaml(#[case] body: &str, #[case] expect: &str) {
    let error = decode(body.as_bytes(), Format::Yaml).unwrap_err();
    assert!(error.0.starts_with(expect), "{error}");
}

#[rstest]
fn bodies_that_nest_too_deeply(#[values(Format::Json, Format::Yaml)] format: Format) {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(depth(&decode(nested(MAX_DEPTH).as_bytes(), format).unwrap().value), MAX_DEPTH);
    assert!(decode(nested(MAX_DEPTH + 1).as_bytes(), format).is_err());
    assert!(decode(nested(100_000).as_bytes(), format).is_err());
}

#[rstest]
#[case(None, Some(Format::Json))]
#[case(Some("application/json; charset=utf-8"), Some(Format::Json))]
#[case(Some("application/yaml"), Some(Format::Yaml))]
#[case(Some("application/vnd.kubernetes.protobuf"), None)]
#[case(Some("text/plain"), None)]
fn media_types(#[case] header: Option<&str>, #[case] expect: Option<Format>) {
    let found = Format::from_content_type(header);
    assert_eq!(found.as_ref().ok(), expect.as_ref());
    assert_eq!(found.err().map(|error| error.code()), expect.is_none().then_some(415));
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "action": {"type": "string"},
                    "rules": {"type": "array", "items": {
                        "type": "object",
                        "properties": {"to": {"type": "array", "items": {"type": "object"}}},
                    }},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "ports": {"type": "object", "additionalProperties": {
                        "type": "object", "properties": {"mode": {"type": "string"}},
                    }},
                },
            },
            "status": {
                "type": "object",
                "properties": {"type": {"type": "object", "properties": {"name": {}}}},
                "x-kubernetes-preserve-unknown-fields": true,
            },
        },
    })
}

#[rstest]
#[case(json!({"apiVersion": 1, "kind": 2, "spec": {"action": "x"}}), &[])]
#[case(json!({"spec": {"acton": "x"}}), &["spec.acton"])]
#[case(json!({"other": {}, "spec": {}}), &["other"])]
#[case(json!({"spec": {"rules": [{}, {"fro": []}, {"to": [{"x": 1}]}]}}), &["spec.rules[1].fro", "spec.rules[2].to[0].x"])]
#[case(json!({"spec": {"labels": {"any": "x"}, "ports": {"80": {"mode": "STRICT", "mod": 1}}}}), &["spec.ports.80.mod"])]
#[case(json!({"status": {"anything": {"goes": 1}, "type": {"name": 1, "nam": 2}}}), &["status.type.nam"])]
#[case(json!({"metadata": {"name": "a", "labels": {"x": "y"}, "lables": {}, "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}]}}), &["metadata.lables"])]
#[case(json!({"spec": {"z": 1, "b": 2, "a": 3}}), &["spec.a", "spec.b", "spec.z"])]
#[case::wrong_types_are_left_alone(json!({"spec": {"action": {"x": 1}, "rules": {"x": 1}, "labels": [1]}, "metadata": 1}), &[])]
#[case(json!([]), &[])]
fn unknown_fields(#[case] object: Value, #[case] expect: &[&str]) {
    let mut pruned = object.clone();
    assert_eq!(prune(&mut pruned, &schema()), expect);
    let mut again = pruned.clone();
    assert!(prune(&mut again, &schema()).is_empty());
    assert_eq!(again, pruned);
    assert_eq!(pruned == object, expect.is_empty());
}

#[test]
fn findings_are_judged() {
    let found = findings(&["spec.acton".to_owned()], &["spec.action".to_owned()]);
    assert_eq!(found, [r#"unknown field "spec.acton""#, r#"duplicate field "spec.action""#]);
    let refuse =
        |why: &str| ApiError::cannot_be_handled(ResourceType::AUTHORIZATION_POLICY, "v1", why);
    assert_eq!(judge(FieldValidation::Ignore, found.clone(), refuse), Ok(Vec::new()));
    assert_eq!(judge(FieldValidation::Warn, found.clone(), refuse), Ok(found.clone()));
    assert_eq!(judge(FieldValidation::Strict, Vec::new(), refuse), Ok(Vec::new()));
    let error = judge(FieldValidation::Strict, found, refuse).unwrap_err();
    let expect = r#"AuthorizationPolicy in version "v1" cannot be handled as a AuthorizationPolicy: strict decoding error: unknown field "spec.acton", duplicate field "spec.action""#;
    assert_eq!((error.code(), error.to_string().as_str()), (400, expect));
}

#[test]
fn refusals_of_patches() {
    let error = refuse_patch(&json!({"a": "b"}), "strict decoding error: x");
    let expect =
        r#" "" is invalid: patch: Invalid value: "{\"a\":\"b\"}": strict decoding error: x"#;
    assert_eq!((error.code(), error.to_string().as_str()), (422, expect));
    let target = Target {
        resource: ResourceType::AUTHORIZATION_POLICY,
        version: "v1",
        namespace: Some("shop"),
        name: Some("a"),
    };
    let error = refuse_apply(target, &["spec.acton".to_owned()]);
    let expect = "failed to create typed patch object (shop/a; security.istio.io/v1, Kind=AuthorizationPolicy): .spec.acton: field not declared in schema";
    assert_eq!((error.code(), error.to_string().as_str()), (400, expect));
}

#[test]
fn warnings() {
    assert_eq!(
        warning_header("unknown field \"spec.acton\"\r\n"),
        r#"299 - "unknown field \"spec.acton\"  ""#
    );
}

proptest! {
    #[test]
    fn json_is_read_as_serde_reads_it(text in r#"[\[\]{}:, "a1truefalsn.eE-]{0,30}"#) {
        let decoded = decode(text.as_bytes(), Format::Json).ok();
        prop_assert_eq!(decoded.map(|decoded| decoded.value), serde_json::from_str::<Value>(&text).ok());
    }

    #[test]
    fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(decode(&body, Format::Yaml));
    }
}
