#![expect(clippy::needless_pass_by_value, reason = "literals read better by value")]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const TARGET: Target<'static> = Target {
    resource: ResourceType::AUTHORIZATION_POLICY,
    version: "v1",
    namespace: Some("shop"),
    name: Some("a"),
};
const BIRTH: Birth<'static> =
    Birth { uid: "u-1", creation_timestamp: "2026-01-02T03:04:05Z", random: 0 };

fn object(metadata: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": metadata,
        "spec": {"action": "ALLOW"},
    })
}

fn stored() -> Value {
    let mut stored = object(json!({
        "name": "a", "namespace": "shop", "uid": "u-1", "resourceVersion": "7", "generation": 3,
        "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"x": "y"},
    }));
    stored["status"] = json!({"observedGeneration": 3});
    stored
}

#[rstest]
#[case(json!([]), "the object provided is unrecognized (must be of type AuthorizationPolicy): the body is not an object")]
#[case(json!({}), "the object provided is unrecognized (must be of type AuthorizationPolicy): Object 'Kind' is missing")]
#[case(json!({"kind": "AuthorizationPolicy"}), "the object provided is unrecognized (must be of type AuthorizationPolicy): Object 'apiVersion' is missing")]
#[case(
    json!({"kind": "AuthorizationPolicy", "apiVersion": "security.istio.io/v1beta1"}),
    "the API version in the data (security.istio.io/v1beta1) does not match the expected API version (security.istio.io/v1)"
)]
#[case(
    json!({"kind": "PeerAuthentication", "apiVersion": "security.istio.io/v1"}),
    "the kind in the data (PeerAuthentication) does not match the expected kind (AuthorizationPolicy)"
)]
#[case(object(json!({"name": "b"})), "the name of the object (b) does not match the name on the URL (a)")]
#[case(object(json!({})), "the name of the object (a based on URL) was undeterminable: name must be provided")]
#[case(object(json!({"name": "a", "namespace": "x"})), "the namespace of the provided object does not match the namespace sent on the request")]
#[case(
    object(json!({"name": "a", "labels": {"x": 1}})),
    "AuthorizationPolicy in version \"v1\" cannot be handled as a AuthorizationPolicy: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
)]
#[case(
    object(json!({"name": 1})),
    "AuthorizationPolicy in version \"v1\" cannot be handled as a AuthorizationPolicy: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"
)]
#[case(
    object(json!([])),
    "AuthorizationPolicy in version \"v1\" cannot be handled as a AuthorizationPolicy: json: cannot unmarshal array into Go struct field metadata of type v1.ObjectMeta"
)]
#[case(
    object(json!({"creationTimestamp": "today"})),
    "AuthorizationPolicy in version \"v1\" cannot be handled as a AuthorizationPolicy: parsing time \"today\" as \"2006-01-02T15:04:05Z07:00\": cannot parse it"
)]
fn bodies_that_contradict_the_path(#[case] mut body: Value, #[case] expect: &str) {
    let error = check_identity(TARGET, &mut body).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (400, expect));
}

#[rstest]
#[case(json!({"name": true}))]
#[case(json!({"uid": 1}))]
#[case(json!({"generation": "1"}))]
#[case(json!({"generation": 1.5}))]
#[case(json!({"deletionTimestamp": 1}))]
#[case(json!({"annotations": []}))]
#[case(json!({"finalizers": {}}))]
#[case(json!({"finalizers": [1]}))]
#[case(json!({"ownerReferences": {}}))]
#[case(json!({"managedFields": ["x"]}))]
fn metadata_of_wrong_types(#[case] metadata: Value) {
    let error = check_identity(TARGET, &mut object(metadata)).unwrap_err();
    assert!(error.to_string().contains("cannot unmarshal"), "{error}");
}

#[test]
fn the_path_fills_in_the_namespace() {
    let mut body = object(json!({"name": "a", "creationTimestamp": null, "labels": null}));
    check_identity(TARGET, &mut body).unwrap();
    assert_eq!(body["metadata"]["namespace"], "shop");
    let cluster = Target { namespace: None, ..TARGET };
    assert_eq!(check_identity(cluster, &mut body).unwrap_err().code(), 400);
    let mut body = object(Value::Null);
    check_identity(Target { name: None, ..TARGET }, &mut body).unwrap();
    assert_eq!(body["metadata"], json!({"namespace": "shop"}));
}

