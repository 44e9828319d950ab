//! One kind in one place: lists and watches it, and begins anew where something may have been missed.
//!
//! What the objects become together is `view`'s job.

use std::{pin::pin, sync::Arc};

use ::kube::{
    Api, Client,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
    runtime::watcher::{self, Event, watcher},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Pace, outages::Outages, trouble::Trouble};
use crate::manifest::schema;
use crate::model::{Kind, ResourceId};

/// A kind in a namespace, or in all.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) resource: ApiResource,
    pub(super) namespace: Option<Arc<str>>,
    /// For people.
    pub(super) resource_name: String,
    /// Where the API has it.
    pub(super) path: String,
}

impl Place {
    pub(super) fn new(kind: Kind, namespace: Option<&str>) -> Self {
        let resource = resource(kind);
        let ApiResource { plural, api_version, .. } = &resource;
        let (path, within) = match namespace {
            Some(namespace) => (
                format!("/apis/{api_version}/namespaces/{namespace}/{plural}"),
                format!(" in namespace {namespace}"),
            ),
            None => (format!("/apis/{api_version}/{plural}"), String::new()),
        };
        Self {
            kind,
            resource_name: format!("{plural}.{}{within}", schema::GROUP),
            resource,
            namespace: namespace.map(Into::into),
            path,
        }
    }

    fn api(&self, client: Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        }
    }
}

/// The kind as the API knows it.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let [version, ..] = schema::VERSIONS;
    let kind_there = GroupVersionKind::gvk(schema::GROUP, version, kind.as_str());
    ApiResource::from_gvk_with_plural(&kind_there, &schema::of(kind).plural)
}

/// What happened in a place.
#[derive(Debug)]
pub(super) enum News {
    /// A list begins.
    Begun,
    /// One of it.
    Listed(Box<Arrived>),
    /// All of it has come.
    Complete,
    /// New, or changed.
    Applied(Box<Arrived>),
    /// Gone.
    Deleted(ResourceId),
}

/// An object, as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arrived {
    pub(super) id: ResourceId,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) status: Option<Value>,
    /// Without its status and who manages which of its fields.
    pub(super) object: Value,
}

impl Arrived {
    fn of(kind: Kind, object: DynamicObject) -> Result<Self, Trouble> {
        let id = id(kind, &object)?;
        let DynamicObject { mut metadata, mut data, .. } = object;
        metadata.managed_fields = None;
        let resource_version = metadata.resource_version.take();
        let (uid, generation) = (metadata.uid.clone(), metadata.generation);
        let metadata = serde_json::to_value(metadata)
            .map_err(|error| Trouble::Unreadable { message: error.to_string() })?;
        let status = data.as_object_mut().and_then(|members| members.remove("status"));
        let mut object = json!({
            "apiVersion": resource(kind).api_version,
            "kind": kind.as_str(),
            "metadata": metadata,
        });
        if let (Value::Object(object), Value::Object(data)) = (&mut object, data) {
            object.extend(data);
        }
        Ok(Self { id, uid, resource_version, generation, status, object })
    }
}

fn id(kind: Kind, object: &DynamicObject) -> Result<ResourceId, Trouble> {
    let metadata = &object.metadata;
    // To leave it out would be a shorter list.
    let Some(name) = metadata.name.as_deref().filter(|name| !name.is_empty()) else {
        return Err(Trouble::Unreadable { message: "an object without a name".into() });
    };
    let namespace = metadata.namespace.as_deref().unwrap_or_default().into();
    Ok(ResourceId { kind, namespace, name: name.into() })
}

/// Follows a place until nobody wants to know.
pub(super) async fn follow(
    at: usize,
    place: &Place,
    client: Client,
    pace: Pace,
    outages: &Outages,
    news: mpsc::Sender<(usize, News)>,
) {
    let config = watcher::Config::default().page_size(pace.page_size.get());
    let api = place.api(client);
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()));
        while let Some(event) = events.next().await {
            let trouble = match event {
                Ok(event) => match read(place.kind, event) {
                    Ok(event) => {
                        if news.send((at, event)).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    Err(trouble) => trouble,
                },
                Err(error) => Trouble::of(&error, &place.resource_name),
            };
            let goes_on = trouble.can_go_on();
            let failures = outages.failed(at, trouble);
            tokio::time::sleep(pace.wait_after(failures)).await;
            if !goes_on {
                break;
            }
        }
    }
}

fn read(kind: Kind, event: Event<DynamicObject>) -> Result<News, Trouble> {
    let arrived = |object| Arrived::of(kind, object).map(Box::new);
    Ok(match event {
        Event::Init => News::Begun,
        Event::InitApply(object) => News::Listed(arrived(object)?),
        Event::InitDone => News::Complete,
        Event::Apply(object) => News::Applied(arrived(object)?),
        Event::Delete(object) => News::Deleted(id(kind, &object)?),
    })
}
