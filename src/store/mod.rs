//! Objects that outlive the process, and every change to them in order.
//!
//! What objects mean, and who may change them, is the business of those who write.

#![expect(clippy::disallowed_types, reason = "no request is decided by what is in here")]

mod archive;
mod check;
mod disk;
mod error;
mod object;
mod state;
mod transaction;
mod watch;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

pub use archive::{ImportError, Imported};
pub use check::Checked;
pub use disk::FILE;
pub use error::{Compacted, StoreError};
pub use object::{Change, Key, Object};
pub use state::{History, Page, Scope};
pub use transaction::Transaction;
pub use watch::Watcher;

use disk::Disk;
use state::State;

/// A store, opened. Cheap to clone; one process has it at a time.
///
/// Everything is in memory and on disk: reads never wait for the disk, and a write is acknowledged
/// when the disk has it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Who holds it writes.
    disk: Mutex<Disk>,
    state: RwLock<State>,
    /// The revision of `state`, for those who wait for the next.
    revision: tokio::sync::watch::Sender<u64>,
}

impl Store {
    /// Opens the store in a folder, which is made if it is not there.
    pub fn open(folder: &Path, history: History) -> Result<Self, StoreError> {
        let (disk, state) = Disk::open(folder, history)?;
        let (revision, _) = tokio::sync::watch::channel(state.revision());
        Ok(Self(Arc::new(Inner { disk: Mutex::new(disk), state: RwLock::new(state), revision })))
    }

    /// Of the newest change; 0 before the first.
    pub fn revision(&self) -> u64 {
        self.state().revision()
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        self.state().objects().len()
    }

    /// The object with this key.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.state().get(key)
    }

    /// The objects of a scope in the order of their keys, `limit` of them at most, from behind
    /// `after` on: as they were `at` a revision, or as they are.
    pub fn list(
        &self,
        scope: &Scope,
        at: Option<u64>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Compacted> {
        self.state().list(scope, at, after, limit)
    }

    /// Changes things, all or none. Blocks until the disk has them; then everybody sees them.
    ///
    /// An error of `change` changes nothing. Only one write happens at a time, so what `change` reads
    /// is what it changes.
    pub fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let disk = self.writer();
        let mut transaction = Transaction::new(&self.0.state);
        let result = change(&mut transaction)?;
        let changes = transaction.into_changes();
        if changes.is_empty() {
            return Ok(result);
        }
        let horizon = self.state().horizon_after(&changes);
        disk.commit(&changes, horizon)?;
        let revision = {
            let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
            state.apply(changes, horizon);
            state.revision()
        };
        self.0.revision.send_replace(revision);
        Ok(result)
    }

    /// Whether a store that nobody has open agrees with itself.
    pub fn check(folder: &Path) -> Result<Checked, StoreError> {
        check::check(folder)
    }

    /// What changes in a scope after a revision.
    pub fn watch(&self, scope: Scope, after: u64) -> Watcher {
        Watcher::new(self.clone(), self.0.revision.subscribe(), scope, after)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        read(&self.0.state)
    }

    fn writer(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