#[test]
fn a_new_object_gets_what_the_server_gives() {
    let mut body = object(json!({
        "name": "a", "namespace": "shop", "uid": "mine", "generation": 9, "selfLink": "/x",
        "creationTimestamp": null, "deletionTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": "0",
    }));
    body["status"] = json!({"mine": true});
    assert_eq!(prepare_create(TARGET, &mut body, BIRTH), Ok(false));
    let expect = object(json!({
        "name": "a", "namespace": "shop", "uid": "u-1", "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }));
    assert_eq!(body, expect);
}

#[rstest]
#[case(json!({"name": "a", "resourceVersion": "3"}), 400, "resourceVersion should not be set on objects to be created")]
#[case(json!({}), 422, "AuthorizationPolicy.security.istio.io \"\" is invalid: metadata.name: Required value: name or generateName is required")]
#[case(
    json!({"name": "A_"}),
    422,
    "AuthorizationPolicy.security.istio.io \"A_\" is invalid: metadata.name: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)]
#[case(
    json!({"name": "a", "labels": {"x": "a b"}}),
    422,
    "AuthorizationPolicy.security.istio.io \"a\" is invalid: metadata.labels: Invalid value: \"a b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)]
fn objects_that_cannot_be_created(
    #[case] metadata: Value,
    #[case] code: u16,
    #[case] expect: &str,
) {
    let error = prepare_create(TARGET, &mut object(metadata), BIRTH).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (code, expect));
}

#[rstest]
#[case(json!({"name": "a", "namespace": "a.b"}), "metadata.namespace")]
#[case(json!({"name": "a", "labels": {"-": ""}}), "metadata.labels")]
#[case(json!({"name": "a", "annotations": {"a b": ""}}), "metadata.annotations")]
#[case(json!({"name": "a", "annotations": {"a": "x".repeat(256 * 1024)}}), "metadata.annotations")]
#[case(json!({"name": "a", "finalizers": ["a/b/c"]}), "metadata.finalizers")]
#[case(json!({"name": "a", "generateName": "A-"}), "metadata.generateName")]
#[case(json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n"}]}), "metadata.ownerReferences[0].uid")]
fn invalid_metadata(#[case] metadata: Value, #[case] field: &str) {
    let errors = validate(&object(metadata));
    assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), [field]);
}

#[test]
fn annotation_keys_may_have_capitals_in_their_prefix() {
    assert_eq!(validate(&object(json!({"name": "a", "annotations": {"Example.com/X": ""}}))), []);
}

#[test]
fn names_are_generated() {
    let mut body = object(json!({"generateName": "pol-"}));
    assert_eq!(prepare_create(TARGET, &mut body, BIRTH), Ok(true));
    assert_eq!(body["metadata"]["name"], "pol-bbbbb");
    assert_eq!(body["metadata"]["generateName"], "pol-");
}

proptest! {
    #[test]
    fn generated_names_are_valid(prefix in "[a-z]{1,200}-?", random in any::<u64>()) {
        let name = generated_name(&prefix, random);
        prop_assert!(name.len() <= 63, "{}", name);
        prop_assert!(crate::api::names::subdomain_problems(&name).is_empty());
    }

    #[test]
    fn any_prefix_is_cut_at_a_character(prefix in ".{0,80}", random in any::<u64>()) {
        prop_assert!(generated_name(&prefix, random).len() <= 63);
    }
}

#[test]
fn an_update_keeps_what_is_not_the_callers() {
    let mut body = object(json!({
        "name": "a", "namespace": "shop", "resourceVersion": "7", "generation": 99,
        "creationTimestamp": "2000-01-01T00:00:00Z", "deletionTimestamp": "2000-01-01T00:00:00Z",
        "labels": {"x": "z"}, "selfLink": "/x",
    }));
    body["status"] = json!({"mine": true});
    let updated = prepare_update(TARGET, &stored(), body.clone(), Endpoint::Main).unwrap();
    let mut expect = stored();
    expect["metadata"]["labels"] = json!({"x": "z"});
    assert_eq!(updated, expect);
    assert!(!is_unchanged(&stored(), &updated));

    body["spec"]["action"] = json!("DENY");
    let updated = prepare_update(TARGET, &stored(), body, Endpoint::Main).unwrap();
    expect["spec"]["action"] = json!("DENY");
    expect["metadata"]["generation"] = json!(4);
    assert_eq!(updated, expect);
}

#[test]
fn a_status_update_changes_the_status_only() {
    let mut body = stored();
    body["spec"] = json!({});
    body["metadata"]["labels"] = json!({});
    body["status"] = json!({"conditions": []});
    let updated = prepare_update(TARGET, &stored(), body.clone(), Endpoint::Status).unwrap();
    let mut expect = stored();
    expect["status"] = json!({"conditions": []});
    assert_eq!(updated, expect);

    body.as_object_mut().unwrap().remove("status");
    let updated = prepare_update(TARGET, &stored(), body, Endpoint::Status).unwrap();
    assert_eq!(updated.get("status"), None);
}

