//! Creates, replaces, patches, deletes: each one transaction.
//!
//! What the single steps are is said by the pure functions that they call. Everything here may wait
//! for the disk.

use serde_json::Value;

use super::super::admission::{self, Pruned};
use super::super::apply::{self, Write};
use super::super::object_meta::{
    Birth, Deletion, Endpoint, Target, check_identity, is_finished, is_unchanged, prepare_create,
    prepare_delete, prepare_update,
};
use super::super::patch::{PatchType, json_patch, merge_patch};
use super::super::query::{DeleteOptions, WriteOptions};
use super::super::status::{ApiError, ResourceType};
use super::super::strict::{self, Decoded, Format, decode};
use super::super::versions;
use super::Settings;
use super::moment::{self, Moment};
use super::namespaces;
use super::reads::{in_version, key, shown_in};
use super::route::Resource;
use crate::store::{Key, Store, StoreError, Transaction};

/// The most bytes of an object as it is stored.
pub(super) const MAX_OBJECT: usize = 1536 * 1024;

/// Who writes what.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) store: &'a Store,
    pub(super) settings: &'a Settings,
    pub(super) resource: &'a Resource,
    pub(super) options: &'a WriteOptions,
    /// The field manager.
    pub(super) manager: &'a str,
    pub(super) now: &'a Moment,
}

/// What a write made.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) object: Value,
    pub(super) is_new: bool,
    pub(super) warnings: Vec<String>,
}

/// What a delete did.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It is gone. As it was.
    Gone(Value),
    /// It stays for its finalizers.
    Marked(Value),
}

impl From<StoreError> for ApiError {
    /// What is wrong with files is for the operator to know.
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %crate::api::server::chain(&error), "the store failed");
        Self::internal("the store cannot be written")
    }
}

