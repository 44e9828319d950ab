use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::manifest::schema;

fn read(path: &str) -> Value {
    serde_json::from_slice(&document(path).unwrap().json).unwrap()
}

#[test]
fn the_root_names_each_document_by_its_hash() {
    let root = root();
    let paths = root["paths"].as_object().unwrap();
    let names: Vec<_> = paths.keys().collect();
    assert_eq!(
        names,
        [
            "api/v1",
            "apis/gateway.kyma-project.io/v1alpha1",
            "apis/gateway.kyma-project.io/v1beta1",
            "apis/gateway.kyma-project.io/v2",
            "apis/gateway.kyma-project.io/v2alpha1",
            "apis/networking.istio.io/v1",
            "apis/networking.istio.io/v1alpha3",
            "apis/networking.istio.io/v1beta1",
            "apis/security.istio.io/v1",
            "apis/security.istio.io/v1beta1",
        ]
    );
    let hashes: BTreeSet<_> = paths.keys().map(|path| &document(path).unwrap().hash).collect();
    assert_eq!(hashes.len(), 10);
    for (path, entry) in paths {
        let hash = &document(path).unwrap().hash;
        assert_eq!(hash.len(), 128);
        assert_eq!(entry["serverRelativeURL"], format!("/openapi/v3/{path}?hash={hash}"));
    }
    assert!(document("apis/apps/v1").is_none());
}

/// Without this, kubectl says that it cannot validate.
#[rstest]
#[case("api/v1", "", "v1", "Namespace")]
#[case("apis/security.istio.io/v1", "security.istio.io", "v1", "AuthorizationPolicy")]
#[case("apis/security.istio.io/v1", "security.istio.io", "v1", "PeerAuthentication")]
#[case("apis/security.istio.io/v1beta1", "security.istio.io", "v1beta1", "RequestAuthentication")]
#[case("apis/networking.istio.io/v1alpha3", "networking.istio.io", "v1alpha3", "VirtualService")]
fn patches_can_be_strict(
    #[case] path: &str,
    #[case] group: &str,
    #[case] version: &str,
    #[case] kind: &str,
) {
    let document = read(path);
    let expected = json!({ "group": group, "version": version, "kind": kind });
    let patches = document["paths"].as_object().unwrap().values().filter_map(|it| it.get("patch"));
    let mut patches =
        patches.filter(|patch| patch["x-kubernetes-group-version-kind"] == expected).peekable();
    assert!(patches.peek().is_some());
    for patch in patches {
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|it| it["name"] == "fieldValidation" && it["in"] == "query"));
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str() {
                        Some(target) if name == "$ref" => {
                            into.insert(target.to_owned());
                        }
                        _ => references(value, into),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    for path in DOCUMENTS.keys() {
        let document = read(path);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 5);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path}: {target}");
        }
    }
}

#[test]
fn schemas_are_those_of_the_kinds() {
    for version in schema::VERSIONS {
        let document = read(&format!("apis/security.istio.io/{version}"));
        let schemas = &document["components"]["schemas"];
        for kind in crate::model::Kind::ISTIO {
            let found = &schemas[format!("io.istio.security.{version}.{kind}")];
            let expected = json!([
                { "group": "security.istio.io", "version": version, "kind": kind.as_str() }
            ]);
            assert_eq!(found["x-kubernetes-group-version-kind"], expected);
            let ours = &schema::of(kind).schema;
            assert_eq!(found["properties"]["spec"], ours["properties"]["spec"]);
            assert_eq!(found["description"], ours["description"]);
        }
    }
}

#[test]
fn operations_are_those_of_the_resources() {
    let document = read("apis/security.istio.io/v1");
    let paths = document["paths"].as_object().unwrap();
    let methods = |path: &str| -> Vec<_> {
        let path = paths[&format!("/apis/security.istio.io/v1/{path}")].as_object().unwrap();
        path.keys().map(String::as_str).filter(|key| *key != "parameters").collect()
    };
    assert_eq!(methods("authorizationpolicies"), ["get"]);
    let collection = "namespaces/{namespace}/authorizationpolicies";
    assert_eq!(methods(collection), ["get", "post", "delete"]);
    let item = format!("{collection}/{{name}}");
    assert_eq!(methods(&item), ["get", "put", "patch", "delete"]);
    assert_eq!(methods(&format!("{item}/status")), ["get", "patch", "put"]);
    let core = read("api/v1");
    let methods: Vec<_> = core["paths"]["/api/v1/namespaces"].as_object().unwrap().keys().collect();
    assert_eq!(methods, ["get", "post", "parameters"]);
}
