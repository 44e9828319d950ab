//! The key sets that policies name by URI or issuer, fetched in the background.
//!
//! Outside the snapshot, so that a policy push never drops keys. What the keys verify is
//! `key_set`'s job; a request only ever reads what is here.

mod error;
mod fetch;
mod freshness;
mod schedule;
mod source;
mod unknown_kids;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::watch, task::AbortHandle, time::Instant};

pub use self::{
    error::{AttemptResult, FetchError},
    schedule::Schedule,
};
use self::{source::Source, worker::Worker};
use crate::authn::clock::Clock;
use crate::authn::{KeyLookup, WantedKey};
use crate::key_set::KeySet;
use crate::outbound::Client;
use crate::plan::{KeySource, KeySourceId};

/// Told of each attempt, so that metrics can count without this module knowing them.
pub type Observer = Arc<dyn Fn(&Attempt<'_>) + Send + Sync>;

/// One attempt to fetch a key set, discovery included.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Of which source.
    pub source: &'a KeySourceId,
    /// How it ended.
    pub result: AttemptResult,
    /// How long it took.
    pub duration: Duration,
}

/// How a source stands.
#[derive(Debug, Clone)]
pub struct SourceStatus {
    /// Which.
    pub id: KeySourceId,
    /// How many keys of the last good set verify; 0 without one.
    pub keys: usize,
    /// How many of its keys do not.
    pub skipped: usize,
    /// When the last good set was seen.
    pub last_success: Option<SystemTime>,
    /// Why the newest attempt failed; `None` once one succeeds.
    pub last_error: Option<Arc<FetchError>>,
    /// When an attempt failed last.
    pub last_failure: Option<SystemTime>,
    /// How many attempts failed in a row.
    pub failures: u32,
    /// When the next attempt is due; `None` while one is under way.
    pub next_attempt: Option<SystemTime>,
}

/// The key sets by source. Cheap to clone; the last clone ends the fetching.
///
/// One task for each source: a dead one never delays another.
#[derive(Clone)]
pub struct KeySets(Arc<Inner>);

struct Inner {
    sources: ArcSwap<HashMap<KeySourceId, Arc<Source>>>,
    tasks: Mutex<HashMap<KeySourceId, Running>>,
    worker: Worker,
    runtime: Handle,
}

struct Running {
    source: Arc<Source>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeySets {
    /// Without sources yet; tasks run on `runtime`.
    pub fn new(
        client: Client,
        schedule: Schedule,
        clock: Clock,
        observer: Observer,
        runtime: Handle,
    ) -> Self {
        let schedule = Arc::new(schedule);
        let worker = Worker { client, schedule, clock, observer, changes: watch::Sender::new(0) };
        Self(Arc::new(Inner {
            sources: ArcSwap::default(),
            tasks: Mutex::default(),
            worker,
            runtime,
        }))
    }

    /// The last good set of this source. `None` where it never gave one, or is not wanted: then
    /// [`KeySet::unavailable`] holds. Never blocks.
    pub fn keys(&self, id: &KeySourceId) -> Option<Arc<KeySet>> {
        self.0.sources.load().get(id)?.keys.load_full()
    }

    /// Has keys fetched that tokens name and the sets do not have, and waits for them, but no longer
    /// than `within`. Whether there are other sets now, so that trying again makes sense.
    ///
    /// However many ask, a source is asked once in [`Schedule::unknown_kid_interval`].
    pub async fn seek(&self, wanted: &[WantedKey], within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let sources = self.0.sources.load_full();
        let schedule = &self.0.worker.schedule;
        let seeks = wanted.iter().filter_map(|key| {
            Some(sources.get(&key.source)?.seek(&key.kid, key.seen, deadline, schedule))
        });
        join_all(seeks).await.contains(&true)
    }

    /// Starts fetching from sources that are new, and forgets those that are gone. What is kept
    /// keeps its keys. Call before the snapshot that names the sources is published.
    pub fn sync(&self, wanted: &[KeySource]) {
        let ids: HashSet<_> = wanted.iter().map(|source| &source.id).collect();
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|id, _| ids.contains(id));
        for source in wanted {
            match tasks.entry(source.id.clone()) {
                Entry::Occupied(kept) => kept.get().source.set_timeout(source.timeout),
                Entry::Vacant(new) => {
                    new.insert(self.start(source));
                }
            }
        }
        let sources =
            tasks.iter().map(|(id, running)| (id.clone(), running.source.clone())).collect();
        self.0.sources.store(Arc::new(sources));
        // Fewer sources may be settled where more were not.
        self.0.worker.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn start(&self, source: &KeySource) -> Running {
        let source = Arc::new(Source::new(source));
        let task = self.0.runtime.spawn(self.0.worker.clone().run(source.clone()));
        Running { source, task: task.abort_handle() }
    }

    /// How each wanted source stands, in the order of their ids.
    pub fn status(&self) -> Vec<SourceStatus> {
        let mut status: Vec<_> =
            self.0.sources.load().values().map(|source| source.status()).collect();
        status.sort_by(|a, b| a.id.cmp(&b.id));
        status
    }

    /// Whether the first attempt of every wanted source has ended, well or badly. A new source
    /// makes it false again: who only asks at start must remember the answer.
    pub fn settled(&self) -> bool {
        self.0.sources.load().values().all(|source| source.attempted())
    }

    /// Returns once [`KeySets::settled`] is true.
    pub async fn wait_settled(&self) {
        let mut changes = self.changes();
        while !self.settled() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ticks when an attempt has ended or the wanted sources changed: time to look again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.worker.changes.subscribe()
    }
}

impl KeyLookup for KeySets {
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>> {
        self.keys(source)
    }

    fn seek<'a>(
        &'a self,
        wanted: &'a [WantedKey],
        within: Duration,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(self.seek(wanted, within))
    }
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.status()).finish()
    }
}
