//! Server-side apply: who owns which fields of an object, and what a write makes of both.
//!
//! Pure functions of the live object and what is written. Checks nothing that `object_meta` checks,
//! and stores nothing.

mod field_set;
mod last_applied;
mod managed_fields;
mod shape;
mod tracked;

#[cfg(test)]
mod tests;

use serde_json::Value;

use self::field_set::{FieldSet, PathElement};
use self::managed_fields::{Managed, ManagerId, Operation, Owned};
use self::shape::{Shape, compare, empty, merge, owned_fields, remove};
use self::tracked::{tracked, with_tracked};
use super::object_meta::Endpoint;
use super::status::{ApiError, Cause};

/// Who owns what was there before the first apply, where nobody was recorded.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes what and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Group and version that the request is made in.
    pub api_version: &'a str,
    /// The part of the object that is written.
    pub endpoint: Endpoint,
    /// Now, as RFC 3339 with seconds.
    pub now: &'a str,
}

impl Write<'_> {
    fn id(&self, operation: Operation, manager: &str) -> ManagerId {
        ManagerId {
            operation,
            manager: manager.to_owned(),
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => self.api_version.to_owned(),
            },
            subresource: self.endpoint.subresource().unwrap_or_default().to_owned(),
        }
    }

    fn owned(&self, fields: FieldSet) -> Owned {
        let api_version = self.api_version.to_owned();
        Owned { api_version, time: Some(self.now.to_owned()), fields }
    }
}

/// A field that an apply would change and that somebody else owns.
struct Conflict {
    owner: ManagerId,
    fields: FieldSet,
}

/// What an apply makes of a live object, or of none. With `force`, fields are taken from their
/// owners; without, that is a conflict.
///
/// Where nothing changes, the result equals the live object, `managedFields` and their times
/// included. `metadata.uid` and `metadata.resourceVersion` are those of what is applied, if it has them:
/// `object_meta::prepare_update` holds them against the live ones.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    write: &Write<'_>,
    force: bool,
) -> Result<Value, ApiError> {
    if managed_fields::is_present(applied) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let Write { endpoint, .. } = *write;
    let live_part = live.map_or_else(empty, |live| tracked(live, endpoint));
    let managed = match live {
        None => Managed::default(),
        Some(live) => match Managed::of(live) {
            None => return Err(ApiError::internal("failed to decode managed fields")),
            Some(managed) if managed.is_empty() => before_first_apply(&live_part, write),
            Some(managed) => managed,
        },
    };
    let applied_part = tracked(applied, endpoint);
    let outcome = match apply_part(&managed, &live_part, &applied_part, write, force) {
        Err(conflicts) => {
            let may_take = live
                .filter(|_| write.manager == last_applied::MANAGER)
                .map(|live| last_applied::fields_to_take_over(live, endpoint))
                .unwrap_or_default();
            let left: Vec<_> = conflicts
                .into_iter()
                .map(|Conflict { owner, fields }| Conflict {
                    owner,
                    fields: fields.difference(&may_take),
                })
                .filter(|conflict| !conflict.fields.is_empty())
                .collect();
            if !left.is_empty() {
                return Err(conflict_error(&left));
            }
            apply_part(&managed, &live_part, &applied_part, write, true)
        }
        done => done,
    };
    let (part, managed) = outcome.map_err(|conflicts| conflict_error(&conflicts))?;
    let mut object = with_tracked(live.unwrap_or(applied), &part, endpoint);
    if let (Some(fields), Some(version)) = (object.as_object_mut(), applied.get("apiVersion")) {
        fields.insert("apiVersion".to_owned(), version.clone());
    }
    for precondition in ["uid", "resourceVersion"] {
        let asked = applied.get("metadata").and_then(|metadata| metadata.get(precondition));
        let asked = asked.filter(|asked| asked.as_str().is_some_and(|text| !text.is_empty()));
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let (Some(asked), Some(metadata)) = (asked, metadata) {
            metadata.insert(precondition.to_owned(), asked.clone());
        }
    }
    if write.manager == last_applied::MANAGER && endpoint == Endpoint::Main {
        last_applied::keep_in_step(&mut object, applied);
    }
    managed.write(&mut object);
    Ok(object)
}

/// Everything that is there, as if somebody had put it there with an update.
fn before_first_apply(live: &Value, write: &Write<'_>) -> Managed {
    let fields = changes(&empty(), live).changed();
    let mut managed = Managed::default();
    managed.0.insert(write.id(Operation::Update, BEFORE_FIRST_APPLY), write.owned(fields));
    managed.tidy();
    managed
}

