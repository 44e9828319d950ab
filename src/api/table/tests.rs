use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

fn options(resource: ResourceType) -> TableOptions<'static> {
    TableOptions {
        resource,
        version: "v1",
        meta: MetaVersion::V1,
        include_object: IncludeObject::None,
        now: NOW,
    }
}

fn policy() -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {
            "name": "a", "namespace": "shop", "resourceVersion": "7",
            "creationTimestamp": "2025-12-31T23:56:00Z",
        },
        "spec": {"action": "DENY"},
    })
}

#[test]
fn a_list_as_a_table() {
    let list = json!({
        "kind": "AuthorizationPolicyList",
        "metadata": {"resourceVersion": "9", "continue": "x", "remainingItemCount": 3},
        "items": [policy(), {"metadata": {"name": "b"}}],
    });
    let table = of_list(&list, &options(ResourceType::AUTHORIZATION_POLICY));
    let expect = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "9", "continue": "x", "remainingItemCount": 3},
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "The name of the object, unique in its namespace.", "priority": 0},
            {"name": "Action", "type": "string", "format": "", "description": "The operation to take.", "priority": 0},
            {"name": "Age", "type": "date", "format": "", "description": "The time since the object was created.", "priority": 0},
        ],
        "rows": [{"cells": ["a", "DENY", "4m"]}, {"cells": ["b", null, "<unknown>"]}],
    });
    assert_eq!(table.to_string(), expect.to_string());
}

#[rstest]
#[case(IncludeObject::None, None)]
#[case(IncludeObject::Object, Some(policy()))]
#[case(
    IncludeObject::Metadata,
    Some(json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": policy()["metadata"]}))
)]
fn one_object_as_a_table(#[case] include_object: IncludeObject, #[case] expect: Option<Value>) {
    let options = TableOptions { include_object, ..options(ResourceType::AUTHORIZATION_POLICY) };
    let table = of_object(&policy(), false, &options);
    assert_eq!(table["metadata"], json!({"resourceVersion": "7"}));
    assert_eq!(table["columnDefinitions"], json!([]));
    assert_eq!(table["rows"][0].get("object"), expect.as_ref());
}

const RULES: ResourceType =
    ResourceType { group: "gateway.kyma-project.io", plural: "apirules", kind: "APIRule" };

#[rstest]
#[case(ResourceType::PEER_AUTHENTICATION, "v1", json!({"spec": {"mtls": {"mode": "STRICT"}}}), &["Name", "Mode", "Age"], json!([null, "STRICT", "<unknown>"]))]
#[case(ResourceType::REQUEST_AUTHENTICATION, "v1", json!({}), &["Name", "Age"], json!([null, "<unknown>"]))]
#[case(ResourceType::NAMESPACE, "v1", json!({"status": {"phase": "Active"}, "metadata": {"creationTimestamp": "x"}}), &["Name", "Status", "Age"], json!([null, "Active", "<invalid>"]))]
#[case(RULES, "v1beta1", json!({"spec": {"host": "h"}, "status": {"APIRuleStatus": {"code": "OK"}}}), &["Name", "Status", "Host", "Age"], json!([null, "OK", "h", "<unknown>"]))]
#[case(RULES, "v2", json!({"spec": {"hosts": ["h", "i"]}, "status": {"state": "Ready"}}), &["Name", "Status", "Hosts", "Age"], json!([null, "Ready", "[\"h\",\"i\"]", "<unknown>"]))]
fn columns_of_kinds(
    #[case] resource: ResourceType,
    #[case] version: &str,
    #[case] object: Value,
    #[case] names: &[&str],
    #[case] cells: Value,
) {
    let table = of_object(&object, true, &TableOptions { version, ..options(resource) });
    let found = table["columnDefinitions"].as_array().unwrap().iter();
    assert_eq!(found.map(|column| column["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert_eq!(table["rows"][0]["cells"], cells);
}

#[test]
fn metadata_of_a_list() {
    let list = json!({"metadata": {"resourceVersion": "9"}, "items": [policy()]});
    let expect = json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1beta1",
        "metadata": {"resourceVersion": "9"},
        "items": [{
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1beta1",
            "metadata": policy()["metadata"],
        }],
    });
    assert_eq!(metadata_only_list(&list, MetaVersion::V1Beta1), expect);
}

const KUBECTL: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

#[rstest]
#[case(None, Some(Form::Full))]
#[case(Some(""), Some(Form::Full))]
#[case(Some("*/*"), Some(Form::Full))]
#[case(Some("application/json, */*"), Some(Form::Full))]
#[case(Some(KUBECTL), Some(Form::Table(MetaVersion::V1)))]
#[case(
    Some("application/json;as=Table;v=v1beta1;g=meta.k8s.io"),
    Some(Form::Table(MetaVersion::V1Beta1))
)]
#[case(
    Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
    Some(Form::Metadata(MetaVersion::V1))
)]
#[case(
    Some("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
    Some(Form::Metadata(MetaVersion::V1))
)]
#[case(Some("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Full))]
#[case(Some("application/json;as=Table;v=v2;g=meta.k8s.io,application/json"), Some(Form::Full))]
#[case(Some("application/json;q=0, application/*;q=0.5"), Some(Form::Full))]
#[case(Some("application/vnd.kubernetes.protobuf"), None)]
#[case(Some("text/html"), None)]
#[case(Some("application/json;as=Table"), None)]
#[case(Some("application/json;q=0"), None)]
fn forms(#[case] accept: Option<&str>, #[case] expect: Option<Form>) {
    let found = Form::negotiate(accept);
    assert_eq!(found.as_ref().ok(), expect.as_ref());
    assert_eq!(found.err().map(|error| error.code()), expect.is_none().then_some(406));
}