impl Writer<'_> {
    fn target(&self) -> Target<'_> {
        let Resource { kind, version, namespace, name, .. } = self.resource;
        Target { resource: *kind, version, namespace: namespace.as_deref(), name: name.as_deref() }
    }

    fn by<'a>(&'a self, api_version: &'a str) -> Write<'a> {
        Write {
            manager: self.manager,
            api_version,
            endpoint: self.resource.endpoint,
            now: &self.now.text,
        }
    }

    fn api_version(&self) -> String {
        self.resource.kind.api_version(self.resource.version)
    }

    fn key(&self, name: &str) -> Key {
        key(self.resource.kind, self.resource.namespace.as_deref().unwrap_or_default(), name)
    }

    fn decoded(&self, body: &[u8], format: Format) -> Result<Decoded, ApiError> {
        let Resource { kind, version, .. } = self.resource;
        decode(body, format)
            .map_err(|why| ApiError::cannot_be_handled(*kind, version, &why.to_string()))
    }

    /// What was written: object and its problems, as the body of POST and PUT has it.
    fn submitted(&self, body: &[u8], format: Format) -> Result<(Value, Vec<String>), ApiError> {
        let Resource { kind, version, .. } = self.resource;
        let Decoded { mut value, duplicates } = self.decoded(body, format)?;
        check_identity(self.target(), &mut value)?;
        let Pruned { unknown, warnings: doubts } = admission::prune(*kind, &mut value);
        let findings = strict::findings(&unknown, &duplicates);
        let mut warnings = strict::judge(self.options.field_validation, findings, |why| {
            ApiError::cannot_be_handled(*kind, version, why)
        })?;
        warnings.extend(doubts);
        Ok((value, warnings))
    }

    /// POST
    pub(super) fn create(&self, body: &[u8], format: Format) -> Result<Written, ApiError> {
        let (object, warnings) = self.submitted(body, format)?;
        self.create_object(object, warnings)
    }

    /// POST, with the object as it is.
    pub(super) fn create_object(
        &self,
        object: Value,
        warnings: Vec<String>,
    ) -> Result<Written, ApiError> {
        self.store.write(|transaction| self.insert(transaction, object, warnings, false))
    }

    /// `is_owned`: its owners stand in it already.
    fn insert(
        &self,
        transaction: &mut Transaction<'_>,
        mut object: Value,
        mut warnings: Vec<String>,
        is_owned: bool,
    ) -> Result<Written, ApiError> {
        let kind = self.resource.kind;
        self.check_namespace(transaction)?;
        let (Some(uid), Some(random)) = (moment::uuid(), moment::random()) else {
            return Err(ApiError::internal("the system gives no random numbers"));
        };
        let birth = Birth {
            uid: &uid,
            creation_timestamp: &self.now.text,
            random: u64::from_be_bytes(random),
        };
        let is_generated = prepare_create(self.target(), &mut object, birth)?;
        if kind == ResourceType::NAMESPACE {
            namespaces::complete(&mut object)?;
        }
        warnings.extend(admission::admit(self.target(), Endpoint::Main, None, &object)?);
        let name = name_of(&object).to_owned();
        let key = self.key(&name);
        if transaction.get(&key).is_some() {
            return Err(if is_generated {
                ApiError::generated_name_exists(kind, &name)
            } else {
                ApiError::already_exists(kind, &name)
            });
        }
        if !is_owned {
            object = apply::update(None, object, &self.by(&self.api_version()));
        }
        let object = self.put(transaction, &key, object)?;
        Ok(Written { object, is_new: true, warnings })
    }

    /// PUT
    pub(super) fn replace(&self, body: &[u8], format: Format) -> Result<Written, ApiError> {
        let (object, warnings) = self.submitted(body, format)?;
        self.store.write(|transaction| {
            let stored = self.stored(transaction)?;
            self.change(transaction, &stored, object, warnings)
        })
    }

    /// PATCH
    pub(super) fn patch(&self, patch: PatchType, body: &[u8]) -> Result<Written, ApiError> {
        match patch {
            PatchType::Apply => self.apply(body),
            PatchType::Json | PatchType::Merge => {
                let merge = match patch {
                    PatchType::Merge => Some(decode(body, Format::Json).map_err(|why| {
                        ApiError::bad_request(format!("error decoding patch: {why}"))
                    })?),
                    PatchType::Json | PatchType::Apply => None,
                };
                self.store.write(|transaction| {
                    let stored = self.stored(transaction)?;
                    let (mut object, duplicates) = match &merge {
                        Some(patch) => {
                            (merge_patch(&stored, &patch.value)?, patch.duplicates.clone())
                        }
                        None => (json_patch(&stored, body)?, Vec::new()),
                    };
                    check_identity(self.target(), &mut object)?;
                    let Pruned { unknown, warnings: doubts } =
                        admission::prune(self.resource.kind, &mut object);
                    let findings = strict::findings(&unknown, &duplicates);
                    let validation = self.options.field_validation;
                    let mut warnings = strict::judge(validation, findings, |why| {
                        strict::refuse_patch(&object, why)
                    })?;
                    warnings.extend(doubts);
                    self.change(transaction, &stored, object, warnings)
                })
            }
        }
    }

    fn apply(&self, body: &[u8]) -> Result<Written, ApiError> {
        let Decoded { mut value, duplicates } = self.decoded(body, Format::Yaml)?;
        check_identity(self.target(), &mut value)?;
        let Pruned { unknown, warnings: doubts } = admission::prune(self.resource.kind, &mut value);
        if !unknown.is_empty() {
            return Err(strict::refuse_apply(self.target(), &unknown));
        }
        let findings = strict::findings(&[], &duplicates);
        let mut warnings = strict::judge(self.options.field_validation, findings, |why| {
            ApiError::cannot_be_handled(self.resource.kind, self.resource.version, why)
        })?;
        warnings.extend(doubts);
        let api_version = self.api_version();
        let write = self.by(&api_version);
        let force = self.options.force;
        self.store.write(|transaction| match self.stored(transaction) {
            Ok(stored) => {
                let object = apply::apply(Some(&stored), &value, &write, force)?;
                self.change_owned(transaction, &stored, object, warnings)
            }
            Err(missing) if self.resource.endpoint == Endpoint::Status => Err(missing),
            Err(_) => {
                let object = apply::apply(None, &value, &write, force)?;
                self.insert(transaction, object, warnings, true)
            }
        })
    }

    /// A replace or a patch: the owners follow from what changes.
    fn change(
        &self,
        transaction: &mut Transaction<'_>,
        stored: &Value,
        object: Value,
        warnings: Vec<String>,
    ) -> Result<Written, ApiError> {
        let object = self.updated(stored, object)?;
        let object = apply::update(Some(stored), object, &self.by(&self.api_version()));
        self.finish(transaction, stored, object, warnings)
    }

    /// An apply: the owners stand in the object.
    fn change_owned(
        &self,
        transaction: &mut Transaction<'_>,
        stored: &Value,
        object: Value,
        warnings: Vec<String>,
    ) -> Result<Written, ApiError> {
        let object = self.updated(stored, object)?;
        self.finish(transaction, stored, object, warnings)
    }

    /// What the object becomes.
    fn updated(&self, stored: &Value, mut object: Value) -> Result<Value, ApiError> {
        if self.resource.kind == ResourceType::NAMESPACE {
            namespaces::complete(&mut object)?;
        }
        prepare_update(self.target(), stored, object, self.resource.endpoint)
    }

    fn finish(
        &self,
        transaction: &mut Transaction<'_>,
        stored: &Value,
        mut object: Value,
        mut warnings: Vec<String>,
    ) -> Result<Written, ApiError> {
        let endpoint = self.resource.endpoint;
        warnings.extend(admission::admit(self.target(), endpoint, Some(stored), &object)?);
        let key = self.key(name_of(stored));
        if is_finished(&object) {
            if !self.options.dry_run {
                transaction.delete(&key);
            }
        } else if !is_unchanged(stored, &object) {
            object = self.put(transaction, &key, object)?;
        }
        Ok(Written { object, is_new: false, warnings })
    }

    /// The object of the path, in its version.
    fn stored(&self, transaction: &Transaction<'_>) -> Result<Value, ApiError> {
        let Resource { kind, version, name, .. } = self.resource;
        let name = name.as_deref().unwrap_or_default();
        let found = transaction.get(&self.key(name));
        let found = found.ok_or_else(|| ApiError::not_found(*kind, name))?;
        Ok(in_version(&found.value, *kind, version))
    }

    /// Stores it, unless that is only rehearsed. Gives it as the caller sees it.
    fn put(
        &self,
        transaction: &mut Transaction<'_>,
        key: &Key,
        object: Value,
    ) -> Result<Value, ApiError> {
        let Resource { kind, version, .. } = self.resource;
        let size = serde_json::to_vec(&object).map_or(usize::MAX, |text| text.len());
        if size > MAX_OBJECT {
            let message = format!("the object has {size} bytes, and the limit is {MAX_OBJECT}");
            return Err(ApiError::request_entity_too_large(&message));
        }
        if self.options.dry_run {
            // A namespace that would have been made is none.
            transaction.discard();
            return Ok(object);
        }
        let stored = transaction.put(key, in_stored_version(&object, *kind));
        Ok(shown_in(&stored.value, *kind, version))
    }

    fn check_namespace(&self, transaction: &mut Transaction<'_>) -> Result<(), ApiError> {
        let Some(namespace) = self.resource.namespace.as_deref() else { return Ok(()) };
        let there = key(ResourceType::NAMESPACE, "", namespace);
        if transaction.get(&there).is_some() {
            return Ok(());
        }
        if !self.settings.create_namespaces {
            return Err(ApiError::not_found(ResourceType::NAMESPACE, namespace));
        }
        let object = namespaces::new(namespace, self.now)?;
        transaction.put(&there, object);
        Ok(())
    }
}

