//! Discovery: which groups, versions and resources there are, as `/api` and `/apis` and what is below
//! them tell clients.
//!
//! What resources look like is `openapi`'s; paths and headers are the server's.

mod catalogue;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use self::catalogue::{
    GROUPS, Group, Resource, Version, group, kind, resource, resource_type, version,
};
use super::media_range::MediaRange;
use super::status::ApiError;

/// An answer and its media type.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Value,
}

impl Document {
    fn plain(body: Value) -> Self {
        Self { content_type: "application/json", body }
    }
}

/// How clients want the groups told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Names and versions; each version has to be asked for.
    Plain,
    /// All resources of all groups at once.
    Aggregated(DiscoveryVersion),
}

/// The version of `apidiscovery.k8s.io`. They differ in nothing but their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DiscoveryVersion {
    V2,
    V2Beta1,
}

impl DiscoveryVersion {
    fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
        }
    }
}

impl Form {
    /// The first form in an `Accept` header that there is. No header accepts anything.
    fn negotiate(accept: Option<&str>) -> Result<Self, ApiError> {
        MediaRange::all(accept).find_map(Self::of_media_range).ok_or_else(|| {
            ApiError::not_acceptable(&[
                "application/json",
                DiscoveryVersion::V2.content_type(),
                DiscoveryVersion::V2Beta1.content_type(),
            ])
        })
    }

    fn of_media_range(range: MediaRange<'_>) -> Option<Self> {
        let MediaRange { form, group, version } = range;
        match (form, group, version) {
            (None, ..) => Some(Self::Plain),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                Some(Self::Aggregated(DiscoveryVersion::V2))
            }
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                Some(Self::Aggregated(DiscoveryVersion::V2Beta1))
            }
            (Some(_), ..) => None,
        }
    }
}

/// `/api`: the core group.
pub fn api(accept: Option<&str>) -> Result<Document, ApiError> {
    let core: Vec<_> = GROUPS.iter().filter(|group| group.name.is_empty()).collect();
    Ok(match Form::negotiate(accept)? {
        Form::Aggregated(version) => aggregated(version, &core),
        Form::Plain => {
            let versions = core.iter().flat_map(|group| &group.versions).map(|it| it.name);
            Document::plain(json!({
                "kind": "APIVersions",
                "versions": versions.collect::<Vec<_>>(),
                "serverAddressByClientCIDRs": [],
            }))
        }
    })
}

/// `/apis`: all other groups.
pub fn apis(accept: Option<&str>) -> Result<Document, ApiError> {
    let groups: Vec<_> = GROUPS.iter().filter(|group| !group.name.is_empty()).collect();
    Ok(match Form::negotiate(accept)? {
        Form::Aggregated(version) => aggregated(version, &groups),
        Form::Plain => {
            let groups: Vec<_> = groups.into_iter().map(api_group).map(Value::Object).collect();
            let list = json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups });
            Document::plain(list)
        }
    })
}

/// `/apis/{group}`.
pub fn api_group_document(name: &str) -> Result<Document, ApiError> {
    let group = group(name).filter(|group| !group.name.is_empty());
    let group = group.ok_or_else(ApiError::no_such_path)?;
    let mut body = Map::new();
    body.insert("kind".to_owned(), json!("APIGroup"));
    body.insert("apiVersion".to_owned(), json!("v1"));
    body.extend(api_group(group));
    Ok(Document::plain(Value::Object(body)))
}

/// `/apis/{group}/{version}`, and `/api/{version}` where the group is empty.
pub fn api_resources(group: &str, version_name: &str) -> Result<Document, ApiError> {
    let version = version(group, version_name).ok_or_else(ApiError::no_such_path)?;
    let resources: Vec<_> = version.resources.iter().flat_map(rows).collect();
    Ok(Document::plain(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version_name),
        "resources": resources,
    })))
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn api_group(group: &Group) -> Map<String, Value> {
    let versions: Vec<_> = group
        .versions
        .iter()
        .map(|version| {
            json!({
                "groupVersion": group_version(group.name, version.name),
                "version": version.name,
            })
        })
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    let members = [
        ("name", json!(group.name)),
        ("versions", Value::Array(versions)),
        ("preferredVersion", preferred),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A resource in an APIResourceList, and its status.
fn rows(resource: &Resource) -> Vec<Value> {
    let Resource { names, singular, namespaced, verbs, status_verbs, .. } = *resource;
    let mut row = json!({
        "name": names.plural,
        "singularName": singular,
        "namespaced": namespaced,
        "kind": names.kind,
        "verbs": verbs,
    });
    if let Value::Object(row) = &mut row {
        row.extend(other_names(resource));
    }
    let mut rows = vec![row];
    if !status_verbs.is_empty() {
        rows.push(json!({
            "name": format!("{}/status", names.plural),
            "singularName": "",
            "namespaced": namespaced,
            "kind": names.kind,
            "verbs": status_verbs,
        }));
    }
    rows
}

fn other_names(resource: &Resource) -> impl Iterator<Item = (String, Value)> {
    let short = resource.short_name.map(|name| ("shortNames".to_owned(), json!([name])));
    let categories = (!resource.categories.is_empty())
        .then(|| ("categories".to_owned(), json!(resource.categories)));
    short.into_iter().chain(categories)
}

fn aggregated(version: DiscoveryVersion, groups: &[&Group]) -> Document {
    let items: Vec<_> = groups.iter().map(|group| aggregated_group(group)).collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": version.api_version(),
        "metadata": {},
        "items": items,
    });
    Document { content_type: version.content_type(), body }
}

fn aggregated_group(group: &Group) -> Value {
    let versions: Vec<_> = group
        .versions
        .iter()
        .map(|version| {
            let resources = version.resources.iter();
            json!({
                "version": version.name,
                "resources": resources
                    .map(|resource| aggregated_resource(resource, version.name))
                    .collect::<Vec<_>>(),
                "freshness": "Current",
            })
        })
        .collect();
    let name = group.name;
    let metadata = if name.is_empty() { json!({}) } else { json!({ "name": name }) };
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    let Resource { names, singular, namespaced, verbs, status_verbs, .. } = *resource;
    let response = json!({ "group": names.group, "version": version, "kind": names.kind });
    let mut entry = json!({
        "resource": names.plural,
        "responseKind": response,
        "scope": if namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": singular,
        "verbs": verbs,
    });
    if let Value::Object(entry) = &mut entry {
        entry.extend(other_names(resource));
        if !status_verbs.is_empty() {
            let status =
                json!({ "subresource": "status", "responseKind": response, "verbs": status_verbs });
            entry.insert("subresources".to_owned(), json!([status]));
        }
    }
    entry
}
