use rstest::rstest;
use serde_json::json;

use super::*;
use crate::model::Kind;

/// What kubectl sends.
const KUBECTL: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                       application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                       application/json";

const V2: Form = Form::Aggregated(DiscoveryVersion::V2);
const V2_BETA_1: Form = Form::Aggregated(DiscoveryVersion::V2Beta1);

#[rstest]
#[case(None, Some(Form::Plain))]
#[case(Some(""), Some(Form::Plain))]
#[case(Some("*/*"), Some(Form::Plain))]
#[case(Some("application/json, */*"), Some(Form::Plain))]
#[case(Some(KUBECTL), Some(V2))]
#[case(
    Some("application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io"),
    Some(V2_BETA_1)
)]
#[case(Some("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList"), None)]
#[case(
    Some("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json"),
    Some(Form::Plain)
)]
#[case(
    Some(
        "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    ),
    Some(Form::Plain)
)]
#[case(Some("application/vnd.kubernetes.protobuf"), None)]
#[case(Some("application/json;q=0"), None)]
fn forms(#[case] accept: Option<&str>, #[case] expected: Option<Form>) {
    let found = Form::negotiate(accept);
    assert_eq!(found.as_ref().ok().copied(), expected);
    assert!(expected.is_some() || found.unwrap_err().code() == 406);
}

#[test]
fn plain_groups() {
    let body = api(None).unwrap().body;
    let expected =
        json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] });
    assert_eq!(body, expected);

    let Document { content_type, body } = apis(None).unwrap();
    assert_eq!(content_type, "application/json");
    let names: Vec<_> =
        body["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!(
        names,
        [
            "authentication.k8s.io",
            "authorization.k8s.io",
            "security.istio.io",
            "gateway.kyma-project.io",
            "networking.istio.io",
        ]
    );

    let group = api_group_document("security.istio.io").unwrap().body;
    let v1 = json!({ "groupVersion": "security.istio.io/v1", "version": "v1" });
    let v1beta1 = json!({ "groupVersion": "security.istio.io/v1beta1", "version": "v1beta1" });
    let expected = json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": "security.istio.io",
        "versions": [v1, v1beta1], "preferredVersion": v1,
    });
    assert_eq!(group, expected);
    assert_eq!(api_group_document("apps").unwrap_err().code(), 404);
    assert_eq!(api_group_document("").unwrap_err().code(), 404);
}

#[rstest]
#[case("v1")]
#[case("v1beta1")]
fn plain_resources(#[case] version: &str) {
    let body = api_resources("security.istio.io", version).unwrap().body;
    assert_eq!(body["kind"], "APIResourceList");
    assert_eq!(body["groupVersion"], format!("security.istio.io/{version}"));
    let rows = body["resources"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    let expected = [
        "authorizationpolicies",
        "authorizationpolicies/status",
        "requestauthentications",
        "requestauthentications/status",
        "peerauthentications",
        "peerauthentications/status",
    ];
    assert_eq!(names, expected);
    let expected = json!({
        "name": "authorizationpolicies",
        "singularName": "authorizationpolicy",
        "namespaced": true,
        "kind": "AuthorizationPolicy",
        "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
        "shortNames": ["ap"],
        "categories": ["istio-io", "security-istio-io"],
    });
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1]["verbs"], json!(["get", "patch", "update"]));
}

#[rstest]
#[case("v1")]
#[case("v1beta1")]
#[case("v1alpha3")]
fn virtual_services(#[case] version: &str) {
    let group = api_group_document("networking.istio.io").unwrap().body;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let body = api_resources("networking.istio.io", version).unwrap().body;
    let expected = json!({
        "name": "virtualservices",
        "singularName": "virtualservice",
        "namespaced": true,
        "kind": "VirtualService",
        "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
        "shortNames": ["vs"],
        "categories": ["istio-io", "networking-istio-io"],
    });
    assert_eq!(body["resources"][0], expected);
    assert_eq!(body["resources"][1]["name"], "virtualservices/status");
    let found = resource("networking.istio.io", version, "virtualservices").unwrap();
    assert_eq!(kind(found.names), None, "it is no policy");
}

#[test]
fn other_resources() {
    let namespaces = api_resources("", "v1").unwrap().body;
    assert_eq!(namespaces["groupVersion"], "v1");
    assert_eq!(namespaces["resources"][0]["shortNames"], json!(["ns"]));
    assert_eq!(namespaces["resources"].as_array().unwrap().len(), 1);
    for (group, version) in [("", "v2"), ("security.istio.io", "v1alpha1"), ("apps", "v1")] {
        assert_eq!(api_resources(group, version).unwrap_err().code(), 404);
    }
}

#[test]
fn aggregated_discovery() {
    let Document { content_type, body } = apis(Some(KUBECTL)).unwrap();
    assert_eq!(
        content_type,
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    assert_eq!(body["apiVersion"], "apidiscovery.k8s.io/v2");
    let istio = &body["items"][2];
    assert_eq!(istio["metadata"]["name"], "security.istio.io");
    let versions: Vec<_> = istio["versions"].as_array().unwrap().iter().collect();
    assert_eq!([&versions[0]["version"], &versions[1]["version"]], ["v1", "v1beta1"]);
    let expected = json!({
        "resource": "peerauthentications",
        "responseKind": {
            "group": "security.istio.io", "version": "v1beta1", "kind": "PeerAuthentication",
        },
        "scope": "Namespaced",
        "singularResource": "peerauthentication",
        "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
        "shortNames": ["pa"],
        "categories": ["istio-io", "security-istio-io"],
        "subresources": [{
            "subresource": "status",
            "responseKind": {
                "group": "security.istio.io", "version": "v1beta1", "kind": "PeerAuthentication",
            },
            "verbs": ["get", "patch", "update"],
        }],
    });
    assert_eq!(versions[1]["resources"][2], expected);

    let core = api(Some(KUBECTL)).unwrap().body;
    assert_eq!(core["items"][0]["metadata"], json!({}));
    assert_eq!(core["items"][0]["versions"][0]["resources"][0]["scope"], "Cluster");
}

#[test]
fn paths_lead_to_resources_and_kinds() {
    let found = resource("security.istio.io", "v1beta1", "peerauthentications").unwrap();
    assert_eq!(kind(found.names), Some(Kind::PeerAuthentication));
    for known in Kind::ISTIO {
        assert_eq!(kind(resource_type(known)), Some(known));
        let schema = crate::manifest::schema::of(known);
        assert_eq!(resource_type(known).plural, schema.plural);
    }
    assert!(resource("security.istio.io", "v1", "peerauthentication").is_none());
    assert!(kind(resource("", "v1", "namespaces").unwrap().names).is_none());
}
