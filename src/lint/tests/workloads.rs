//! What is said of scopes is so for every workload.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::identity::{Mode, mode_of};
use super::super::policies::Policies;
use super::super::{Subject, scope::Scope};
use super::*;
use crate::compile::{Settings, compile};
use crate::model::{
    Action, Attachment, MutualTlsMode, PeerAuthentication, PolicyTargetReference, Workload,
};
use crate::plan::WorkloadPlan;

const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
const MANAGED: &str = "gateway.istio.io/managed";

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let label = select(vec!["app", "version"]).prop_map(str::to_owned);
    btree_map(label, select(vec!["1", "2"]).prop_map(str::to_owned), 0..3)
}

fn workload() -> impl Strategy<Value = Workload> {
    let namespace = select(vec!["istio-system", "foo", "bar"]);
    (namespace, labels(), option::of(select(vec!["g", "h"])), any::<bool>()).prop_map(
        |(namespace, mut labels, gateway, is_waypoint)| {
            labels.extend(gateway.map(|name| (GATEWAY.to_owned(), name.to_owned())));
            if is_waypoint {
                labels.insert(MANAGED.to_owned(), "istio.io-mesh-controller".to_owned());
            }
            Workload { namespace: namespace.to_owned(), labels, ..Workload::default() }
        },
    )
}

fn target() -> impl Strategy<Value = PolicyTargetReference> {
    let gateways = "gateway.networking.k8s.io";
    let kinds = vec![
        (gateways, "Gateway", "g"),
        (gateways, "Gateway", "h"),
        (gateways, "GatewayClass", "istio-waypoint"),
        ("", "Service", "g"),
    ];
    select(kinds).prop_map(|(group, kind, name)| PolicyTargetReference {
        group: group.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    })
}

fn attachment() -> impl Strategy<Value = Attachment> {
    prop_oneof![
        3 => option::of(labels())
            .prop_map(|selector| Attachment { selector, target_refs: Vec::new() }),
        1 => vec(target(), 1..3).prop_map(|target_refs| Attachment { selector: None, target_refs }),
    ]
}

/// A policy of that name that holds somewhere.
fn somewhere(name: &'static str) -> impl Strategy<Value = AuthorizationPolicy> {
    (select(vec!["istio-system", "foo", "bar"]), attachment()).prop_map(
        move |(namespace, attachment)| AuthorizationPolicy {
            metadata: Metadata {
                namespace: namespace.into(),
                name: name.into(),
                ..Metadata::default()
            },
            attachment,
            action: Action::Allow,
            rules: Vec::new(),
            dry_run: false,
            deny_response: None,
        },
    )
}

fn peers() -> impl Strategy<Value = PeerAuthentication> {
    let modes = vec![
        MutualTlsMode::Unset,
        MutualTlsMode::Disable,
        MutualTlsMode::Permissive,
        MutualTlsMode::Strict,
    ];
    let place = (select(vec!["istio-system", "foo", "bar"]), select(vec!["a", "b"]));
    let ports = btree_map(select(vec![80_u16]), select(modes.clone()), 0..2);
    (place, option::of(labels()), select(modes), ports).prop_map(
        |((namespace, name), selector, mtls, ports)| PeerAuthentication {
            metadata: Metadata {
                namespace: namespace.into(),
                name: name.into(),
                ..Metadata::default()
            },
            attachment: Attachment { selector, target_refs: Vec::new() },
            mtls,
            port_level_mtls: ports,
        },
    )
}

fn plan_for(resources: &[Arc<Resource>], workload: &Workload) -> Arc<WorkloadPlan> {
    let settings = Settings { mesh: Mesh::default(), workloads: vec![workload.clone()] };
    compile(1, resources, &[], &settings).workloads.remove(0)
}

fn holds(plan: &WorkloadPlan, name: &str) -> bool {
    plan.policies().any(|policy| &*policy.metadata.name == name)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A wider policy holds wherever a narrower one does, and what cannot overlap never does.
    #[test]
    fn scopes_are_those_of_plans(
        (one, other) in (somewhere("one"), somewhere("other")),
        workloads in vec(workload(), 12),
    ) {
        let mesh = Mesh::default();
        let scope = |of: &AuthorizationPolicy| Scope::of(&of.metadata, &of.attachment, &mesh);
        let (wide, narrow) = (scope(&one), scope(&other));
        let resources = resources(&[one, other]);
        for workload in &workloads {
            let plan = plan_for(&resources, workload);
            let (one, other) = (holds(&plan, "one"), holds(&plan, "other"));
            prop_assert!(!wide.covers(&narrow) || !other || one, "{:?}", workload);
            prop_assert!(wide.may_overlap(&narrow) || !one || !other, "{:?}", workload);
        }
    }

    /// A mode that is known is that of every workload of the policy, on every port.
    #[test]
    fn a_known_mode_is_that_of_all_workloads(
        policy in somewhere("one"),
        peers in vec(peers(), 0..4),
        workloads in vec(workload(), 12),
    ) {
        let mut resources = resources(&[policy]);
        resources.extend(peers.into_iter().map(|p| Arc::new(Resource::PeerAuthentication(p))));
        let mesh = Mesh::default();
        let all = Policies::new(Subject { resources: &resources, mesh: &mesh, services: &[], complete: true });
        let expected = match mode_of(&all, &all.authorization[0]) {
            Mode::Unsaid => MutualTlsMode::Permissive,
            Mode::Known(mode) => mode,
            Mode::Differs => return Ok(()),
        };
        for workload in &workloads {
            let plan = plan_for(&resources, workload);
            for port in [Some(80), Some(81), None] {
                let mode = plan.peer.mode_of(port);
                prop_assert!(!holds(&plan, "one") || mode == expected, "{:?} {:?}", workload, mode);
            }
        }
    }
}
