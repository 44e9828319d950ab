//! The one table of what the API serves: names, scopes, verbs.
//!
//! How discovery writes it down is its parent's.

use std::sync::LazyLock;

use crate::api::resource_type::ResourceType;
use crate::manifest::schema::{self, virtual_service};
use crate::model::Kind;

/// A group of the API and its versions, the preferred one first.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name; empty for the core group.
    pub name: &'static str,
    /// What each version has.
    pub versions: Vec<Version>,
}

/// A version of a group.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its name, such as `v1`.
    pub name: &'static str,
    /// What it has.
    pub resources: Vec<Resource>,
}

/// A resource, as clients have to know it.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// Plural, kind and group.
    pub names: ResourceType,
    /// Its name for one, such as `authorizationpolicy`.
    pub singular: &'static str,
    /// Its name for those who type, if any.
    pub short_name: Option<&'static str>,
    /// What it is counted among, such as `istio-io`.
    pub categories: &'static [&'static str],
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
    /// What can be done with its status; nothing where it has none.
    pub status_verbs: &'static [&'static str],
}

/// What can be done with policies.
const POLICY_VERBS: [&str; 8] =
    ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

const NAMESPACE_VERBS: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];

/// All groups, the core group first.
pub static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(|| {
    let mut groups = vec![
        Group { name: "", versions: vec![Version { name: "v1", resources: vec![NAMESPACES] }] },
        Group {
            name: "authentication.k8s.io",
            versions: vec![Version {
                name: "v1",
                resources: vec![question(ResourceType {
                    group: "authentication.k8s.io",
                    plural: "selfsubjectreviews",
                    kind: "SelfSubjectReview",
                })],
            }],
        },
        Group {
            name: "authorization.k8s.io",
            versions: vec![Version {
                name: "v1",
                resources: vec![
                    question(ResourceType {
                        group: "authorization.k8s.io",
                        plural: "selfsubjectaccessreviews",
                        kind: "SelfSubjectAccessReview",
                    }),
                    question(ResourceType {
                        group: "authorization.k8s.io",
                        plural: "selfsubjectrulesreviews",
                        kind: "SelfSubjectRulesReview",
                    }),
                ],
            }],
        },
    ];
    groups.extend(schema::GROUPS.iter().map(|group| {
        let policies: Vec<_> = group.kinds.iter().copied().map(policy).collect();
        let version = |name: &&'static str| Version { name, resources: policies.clone() };
        Group { name: group.name, versions: group.versions.iter().map(version).collect() }
    }));
    let routing = |name: &&'static str| Version { name, resources: vec![virtual_services()] };
    groups.push(Group {
        name: virtual_service::GROUP,
        versions: virtual_service::VERSIONS.iter().map(routing).collect(),
    });
    groups
});

const NAMESPACES: Resource = Resource {
    names: ResourceType::NAMESPACE,
    singular: "namespace",
    short_name: Some("ns"),
    categories: &[],
    namespaced: false,
    verbs: &NAMESPACE_VERBS,
    status_verbs: &[],
};

/// The names of a kind.
pub fn resource_type(kind: Kind) -> ResourceType {
    match kind {
        Kind::AuthorizationPolicy => ResourceType::AUTHORIZATION_POLICY,
        Kind::RequestAuthentication => ResourceType::REQUEST_AUTHENTICATION,
        Kind::PeerAuthentication => ResourceType::PEER_AUTHENTICATION,
        Kind::ApiRule => ResourceType::API_RULE,
    }
}

/// The kind of a resource; none for those that are no policies.
pub fn kind(resource: ResourceType) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| resource_type(*kind) == resource)
}

/// Finds a group by its name.
pub fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// Finds a version of a group.
pub fn version(group_name: &str, name: &str) -> Option<&'static Version> {
    group(group_name)?.versions.iter().find(|version| version.name == name)
}

/// Finds a resource by the parts of a path.
pub fn resource(group: &str, version_name: &str, plural: &str) -> Option<&'static Resource> {
    version(group, version_name)?.resources.iter().find(|it| it.names.plural == plural)
}

fn policy(kind: Kind) -> Resource {
    kept(resource_type(kind), schema::of(kind), schema::categories(kind))
}

fn virtual_services() -> Resource {
    let schema = virtual_service::schema();
    kept(ResourceType::VIRTUAL_SERVICE, schema, &virtual_service::CATEGORIES)
}

/// One whose objects are in the store.
fn kept(
    names: ResourceType,
    schema: &'static schema::KindSchema,
    categories: &'static [&'static str],
) -> Resource {
    let schema::KindSchema { singular, short_name, .. } = schema;
    Resource {
        names,
        singular,
        short_name: Some(short_name.as_str()).filter(|name| !name.is_empty()),
        categories,
        namespaced: true,
        verbs: &POLICY_VERBS,
        status_verbs: &STATUS_VERBS,
    }
}

/// One that is answered, and not kept.
const fn question(names: ResourceType) -> Resource {
    Resource {
        names,
        singular: "",
        short_name: None,
        categories: &[],
        namespaced: false,
        verbs: &["create"],
        status_verbs: &[],
    }
}
