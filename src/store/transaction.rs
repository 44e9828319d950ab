//! Changes that happen together.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use serde_json::Value;

use super::object::{Change, Key, Object, stamp};
use super::read;
use super::state::State;

/// What a write reads and changes. It sees its own changes; others see them when all are on disk.
#[derive(Debug)]
pub struct Transaction<'a> {
    state: &'a RwLock<State>,
    revision: u64,
    staged: HashMap<Key, Option<Arc<Object>>>,
    changes: Vec<Arc<Change>>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(state: &'a RwLock<State>) -> Self {
        let revision = read(state).revision();
        Self { state, revision, staged: HashMap::new(), changes: Vec::new() }
    }

    /// Of the newest change, those of this write included.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The object with this key.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        match self.staged.get(key) {
            Some(staged) => staged.clone(),
            None => read(self.state).get(key),
        }
    }

    /// Puts an object there, with a new revision in its `metadata.resourceVersion`.
    pub fn put(&mut self, key: &Key, mut value: Value) -> Arc<Object> {
        let revision = self.revision.saturating_add(1);
        stamp(&mut value, revision);
        let object = Arc::new(Object { key: key.clone(), revision, value });
        self.change(key, Some(object.clone()));
        object
    }

    /// Takes away what is there, and gives it.
    pub fn delete(&mut self, key: &Key) -> Option<Arc<Object>> {
        let old = self.get(key)?;
        self.change(key, None);
        Some(old)
    }

    /// Forgets the changes so far.
    pub fn discard(&mut self) {
        self.revision = read(self.state).revision();
        self.staged.clear();
        self.changes.clear();
    }

    fn change(&mut self, key: &Key, new: Option<Arc<Object>>) {
        let old = self.get(key);
        self.revision = self.revision.saturating_add(1);
        let (revision, key) = (self.revision, key.clone());
        self.staged.insert(key.clone(), new.clone());
        self.changes.push(Arc::new(Change { revision, key, old, new }));
    }

    pub(super) fn into_changes(self) -> Vec<Arc<Change>> {
        self.changes
    }
}
