//! One kind in one place: lists and watches it, and begins anew where something may have been missed.
//!
//! What the objects become together is the job of `view` and `workloads`.

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
    /// What is there, for metrics.
    pub(super) kind: &'static str,
    resource: ApiResource,
    namespace: Option<Arc<str>>,
    /// Which of them: a field selector.
    fields: Option<String>,
    /// For people.
    pub(super) resource_name: String,
    /// Where the API has it.
    pub(super) path: String,
}

impl Place {
    /// Of policies, in that version of their group.
    pub(super) fn new((kind, version): (Kind, &str), namespace: Option<&str>) -> Self {
        Self::of(kind.as_str(), resource(kind, version), namespace)
    }

    /// Of any kind.
    pub(super) fn of(kind: &'static str, resource: ApiResource, namespace: Option<&str>) -> Self {
        let ApiResource { plural, api_version, group, .. } = &resource;
        let api = if group.is_empty() { "api" } else { "apis" };
        let (path, within) = match namespace {
            Some(namespace) => (
                format!("/{api}/{api_version}/namespaces/{namespace}/{plural}"),
                format!(" in namespace {namespace}"),
            ),
            None => (format!("/{api}/{api_version}/{plural}"), String::new()),
        };
        let dot = if group.is_empty() { "" } else { "." };
        Self {
            kind,
            resource_name: format!("{plural}{dot}{group}{within}"),
            resource,
            namespace: namespace.map(Into::into),
            fields: None,
            path,
        }
    }

    /// Only those whose fields are like that.
    pub(super) fn with_fields(self, fields: String) -> Self {
        Self { fields: Some(fields), ..self }
    }

    fn api(&self, client: Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        }
    }
}

/// The kind as the API knows it in a version.
pub(super) fn resource(kind: Kind, version: &str) -> ApiResource {
    let kind_there = GroupVersionKind::gvk(schema::group_of(kind).name, version, kind.as_str());
    ApiResource::from_gvk_with_plural(&kind_there, &schema::of(kind).plural)
}

/// What happened in a place.
#[derive(Debug)]
pub(super) enum News<T = Box<Arrived>, I = ResourceId> {
    /// A list begins.
    Begun,
    /// One of it.
    Listed(T),
    /// All of it has come.
    Complete,
    /// New, or changed.
    Applied(T),
    /// Gone.
    Deleted(I),
}

/// What is made of the objects of a place.
pub(super) trait Read: Send + Sync {
    /// An object.
    type Object: Send;
    /// What it is known by.
    type Id: Send;

    /// Reads one.
    fn object(&self, object: DynamicObject) -> Result<Self::Object, Trouble>;

    /// Reads what it is known by alone.
    fn id(&self, object: &DynamicObject) -> Result<Self::Id, Trouble>;
}

/// To who wants to know: news, and the place that they are from.
type Sender<R> = mpsc::Sender<(usize, News<<R as Read>::Object, <R as Read>::Id>)>;

/// Policies are kept as they are.
impl Read for Kind {
    type Object = Box<Arrived>;
    type Id = ResourceId;

    fn object(&self, object: DynamicObject) -> Result<Self::Object, Trouble> {
        Arrived::of(*self, object).map(Box::new)
    }

    fn id(&self, object: &DynamicObject) -> Result<ResourceId, Trouble> {
        let (namespace, name) = names(object)?;
        Ok(ResourceId { kind: *self, namespace: namespace.into(), name: name.into() })
    }
}

/// An object, as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arrived {
    pub(super) id: ResourceId,
    pub(super) api_version: String,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) status: Option<Value>,
    /// Without its status and who manages which of its fields.
    pub(super) object: Value,
}

impl Arrived {
    fn of(kind: Kind, object: DynamicObject) -> Result<Self, Trouble> {
        let id = kind.id(&object)?;
        let DynamicObject { mut metadata, mut data, types } = object;
        let api_version = types.map(|types| types.api_version).filter(|it| !it.is_empty());
        let api_version = api_version.unwrap_or_else(|| {
            let schema::ApiGroup { name, versions, .. } = schema::group_of(kind);
            format!("{name}/{}", versions.first().copied().unwrap_or_default())
        });
        metadata.managed_fields = None;
        let resource_version = metadata.resource_version.take();
        let (uid, generation) = (metadata.uid.clone(), metadata.generation);
        let metadata = serde_json::to_value(metadata)
            .map_err(|error| Trouble::Unreadable { message: error.to_string() })?;
        let status = data.as_object_mut().and_then(|members| members.remove("status"));
        let mut object = json!({
            "apiVersion": api_version,
            "kind": kind.as_str(),
            "metadata": metadata,
        });
        if let (Value::Object(object), Value::Object(data)) = (&mut object, data) {
            object.extend(data);
        }
        if kind == Kind::ApiRule {
            // Without a webhook, the API server shows all versions in the form that was written.
            let version = schema::written_version(&object);
            if let Value::Object(members) = &mut object {
                let written = format!("{}/{version}", schema::group_of(kind).name);
                members.insert("apiVersion".into(), written.into());
            }
        }
        Ok(Self { id, api_version, uid, resource_version, generation, status, object })
    }
}

/// Namespace and name.
pub(super) fn names(object: &DynamicObject) -> Result<(&str, &str), Trouble> {
    let metadata = &object.metadata;
    // To leave it out would be a shorter list.
    let Some(name) = metadata.name.as_deref().filter(|name| !name.is_empty()) else {
        return Err(Trouble::Unreadable { message: "an object without a name".into() });
    };
    Ok((metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// Follows a place until nobody wants to know.
pub(super) async fn follow<R: Read>(
    (at, place): (usize, &Place),
    what: &R,
    client: Client,
    pace: Pace,
    outages: &Outages,
    news: Sender<R>,
) {
    let mut config = watcher::Config::default().page_size(pace.page_size.get());
    config.field_selector.clone_from(&place.fields);
    let api = place.api(client);
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()));
        while let Some(event) = events.next().await {
            let trouble = match event {
                Ok(event) => match read(what, event) {
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

fn read<R: Read>(what: &R, event: Event<DynamicObject>) -> Result<News<R::Object, R::Id>, Trouble> {
    Ok(match event {
        Event::Init => News::Begun,
        Event::InitApply(object) => News::Listed(what.object(object)?),
        Event::InitDone => News::Complete,
        Event::Apply(object) => News::Applied(what.object(object)?),
        Event::Delete(object) => News::Deleted(what.id(&object)?),
    })
}
