//! What the manifests say to Postern is what Postern understands.

use std::{fs, path::Path};

use clap::{Args as _, FromArgMatches as _};
use postern::config::{Config, Environment, Flags};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    promises::{Installation, each, text},
    shapes::{chart, management, overlay},
};

fn known(flag: &str) -> bool {
    let command = Flags::augment_args(clap::Command::new("serve"));
    command.get_arguments().any(|argument| argument.get_long() == flag.strip_prefix("--"))
}

/// The configuration that the container would start with, with its files in `folder`.
pub(crate) fn configuration(installation: &Installation, folder: &Path) -> Config {
    let pod = installation.pod();
    let mut arguments = vec!["serve".to_owned()];
    for argument in pod.arguments().iter().skip(1) {
        arguments.push(argument.replace("=/etc/", &format!("={}/etc/", folder.display())));
    }
    let file = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // As the downward API writes them.
    let labels = pod.labels.as_object().unwrap().iter();
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    file("etc/podinfo/labels", &labels.join("\n"));
    for map in installation.of_kind("ConfigMap") {
        for (name, value) in map["data"].as_object().unwrap() {
            let place = if name == "postern.yaml" { "config" } else { "policies" };
            file(&format!("etc/postern/{place}/{name}"), text(value));
        }
    }
    let variables = each(&pod.postern()["env"]).iter().map(|variable| {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.namespace") => "shop".to_owned(),
            Some(other) => panic!("{other}"),
            None => text(&variable["value"]).to_owned(),
        };
        (text(&variable["name"]).to_owned(), value)
    });
    let environment = Environment { variables: variables.collect(), terminal: false };
    let command = Flags::augment_args(clap::Command::new("serve"));
    let matches = command.try_get_matches_from(arguments).unwrap_or_else(|error| panic!("{error}"));
    let flags = Flags::from_arg_matches(&matches).unwrap();
    Config::load(&flags, &environment).unwrap_or_else(|invalid| panic!("{invalid}"))
}

#[rstest]
#[case(chart(&json!({
    "workload": { "namespace": "shop", "labels": { "version": "v2", "app": "web" } },
    "config": { "rootNamespace": "istio-config" },
}), &[]))]
#[case(overlay("service"))]
#[case(overlay("service-files"))]
#[case(chart(&json!({ "shape": "store" }), &[]))]
#[case(overlay("store"))]
fn servers_are_understood(#[case] installation: Installation) {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&installation, folder.path());
    assert_eq!(config.listen.to_string(), "0.0.0.0:9191");
    assert_eq!(config.probes, Some("0.0.0.0:8283".parse().unwrap()));
    assert!(config.admin.ip().is_loopback());
    if let Some(labels) = installation.pod().argument("--labels") {
        assert_eq!(labels, "app=web,version=v2");
        assert_eq!(config.settings.workloads[0].namespace, "shop");
        assert_eq!(config.settings.mesh.root_namespace, "istio-config");
    }
}

#[rstest]
#[case(chart(&json!({
    "shape": "sidecar",
    "policies": { "source": "files", "existingConfigMap": "p" },
    "sidecar": { "labels": { "app": "web" } },
}), &["p"]))]
#[case(chart(&json!({ "shape": "sidecar", "sidecar": { "labels": { "app": "web" } } }), &[]))]
#[case(overlay("sidecar"))]
fn sidecars_know_whom_they_guard(#[case] installation: Installation) {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&installation, folder.path());
    let workload = &config.settings.workloads[0];
    assert_eq!(workload.namespace, "shop");
    assert_eq!(workload.labels["app"], "web");
    assert!(config.use_remote_address);
}

#[rstest]
#[case(chart(&management("service", &json!({ "tlsSecret": "tls" })), &["tls"]), true)]
#[case(chart(&management("store", &json!({})), &[]), false)]
#[case(overlay("service-management"), true)]
fn the_management_api_is_understood(#[case] installation: Installation, #[case] has_tls: bool) {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&installation, folder.path());
    let management = config.management.unwrap();
    assert_eq!(management.address, "0.0.0.0:9443".parse().unwrap());
    assert_eq!(management.identity.is_some(), has_tls);
    assert_eq!(management.hosts.is_empty(), has_tls);
    assert_eq!(management.jwt_rules[0]["issuer"], "https://issuer.example");
    let pod = installation.pod();
    assert_eq!(pod.port("management"), Some(9443));
    if has_tls {
        let volume = pod.volume_at("postern", "/etc/postern/management");
        assert!(volume["secret"]["secretName"].is_string());
    }
}

#[test]
fn every_flag_is_known() {
    let values: [Value; 4] = [
        management("store", &json!({})),
        json!({ "policies": { "namespaces": ["shop"] } }),
        json!({ "shape": "sidecar" }),
        json!({ "shape": "store" }),
    ];
    let charts = values.iter().map(|values| chart(values, &[]));
    let overlays =
        ["service", "service-files", "service-management", "sidecar", "store"].map(overlay);
    for installation in charts.chain(overlays) {
        for argument in installation.pod().arguments().iter().skip(1) {
            let flag = argument.split('=').next().unwrap();
            assert!(known(flag), "{flag}");
        }
    }
}
