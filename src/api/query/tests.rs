use rstest::rstest;
use serde_json::json;

use super::*;

fn query(raw: &str) -> Query {
    Query::parse(Some(raw)).unwrap()
}

#[rstest]
#[case("", &[])]
#[case("&watch=true&a=b+c%20d&&x&y==", &[("watch", "true"), ("a", "b c d"), ("x", ""), ("y", "=")])]
#[case("fieldSelector=metadata.name%3Da", &[("fieldSelector", "metadata.name=a")])]
fn pairs(#[case] raw: &str, #[case] expect: &[(&str, &str)]) {
    let expect = expect.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(query(raw), Query(expect));
}

#[rstest]
#[case("a=%")]
#[case("a=%2")]
#[case("a=%zz")]
#[case("a=%ff")]
fn bad_escapes(#[case] raw: &str) {
    assert_eq!(Query::parse(Some(raw)).unwrap_err().code(), 400);
}

#[rstest]
#[case("watch=true", true)]
#[case("watch=1", true)]
#[case("&watch=true", true)]
#[case("watch=True", true)]
#[case("watch", true)]
#[case("watch=0", false)]
#[case("watch=false", false)]
#[case("", false)]
fn watches(#[case] raw: &str, #[case] expect: bool) {
    assert_eq!(query(raw).is_watch(), expect);
}

#[test]
fn a_list_as_kubectl_asks_for_it() {
    let token = ContinueToken { resource_version: 7, start: "ns/a".to_owned() };
    let raw = format!("limit=500&labelSelector=x%3Dy&continue={}", token.encode());
    let options = query(&raw).list_options().unwrap();
    assert_eq!(options.limit, NonZeroUsize::new(500));
    assert_eq!(options.continue_token, Some(token));
    assert!(!options.watch && !options.selects_all());
    assert!(options.matches(&json!({"metadata": {"labels": {"x": "y"}}})));
    assert!(!options.matches(&json!({"metadata": {}})));
}

#[test]
fn a_streaming_list_as_kube_asks_for_it() {
    let raw = "&watch=true&timeoutSeconds=290&allowWatchBookmarks=true&sendInitialEvents=true\
               &resourceVersionMatch=NotOlderThan&resourceVersion=0";
    let options = query(raw).list_options().unwrap();
    assert!(options.watch && options.allow_watch_bookmarks && options.selects_all());
    assert_eq!(options.send_initial_events, Some(true));
    assert_eq!(options.resource_version, Some(0));
    assert_eq!(options.timeout_seconds, Some(290));
}

const TOKEN: &str = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Nywic3RhcnQiOiJucy9hIn0";

#[rstest]
#[case("limit=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax")]
#[case(
    "limit=99999999999999999999",
    400,
    "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"
)]
#[case("timeoutSeconds=1s", 400, "strconv.ParseInt: parsing \"1s\": invalid syntax")]
#[case(
    "resourceVersion=abc",
    400,
    "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax"
)]
#[case(
    "resourceVersion=-1",
    400,
    "invalid resource version: resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": invalid syntax"
)]
#[case(
    "labelSelector=a%3D%3D%3D",
    400,
    "unable to parse requirement: found '=', expected: identifier"
)]
#[case("fieldSelector=spec.x=1", 400, "field label not supported: spec.x")]
#[case("continue=xx", 400, "invalid continue token: continue key is not valid: it is not base64")]
#[case(&format!("continue={TOKEN}&resourceVersion=3"), 400, "specifying resource version is not allowed when using continue")]
#[case(
    "resourceVersionMatch=Exact",
    422,
    "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
)]
#[case(
    "resourceVersionMatch=Exact&resourceVersion=0",
    422,
    "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
)]
#[case(
    "resourceVersionMatch=Newest&resourceVersion=1",
    422,
    "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\""
)]
#[case(
    "sendInitialEvents=true",
    422,
    "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"
)]
#[case(
    "watch=1&sendInitialEvents=true",
    422,
    "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
)]
#[case(
    "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
    422,
    "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
)]
fn list_errors(#[case] raw: &str, #[case] code: u16, #[case] expect: &str) {
    let error = query(raw).list_options().unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (code, expect));
}

#[test]
fn any_version_may_stand_beside_a_token() {
    let raw = format!("continue={TOKEN}&resourceVersion=0&limit=-1");
    let options = query(&raw).list_options().unwrap();
    assert_eq!(options.limit, None);
}

