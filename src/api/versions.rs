//! The versions of APIRules, which differ in more than their names.
//!
//! There are two forms: that of v1beta1, in which v1alpha1 is stored too, and that of v2. An object is
//! stored in the form in which it was written, and read in that form whatever version is asked for:
//! regular expressions have no templates that mean the same, and a form that drops something would
//! lose it with the next write.

use serde_json::{Map, Value};

use super::discovery;
use super::resource_type::ResourceType;
use crate::manifest::schema::{self, virtual_service};
use crate::model::Kind;

/// The version whose form an object has.
pub(super) fn form(resource: ResourceType, object: &Value) -> &'static str {
    if resource == ResourceType::API_RULE { schema::written_version(object) } else { "v1" }
}

/// The versions of a group of which objects are kept, the preferred one first.
pub(super) fn of_group(group: &str) -> &'static [&'static str] {
    if group == virtual_service::GROUP {
        return &virtual_service::VERSIONS;
    }
    let found = schema::GROUPS.iter().find(|known| known.name == group);
    found.map_or(&["v1"], |group| group.versions)
}

/// The schema of the form that an object has; namespaces have none.
pub(super) fn schema_of(
    resource: ResourceType,
    object: &Value,
) -> Option<&'static schema::KindSchema> {
    match discovery::kind(resource) {
        None => of_no_policy(resource),
        Some(kind @ Kind::ApiRule) => {
            Some(schema::of_version(kind, schema::written_version(object)))
        }
        Some(
            kind @ (Kind::AuthorizationPolicy
            | Kind::RequestAuthentication
            | Kind::PeerAuthentication),
        ) => Some(schema::of(kind)),
    }
}

/// The schema of a version; namespaces have none.
pub(super) fn schema_in(
    resource: ResourceType,
    version: &str,
) -> Option<&'static schema::KindSchema> {
    match discovery::kind(resource) {
        None => of_no_policy(resource),
        Some(kind) => Some(schema::of_version(kind, version)),
    }
}

fn of_no_policy(resource: ResourceType) -> Option<&'static schema::KindSchema> {
    (resource == ResourceType::VIRTUAL_SERVICE).then(virtual_service::schema)
}

/// Turns the form of v1alpha1 into that of v1beta1: `spec.service.host` becomes `spec.host`.
pub(super) fn to_stored_form(resource: ResourceType, object: &mut Value) {
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if resource != ResourceType::API_RULE || !version.ends_with("/v1alpha1") {
        return;
    }
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    let service = spec.get_mut("service").and_then(Value::as_object_mut);
    if let Some(host) = service.and_then(|service| service.shift_remove("host")) {
        spec.insert("host".to_owned(), host);
    }
}

/// Turns the stored form into the one that a version shows, if there is a way back.
pub(super) fn show_in(resource: ResourceType, version: &str, fields: &mut Map<String, Value>) {
    if resource != ResourceType::API_RULE || version != "v1alpha1" {
        return;
    }
    let Some(Value::Object(spec)) = fields.get_mut("spec") else { return };
    let rules = spec.get("rules").and_then(Value::as_array);
    let own = rules.into_iter().flatten().any(|rule| rule.get("service").is_some());
    let is_there = spec.get("service").is_some_and(Value::is_object);
    if own || !is_there {
        return;
    }
    if let Some(host) = spec.shift_remove("host")
        && let Some(Value::Object(service)) = spec.get_mut("service")
    {
        service.insert("host".to_owned(), host);
    }
}

/// What clients of a version are told with each answer.
pub(super) fn deprecation(resource: ResourceType, version: &str) -> Option<&'static str> {
    (resource == ResourceType::API_RULE && version == "v1alpha1")
        .then_some(schema::V1ALPHA1_DEPRECATION)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_host_moves_and_comes_back() {
        let api_version = "gateway.kyma-project.io/v1alpha1";
        let old = json!({ "apiVersion": api_version, "spec": { "service": { "name": "a", "port": 1, "host": "a.b" }, "rules": [{}] } });
        let mut stored = old.clone();
        to_stored_form(ResourceType::API_RULE, &mut stored);
        assert_eq!(
            stored,
            json!({ "apiVersion": api_version, "spec": {
                "service": { "name": "a", "port": 1 }, "rules": [{}], "host": "a.b",
            } })
        );
        assert_eq!(form(ResourceType::API_RULE, &stored), "v1beta1");
        let mut shown = stored.clone();
        show_in(ResourceType::API_RULE, "v1alpha1", shown.as_object_mut().unwrap());
        assert_eq!(shown, old);
        let mut other = stored.clone();
        show_in(ResourceType::API_RULE, "v1beta1", other.as_object_mut().unwrap());
        assert_eq!(other, stored);
    }

    #[test]
    fn there_is_not_always_a_way_back() {
        for spec in [
            json!({ "host": "a.b", "rules": [{ "service": { "name": "x" } }], "service": {} }),
            json!({ "host": "a.b", "rules": [] }),
            json!({ "hosts": ["a.b"] }),
        ] {
            let object = json!({ "spec": spec });
            let mut shown = object.clone();
            show_in(ResourceType::API_RULE, "v1alpha1", shown.as_object_mut().unwrap());
            assert_eq!(shown, object);
        }
        assert_eq!(form(ResourceType::API_RULE, &json!({ "spec": { "hosts": ["a.b"] } })), "v2");
    }
}
