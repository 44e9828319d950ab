//! The workloads of a cluster: its pods, and the Services that lead to them.
//!
//! Which policies hold for them is `compile`'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ::kube::api::DynamicObject;
use ::kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::trouble::Trouble;
use super::watching::{News, Place, Read, names};
use crate::model::Workload;
use crate::telemetry::metrics::KubeMetrics;

/// What workloads are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Pod,
    Service,
}

impl Part {
    pub(super) const ALL: [Self; 2] = [Self::Pod, Self::Service];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
        }
    }

    /// Where they are; pods only of this node, if it is named.
    pub(super) fn place(self, namespace: Option<&str>, node: Option<&str>) -> Place {
        let kind = GroupVersionKind::gvk("", "v1", self.as_str());
        let plural = match self {
            Self::Pod => "pods",
            Self::Service => "services",
        };
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        let place = Place::of(self.as_str(), resource, namespace);
        match (self, node) {
            (Self::Pod, Some(node)) => place.with_fields(format!("spec.nodeName={node}")),
            (Self::Pod | Self::Service, _) => place,
        }
    }
}

/// Namespace and name.
type Key = (Box<str>, Box<str>);

/// What is kept of an object.
#[derive(Debug, PartialEq)]
pub(super) enum PartObject {
    /// `None` for a pod that has ended: its address may be another's by now.
    Pod(Option<Box<Workload>>),
    /// Its selector; empty for a Service without one, which leads to no pod that is known.
    Service(BTreeMap<String, String>),
}

impl Read for Part {
    type Object = (Key, PartObject);
    type Id = Key;

    fn object(&self, object: DynamicObject) -> Result<(Key, PartObject), Trouble> {
        let key = self.id(&object)?;
        let kept = match self {
            Self::Pod => PartObject::Pod(pod(&key, object)),
            Self::Service => PartObject::Service(selector(&object.data)?),
        };
        Ok((key, kept))
    }

    fn id(&self, object: &DynamicObject) -> Result<Key, Trouble> {
        let (namespace, name) = names(object)?;
        Ok((namespace.into(), name.into()))
    }
}

fn pod((namespace, name): &Key, object: DynamicObject) -> Option<Box<Workload>> {
    let DynamicObject { metadata, data, .. } = object;
    let text = |pointer| data.pointer(pointer).and_then(Value::as_str);
    if let Some("Succeeded" | "Failed") = text("/status/phase") {
        return None;
    }
    // With the node's network, the address is the node's, and others have it, too.
    let is_own = data.pointer("/spec/hostNetwork") != Some(&Value::Bool(true));
    let listed = data.pointer("/status/podIPs").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(|entry| entry.get("ip")?.as_str());
    let addresses = listed.chain(text("/status/podIP")).filter_map(|ip| ip.parse().ok());
    let account = text("/spec/serviceAccountName").filter(|name| !name.is_empty());
    Some(Box::new(Workload {
        namespace: namespace.to_string(),
        labels: metadata.labels.unwrap_or_default(),
        name: Some(name.to_string()),
        services: BTreeSet::new(),
        addresses: addresses.filter(|_| is_own).map(|ip: IpAddr| ip.to_canonical()).collect(),
        service_account: Some(account.unwrap_or("default").to_owned()),
    }))
}

fn selector(data: &Value) -> Result<BTreeMap<String, String>, Trouble> {
    // An ExternalName leads elsewhere, whatever it selects.
    if data.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName") {
        return Ok(BTreeMap::new());
    }
    let Some(selector) = data.pointer("/spec/selector") else { return Ok(BTreeMap::new()) };
    // To leave one label out would select more.
    serde_json::from_value(selector.clone())
        .map_err(|error| Trouble::Unreadable { message: format!("spec.selector: {error}") })
}

/// All that is known of a cluster's workloads.
#[derive(Debug)]
pub(super) struct WorkloadsView {
    places: Vec<PlaceView>,
    metrics: KubeMetrics,
}

#[derive(Debug)]
struct PlaceView {
    part: Part,
    /// The last whole list and what changed since; nothing before the first.
    live: Option<BTreeMap<Key, PartObject>>,
    /// The list that is being made. What it lacks may only be late, so it counts for nothing.
    pending: BTreeMap<Key, PartObject>,
}

impl WorkloadsView {
    /// Of places with these parts.
    pub(super) fn new(parts: impl IntoIterator<Item = Part>, metrics: KubeMetrics) -> Self {
        let place = |part| PlaceView { part, live: None, pending: BTreeMap::new() };
        Self { places: parts.into_iter().map(place).collect(), metrics }
    }

    /// Every workload, by namespace and name; nothing as long as any place was never listed to the
    /// end.
    pub(super) fn workloads(&self) -> Option<Arc<[Workload]>> {
        let (mut pods, mut services) = (BTreeMap::new(), BTreeMap::<&str, Vec<_>>::new());
        for place in &self.places {
            for (key, object) in place.live.as_ref()? {
                let (namespace, name) = key;
                match object {
                    PartObject::Pod(pod) => pods.extend(pod.as_deref().map(|pod| (key, pod))),
                    PartObject::Service(selector) if selector.is_empty() => {}
                    PartObject::Service(selector) => {
                        services.entry(namespace).or_default().push((name, selector));
                    }
                }
            }
        }
        let with_services = |pod: &Workload| {
            let near = services.get(pod.namespace.as_str()).into_iter().flatten();
            let leading = near.filter(|(_, selector)| {
                selector.iter().all(|(name, value)| pod.labels.get(name) == Some(value))
            });
            let services = leading.map(|(name, _)| name.to_string()).collect();
            Workload { services, ..pod.clone() }
        };
        Some(pods.into_values().map(with_services).collect())
    }

    /// Tells whether workloads may be others now.
    pub(super) fn take(&mut self, at: usize, news: News<(Key, PartObject), Key>) -> bool {
        let Some(place) = self.places.get_mut(at) else { return false };
        match news {
            News::Begun => {
                place.pending.clear();
                false
            }
            News::Listed((key, object)) => {
                place.pending.insert(key, object);
                false
            }
            News::Complete => {
                self.metrics.listed();
                let live = Some(std::mem::take(&mut place.pending));
                let is_new = live != place.live;
                place.live = live;
                is_new
            }
            News::Applied((key, object)) => {
                self.metrics.changed(place.part.as_str());
                // There is no change before the list.
                let Some(live) = &mut place.live else { return false };
                // A pod says much of itself that is nothing to policies.
                let is_new = live.get(&key) != Some(&object);
                if is_new {
                    live.insert(key, object);
                }
                is_new
            }
            News::Deleted(key) => {
                self.metrics.changed(place.part.as_str());
                place.live.as_mut().is_some_and(|live| live.remove(&key).is_some())
            }
        }
    }
}

#[cfg(test)]
mod tests;