#[test]
fn a_write_as_kubectl_makes_it() {
    let raw = "fieldManager=kubectl&fieldValidation=Strict&force=false&dryRun=All";
    let options = query(raw).write_options(WriteKind::Apply).unwrap();
    let expect = WriteOptions {
        dry_run: true,
        field_manager: Some("kubectl".to_owned()),
        field_validation: FieldValidation::Strict,
        force: false,
    };
    assert_eq!(options, expect);
    assert_eq!(query("").write_options(WriteKind::Create), Ok(WriteOptions::default()));
}

#[rstest]
#[case(
    WriteKind::Apply,
    "",
    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
)]
#[case(
    WriteKind::Patch,
    "force=true",
    "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
)]
#[case(
    WriteKind::Create,
    "dryRun=Some",
    "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
)]
#[case(
    WriteKind::Update,
    "dryRun=All&dryRun=x",
    "UpdateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"x\": supported values: \"All\""
)]
#[case(
    WriteKind::Update,
    "fieldValidation=strict",
    "UpdateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"strict\": supported values: \"Ignore\", \"Strict\", \"Warn\""
)]
#[case(
    WriteKind::Create,
    "fieldManager=a%0A",
    "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\n\": should only contain printable characters"
)]
fn write_errors(#[case] kind: WriteKind, #[case] raw: &str, #[case] expect: &str) {
    let error = query(raw).write_options(kind).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (422, expect));
}

#[test]
fn a_field_manager_has_a_longest_name() {
    let long = "a".repeat(MAX_FIELD_MANAGER);
    assert!(query(&format!("fieldManager={long}")).write_options(WriteKind::Create).is_ok());
    let error = query(&format!("fieldManager={long}a")).write_options(WriteKind::Create);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .ends_with("fieldManager: Too long: may not be more than 128 bytes")
    );
}

#[rstest]
#[case(json!({}), "", DeleteOptions::default())]
#[case(
    json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}), "propagationPolicy=Orphan",
    DeleteOptions { propagation_policy: Some(PropagationPolicy::Background), ..DeleteOptions::default() }
)]
#[case(
    json!({"preconditions": {"uid": "u", "resourceVersion": "3"}, "dryRun": ["All"], "gracePeriodSeconds": 0}), "",
    DeleteOptions { dry_run: true, uid: Some("u".to_owned()), resource_version: Some("3".to_owned()), ..DeleteOptions::default() }
)]
#[case(
    json!({"dryRun": []}), "dryRun=All&propagationPolicy=Foreground",
    DeleteOptions { dry_run: true, propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteOptions::default() }
)]
fn deletes(#[case] body: Value, #[case] raw: &str, #[case] expect: DeleteOptions) {
    assert_eq!(query(raw).delete_options(Some(&body)), Ok(expect));
}

#[rstest]
#[case(json!([]), "", 400)]
#[case(json!({"kind": "Pod"}), "", 400)]
#[case(json!({"dryRun": "All"}), "", 400)]
#[case(json!({"dryRun": [1]}), "", 400)]
#[case(json!({"dryRun": ["Some"]}), "", 422)]
#[case(json!({"propagationPolicy": "Later"}), "", 422)]
#[case(json!({"preconditions": {"uid": 1}}), "", 400)]
#[case(json!({"preconditions": []}), "", 400)]
#[case(json!({"gracePeriodSeconds": "1"}), "", 400)]
#[case(json!({}), "gracePeriodSeconds=x", 400)]
#[case(json!({}), "dryRun=x", 422)]
fn delete_errors(#[case] body: Value, #[case] raw: &str, #[case] code: u16) {
    assert_eq!(query(raw).delete_options(Some(&body)).unwrap_err().code(), code);
}

#[rstest]
#[case(Some("me"), Some("kubectl/v1"), "me")]
#[case(None, Some("kubectl/v1.32.5 (linux/amd64)"), "kubectl")]
#[case(Some(""), Some("curl"), "curl")]
#[case(None, None, "unknown")]
#[case(None, Some("\u{1}a\u{2}b/"), "ab")]
fn managers(#[case] name: Option<&str>, #[case] agent: Option<&str>, #[case] expect: &str) {
    assert_eq!(manager_name(name, agent), expect);
    assert!(manager_name(None, Some(&"é".repeat(100))).len() <= MAX_FIELD_MANAGER);
}

#[test]
fn rows() {
    assert_eq!(query("includeObject=Object").include_object(), Ok(IncludeObject::Object));
    assert_eq!(query("").include_object(), Ok(IncludeObject::Metadata));
    assert!(query("includeObject=x").include_object().is_err());
}
