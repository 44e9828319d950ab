//! What is kept from one policy set to the next, and that it does not show.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::manifest;

fn resource(text: &str) -> Arc<Resource> {
    let decoded = manifest::decode(text, None, &manifest::Options::default());
    let resource = decoded.accepted().next().cloned();
    resource.unwrap_or_else(|| panic!("{text}: {:?}", decoded.diagnostics)).into()
}

fn policy(namespace: &str, name: &str, spec: &str) -> Arc<Resource> {
    resource(&format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{namespace: {namespace}, name: {name}}}\nspec: {{{spec}}}\n"
    ))
}

fn selecting(app: &str, path: &str) -> String {
    format!(
        "selector: {{matchLabels: {{app: {app}}}}}, \
         rules: [{{to: [{{operation: {{paths: ['{path}']}}}}]}}]"
    )
}

fn settings(apps: &[(&str, &str)]) -> Settings {
    let workload = |&(namespace, app): &(&str, &str)| Workload {
        namespace: namespace.into(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        ..Workload::default()
    };
    Settings { mesh: Mesh::default(), workloads: apps.iter().map(workload).collect() }
}

fn layers(snapshot: &Snapshot, workload: usize) -> Vec<&Arc<Layer>> {
    snapshot.workloads[workload].layers.iter().map(|attached| &attached.layer).collect()
}

const APPS: [(&str, &str); 4] = [("shop", "a"), ("shop", "b"), ("shop", "a"), ("bank", "a")];

#[test]
fn workloads_share_what_they_have_in_common() {
    let resources = [
        policy("istio-system", "mesh", "rules: [{}]"),
        policy("shop", "all", "rules: [{}]"),
        policy("shop", "a", &selecting("a", "/a")),
        policy("shop", "b", &selecting("b", "/b")),
    ];
    let mut compiler = Compiler::default();
    let snapshot = compiler.compile(1, (&resources, &[]), &settings(&APPS), &[]);
    assert_eq!(compiler.compiled(), 4, "each once");
    let [a, b, again, bank] = [0, 1, 2, 3].map(|workload| layers(&snapshot, workload));
    assert_eq!([a.len(), b.len(), bank.len()], [3, 3, 1]);
    for place in [0, 1] {
        assert!(Arc::ptr_eq(a[place], b[place]));
    }
    assert!(!Arc::ptr_eq(a[2], b[2]) && Arc::ptr_eq(a[2], again[2]) && Arc::ptr_eq(a[0], bank[0]));
    assert!(snapshot.workloads[0].decides_like(&snapshot.workloads[2]));
    assert!(!snapshot.workloads[0].decides_like(&snapshot.workloads[1]));
    // The size of what is shared counts once.
    let alone: usize = snapshot.workloads.iter().map(|plan| plan.compiled_size().bytes).sum();
    assert!(snapshot.compiled_size().bytes * 2 < alone);
}

#[test]
fn only_what_a_change_touches_is_compiled_again() {
    let mut resources = vec![
        policy("istio-system", "mesh", "rules: [{}]"),
        policy("shop", "all", "rules: [{}]"),
        policy("shop", "a1", &selecting("a", "/1")),
        policy("shop", "a2", &selecting("a", "/2")),
        policy("shop", "b", &selecting("b", "/b")),
        policy("bank", "a", &selecting("a", "/a")),
    ];
    let settings = settings(&APPS);
    let mut compiler = Compiler::default();
    let first = compiler.compile(1, (&resources, &[]), &settings, &[]);
    assert_eq!(compiler.compiled(), 6);

    resources[3] = policy("shop", "a2", &selecting("a", "/3"));
    let second = compiler.compile(2, (&resources, &[]), &settings, &[]);
    assert_eq!(compiler.compiled(), 2, "those of `a` alone");
    assert!(!first.workloads[0].decides_like(&second.workloads[0]));
    for untouched in [1, 3] {
        assert!(first.workloads[untouched].decides_like(&second.workloads[untouched]));
    }
    // Neither the order of arrival nor new workloads touch anything.
    resources.reverse();
    let found = Workload { namespace: "shop".into(), ..settings.workloads[1].clone() };
    let third = compiler.compile(3, (&resources, &[]), &settings, &[found]);
    assert_eq!((compiler.compiled(), third.workloads.len()), (0, 5));
    assert!(third.workloads[4].decides_like(&third.workloads[1]));

    resources.retain(|resource| &*resource.metadata().name != "all");
    compiler.compile(4, (&resources, &[]), &settings, &[]);
    assert_eq!(compiler.compiled(), 0, "less is nothing new");
    // What nobody has any more is forgotten.
    resources.push(policy("shop", "all", "rules: [{}]"));
    compiler.compile(5, (&resources, &[]), &settings, &[]);
    assert_eq!(compiler.compiled(), 1);
}

#[test]
fn a_new_mesh_gives_everything_a_new_meaning() {
    let from = "rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/b]}}]}]";
    let resources = [policy("shop", "a", from)];
    let mut settings = settings(&APPS);
    let mut compiler = Compiler::default();
    compiler.compile(1, (&resources, &[]), &settings, &[]);
    settings.mesh.trust_domain_aliases.push("old".into());
    let other = compiler.compile(2, (&resources, &[]), &settings, &[]);
    let rule = &other.workloads[0].policies().next().unwrap().rules[0];
    assert_eq!(rule.from[0].principals.len(), 2);
}

#[test]
fn one_layer_that_is_too_large_closes_only_its_workloads() {
    let mut plan = Compiler::default()
        .compile(1, (&[policy("shop", "a", "rules: [{}]")], &[]), &settings(&APPS[..1]), &[])
        .workloads
        .remove(0);
    let plan = Arc::get_mut(&mut plan).unwrap();
    let Resource::AuthorizationPolicy(large) = &*policy("shop", "large", "rules: [{}]") else {
        unreachable!()
    };
    add_layer(plan, None, || vec![large.clone()]);
    assert_eq!(plan.invalid[0].to_string(), "AuthorizationPolicy/shop/large");
    assert_eq!(plan.layers.len(), 1);
}

fn any_resource() -> impl Strategy<Value = (&'static str, &'static str, String)> {
    let spec = prop_oneof![
        (select(&["a", "b"]), select(&["/1", "/2", "/3"]))
            .prop_map(|(app, path)| format!("AuthorizationPolicy {}", selecting(app, path))),
        Just("AuthorizationPolicy rules: [{}]".to_owned()),
        Just(
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {ports: ['1']}}]}]".into()
        ),
        select(&["i", "j"]).prop_map(|issuer| format!(
            "RequestAuthentication selector: {{matchLabels: {{app: a}}}}, \
             jwtRules: [{{issuer: {issuer}, jwksUri: 'https://{issuer}.example/keys'}}]"
        )),
        Just("RequestAuthentication jwtRules: [{issuer: k, jwks: '{\"keys\":[]}'}]".to_owned()),
        select(&["STRICT", "DISABLE"])
            .prop_map(|mode| format!("PeerAuthentication mtls: {{mode: {mode}}}")),
        Just(
            "PeerAuthentication selector: {matchLabels: {app: b}}, mtls: {mode: STRICT}".to_owned()
        ),
    ];
    (select(&["istio-system", "shop", "bank"]), select(&["p", "q", "r", "s"]), spec)
}

