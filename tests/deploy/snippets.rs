//! `deploy/snippets`: what other projects are told about Postern.

use std::{fs, process::Command};

use postern::manifest;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    envoy_process,
    promises::{each, text},
    shapes::{chart, overlay},
    tools::{read, root, yaml},
};

fn snippet(name: &str) -> Vec<Value> {
    yaml(&read(&format!("deploy/snippets/{name}.yaml")))
}

fn of_kind<'v>(values: &'v [Value], kind: &str) -> &'v Value {
    values.iter().find(|value| value["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn envoy_takes_its_own() {
    let output = Command::new(envoy_process::binary())
        .args(["--mode", "validate", "-l", "warning", "-c"])
        .arg(root().join("deploy/snippets/envoy.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All of them close when Postern is away, wait no longer than a second, and ask where it is.
#[test]
fn nobody_gets_in_without_an_answer() {
    let gateway = snippet("envoy-gateway");
    let ext_auth = &of_kind(&gateway, "SecurityPolicy")["spec"]["extAuth"];
    assert_eq!(ext_auth["failOpen"], false);
    assert_eq!(ext_auth["timeout"], "1s");
    let backend = json!({ "name": "postern", "namespace": "postern", "port": 9191 });
    assert_eq!(ext_auth["grpc"]["backendRefs"], json!([backend]));
    let grant = of_kind(&gateway, "ReferenceGrant");
    assert_eq!(grant["metadata"]["namespace"], backend["namespace"]);
    let from = of_kind(&gateway, "SecurityPolicy");
    assert_eq!(grant["spec"]["from"][0]["namespace"], from["metadata"]["namespace"]);

    let contour = snippet("contour");
    let service = of_kind(&contour, "ExtensionService");
    assert_eq!(service["spec"]["protocol"], "h2c");
    assert_eq!(service["spec"]["services"], json!([{ "name": "postern", "port": 9191 }]));
    let proxy = of_kind(&contour, "HTTPProxy");
    let authorization = &proxy["spec"]["virtualhost"]["authorization"];
    assert_eq!(authorization["failOpen"], false);
    assert_eq!(authorization["responseTimeout"], "1s");
    assert_eq!(authorization["extensionRef"]["namespace"], service["metadata"]["namespace"]);
    assert!(proxy["spec"]["virtualhost"]["tls"].is_object(), "Contour refuses it without");

    let istio = snippet("istio");
    let provider = &istio[0]["spec"]["meshConfig"]["extensionProviders"][0];
    let grpc = &provider["envoyExtAuthzGrpc"];
    assert_eq!(grpc["failOpen"], false);
    assert_eq!(grpc["timeout"], "1s");
    assert_eq!(grpc["service"], "postern.postern.svc.cluster.local");
    assert_eq!(grpc["port"], 9191);
    let policy = of_kind(&istio, "AuthorizationPolicy");
    assert_eq!(policy["spec"]["provider"]["name"], provider["name"]);

    let envoy = &snippet("envoy")[0]["static_resources"];
    let manager = &envoy["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let filter = &manager["http_filters"][0]["typed_config"];
    assert_eq!(filter["failure_mode_allow"], false);
    assert_eq!(filter["grpc_service"]["timeout"], "1s");
    for setting in ["include_peer_certificate", "include_tls_session", "encode_raw_headers"] {
        assert_eq!(filter[setting], true, "{setting}");
        assert_eq!(
            of_kind(&istio, "EnvoyFilter")["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
                [setting],
            true
        );
    }

    // That is where the manifests put it.
    for installation in [overlay("service"), chart(&json!({ "fullnameOverride": "postern" }), &[])]
    {
        let service = installation.of_kind("Service").next().unwrap();
        assert_eq!(service["metadata"]["name"], "postern");
        assert_eq!(service["spec"]["ports"][0]["port"], 9191);
    }
    assert_eq!(
        overlay("service").of_kind("Service").next().unwrap()["metadata"]["namespace"],
        "postern"
    );
}

/// The CUSTOM policy is one that Postern's reader takes as well.
#[test]
fn the_custom_policy_is_a_good_one() {
    let policy = of_kind(&snippet("istio"), "AuthorizationPolicy").clone();
    let decoded =
        manifest::decode(&policy.to_string(), Some("p.json"), &manifest::Options::default());
    assert!(decoded.diagnostics.is_empty(), "{:#?}", decoded.diagnostics);
}

/// All name the workload in the way that the service reads it.
#[rstest]
#[case("envoy-gateway")]
#[case("contour")]
#[case("envoy")]
fn workloads_are_named_as_postern_reads_them(#[case] name: &str) {
    let text = read(&format!("deploy/snippets/{name}.yaml"));
    for part in ["postern.namespace", "shop", "postern.labels", "app=web"] {
        assert!(text.contains(part), "{part}");
    }
}

/// Each has a page, and each page has its file.
#[test]
fn every_snippet_is_explained() {
    let names: Vec<_> = fs::read_dir(root().join("deploy/snippets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 4);
    for name in names {
        let page = read(&format!("docs/deploy/{name}.md"));
        assert!(page.contains(&format!("deploy/snippets/{name}.yaml")), "{name}.md");
    }
}

/// Links of the pages lead to files that are there.
#[test]
fn pages_lead_somewhere() {
    for entry in fs::read_dir(root().join("docs/deploy")).unwrap() {
        let page = entry.unwrap().path();
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = page.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{}: {link}", page.display());
        }
    }
}

/// kustomize reads no files outside its folder, so this one is a copy.
#[test]
fn the_sidecars_envoy_is_the_example() {
    let example = read("examples/envoy/unix-socket.yaml");
    assert_eq!(read("deploy/kustomize/overlays/sidecar/envoy.yaml"), example);
    let installation = chart(&json!({ "shape": "sidecar" }), &[]);
    let envoy = installation.of_kind("ConfigMap").find(|map| map["data"]["envoy.yaml"].is_string());
    assert_eq!(text(&envoy.unwrap()["data"]["envoy.yaml"]).trim(), example.trim());
    assert!(!each(&yaml(&example)[0]["static_resources"]["listeners"]).is_empty());
}