/// DELETE of an object.
pub(super) fn delete(
    store: &Store,
    resource: &Resource,
    options: &DeleteOptions,
    now: &Moment,
) -> Result<Deleted, ApiError> {
    let name = resource.name.as_deref().unwrap_or_default();
    let key = key(resource.kind, resource.namespace.as_deref().unwrap_or_default(), name);
    store.write(|transaction| {
        let stored = transaction.get(&key);
        let stored = stored.ok_or_else(|| ApiError::not_found(resource.kind, name))?;
        let value = in_version(&stored.value, resource.kind, resource.version);
        delete_one(transaction, resource.kind, &key, value, options, now)
    })
}

/// DELETE of a collection.
pub(super) fn delete_all(
    store: &Store,
    resource: &Resource,
    keys: &[Key],
    options: &DeleteOptions,
    now: &Moment,
) -> Result<Vec<Value>, ApiError> {
    store.write(|transaction| {
        let mut gone = Vec::new();
        for key in keys {
            let Some(stored) = transaction.get(key) else { continue };
            let value = in_version(&stored.value, resource.kind, resource.version);
            let deleted = delete_one(transaction, resource.kind, key, value, options, now)?;
            let (Deleted::Gone(object) | Deleted::Marked(object)) = deleted;
            gone.push(object);
        }
        Ok(gone)
    })
}

pub(super) fn delete_one(
    transaction: &mut Transaction<'_>,
    kind: ResourceType,
    key: &Key,
    stored: Value,
    options: &DeleteOptions,
    now: &Moment,
) -> Result<Deleted, ApiError> {
    Ok(match prepare_delete(kind, &stored, options, &now.text)? {
        Deletion::Remove => {
            if !options.dry_run {
                transaction.delete(key);
            }
            Deleted::Gone(stored)
        }
        Deletion::Mark(marked) if options.dry_run => Deleted::Marked(marked),
        Deletion::Mark(marked) => {
            let version = marked.get("apiVersion").cloned();
            let put = transaction.put(key, in_stored_version(&marked, kind));
            let mut object = put.value.clone();
            if let (Value::Object(fields), Some(version)) = (&mut object, version) {
                fields.insert("apiVersion".into(), version);
            }
            Deleted::Marked(object)
        }
        Deletion::Pending => Deleted::Marked(stored),
    })
}

/// There is one stored form for all versions; of APIRules there are two.
pub(super) fn in_stored_version(object: &Value, kind: ResourceType) -> Value {
    in_version(object, kind, versions::form(kind, object))
}

pub(super) fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}
