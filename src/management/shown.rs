//! Objects of a mesh in the few members that this API shows of them.
//!
//! Members that an object does not have are absent; its lists are there even if they are empty.

use serde_json::{Map, Value, json};

/// `{name, namespace, hosts, http: [{route: [{destination: {host, subset}, weight}]}]}`
pub fn virtual_service(object: &Value) -> Value {
    let mut shown = named(object);
    // What no VirtualService has may stand in a file.
    let hosts = list(object, "/spec/hosts").iter().filter(|host| host.is_string()).cloned();
    shown.insert("hosts".into(), hosts.collect());
    let http = list(object, "/spec/http").iter().map(|rule| {
        let route = list(rule, "/route").iter().map(destination);
        json!({ "route": route.collect::<Vec<_>>() })
    });
    shown.insert("http".into(), http.collect());
    shown.into()
}

fn destination(route: &Value) -> Value {
    let text = |pointer| route.pointer(pointer).and_then(Value::as_str);
    let mut destination = Map::new();
    destination.insert("host".into(), text("/destination/host").unwrap_or_default().into());
    if let Some(subset) = text("/destination/subset") {
        destination.insert("subset".into(), subset.into());
    }
    let mut shown = Map::new();
    shown.insert("destination".into(), destination.into());
    if let Some(weight) = route.get("weight").and_then(Value::as_u64) {
        shown.insert("weight".into(), weight.into());
    }
    shown.into()
}

/// `{name, namespace, mtlsMode, createdAt}`
pub fn peer_authentication(object: &Value) -> Value {
    let mut shown = named(object);
    let mode = object.pointer("/spec/mtls/mode").and_then(Value::as_str).unwrap_or("UNSET");
    shown.insert("mtlsMode".into(), mode.into());
    created(object, &mut shown);
    shown.into()
}

/// `{name, namespace, action, rules, createdAt}`
pub fn authorization_policy(object: &Value) -> Value {
    let mut shown = named(object);
    let action = object.pointer("/spec/action").and_then(Value::as_str).unwrap_or("ALLOW");
    shown.insert("action".into(), action.into());
    shown.insert("rules".into(), list(object, "/spec/rules").to_vec().into());
    created(object, &mut shown);
    shown.into()
}

fn named(object: &Value) -> Map<String, Value> {
    let mut shown = Map::new();
    copy(object, "/metadata/name", "name", &mut shown);
    copy(object, "/metadata/namespace", "namespace", &mut shown);
    shown
}

fn created(object: &Value, into: &mut Map<String, Value>) {
    copy(object, "/metadata/creationTimestamp", "createdAt", into);
}

fn copy(from: &Value, pointer: &str, name: &str, into: &mut Map<String, Value>) {
    if let Some(value) = from.pointer(pointer).filter(|value| !value.is_null()) {
        into.insert(name.into(), value.clone());
    }
}

/// The items of a list; none where there is none.
pub(super) fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_absent() {
        let object = json!({
            "metadata": { "name": "a", "namespace": "n" },
            "spec": { "http": [{ "redirect": {} }, { "route": [{ "destination": { "host": "b" } }] }] },
        });
        let expected = json!({
            "name": "a",
            "namespace": "n",
            "hosts": [],
            "http": [{ "route": [] }, { "route": [{ "destination": { "host": "b" } }] }],
        });
        assert_eq!(virtual_service(&object), expected);
        let expected = json!({ "name": "a", "namespace": "n", "mtlsMode": "UNSET" });
        assert_eq!(peer_authentication(&object), expected);
        let expected = json!({ "name": "a", "namespace": "n", "action": "ALLOW", "rules": [] });
        assert_eq!(authorization_policy(&object), expected);
    }

    #[test]
    fn nothing_that_is_odd_is_followed() {
        for odd in [json!(null), json!(1), json!({ "metadata": 1, "spec": [1] })] {
            assert_eq!(virtual_service(&odd), json!({ "hosts": [], "http": [] }));
            assert_eq!(peer_authentication(&odd), json!({ "mtlsMode": "UNSET" }));
        }
        let odd = json!({ "spec": {
            "hosts": [1, "a", {}],
            "http": [{ "route": [{ "weight": "x", "destination": { "host": [1], "subset": 2 } }] }],
        }});
        let shown =
            json!({ "hosts": ["a"], "http": [{ "route": [{ "destination": { "host": "" } }] }] });
        assert_eq!(virtual_service(&odd), shown);
    }
}
