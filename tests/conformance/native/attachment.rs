//! Which resources hold for the workload, in which order.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cases::Set;

const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The resources of a kind that hold: those of the root namespace first, in each the oldest first.
pub(super) fn attached<'s>(set: &'s Set, kind: &str) -> Vec<&'s Value> {
    let workload = &set.workload;
    let mut places = vec![workload.root_namespace.as_str()];
    if workload.namespace != workload.root_namespace {
        places.push(&workload.namespace);
    }
    let mut found = Vec::new();
    for place in places {
        found.extend(
            oldest_first(set, kind)
                .into_iter()
                .filter(|r| namespace(r, set) == place)
                .filter(|r| holds(r, set)),
        );
    }
    found
}

/// All resources of a kind by time of creation (without one: before all others), name, namespace.
pub(super) fn oldest_first<'s>(set: &'s Set, kind: &str) -> Vec<&'s Value> {
    let mut found: Vec<_> = set.policies.iter().filter(|r| r["kind"] == kind).collect();
    // Times are written alike in these sets, so that text sorts as time does.
    let text = |value: &'s Value| value.as_str().unwrap_or_default();
    found.sort_by_key(|r| {
        let metadata = &r["metadata"];
        (text(&metadata["creationTimestamp"]), text(&metadata["name"]), namespace(r, set))
    });
    found
}

/// A resource that names no namespace is in that of the workload, as these tests apply them.
pub(super) fn namespace<'s>(resource: &'s Value, set: &'s Set) -> &'s str {
    resource["metadata"]["namespace"].as_str().unwrap_or(&set.workload.namespace)
}

/// `matchLabels`; none is no condition.
pub(super) fn selects(resource: &Value, labels: &BTreeMap<String, String>) -> bool {
    let wanted = resource["spec"]["selector"]["matchLabels"].as_object();
    wanted.into_iter().flatten().all(|(name, value)| {
        labels.get(name).map(String::as_str) == value.as_str() && value.is_string()
    })
}

fn holds(resource: &Value, set: &Set) -> bool {
    let spec = &resource["spec"];
    let mut targets: Vec<&Value> = spec["targetRefs"].as_array().into_iter().flatten().collect();
    if targets.is_empty() {
        targets.extend(spec["targetRef"].is_object().then_some(&spec["targetRef"]));
    }
    if targets.is_empty() {
        return selects(resource, &set.workload.labels);
    }
    // Only gateways are looked up by reference.
    let Some(gateway) = set.workload.labels.get(GATEWAY_NAME) else { return false };
    namespace(resource, set) == set.workload.namespace
        && targets.iter().any(|target| {
            target["group"] == "gateway.networking.k8s.io"
                && target["kind"] == "Gateway"
                && target["name"] == gateway.as_str()
        })
}
