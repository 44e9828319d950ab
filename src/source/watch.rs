//! File system events of the directories that policy files depend on.
//!
//! Says only *that* something changed; what it is now, `scan` finds out.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::links::{Interests, Names};

/// The watched directories.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: Result<RecommendedWatcher, notify::Error>,
    /// By device and inode: the kernel knows a directory by these, and two paths may lead to one.
    watched: BTreeMap<(u64, u64), PathBuf>,
    names: Arc<Mutex<BTreeMap<PathBuf, Names>>>,
    changed: Arc<Notify>,
}

impl Watches {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let names = Arc::new(Mutex::new(BTreeMap::new()));
        let changed = Arc::new(Notify::new());
        let handler = {
            let (names, changed) = (names.clone(), changed.clone());
            move |event: notify::Result<Event>| {
                // An error may hide a change: look.
                if event.map_or(true, |event| concerns(&event, &names)) {
                    changed.notify_one();
                }
            }
        };
        let watcher = notify::recommended_watcher(handler);
        Self { watcher, watched: BTreeMap::new(), names, changed }
    }

    /// Why there are no events at all, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.watcher.as_ref().err().map(ToString::to_string)
    }

    /// Watches these from now on. Directories that cannot be watched are left to the rescan.
    pub(super) fn set(&mut self, interests: &Interests) {
        let Ok(watcher) = &mut self.watcher else { return };
        let mut wanted: BTreeMap<(u64, u64), (PathBuf, Names)> = BTreeMap::new();
        for (directory, names) in &interests.0 {
            let Ok(metadata) = fs::metadata(directory) else { continue };
            wanted
                .entry((metadata.dev(), metadata.ino()))
                .and_modify(|(_, merged)| merged.merge(names.clone()))
                .or_insert_with(|| (directory.clone(), names.clone()));
        }
        // A directory that was removed and made again has another inode, and the kernel has
        // forgotten the watch; that unwatching then fails is no news.
        self.watched.retain(|identity, path| {
            let keep = wanted.get(identity).is_some_and(|(wanted, _)| wanted == path);
            if !keep && let Err(error) = watcher.unwatch(path) {
                tracing::trace!(directory = %path.display(), %error, "was not watched any more");
            }
            keep
        });
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) =
            wanted.values().cloned().collect();
        for (identity, (directory, _)) in wanted {
            if self.watched.contains_key(&identity) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(identity, directory);
                }
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "cannot watch");
                }
            }
        }
    }

    /// Returns once something changed. Changes since the last call count.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns once it has been quiet for a while, or patience ran out.
    pub(super) async fn quiet(&self, debounce: Duration, patience: Duration) {
        let latest = Instant::now() + patience;
        while Instant::now() < latest {
            let quiet = (Instant::now() + debounce).min(latest);
            if timeout_at(quiet, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

fn concerns(event: &Event, names: &Mutex<BTreeMap<PathBuf, Names>>) -> bool {
    if event.need_rescan() {
        return true;
    }
    // Reading the files is an event too; acting on it would never end.
    if let EventKind::Access(access) = event.kind
        && access != AccessKind::Close(AccessMode::Write)
    {
        return false;
    }
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    event.paths.iter().any(|path| matters(path, &names))
}

fn matters(path: &Path, names: &BTreeMap<PathBuf, Names>) -> bool {
    // A watched directory itself was moved or removed.
    if names.contains_key(path) {
        return true;
    }
    match path.parent().and_then(|parent| names.get(parent)) {
        Some(Names::All) | None => true,
        Some(Names::Only(only)) => path.file_name().is_some_and(|name| only.contains(name)),
    }
}
