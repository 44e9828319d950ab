//! The chart with several values, and every overlay.

use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    promises::{Installation, each, text},
    tools::{KUBERNETES, helm, helm_lint, invalid, kustomize, yaml},
};

pub(crate) fn chart(values: &Value, given: &[&'static str]) -> Installation {
    let objects = helm(values).unwrap_or_else(|refused| panic!("{refused}"));
    Installation { objects, given: given.to_vec() }
}

pub(crate) fn overlay(name: &str) -> Installation {
    let given = Vec::new();
    Installation { objects: kustomize(&format!("deploy/kustomize/overlays/{name}")), given }
}

/// Kubernetes of each version takes it, and it keeps its promises.
fn holds(installation: &Installation) {
    // Not Kubernetes' own, so there is no schema of it; see `the_monitor_is_as_the_operator_wants_it`.
    let known: Vec<_> =
        installation.objects.iter().filter(|o| o["kind"] != "ServiceMonitor").cloned().collect();
    for version in KUBERNETES {
        assert_eq!(invalid(&known, version), [] as [Value; 0], "Kubernetes {version}");
    }
    installation.keeps_its_promises();
}

fn application() -> Value {
    json!({
        "name": "web",
        "image": "registry.example/web:1.0.0",
        "resources": { "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "memory": "1Gi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    })
}

/// The management API, with these values besides.
pub(crate) fn management(shape: &str, more: &Value) -> Value {
    let mut management = json!({
        "enabled": true,
        "issuer": "https://issuer.example",
        "jwksUri": "https://issuer.example/keys",
        "audiences": ["postern", "operators"],
        "prometheusUrl": "http://prometheus.monitoring:9090",
    });
    let more = more.as_object().unwrap().clone();
    management.as_object_mut().unwrap().extend(more);
    json!({ "shape": shape, "management": management })
}

#[rstest]
#[case::as_it_is(json!({}), &[])]
#[case::some_namespaces(
    json!({ "policies": { "namespaces": ["shop", "istio-system"] }, "rbac": { "create": true } }),
    &[]
)]
#[case::everything_set(
    json!({
        "fullnameOverride": "gatekeeper",
        "global": { "imageRegistry": "registry.example", "imagePullSecrets": [{ "name": "pull" }] },
        "image": { "tag": "1.2.3" },
        "policies": { "source": "files", "files": { "shop.yaml": "# none yet" } },
        "workload": { "namespace": "shop", "labels": { "version": "v2", "app": "web" } },
        "config": { "rootNamespace": "istio-config" },
        "extraEnv": [{ "name": "POSTERN_LOG_LEVEL", "value": "debug" }],
        "serviceAccount": { "name": "gatekeeper", "annotations": { "a": "b" } },
        "pod": {
            "annotations": { "c": "d" },
            "labels": { "e": "f" },
            "nodeSelector": { "kubernetes.io/arch": "arm64" },
            "tolerations": [{ "operator": "Exists" }],
            "priorityClassName": "system-cluster-critical",
        },
        "deployment": { "replicas": 5 },
        "service": { "headless": true, "port": 50051, "annotations": { "g": "h" } },
        "networkPolicy": { "prometheus": [{ "namespaceSelector": { "matchLabels": { "name": "monitoring" } } }] },
        "metrics": { "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } } },
    }),
    &[]
)]
#[case::service_of_pods(
    json!({ "workload": { "pods": true }, "policies": { "namespaces": ["istio-system", "shop"] } }),
    &[]
)]
#[case::service_with_management(management("service", &json!({ "tlsSecret": "tls" })), &["tls"])]
#[case::files_with_management(
    json!({
        "policies": { "source": "files", "existingConfigMap": "policies" },
        "config": { "managementJwtRules": [{ "issuer": "https://issuer.example" }] },
        "management": { "enabled": true, "tlsSecret": "tls", "port": 8443 },
        "networkPolicy": { "managementClients": [{ "podSelector": { "matchLabels": { "ops": "yes" } } }] },
    }),
    &["policies", "tls"]
)]
#[case::store_with_management(management("store", &json!({})), &[])]
#[case::sidecar(
    json!({
        "shape": "sidecar",
        "policies": { "source": "files", "existingConfigMap": "policies" },
        "sidecar": { "containers": [application()], "labels": { "app": "web" } },
    }),
    &["policies"]
)]
#[case::sidecar_that_watches(
    json!({ "shape": "sidecar", "sidecar": { "envoy": { "existingConfigMap": "envoy" } } }),
    &["envoy"]
)]
#[case::store(json!({ "shape": "store" }), &[])]
#[case::store_with_tokens(
    json!({
        "shape": "store",
        "store": {
            "authSecret": "tokens",
            "api": { "port": 8443 },
            "persistence": { "size": "10Gi", "storageClass": "fast", "accessMode": "ReadWriteOncePod" },
        },
        "networkPolicy": { "apiClients": [{ "podSelector": { "matchLabels": { "kubectl": "yes" } } }] },
    }),
    &["tokens"]
)]
fn charts_hold(#[case] values: Value, #[case] given: &[&'static str]) {
    holds(&chart(&values, given));
}

