//! All objects as one text, out and in.

use serde_json::{Value, json};

use super::error::StoreError;
use super::object::Key;
use super::{Store, read};

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Objects that were not there.
    pub created: usize,
    /// Objects that were there and are others now.
    pub replaced: usize,
    /// Objects that were there already, the same.
    pub unchanged: usize,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// An object is there, and replacing was not asked for.
    #[error("{0} is there already; `--replace` writes over it")]
    Exists(Key),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// All objects as a Kubernetes `List`, as `kubectl apply` takes it too.
    pub fn export(&self) -> Value {
        let state = read(&self.0.state);
        let items: Vec<_> = state.objects().map(|object| object.value.clone()).collect();
        json!({
            "apiVersion": "v1",
            "kind": "List",
            "metadata": { "resourceVersion": state.revision().to_string() },
            "items": items,
        })
    }

    /// Writes objects, all or none. Their revisions are new, everything else is as given.
    pub fn import(
        &self,
        objects: Vec<(Key, Value)>,
        replace: bool,
    ) -> Result<Imported, ImportError> {
        self.write(|transaction| {
            let mut imported = Imported::default();
            for (key, value) in objects {
                match transaction.get(&key) {
                    None => imported.created += 1,
                    Some(there) if is_same(&there.value, &value) => {
                        imported.unchanged += 1;
                        continue;
                    }
                    Some(_) if replace => imported.replaced += 1,
                    Some(_) => return Err(ImportError::Exists(key)),
                }
                transaction.put(&key, value);
            }
            Ok(imported)
        })
    }
}

/// But for the revision.
fn is_same(one: &Value, other: &Value) -> bool {
    let bare = |value: &Value| {
        let mut value = value.clone();
        let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
        metadata.and_then(|metadata| metadata.remove("resourceVersion"));
        value
    };
    bare(one) == bare(other)
}