#[test]
fn nothing_new_is_unchanged() {
    let mut body = stored();
    body["apiVersion"] = json!("security.istio.io/v1beta1");
    let updated = prepare_update(TARGET, &stored(), body, Endpoint::Main).unwrap();
    assert!(is_unchanged(&stored(), &updated));
    assert_eq!(updated["apiVersion"], "security.istio.io/v1beta1");
}

#[rstest]
#[case("uid", json!("u-2"), 409, "Operation cannot be fulfilled on authorizationpolicies.security.istio.io \"a\": Precondition failed: UID in precondition: u-2, UID in object meta: u-1")]
#[case("resourceVersion", json!("6"), 409, "Operation cannot be fulfilled on authorizationpolicies.security.istio.io \"a\": the object has been modified; please apply your changes to the latest version and try again")]
#[case("resourceVersion", json!("8"), 409, "Operation cannot be fulfilled on authorizationpolicies.security.istio.io \"a\": the object has been modified; please apply your changes to the latest version and try again")]
#[case(
    "resourceVersion",
    Value::Null,
    422,
    "AuthorizationPolicy.security.istio.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
)]
#[case("resourceVersion", json!("x"), 422, "AuthorizationPolicy.security.istio.io \"a\" is invalid: metadata.resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax")]
fn preconditions_of_updates(
    #[case] field: &str,
    #[case] value: Value,
    #[case] code: u16,
    #[case] expect: &str,
    #[values(Endpoint::Main, Endpoint::Status)] endpoint: Endpoint,
) {
    let mut body = stored();
    body["metadata"][field] = value;
    let error = prepare_update(TARGET, &stored(), body, endpoint).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (code, expect));
}

fn delete(stored: &Value, options: DeleteOptions) -> Result<Deletion, ApiError> {
    prepare_delete(TARGET.resource, stored, &options, "2026-02-03T04:05:06Z")
}

#[test]
fn an_object_with_finalizers_is_marked_and_goes_with_the_last() {
    let mut with = stored();
    assert_eq!(delete(&with, DeleteOptions::default()), Ok(Deletion::Remove));
    with["metadata"]["finalizers"] = json!(["x/y"]);
    let Ok(Deletion::Mark(marked)) = delete(&with, DeleteOptions::default()) else { panic!() };
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-02-03T04:05:06Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(marked["metadata"]["generation"], 4);
    assert_eq!(delete(&marked, DeleteOptions::default()), Ok(Deletion::Pending));

    let mut body = marked.clone();
    body["metadata"]["deletionTimestamp"] = Value::Null;
    let updated = prepare_update(TARGET, &marked, body.clone(), Endpoint::Main).unwrap();
    assert_eq!(updated, marked);
    assert!(!is_finished(&updated));

    body["metadata"]["finalizers"] = json!(["x/y", "x/z"]);
    let error = prepare_update(TARGET, &marked, body.clone(), Endpoint::Main).unwrap_err();
    assert!(error.to_string().ends_with(
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x/z\"}"
    ), "{error}");

    body["metadata"]["finalizers"] = json!([]);
    assert!(is_finished(&prepare_update(TARGET, &marked, body, Endpoint::Main).unwrap()));
    assert!(!is_finished(&stored()));
}

#[rstest]
#[case(Some("u-1"), Some("7"), None)]
#[case(
    Some("u-2"),
    None,
    Some(
        "Operation cannot be fulfilled on authorizationpolicies.security.istio.io \"a\": Precondition failed: UID in precondition: u-2, UID in object meta: u-1"
    )
)]
#[case(
    None,
    Some("6"),
    Some(
        "Operation cannot be fulfilled on authorizationpolicies.security.istio.io \"a\": Precondition failed: ResourceVersion in precondition: 6, ResourceVersion in object meta: 7"
    )
)]
fn preconditions_of_deletes(
    #[case] uid: Option<&str>,
    #[case] resource_version: Option<&str>,
    #[case] expect: Option<&str>,
) {
    let options = DeleteOptions {
        uid: uid.map(str::to_owned),
        resource_version: resource_version.map(str::to_owned),
        ..DeleteOptions::default()
    };
    let error = delete(&stored(), options).err();
    assert_eq!(error.as_ref().map(ApiError::code), expect.map(|_| 409));
    assert_eq!(error.map(|error| error.to_string()).as_deref(), expect);
}
