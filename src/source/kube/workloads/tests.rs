use rstest::rstest;
use serde_json::json;

use super::*;
use crate::telemetry::metrics::Metrics;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn pod_object(name: &str, labels: &Value, ip: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "shop", "labels": labels },
        "spec": { "serviceAccountName": "web" },
        "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] },
    })
}

fn service_object(name: &str, namespace: &str, spec: &Value) -> Value {
    let metadata = json!({ "name": name, "namespace": namespace });
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })
}

fn view() -> WorkloadsView {
    WorkloadsView::new(Part::ALL, Metrics::new("0").kube())
}

fn listed(view: &mut WorkloadsView, at: usize, objects: impl IntoIterator<Item = Value>) -> bool {
    let part = view.places[at].part;
    view.take(at, News::Begun);
    for value in objects {
        assert!(!view.take(at, News::Listed(part.object(object(value)).unwrap())));
    }
    view.take(at, News::Complete)
}

#[test]
fn a_pod_is_a_workload_with_the_services_that_lead_to_it() {
    let mut view = view();
    assert!(listed(
        &mut view,
        0,
        [
            pod_object("web-1", &json!({ "app": "web", "tier": "x" }), "10.0.0.1"),
            pod_object("cart-1", &json!({ "app": "cart" }), "::ffff:10.0.0.2"),
        ]
    ));
    assert_eq!(view.workloads(), None, "no Service is known yet");
    assert!(listed(
        &mut view,
        1,
        [
            service_object("web", "shop", &json!({ "selector": { "app": "web" } })),
            service_object("both", "shop", &json!({ "selector": { "app": "web", "tier": "x" } })),
            service_object("other", "shop", &json!({ "selector": { "app": "web", "tier": "y" } })),
            service_object("elsewhere", "bank", &json!({ "selector": { "app": "web" } })),
            service_object("none", "shop", &json!({})),
            service_object("empty", "shop", &json!({ "selector": {} })),
            service_object("null", "shop", &json!({ "selector": null, "type": "ExternalName" })),
            service_object(
                "name",
                "shop",
                &json!({ "type": "ExternalName", "selector": { "app": "cart" } }),
            ),
        ]
    ));
    let workload = |name: &str, labels: &[(&str, &str)], services: &[&str], address: [u8; 4]| {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Workload {
            namespace: "shop".into(),
            labels: labels.iter().map(owned).collect(),
            name: Some(name.into()),
            services: services.iter().map(|&s| s.to_owned()).collect(),
            addresses: [IpAddr::from(address)].into(),
            service_account: Some("web".into()),
        }
    };
    let expected = [
        workload("cart-1", &[("app", "cart")], &[], [10, 0, 0, 2]),
        workload("web-1", &[("app", "web"), ("tier", "x")], &["both", "web"], [10, 0, 0, 1]),
    ];
    assert_eq!(view.workloads().unwrap()[..], expected);
}

#[rstest]
#[case::ended(json!({ "status": { "phase": "Succeeded", "podIP": "10.0.0.1" } }), None)]
#[case::failed(json!({ "status": { "phase": "Failed", "podIP": "10.0.0.1" } }), None)]
#[case::waiting(json!({ "status": { "phase": "Pending" } }), Some(vec![]))]
#[case::of_the_node(
    json!({ "spec": { "hostNetwork": true }, "status": { "podIP": "10.0.0.1" } }),
    Some(vec![])
)]
#[case::dual_stack(
    json!({ "status": { "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }] } }),
    Some(vec!["10.0.0.1", "fd00::1"])
)]
#[case::one_address(json!({ "status": { "podIP": "10.0.0.1" } }), Some(vec!["10.0.0.1"]))]
fn the_addresses_of_a_pod_are_its_own(#[case] mut pod: Value, #[case] expected: Option<Vec<&str>>) {
    pod["metadata"] = json!({ "name": "a", "namespace": "b" });
    let (_, kept) = Part::Pod.object(object(pod)).unwrap();
    let PartObject::Pod(workload) = kept else { panic!("{kept:?}") };
    let addresses = workload
        .as_ref()
        .map(|workload| workload.addresses.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(addresses, expected.map(|all| all.into_iter().map(str::to_owned).collect()));
    if let Some(workload) = workload {
        assert_eq!(workload.service_account.as_deref(), Some("default"));
    }
}

#[test]
fn what_says_nothing_new_changes_nothing() {
    let mut view = view();
    let pod = || pod_object("web-1", &json!({ "app": "web" }), "10.0.0.1");
    assert!(listed(&mut view, 1, []));
    assert!(listed(&mut view, 0, [pod()]));
    assert!(!listed(&mut view, 0, [pod()]), "the same list");
    let applied = |value| News::Applied(Part::Pod.object(object(value)).unwrap());
    let mut other = pod();
    other["status"]["conditions"] = json!([{ "type": "Ready" }]);
    assert!(!view.take(0, applied(other)));
    let mut moved = pod();
    moved["metadata"]["labels"]["app"] = json!("cart");
    assert!(view.take(0, applied(moved)));
    assert_eq!(view.workloads().unwrap()[0].labels["app"], "cart");
    let key = || ("shop".into(), "web-1".into());
    assert!(view.take(0, News::Deleted(key())));
    assert!(!view.take(0, News::Deleted(key())));
    assert_eq!(view.workloads().unwrap().len(), 0);
}

#[test]
fn a_half_list_is_never_live() {
    let mut view = view();
    assert!(listed(&mut view, 1, []));
    assert!(listed(&mut view, 0, [pod_object("a", &json!({}), "10.0.0.1")]));
    let before = view.workloads();
    view.take(0, News::Begun);
    let other = object(pod_object("b", &json!({}), "10.0.0.2"));
    view.take(0, News::Listed(Part::Pod.object(other).unwrap()));
    assert_eq!(view.workloads(), before);
    view.take(0, News::Begun);
    view.take(0, News::Complete);
    assert_eq!(view.workloads().unwrap().len(), 0);
}

#[rstest]
#[case::without_a_name(Part::Pod, json!({ "metadata": { "namespace": "a" } }))]
#[case::labels_that_are_none(
    Part::Service,
    json!({ "metadata": { "name": "a" }, "spec": { "selector": { "app": 1 } } })
)]
fn what_cannot_be_read_is_not_left_out(#[case] part: Part, #[case] value: Value) {
    assert!(matches!(part.object(object(value)), Err(Trouble::Unreadable { .. })));
}
