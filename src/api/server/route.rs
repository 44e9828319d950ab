//! What a path is about.
//!
//! Paths only: whether a method can be used on them is for those who answer.

use percent_encoding::percent_decode_str;

use super::super::access::{Action, ReviewKind};
use super::super::object_meta::Endpoint;
use super::super::status::ResourceType;
use super::super::versions;

/// The kinds of policies that have objects in the store.
pub const POLICIES: [ResourceType; 4] = [
    ResourceType::AUTHORIZATION_POLICY,
    ResourceType::REQUEST_AUTHENTICATION,
    ResourceType::PEER_AUTHENTICATION,
    ResourceType::API_RULE,
];

/// All kinds that have objects in the store, namespaces aside: policies, and what the management API
/// reads.
pub(super) const KEPT: [ResourceType; 5] = {
    let [authorization, request, peer, rule] = POLICIES;
    [authorization, request, peer, rule, ResourceType::VIRTUAL_SERVICE]
};

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/livez` and the like, for everybody.
    Health,
    /// `/version`
    Version,
    /// `/api`
    Api,
    /// `/apis`
    Apis,
    /// `/apis/{group}`
    Group(String),
    /// `/apis/{group}/{version}`, `/api/v1`
    GroupVersion(String, String),
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiV3,
    /// `/openapi/v3/...`
    OpenApiV3Group(String),
    /// Questions of callers about themselves.
    Review(ReviewKind, String),
    /// Objects.
    Resource(Resource),
    /// Nothing.
    Unknown,
}

/// Objects, or one object, of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) kind: ResourceType,
    /// The version of the group in the path.
    pub(super) version: &'static str,
    /// `None`: all namespaces, or a kind without.
    pub(super) namespace: Option<String>,
    /// `None`: the collection.
    pub(super) name: Option<String>,
    pub(super) endpoint: Endpoint,
}

impl Resource {
    /// What somebody wants with it.
    pub(super) fn action<'a>(&'a self, verb: &'a str, resource: &'a str) -> Action<'a> {
        Action {
            verb,
            group: self.kind.group,
            resource,
            namespace: self.namespace.as_deref().unwrap_or_default(),
            name: self.name.as_deref().unwrap_or_default(),
        }
    }

    /// Its name in rules: `authorizationpolicies`, `authorizationpolicies/status`.
    pub(super) fn rule_name(&self) -> String {
        match self.endpoint.subresource() {
            Some(subresource) => format!("{}/{subresource}", self.kind.plural),
            None => self.kind.plural.to_owned(),
        }
    }
}

impl Route {
    pub(super) fn of(path: &str) -> Self {
        let raw = path.trim_start_matches('/').trim_end_matches('/');
        let parts: Option<Vec<_>> = raw.split('/').map(decoded).collect();
        let Some(parts) = parts else { return Self::Unknown };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["livez" | "readyz" | "healthz", ..] => Self::Health,
            ["version"] => Self::Version,
            ["api"] => Self::Api,
            ["apis"] => Self::Apis,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["api", version] => Self::GroupVersion(String::new(), (*version).to_owned()),
            ["apis", group, version] => {
                Self::GroupVersion((*group).to_owned(), (*version).to_owned())
            }
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiV3,
            ["openapi", "v3", rest @ ..] => Self::OpenApiV3Group(rest.join("/")),
            ["apis", group, version, plural] if review(group, version, plural).is_some() => {
                match review(group, version, plural) {
                    Some(kind) => Self::Review(kind, format!("{group}/{version}")),
                    None => Self::Unknown,
                }
            }
            ["api", "v1", "namespaces", rest @ ..] => namespaces(rest),
            ["apis", group, version, rest @ ..] => kept(group, version, rest),
            _ => Self::Unknown,
        }
    }
}

fn namespaces(rest: &[&str]) -> Route {
    let name = match rest {
        [] => None,
        [name] => Some((*name).to_owned()),
        _ => return Route::Unknown,
    };
    Route::Resource(Resource {
        kind: ResourceType::NAMESPACE,
        version: "v1",
        namespace: None,
        name,
        endpoint: Endpoint::Main,
    })
}

fn kept(group: &str, version: &str, rest: &[&str]) -> Route {
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
        rest => (None, rest),
    };
    let (plural, name, endpoint) = match rest {
        [plural] => (plural, None, Endpoint::Main),
        [plural, name] => (plural, Some((*name).to_owned()), Endpoint::Main),
        [plural, name, "status"] => (plural, Some((*name).to_owned()), Endpoint::Status),
        _ => return Route::Unknown,
    };
    let kind = KEPT.into_iter().find(|kind| kind.plural == *plural && kind.group == group);
    let version = versions::of_group(group).iter().copied().find(|known| *known == version);
    let (Some(kind), Some(version)) = (kind, version) else { return Route::Unknown };
    if namespace.is_none() && name.is_some() {
        return Route::Unknown;
    }
    Route::Resource(Resource { kind, version, namespace, name, endpoint })
}

fn review(group: &str, version: &str, plural: &str) -> Option<ReviewKind> {
    match (group, version, plural) {
        ("authorization.k8s.io", "v1", "selfsubjectaccessreviews") => Some(ReviewKind::Access),
        ("authorization.k8s.io", "v1", "selfsubjectrulesreviews") => Some(ReviewKind::Rules),
        ("authentication.k8s.io", "v1", "selfsubjectreviews") => Some(ReviewKind::Subject),
        _ => None,
    }
}

/// A part of a path. One that is empty, or that would be two, is none.
fn decoded(part: &str) -> Option<String> {
    let text = percent_decode_str(part).decode_utf8().ok()?;
    let is_odd = text.is_empty() || text == "." || text == ".." || text.contains(['/', '%', '\0']);
    (!is_odd).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn policy(version: &'static str, namespace: Option<&str>, name: Option<&str>) -> Route {
        Route::Resource(Resource {
            kind: ResourceType::AUTHORIZATION_POLICY,
            version,
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            endpoint: Endpoint::Main,
        })
    }

    #[rstest]
    #[case("/apis/security.istio.io/v1/authorizationpolicies", policy("v1", None, None))]
    #[case(
        "/apis/security.istio.io/v1beta1/namespaces/shop/authorizationpolicies",
        policy("v1beta1", Some("shop"), None)
    )]
    #[case(
        "/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies/a%2Eb/",
        policy("v1", Some("shop"), Some("a.b"))
    )]
    #[case::version("/apis/security.istio.io/v2/authorizationpolicies", Route::Unknown)]
    #[case::plural("/apis/security.istio.io/v1/others", Route::Unknown)]
    #[case::no_namespace("/apis/security.istio.io/v1/authorizationpolicies/a", Route::Unknown)]
    #[case::empty("/apis/security.istio.io/v1/namespaces//authorizationpolicies", Route::Unknown)]
    #[case::two(
        "/apis/security.istio.io/v1/namespaces/a%2Fb/authorizationpolicies",
        Route::Unknown
    )]
    #[case::up("/apis/security.istio.io/v1/namespaces/../authorizationpolicies", Route::Unknown)]
    #[case("/", Route::Unknown)]
    #[case("/apis", Route::Apis)]
    #[case("/api/v1", Route::GroupVersion(String::new(), "v1".into()))]
    #[case("/readyz/ping", Route::Health)]
    #[case("/openapi/v3/apis/g/v1", Route::OpenApiV3Group("apis/g/v1".into()))]
    fn paths(#[case] path: &str, #[case] expected: Route) {
        assert_eq!(Route::of(path), expected);
    }

    #[test]
    fn a_status_is_a_part_of_an_object() {
        let path = "/apis/security.istio.io/v1/namespaces/a/peerauthentications/b/status";
        let Route::Resource(resource) = Route::of(path) else { panic!("no resource") };
        assert_eq!(resource.rule_name(), "peerauthentications/status");
    }
}
