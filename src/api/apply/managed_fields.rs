//! `metadata.managedFields`: who owns which fields.
//!
//! When ownership changes is for the module above.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::field_set::FieldSet;

/// How many entries of updates an object has at most; the oldest are thrown together.
const MAX_UPDATERS: usize = 10;

/// Whom those are ascribed to.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own fields. In the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// What tells entries apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerId {
    pub(super) operation: Operation,
    pub(super) manager: String,
    /// Empty for those who apply: what one version put there, another may take away.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

/// What a manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

/// All entries of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Managed(pub(super) BTreeMap<ManagerId, Owned>);

/// As in the message of a conflict.
impl std::fmt::Display for ManagerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::api::field_error::quote(&self.manager))?;
        if !self.subresource.is_empty() {
            let subresource = crate::api::field_error::quote(&self.subresource);
            write!(f, " with subresource {subresource}")?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// Whether a client wrote `[{}]`: nobody shall own anything.
pub(super) fn is_reset(object: &Value) -> bool {
    entries_of(object).is_some_and(|entries| match entries.as_slice() {
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    })
}

/// Whether there are managed fields at all, be it an empty list.
pub(super) fn is_present(object: &Value) -> bool {
    object.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null())
}

fn entries_of(object: &Value) -> Option<&Vec<Value>> {
    object.pointer("/metadata/managedFields").and_then(Value::as_array)
}

impl Managed {
    /// Reads the entries of an object; none if one of them cannot be read.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let mut managed = Self::default();
        for entry in entries_of(object).into_iter().flatten() {
            let (id, owned) = decode(entry)?;
            managed.0.insert(id, owned);
        }
        Some(managed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields that anybody owns.
    pub(super) fn all_fields(&self) -> FieldSet {
        self.0.values().fold(FieldSet::default(), |all, owned| all.union(&owned.fields))
    }

    /// Takes fields from everybody but one.
    pub(super) fn take_from_others(&mut self, id: &ManagerId, fields: &FieldSet) {
        for (other, owned) in &mut self.0 {
            if other != id {
                owned.fields = owned.fields.difference(fields);
            }
        }
    }

    /// Forgets those who own nothing.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// Throws the oldest updates together where there are too many.
    pub(super) fn cap(&mut self) {
        let updaters = |managed: &Self| {
            managed.0.keys().filter(|id| id.operation == Operation::Update).count()
        };
        while updaters(self) > MAX_UPDATERS {
            let oldest = self
                .0
                .iter()
                .filter(|(id, _)| id.operation == Operation::Update && id.manager != ANCIENT)
                .min_by_key(|(id, owned)| (owned.time.clone(), (*id).clone()));
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            let Some(owned) = self.0.remove(&id) else { return };
            let bucket = ManagerId { manager: ANCIENT.to_owned(), ..id };
            match self.0.get_mut(&bucket) {
                Some(ancient) => {
                    ancient.fields = std::mem::take(&mut ancient.fields).union(&owned.fields);
                    // The time of the latest change in it.
                    ancient.time = owned.time;
                }
                None => {
                    self.0.insert(bucket, owned);
                }
            }
        }
    }

    /// Writes the entries into an object.
    pub(super) fn write(&self, object: &mut Value) {
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        metadata.shift_remove("managedFields");
        if self.is_empty() {
            return;
        }
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(id, owned)| {
            let ManagerId { operation, manager, subresource, .. } = id;
            (*operation, &owned.time, manager, &owned.api_version, subresource)
        });
        let entries = entries.into_iter().map(|(id, owned)| encode(id, owned)).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

fn decode(entry: &Value) -> Option<(ManagerId, Owned)> {
    let text = |field: &str| match entry.get(field).filter(|value| !value.is_null()) {
        None => Some(String::new()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let operation = match entry.get("operation")?.as_str()? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    if entry.get("fieldsType")?.as_str()? != "FieldsV1" {
        return None;
    }
    let fields = match entry.get("fieldsV1").filter(|value| !value.is_null()) {
        Some(fields) => FieldSet::parse(fields).ok()?,
        None => FieldSet::default(),
    };
    let api_version = text("apiVersion")?;
    let time = Some(text("time")?).filter(|time| !time.is_empty());
    let id = ManagerId {
        operation,
        manager: text("manager")?,
        api_version: match operation {
            Operation::Apply => String::new(),
            Operation::Update => api_version.clone(),
        },
        subresource: text("subresource")?,
    };
    Some((id, Owned { api_version, time, fields }))
}

fn encode(id: &ManagerId, owned: &Owned) -> Value {
    let operation = match id.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut entry = json!({
        "apiVersion": owned.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.fields.to_json(),
        "manager": id.manager,
        "operation": operation,
    });
    if let Some(entry) = entry.as_object_mut() {
        if !id.subresource.is_empty() {
            entry.insert("subresource".to_owned(), json!(id.subresource));
        }
        if let Some(time) = &owned.time {
            entry.insert("time".to_owned(), json!(time));
        }
    }
    entry
}
