//! The rules of object metadata: what a write may say, what the server says, and what is kept.
//!
//! Pure functions of the stored and the submitted object. Field owners are `apply`'s; clocks, new
//! resource versions and storing are the caller's.

mod shape;
mod validation;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::field_error::FieldError;
use super::query::{DeleteOptions, number_message};
use super::status::{ApiError, ResourceType};
pub use validation::validate;

/// What a request's path says about the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The kind.
    pub resource: ResourceType,
    /// The version of the group, such as `v1`.
    pub version: &'a str,
    /// The namespace; `None` for kinds without.
    pub namespace: Option<&'a str>,
    /// The name; `None` where objects are created.
    pub name: Option<&'a str>,
}

/// What the server gives a new object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth<'a> {
    /// A fresh UUID.
    pub uid: &'a str,
    /// Now, as RFC 3339 with seconds.
    pub creation_timestamp: &'a str,
    /// Random bits for a generated name.
    pub random: u64,
}

/// Which part of an object an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// All but the status.
    Main,
    /// The status only.
    Status,
}

impl Endpoint {
    /// The name of the subresource; none for the object itself.
    pub fn subresource(self) -> Option<&'static str> {
        match self {
            Self::Main => None,
            Self::Status => Some("status"),
        }
    }
}

/// What a delete does to an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// It goes now.
    Remove,
    /// It stays for its finalizers, marked so.
    Mark(Value),
    /// It was marked before, and still has finalizers.
    Pending,
}

/// Checks that a body agrees with the path, and that its metadata has the right types. Fills in what
/// only the path says: the namespace.
pub fn check_identity(target: Target<'_>, object: &mut Value) -> Result<(), ApiError> {
    let Target { resource, version, namespace, name } = target;
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::unrecognized_object(resource, "the body is not an object"));
    };
    let text = |fields: &Map<String, Value>, key: &str| {
        fields.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let Some(kind) = text(fields, "kind") else {
        return Err(ApiError::unrecognized_object(resource, "Object 'Kind' is missing"));
    };
    let Some(api_version) = text(fields, "apiVersion") else {
        return Err(ApiError::unrecognized_object(resource, "Object 'apiVersion' is missing"));
    };
    let expected = resource.api_version(version);
    if api_version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version \
             ({expected})"
        )));
    }
    if kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            resource.kind
        )));
    }
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    shape::check(metadata).map_err(|why| ApiError::cannot_be_handled(resource, version, &why))?;
    let Some(metadata) = metadata.as_object_mut() else { return Ok(()) };
    match (text(metadata, "namespace"), namespace) {
        (None, Some(namespace)) => {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        (found, namespace) if found.as_deref() == namespace => {}
        (Some(_) | None, _) => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    if let Some(name) = name {
        let Some(found) = text(metadata, "name") else {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        };
        if found != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({found}) does not match the name on the URL ({name})"
            )));
        }
    }
    Ok(())
}

/// Makes a submitted object a new one. Says whether its name was generated: if that one is taken, the
/// answer is [`ApiError::generated_name_exists`].
pub fn prepare_create(
    target: Target<'_>,
    object: &mut Value,
    birth: Birth<'_>,
) -> Result<bool, ApiError> {
    if !matches!(text_of(object, "resourceVersion"), "" | "0") {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::bad_request(message));
    }
    let generates =
        text_of(object, "name").is_empty() && !text_of(object, "generateName").is_empty();
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("status");
    }
    if let Some(metadata) = metadata_mut(object) {
        for key in
            ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"]
        {
            metadata.shift_remove(key);
        }
        if generates {
            let prefix = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
            let name = generated_name(prefix, birth.random);
            metadata.insert("name".to_owned(), json!(name));
        }
        metadata.insert("uid".to_owned(), json!(birth.uid));
        metadata.insert("creationTimestamp".to_owned(), json!(birth.creation_timestamp));
        metadata.insert("generation".to_owned(), json!(1));
    }
    let errors = validate(object);
    if errors.is_empty() {
        Ok(generates)
    } else {
        Err(ApiError::invalid(target.resource, text_of(object, "name"), &errors))
    }
}

/// What an update makes of a stored object: preconditions checked, what callers cannot change put
/// back, the generation raised if anything outside metadata and status changed.
///
/// `managedFields` are as submitted: the result of `apply::apply` has what it needs, and all else goes
/// to `apply::update` next.
pub fn prepare_update(
    target: Target<'_>,
    stored: &Value,
    submitted: Value,
    endpoint: Endpoint,
) -> Result<Value, ApiError> {
    let name = text_of(stored, "name");
    let Target { resource, .. } = target;
    check_uid(resource, stored, text_of(&submitted, "uid"))?;
    check_resource_version(resource, stored, text_of(&submitted, "resourceVersion"))?;
    let mut object = match endpoint {
        Endpoint::Main => {
            let mut object = submitted;
            put(&mut object, "status", stored.get("status"));
            object
        }
        Endpoint::Status => {
            let mut object = stored.clone();
            put(&mut object, "apiVersion", submitted.get("apiVersion"));
            put(&mut object, "status", submitted.get("status"));
            if let Some(metadata) = metadata_mut(&mut object) {
                // Those of an apply; after another write, `apply::update` starts from the stored ones.
                let owners = submitted.get("metadata").and_then(|from| from.get("managedFields"));
                put_in(metadata, "managedFields", owners);
            }
            object
        }
    };
    if let Some(metadata) = metadata_mut(&mut object) {
        metadata.shift_remove("selfLink");
        for key in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            put_in(metadata, key, stored.pointer("/metadata").and_then(|stored| stored.get(key)));
        }
    }
    // The status is the stored one here, or the write is about nothing else.
    if endpoint == Endpoint::Main && content_differs(stored, &object) {
        raise_generation(&mut object);
    }
    let mut errors = validate(&object);
    errors.extend(validation::new_finalizers(stored, &object));
    if errors.is_empty() { Ok(object) } else { Err(ApiError::invalid(resource, name, &errors)) }
}

