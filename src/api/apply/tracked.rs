//! The part of an object that has owners: all but what says which object it is and what the server
//! keeps, and only what the endpoint is about.

use serde_json::{Map, Value};

use crate::api::object_meta::Endpoint;

/// Fields of metadata without owners.
const UNTRACKED: [&str; 10] = [
    "name",
    "namespace",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// The part of an object that has owners.
pub(super) fn tracked(object: &Value, endpoint: Endpoint) -> Value {
    let fields = object.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| match endpoint {
        Endpoint::Main => !matches!(name.as_str(), "apiVersion" | "kind" | "status"),
        Endpoint::Status => *name == "status",
    });
    let fields = fields.map(|(name, value)| {
        let Some(metadata) = value.as_object().filter(|_| name == "metadata") else {
            return (name.clone(), value.clone());
        };
        let kept = metadata.iter().filter(|(name, _)| !UNTRACKED.contains(&name.as_str()));
        let kept: Map<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        (name.clone(), Value::Object(kept))
    });
    Value::Object(fields.collect())
}

/// An object with another tracked part.
pub(super) fn with_tracked(object: &Value, tracked: &Value, endpoint: Endpoint) -> Value {
    let mut whole = Map::new();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    for (name, value) in fields(object) {
        let stays = match endpoint {
            Endpoint::Main => matches!(name.as_str(), "apiVersion" | "kind" | "status"),
            Endpoint::Status => name != "status",
        };
        if name == "metadata" && endpoint == Endpoint::Main {
            let mut metadata = fields(&value);
            metadata.retain(|name, _| UNTRACKED.contains(&name.as_str()));
            whole.insert(name, Value::Object(metadata));
        } else if stays {
            whole.insert(name, value);
        }
    }
    for (name, value) in fields(tracked) {
        match whole.get_mut(&name).and_then(Value::as_object_mut) {
            Some(metadata) => metadata.extend(fields(&value)),
            None => {
                whole.insert(name, value);
            }
        }
    }
    Value::Object(whole)
}