/// What changed, but for `metadata` itself, which every object has.
fn changes(old: &Value, new: &Value) -> shape::Comparison {
    let mut comparison = compare(Shape::Root, Some(old), Some(new));
    let metadata = PathElement::field("metadata");
    for set in [&mut comparison.removed, &mut comparison.modified, &mut comparison.added] {
        set.member = false;
        if let Some(mut below) = set.below.remove(&metadata) {
            below.member = false;
            set.put(metadata.clone(), below);
        }
    }
    comparison
}

fn apply_part(
    managed: &Managed,
    live: &Value,
    applied: &Value,
    write: &Write<'_>,
    force: bool,
) -> Result<(Value, Managed), Vec<Conflict>> {
    let id = write.id(Operation::Apply, write.manager);
    let before = managed.0.get(&id);
    let mut fields = owned_fields(Shape::Root, applied);
    fields.member = false;
    fields.below.retain(|element, set| {
        // An apply of nothing but a name leaves an empty part behind.
        set.member &= *element != PathElement::field("metadata");
        !set.is_empty()
    });
    let mut managed = managed.clone();
    managed.0.insert(id.clone(), write.owned(fields.clone()));

    let mut object = merge(Shape::Root, Some(live), applied);
    if let Some(before) = before {
        // What it had applied before and leaves out now goes, unless somebody else wants it too.
        let wanted = managed.all_fields().with_parents();
        remove(Shape::Root, &mut object, &before.fields.with_parents().difference(&wanted));
    }

    let comparison = changes(live, &object);
    let changed = comparison.changed();
    let in_conflict = changed.clone().union(&comparison.replaced);
    let conflicts: Vec<_> = managed
        .0
        .iter()
        .filter(|(owner, _)| **owner != id)
        .map(|(owner, owned)| Conflict {
            owner: owner.clone(),
            fields: owned.fields.intersection(&in_conflict),
        })
        .filter(|conflict| !conflict.fields.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    managed.take_from_others(&id, &changed);
    managed.take_from_others(&id, &comparison.removed);
    if let Some(before) = before
        && before.fields == fields
        && before.api_version == write.api_version
        && comparison.is_empty()
    {
        // Nothing happened, so the time of the last change stays.
        managed.0.insert(id, before.clone());
    }
    managed.tidy();
    Ok((object, managed))
}

fn conflict_error(conflicts: &[Conflict]) -> ApiError {
    let mut causes = Vec::new();
    let mut lines = Vec::new();
    for Conflict { owner, fields } in conflicts {
        lines.push(format!("conflicts with {owner}:"));
        for path in fields.paths() {
            lines.push(format!("- {path}"));
            causes.push(Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {owner}"),
                field: path,
            });
        }
    }
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        several => {
            format!("Apply failed with {} conflicts: {}", several.len(), lines.join("\n"))
        }
    };
    ApiError::apply_conflict(message, causes)
}

/// The owners after a write that is no apply: create, replace, or another patch. `object` is what
/// will be stored, with the `managedFields` that the client sent; the result has those that it gets.
///
/// A client may write managed fields: `[{}]` makes everything nobody's, and other entries are taken
/// as they are. No entries, or ones that cannot be read, leave the live ones in place.
pub fn update(live: Option<&Value>, mut object: Value, write: &Write<'_>) -> Value {
    let Write { endpoint, .. } = *write;
    let stored = || live.and_then(Managed::of).unwrap_or_default();
    let mut managed = match endpoint {
        Endpoint::Status => stored(),
        Endpoint::Main if managed_fields::is_reset(&object) => Managed::default(),
        Endpoint::Main => {
            Managed::of(&object).filter(|managed| !managed.is_empty()).unwrap_or_else(stored)
        }
    };
    // An object whose owners are not recorded stays so until somebody applies.
    if live.is_none() || !managed.is_empty() {
        let before = live.map_or_else(empty, |live| tracked(live, endpoint));
        let comparison = changes(&before, &tracked(&object, endpoint));
        let changed = comparison.changed();
        let id = write.id(Operation::Update, write.manager);
        managed.take_from_others(&id, &changed);
        managed.take_from_others(&id, &comparison.removed);
        if let Some(own) = managed.0.get_mut(&id) {
            own.fields = own.fields.difference(&comparison.removed);
        }
        if !changed.is_empty() {
            let before = managed.0.remove(&id).map(|own| own.fields).unwrap_or_default();
            managed.0.insert(id, write.owned(before.union(&changed)));
        }
        managed.tidy();
        managed.cap();
    }
    managed.write(&mut object);
    object
}

/// The paths of the fields that a manager owns, over all of its entries.
#[cfg(test)]
fn owned_paths(object: &Value, manager: &str) -> Vec<String> {
    let managed = Managed::of(object).unwrap_or_default();
    let own = managed.0.iter().filter(|(id, _)| id.manager == manager);
    own.fold(FieldSet::default(), |all, (_, owned)| all.union(&owned.fields)).paths()
}