#[rstest]
#[case("service")]
#[case("service-files")]
#[case("service-pods")]
#[case("sidecar")]
#[case("store")]
fn overlays_hold(#[case] name: &str) {
    holds(&overlay(name));
}

#[test]
fn an_overlay_with_management_holds() {
    let given = vec!["postern-management-tls"];
    holds(&Installation { given, ..overlay("service-management") });
}

/// Promises that cannot be broken would say nothing.
#[rstest]
#[case("/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(false))]
#[case("/spec/template/spec/containers/0/securityContext/capabilities/add", json!(["NET_ADMIN"]))]
#[case("/spec/template/spec/containers/0/args/1", json!("--admin=0.0.0.0:8282"))]
#[case("/spec/template/spec/containers/0/livenessProbe", Value::Null)]
#[case("/spec/template/spec/containers/0/resources/requests/memory", json!("1Gi"))]
#[case("/spec/template/spec/automountServiceAccountToken", json!(false))]
#[case("/spec/template/spec/hostNetwork", json!(true))]
#[case("/spec/template/metadata/labels/app.kubernetes.io~1name", json!("other"))]
fn broken_promises_are_noticed(#[case] pointer: &str, #[case] value: Value) {
    let mut installation = overlay("service");
    let deployment = installation.objects.iter_mut().find(|o| o["kind"] == "Deployment").unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = deployment.pointer_mut(parent).unwrap();
    match name.parse::<usize>() {
        Ok(index) => parent[index] = value,
        Err(_) => parent[name.replace("~1", "/").as_str()] = value,
    }
    let kept = std::panic::catch_unwind(|| installation.keeps_its_promises());
    assert!(kept.is_err(), "{pointer}");
}

#[test]
fn the_linter_has_nothing_to_say() {
    assert_eq!(helm_lint(), json!([]));
}

#[rstest]
#[case::typo(json!({ "replicas": 3 }), "additional properties 'replicas' not allowed")]
#[case::shape(json!({ "shape": "daemon" }), "shape")]
#[case::no_policies(
    json!({ "policies": { "source": "files" } }),
    "policies.files or policies.existingConfigMap is needed"
)]
#[case::digest(json!({ "image": { "digest": "sha256:12" } }), "digest")]
#[case::management_without_tls(management("service", &json!({})), "management.tlsSecret is needed")]
#[case::management_for_everyone(
    management("service", &json!({ "tlsSecret": "tls", "audiences": [] })),
    "management.audiences is needed"
)]
#[case::management_in_a_sidecar(
    management("sidecar", &json!({ "tlsSecret": "tls" })),
    "management is for the shapes service and store"
)]
fn wrong_values_are_refused(#[case] values: Value, #[case] expected: &str) {
    let refused = helm(&values).unwrap_err();
    assert!(refused.contains(expected), "{refused}");
}

