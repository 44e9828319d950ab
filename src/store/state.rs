//! What is in memory: the objects as they are, and the changes that led there.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::error::Compacted;
use super::object::{Change, Key, Object};

/// How much of the past is kept, for those who watch and for lists that are read page by page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// How many changes, at most.
    pub changes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { changes: 10_000 }
    }
}

/// Some of the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Of what.
    pub resource: Arc<str>,
    /// In which namespace; `None` is all.
    pub namespace: Option<Arc<str>>,
}

impl Scope {
    /// Whether an object with this key is one of them.
    pub fn contains(&self, key: &Key) -> bool {
        self.resource == key.resource
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }

    fn start(&self) -> Key {
        Key {
            resource: self.resource.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: "".into(),
        }
    }
}

/// Some objects of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// When they were like this.
    pub revision: u64,
    /// They.
    pub objects: Vec<Arc<Object>>,
    /// How many come after them.
    pub remaining: usize,
}

#[derive(Debug)]
pub(super) struct State {
    objects: BTreeMap<Key, Arc<Object>>,
    /// The newest last, without gaps.
    log: VecDeque<Arc<Change>>,
    revision: u64,
    history: History,
}

impl State {
    pub(super) fn new(
        objects: BTreeMap<Key, Arc<Object>>,
        log: VecDeque<Arc<Change>>,
        revision: u64,
        history: History,
    ) -> Self {
        Self { objects, log, revision, history }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The oldest revision after which all changes are known.
    pub(super) fn oldest(&self) -> u64 {
        self.log.front().map_or(self.revision, |first| first.revision.saturating_sub(1))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn list(
        &self,
        scope: &Scope,
        at: Option<u64>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Compacted> {
        let from = match after {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Included(scope.start()),
        };
        let revision = at.unwrap_or(self.revision).min(self.revision);
        if revision == self.revision {
            let all = self.objects.range((from, Bound::Unbounded));
            let all = all.take_while(|(key, _)| scope.contains(key)).map(|(_, object)| object);
            return Ok(page(revision, all, limit));
        }
        let mut past = self.objects_at(scope, revision)?;
        let past = past.split_off(&scope.start());
        let all = past.range((from, Bound::Unbounded)).map(|(_, object)| object);
        Ok(page(revision, all, limit))
    }

    /// Undoes what changed since.
    fn objects_at(
        &self,
        scope: &Scope,
        revision: u64,
    ) -> Result<BTreeMap<Key, Arc<Object>>, Compacted> {
        let since = self.changes_after(revision)?;
        let mut objects: BTreeMap<_, _> = self
            .objects
            .range(scope.start()..)
            .take_while(|(key, _)| scope.contains(key))
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        for change in since.rev().filter(|change| scope.contains(&change.key)) {
            match &change.old {
                Some(old) => objects.insert(change.key.clone(), old.clone()),
                None => objects.remove(&change.key),
            };
        }
        Ok(objects)
    }

    /// In order.
    pub(super) fn changes_after(
        &self,
        revision: u64,
    ) -> Result<impl DoubleEndedIterator<Item = &Arc<Change>>, Compacted> {
        let oldest = self.oldest();
        let Some(known) = revision.checked_sub(oldest) else {
            return Err(Compacted { asked: revision, oldest });
        };
        let skipped = usize::try_from(known).unwrap_or(usize::MAX).min(self.log.len());
        Ok(self.log.range(skipped..))
    }

    /// The first revision that is kept once these are.
    pub(super) fn horizon_after(&self, changes: &[Arc<Change>]) -> u64 {
        let all = self.log.len().saturating_add(changes.len());
        let dropped = all.saturating_sub(self.history.changes.max(1));
        let dropped = u64::try_from(dropped).unwrap_or(u64::MAX);
        self.oldest().saturating_add(1).saturating_add(dropped)
    }

    /// Makes them true, and forgets what is older than the horizon.
    pub(super) fn apply(&mut self, changes: Vec<Arc<Change>>, horizon: u64) {
        for change in changes {
            self.revision = change.revision;
            match &change.new {
                Some(new) => self.objects.insert(change.key.clone(), new.clone()),
                None => self.objects.remove(&change.key),
            };
            self.log.push_back(change);
        }
        while self.log.front().is_some_and(|first| first.revision < horizon) {
            self.log.pop_front();
        }
    }

    pub(super) fn objects(&self) -> impl ExactSizeIterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    pub(super) fn log(&self) -> impl Iterator<Item = &Arc<Change>> {
        self.log.iter()
    }
}

fn page<'a>(revision: u64, mut all: impl Iterator<Item = &'a Arc<Object>>, limit: usize) -> Page {
    let objects = all.by_ref().take(limit).cloned().collect();
    Page { revision, objects, remaining: all.count() }
}
