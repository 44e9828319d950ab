//! What is found without asking each resource is what each would have said.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::model::PolicyTargetReference;

const NAMESPACES: [&str; 3] = ["istio-system", "shop", "bank"];

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = select(&[
        "app",
        "tier",
        "gateway.networking.k8s.io/gateway-name",
        "gateway.istio.io/managed",
    ]);
    let value = select(&["a", "b", "web", "istio.io-mesh-controller"]);
    btree_map(name.prop_map(str::to_owned), value.prop_map(str::to_owned), 0..4)
}

fn target() -> impl Strategy<Value = PolicyTargetReference> {
    let group = select(&["", "core", "gateway.networking.k8s.io"]);
    let kind = select(&["Gateway", "Service", "GatewayClass"]);
    let name = select(&["a", "b", "web", "istio-waypoint"]);
    (group, kind, name).prop_map(|(group, kind, name)| PolicyTargetReference {
        group: group.into(),
        kind: kind.into(),
        name: name.into(),
    })
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let selector = proptest::option::of(labels());
    prop_oneof![
        3 => selector.prop_map(|selector| Attachment { selector, target_refs: Vec::new() }),
        2 => vec(target(), 1..4)
            .prop_map(|target_refs| Attachment { selector: None, target_refs }),
    ]
}

fn workload() -> impl Strategy<Value = Workload> {
    let services = proptest::collection::btree_set(select(&["a", "b", "web"]), 0..3);
    (select(&NAMESPACES), labels(), services).prop_map(|(namespace, labels, services)| Workload {
        namespace: namespace.into(),
        labels,
        services: services.into_iter().map(str::to_owned).collect(),
        ..Workload::default()
    })
}

proptest! {
    #[test]
    fn what_is_found_is_what_holds(all in vec(attachment(), 0..12), workload in workload()) {
        let mesh = Mesh::default();
        let mut attachments = Attachments::default();
        for (number, attachment) in all.iter().enumerate() {
            attachments.add(attachment, number);
        }
        for namespace in attach::namespaces(&mesh, &workload) {
            let holds = |place: &usize| {
                attach::attaches(namespace, &all[*place], &mesh, &workload)
            };
            let expected: Vec<_> = (0..all.len()).filter(holds).collect();
            prop_assert_eq!(attachments.every(namespace, &mesh, &workload), &expected[..]);

            let mut layers = attachments.narrow(namespace, &mesh, &workload);
            if attach::is_selectable(&workload) {
                layers.extend(attachments.wide());
            }
            layers.sort_unstable();
            prop_assert_eq!(layers, expected);
        }
        // PeerAuthentication has no targets and selects waypoints, too.
        let candidates: Vec<_> =
            attachments.candidates(&workload).chain(attachments.wide()).collect();
        for (number, attachment) in all.iter().enumerate() {
            if attachment.target_refs.is_empty() && attach::selects(attachment, &workload) {
                prop_assert!(candidates.contains(&number));
            }
        }
    }
}
