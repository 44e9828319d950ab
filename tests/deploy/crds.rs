//! `deploy/crds`: what `postern crds` prints, which takes what Postern takes.

use std::{fs, path::Path, process::Command};

use postern::{
    manifest::{self, schema},
    model::Kind,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::tools::{against, helm_crds, kustomize, read, root, yaml};

fn postern(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_postern")).args(arguments).env_clear().output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = postern(&[&["crds"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[rstest]
#[case("authorizationpolicies", "ap")]
#[case("peerauthentications", "PeerAuthentication")]
#[case("requestauthentications", "requestauthentications")]
#[case("apirules", "apirule")]
fn files_are_what_is_printed(#[case] name: &str, #[case] kind: &str) {
    let path = format!("deploy/crds/{name}.yaml");
    let printed = printed(&[kind]);
    assert!(read(&path) == printed, "run `cargo run -- crds {kind} > {path}`");
}

#[test]
fn all_are_printed_unless_some_are_asked_for() {
    let names = |values: &[Value]| -> Vec<String> {
        values.iter().map(|crd| crd["spec"]["names"]["shortNames"][0].to_string()).collect()
    };
    let documents = yaml(&printed(&[]));
    assert_eq!(names(&documents), [r#""ap""#, r#""ra""#, r#""pa""#]);
    let list: Value = serde_json::from_str(&printed(&["--output", "json"])).unwrap();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"], json!(documents));
    assert_eq!(names(&yaml(&printed(&["pa", "ap"]))), [r#""pa""#, r#""ap""#]);
    assert_eq!(names(&yaml(&printed(&["virtualservice"]))), [r#""vs""#]);

    let refused = postern(&["crds", "pods"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("the kinds are AuthorizationPolicy"), "{said}");
}

#[test]
fn helm_and_kustomize_bring_them() {
    let mut expected = yaml(&printed(&[]));
    let name = |crd: &Value| crd["metadata"]["name"].to_string();
    expected.sort_by_key(name);
    let mut of_helm: Vec<_> = helm_crds().iter().flat_map(|text| yaml(text)).collect();
    of_helm.sort_by_key(name);
    assert_eq!(of_helm, expected);
    let mut of_kustomize = kustomize("deploy/crds");
    of_kustomize.sort_by_key(name);
    assert_eq!(of_kustomize, expected);
}

#[test]
fn kubernetes_takes_them() {
    let routes = schema::virtual_service::custom_resource_definition();
    let definitions: Vec<_> =
        Kind::ALL.into_iter().map(schema::custom_resource_definition).chain([routes]).collect();
    for version in crate::tools::KUBERNETES {
        assert_eq!(crate::tools::invalid(&definitions, version), [] as [Value; 0], "{version}");
    }
}

/// The schema of a kind, with unknown fields refused as a strict API server does. The rules of
/// `manifest::tests::schema` are not part of this.
fn strict(kind: Kind) -> Value {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(members) => {
                let open = members.get("x-kubernetes-preserve-unknown-fields").is_some();
                if members.get("properties").is_some_and(Value::is_object) && !open {
                    members.insert("additionalProperties".into(), false.into());
                }
                members.values_mut().for_each(close);
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut schema = schema::of(kind).schema.clone();
    close(&mut schema);
    schema
}

/// Every resource in these folders, as JSON and as Postern sees it.
fn resources(folder: &Path, into: &mut Vec<(Kind, Value, bool)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            resources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let Ok(documents) = manifest::node::parse_documents(&text, Some("r.yaml")) else {
                continue;
            };
            for document in documents.iter().map(manifest::node::Node::to_json) {
                // Cases hold policies in a list of theirs.
                let inner = document["policies"].as_array().cloned().unwrap_or_default();
                for value in inner.into_iter().chain([document]) {
                    let Some(kind) = Kind::ISTIO.into_iter().find(|k| value["kind"] == k.as_str())
                    else {
                        continue;
                    };
                    let options = manifest::Options::default();
                    let decoded = manifest::decode(&value.to_string(), Some("r.json"), &options);
                    let admitted = decoded.documents.iter().all(|document| document.admitted);
                    into.push((kind, value, admitted));
                }
            }
        }
    }
}

/// Whatever Postern takes from a file, an API server with these CRDs takes too.
#[test]
fn schemas_take_what_admission_takes() {
    let mut found = Vec::new();
    for folder in ["examples", "tests/cases", "deploy/kustomize"] {
        resources(&root().join(folder), &mut found);
    }
    for kind in Kind::ISTIO {
        let admitted: Vec<_> = found
            .iter()
            .filter(|(of, _, admitted)| *of == kind && *admitted)
            // null counts as absent there too.
            .map(|(_, value, _)| without_nulls(value))
            .collect();
        assert!(admitted.len() > 5, "{} of {kind}", admitted.len());
        for (value, problems) in admitted.iter().zip(against(&strict(kind), &admitted)) {
            assert_eq!(problems, [] as [Value; 0], "{value:#}");
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            members.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// What has the wrong shape is refused by both.
#[rstest]
#[case(Kind::AuthorizationPolicy, json!({ "acton": "DENY" }))]
#[case(Kind::AuthorizationPolicy, json!({ "action": "BLOCK" }))]
#[case(Kind::AuthorizationPolicy, json!({ "rules": { "from": [] } }))]
#[case(Kind::AuthorizationPolicy, json!({ "rules": [{ "to": [{ "operation": { "ports": [80] } }] }] }))]
#[case(Kind::AuthorizationPolicy, json!({ "rules": [{ "when": [{ "values": ["a"] }] }] }))]
#[case(Kind::AuthorizationPolicy, json!({ "rules": [{ "from": [{ "source": { "ipBlock": ["10.0.0.1"] } }] }] }))]
#[case(Kind::AuthorizationPolicy, json!({ "targetRefs": [{ "kind": "Service" }] }))]
#[case(Kind::AuthorizationPolicy, json!({ "rules": [{ "from": [{ "source": { "serviceAccounts": ["a".repeat(321)] } }] }] }))]
#[case(Kind::PeerAuthentication, json!({ "mtls": { "mode": "strict" } }))]
#[case(Kind::PeerAuthentication, json!({ "selector": { "matchLabels": { "app": "web" } }, "portLevelMtls": {} }))]
#[case(Kind::PeerAuthentication, json!({ "selector": { "matchLabels": { "app": "a".repeat(64) } } }))]
#[case(Kind::PeerAuthentication, json!({ "targetRefs": [{ "kind": "Service", "name": "web" }] }))]
#[case(Kind::RequestAuthentication, json!({ "jwtRules": [{ "issuer": "" }] }))]
#[case(Kind::RequestAuthentication, json!({ "jwtRules": [{ "issuer": "i", "fromHeaders": ["x-token"] }] }))]
#[case(Kind::RequestAuthentication, json!({ "jwtRules": [{ "issuer": "i", "forwardOriginalToken": "true" }] }))]
#[case(Kind::RequestAuthentication, json!({ "jwtRules": [{ "issuer": "i", "outputClaimToHeaders": [{ "header": "a b", "claim": "c" }] }] }))]
#[case(Kind::RequestAuthentication, json!({ "jwtRules": [{ "issuer": "i", "audiences": [""] }] }))]
fn wrong_shapes_are_refused(#[case] kind: Kind, #[case] spec: Value) {
    let value = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind.as_str(),
        "metadata": { "name": "r" },
        "spec": spec,
    });
    let decoded =
        manifest::decode(&value.to_string(), Some("r.json"), &manifest::Options::default());
    assert!(decoded.has_errors(), "admission takes it");
    assert_ne!(against(&strict(kind), &[value]), [[] as [Value; 0]]);
}
