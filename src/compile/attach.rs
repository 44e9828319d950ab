//! Which policies hold for a workload, and in which order.
//!
//! Says only *where* a policy holds; what it means is `build`'s and `authentication`'s job.
//! <https://istio.io/latest/docs/reference/config/type/workload-selector/> and the Gateway API
//! policy attachment of Istio.

use std::sync::Arc;

use super::Rejected;
use crate::model::{
    Attachment, Mesh, Metadata, PolicyTargetReference, RefusedScope, Resource, Workload,
};

/// Marks the pods of a Gateway API gateway with the gateway's name.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Marks the pods of a waypoint; the value is Istio's controller for waypoints.
const GATEWAY_MANAGED: (&str, &str) = ("gateway.istio.io/managed", "istio.io-mesh-controller");
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const WAYPOINT_CLASS: &str = "istio-waypoint";

/// Istio's order: by creation time (none is oldest), then name, then namespace.
pub(crate) fn precedence(metadata: &Metadata) -> (Option<i64>, &str, &str) {
    (metadata.creation_timestamp, &metadata.name, &metadata.namespace)
}

/// Resources in the order of precedence.
pub(super) fn in_order(resources: &[Arc<Resource>]) -> Vec<&Arc<Resource>> {
    let mut ordered: Vec<&Arc<Resource>> = resources.iter().collect();
    ordered.sort_by(|a, b| precedence(a.metadata()).cmp(&precedence(b.metadata())));
    ordered
}

/// The namespaces whose policies a workload sees: the root namespace, then its own.
pub(super) fn namespaces<'a>(mesh: &'a Mesh, workload: &'a Workload) -> Vec<&'a str> {
    let mut namespaces = vec![mesh.root_namespace.as_str()];
    if workload.namespace != mesh.root_namespace {
        namespaces.push(&workload.namespace);
    }
    namespaces
}

/// Whether an AuthorizationPolicy or RequestAuthentication of that namespace, which must be one of
/// [`namespaces`], holds for the workload.
pub(super) fn attaches(
    namespace: &str,
    attachment: &Attachment,
    mesh: &Mesh,
    workload: &Workload,
) -> bool {
    if attachment.target_refs.is_empty() {
        return is_selectable(workload) && selects(attachment, workload);
    }
    let is_local = namespace == workload.namespace;
    let gateway = workload.labels.get(GATEWAY_NAME);
    attachment.target_refs.iter().any(|target| {
        let targets_workload = gateway.is_some_and(|gateway| targets_gateway(target, gateway))
            || targets_service(target, workload);
        is_local && targets_workload
            || is_waypoint(workload)
                && gateway.is_some()
                && namespace == mesh.root_namespace
                && targets_waypoint_class(target)
    })
}

/// Whether a resource without a target can hold for the workload: for waypoints none does.
pub(super) fn is_selectable(workload: &Workload) -> bool {
    !(is_waypoint(workload) && workload.labels.contains_key(GATEWAY_NAME))
}

/// The name of each target that a resource may be attached to and hold for the workload.
pub(super) fn target_names(workload: &Workload) -> impl Iterator<Item = &str> {
    let gateway = workload.labels.get(GATEWAY_NAME).map(String::as_str);
    gateway.into_iter().chain([WAYPOINT_CLASS]).chain(workload.services.iter().map(String::as_str))
}

fn is_waypoint(workload: &Workload) -> bool {
    workload.labels.get(GATEWAY_MANAGED.0).is_some_and(|v| v == GATEWAY_MANAGED.1)
}

/// Whether the selector (or its absence) takes the workload.
pub(super) fn selects(attachment: &Attachment, workload: &Workload) -> bool {
    attachment
        .selector
        .iter()
        .flatten()
        .all(|(label, value)| workload.labels.get(label) == Some(value))
}

/// Whether a resource nobody could read may have been meant for the workload.
pub(super) fn may_attach(rejected: &Rejected, mesh: &Mesh, workload: &Workload) -> bool {
    let namespace = &*rejected.id.namespace;
    namespaces(mesh, workload).contains(&namespace)
        && match &rejected.scope {
            Some(RefusedScope::Attached(attachment)) => {
                attaches(namespace, attachment, mesh, workload)
            }
            // APIRules are attached by their hosts and Services alone.
            Some(RefusedScope::ApiRule { .. }) => false,
            None => true,
        }
}

/// Istio knows this for waypoints only, which ask for each service. Whose Services are known to Postern
/// is asked for just as well.
fn targets_service(target: &PolicyTargetReference, workload: &Workload) -> bool {
    let is_core = target.group.is_empty() || target.group == "core";
    is_core && target.kind == "Service" && workload.services.contains(&target.name)
}

fn targets_gateway(target: &PolicyTargetReference, gateway: &str) -> bool {
    target.group == GATEWAY_GROUP && target.kind == "Gateway" && target.name == gateway
}

fn targets_waypoint_class(target: &PolicyTargetReference) -> bool {
    target.group == GATEWAY_GROUP && target.kind == "GatewayClass" && target.name == WAYPOINT_CLASS
}