/// All that a plan says, the numbers of its series apart.
fn shown(snapshot: &Snapshot) -> String {
    let mut text = format!("{:?}\n", snapshot.key_sources);
    for plan in &snapshot.workloads {
        let WorkloadPlan { workload, layers, peer, jwt, invalid, .. } = &**plan;
        for AttachedLayer { first_policy, layer } in layers {
            let names = layer.policies.iter().map(|p| (&p.metadata.name, &p.rules));
            text += &format!("{first_policy} {:?}\n", names.collect::<Vec<_>>());
        }
        text += &format!("{workload:?} {peer:?} {} {invalid:?}\n", jwt.fingerprint);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whoever_followed_knows_what_a_newcomer_does(
        steps in vec(vec((any_resource(), any::<bool>()), 1..4), 1..6),
    ) {
        let settings = settings(&APPS);
        let mut follower = Compiler::default();
        let mut present: BTreeMap<ResourceId, Arc<Resource>> = BTreeMap::new();
        for changes in steps {
            for ((namespace, name, spec), stays) in changes {
                let (kind, spec) = spec.split_once(' ').unwrap();
                let changed = resource(&format!(
                    "apiVersion: security.istio.io/v1\nkind: {kind}\n\
                     metadata: {{namespace: {namespace}, name: {name}}}\nspec: {{{spec}}}\n"
                ));
                if stays {
                    present.insert(changed.id(), changed);
                } else {
                    present.remove(&changed.id());
                }
            }
            let resources: Vec<_> = present.values().cloned().collect();
            let rejected = [];
            let followed = follower.compile(1, (&resources, &rejected), &settings, &[]);
            let fresh = Compiler::default().compile(1, (&resources, &rejected), &settings, &[]);
            prop_assert_eq!(shown(&followed), shown(&fresh));
        }
    }
}
