//! Following changes.

use std::sync::Arc;

use tokio::sync::watch::Receiver;

use super::Store;
use super::error::Compacted;
use super::object::Change;
use super::state::Scope;

/// How many changes are looked at before somebody else gets a turn.
const BATCH: usize = 500;

/// Follows the changes of a scope, in order and without gaps.
///
/// It holds a place in the history and nothing else. Whoever is slower than the history is long is
/// told so, and has to begin anew.
#[derive(Debug)]
pub struct Watcher {
    store: Store,
    newest: Receiver<u64>,
    scope: Scope,
    seen: u64,
}

impl Watcher {
    pub(super) fn new(store: Store, newest: Receiver<u64>, scope: Scope, after: u64) -> Self {
        Self { store, newest, scope, seen: after }
    }

    /// Everything up to this revision was given, or was not in the scope.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether all that changed since is still known.
    pub fn check(&self) -> Result<(), Compacted> {
        self.store.state().changes_after(self.seen).map(drop)
    }

    /// The next changes; waits until there are some. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, Compacted> {
        loop {
            self.newest.borrow_and_update();
            let changes = self.take()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            if self.seen >= *self.newest.borrow() && self.newest.changed().await.is_err() {
                // The store holds the sender, and this holds the store.
                return std::future::pending().await;
            }
        }
    }

    /// What there is now, of a bounded number of changes.
    fn take(&mut self) -> Result<Vec<Arc<Change>>, Compacted> {
        let state = self.store.state();
        let mut seen = self.seen;
        let mut found = Vec::new();
        for change in state.changes_after(self.seen)?.take(BATCH) {
            seen = change.revision;
            if self.scope.contains(&change.key) {
                found.push(change.clone());
            }
        }
        drop(state);
        self.seen = seen;
        Ok(found)
    }
}