/// Whether a write changed nothing, so that nothing is stored and the resource version stays. The two
/// may be of different versions of the group.
pub fn is_unchanged(stored: &Value, object: &Value) -> bool {
    differing(stored, object, &["apiVersion"]).next().is_none()
}

/// What a delete does to a stored object. `now` is RFC 3339 with seconds.
pub fn prepare_delete(
    resource: ResourceType,
    stored: &Value,
    options: &DeleteOptions,
    now: &str,
) -> Result<Deletion, ApiError> {
    let name = text_of(stored, "name");
    check_uid(resource, stored, options.uid.as_deref().unwrap_or_default())?;
    if let Some(asked) = &options.resource_version {
        let found = text_of(stored, "resourceVersion");
        if asked != found {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in \
                 object meta: {found}"
            );
            return Err(ApiError::conflict(resource, name, &why));
        }
    }
    if !has_finalizers(stored) {
        return Ok(Deletion::Remove);
    }
    if is_marked(stored) {
        return Ok(Deletion::Pending);
    }
    let mut marked = stored.clone();
    raise_generation(&mut marked);
    if let Some(metadata) = metadata_mut(&mut marked) {
        metadata.insert("deletionTimestamp".to_owned(), json!(now));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
    }
    Ok(Deletion::Mark(marked))
}

/// Whether an updated object goes: it was to be deleted, and its last finalizer is gone.
pub fn is_finished(object: &Value) -> bool {
    is_marked(object) && !has_finalizers(object)
}

/// A name from `generateName`: the prefix, cut so that the whole fits, and five random letters.
pub fn generated_name(prefix: &str, random: u64) -> String {
    // No vowels, so no words; nothing that looks like something else.
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    const PREFIX: usize = 58;
    let end = (0..=PREFIX).rev().find(|end| prefix.is_char_boundary(*end)).unwrap_or_default();
    let mut name = prefix.get(..end).unwrap_or(prefix).to_owned();
    let mut rest = random;
    for _ in 0..5 {
        let index = usize::try_from(rest % 27).unwrap_or_default();
        name.extend(ALPHABET.get(index).map(|letter| char::from(*letter)));
        rest /= 27;
    }
    name
}

fn check_uid(resource: ResourceType, stored: &Value, asked: &str) -> Result<(), ApiError> {
    let found = text_of(stored, "uid");
    if asked.is_empty() || asked == found {
        return Ok(());
    }
    let why =
        format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {found}");
    Err(ApiError::conflict(resource, text_of(stored, "name"), &why))
}

fn check_resource_version(
    resource: ResourceType,
    stored: &Value,
    asked: &str,
) -> Result<(), ApiError> {
    let name = text_of(stored, "name");
    let invalid = |error| Err(ApiError::invalid(resource, name, &[error]));
    match asked.parse::<u64>() {
        Ok(0) => invalid(FieldError::no_resource_version()),
        Err(_) if asked.is_empty() => invalid(FieldError::no_resource_version()),
        Err(error) => {
            let why = number_message("strconv.ParseUint", asked, &error);
            invalid(FieldError::invalid("metadata.resourceVersion", asked, &why))
        }
        Ok(asked) if text_of(stored, "resourceVersion").parse() == Ok(asked) => Ok(()),
        Ok(_) => Err(ApiError::modified(resource, name)),
    }
}

fn content_differs(stored: &Value, object: &Value) -> bool {
    differing(stored, object, &["apiVersion", "metadata"]).next().is_some()
}

/// The fields at the top that are not the same in both.
fn differing<'v>(
    one: &'v Value,
    other: &'v Value,
    ignored: &'v [&str],
) -> impl Iterator<Item = &'v str> {
    let fields = |value: &'v Value| value.as_object().into_iter().flat_map(Map::keys);
    fields(one)
        .chain(fields(other))
        .map(String::as_str)
        .filter(|key| !ignored.contains(key))
        .filter(|key| one.get(key) != other.get(key))
}

fn raise_generation(object: &mut Value) {
    if let Some(metadata) = metadata_mut(object) {
        let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or_default();
        metadata.insert("generation".to_owned(), json!(generation.saturating_add(1)));
    }
}

fn is_marked(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

fn has_finalizers(object: &Value) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|finalizers| !finalizers.is_empty())
}

fn text_of<'v>(object: &'v Value, field: &str) -> &'v str {
    let metadata = object.get("metadata");
    metadata.and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata").and_then(Value::as_object_mut)
}

fn put(object: &mut Value, key: &str, value: Option<&Value>) {
    if let Some(fields) = object.as_object_mut() {
        put_in(fields, key, value);
    }
}

fn put_in(fields: &mut Map<String, Value>, key: &str, value: Option<&Value>) {
    match value {
        Some(value) => fields.insert(key.to_owned(), value.clone()),
        None => fields.shift_remove(key),
    };
}