#[test]
fn images_are_named_as_asked() {
    let image = |values: Value| {
        let installation = chart(&values, &[]);
        text(&installation.pod().postern()["image"]).to_owned()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(json!({})), format!("postern:{version}"));
    let digest = format!("sha256:{}", "0".repeat(64));
    let values = json!({
        "global": { "imageRegistry": "registry.example/" },
        "image": { "repository": "team/postern", "digest": digest },
    });
    assert_eq!(image(values), format!("registry.example/team/postern@{digest}"));
    // Overlays and components name the same.
    for name in ["service", "service-files", "sidecar", "store"] {
        assert_eq!(overlay(name).pod().postern()["image"], format!("postern:{version}"));
    }
}

/// One for the status of policies, and one writer of the store.
#[test]
fn replicas_are_as_many_as_the_shape_allows() {
    for (installation, kind, replicas, budget) in [
        (chart(&json!({}), &[]), "Deployment", 2, 1),
        (overlay("service"), "Deployment", 2, 1),
        (overlay("sidecar"), "Deployment", 2, 1),
        (chart(&json!({ "shape": "store" }), &[]), "StatefulSet", 1, 0),
        (overlay("store"), "StatefulSet", 1, 0),
    ] {
        let workload = installation.of_kind(kind).next().unwrap();
        assert_eq!(workload["spec"]["replicas"], replicas);
        // One with a single replica would keep its node from being drained.
        assert_eq!(installation.of_kind("PodDisruptionBudget").count(), budget);
        if kind == "StatefulSet" {
            let kept = &workload["spec"]["persistentVolumeClaimRetentionPolicy"];
            assert_eq!(*kept, json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }));
        }
    }
}

#[test]
fn the_monitor_is_as_the_operator_wants_it() {
    let monitored = json!({ "metrics": { "serviceMonitor": { "enabled": true } } });
    for installation in [chart(&monitored, &[]), overlay("service-files")] {
        let monitor = installation.of_kind("ServiceMonitor").next().unwrap();
        assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
        let endpoint = json!([{ "port": "probes", "path": "/metrics", "interval": "30s" }]);
        assert_eq!(monitor["spec"]["endpoints"], endpoint);
    }
    assert_eq!(chart(&json!({}), &[]).of_kind("ServiceMonitor").count(), 0);
}

/// What reads everywhere needs a ClusterRole, and what reads in some namespaces has none.
#[test]
fn listed_namespaces_need_no_cluster_role() {
    let installation =
        chart(&json!({ "policies": { "namespaces": ["istio-system", "shop"] } }), &[]);
    assert_eq!(installation.of_kind("ClusterRole").count(), 0);
    let roles = installation.of_kind("Role").map(|role| text(&role["metadata"]["namespace"]));
    assert_eq!(roles.collect::<Vec<_>>(), ["istio-system", "shop", "gate"]);
    assert_eq!(installation.pod().argument("--kube-namespaces"), Some("istio-system,shop"));

    // Nor is there more to read than asked for.
    let rules = |values: &Value| {
        let installation = chart(values, &[]);
        let role = installation.of_kind("ClusterRole").next().unwrap();
        each(&role["rules"]).len()
    };
    assert_eq!(rules(&json!({})), 2);
    assert_eq!(rules(&json!({ "workload": { "pods": true } })), 3);
    assert_eq!(rules(&management("service", &json!({ "tlsSecret": "tls" }))), 3);

    // A sidecar writes no status: there are as many as pods.
    let sidecar = chart(&json!({ "shape": "sidecar" }), &[]);
    let rules: Vec<_> =
        ["Role", "ClusterRole"].iter().flat_map(|kind| sidecar.of_kind(kind)).collect();
    let [role] = rules.as_slice() else { panic!("{} roles", rules.len()) };
    assert_eq!(each(&role["rules"]).len(), 1);
}

#[test]
fn versions_agree() {
    let chart = &yaml(&crate::tools::read("deploy/helm/postern/Chart.yaml"))[0];
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let oldest = format!(">={}.0-0", KUBERNETES[0]);
    assert_eq!(chart["kubeVersion"], oldest);
}
