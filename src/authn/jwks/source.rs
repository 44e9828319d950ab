//! One source: its keys, how its fetches went, and the task that repeats them.
//!
//! Which sources there are is `KeySets`' job.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Attempt, AttemptResult, FetchError, Observer, Schedule, SourceStatus,
    fetch::{Digest, Fetched, Fetcher},
};
use crate::authn::clock::Clock;
use crate::key_set::KeySet;
use crate::plan::{KeySource, KeySourceId};

/// A source that some rule names.
pub(super) struct Source {
    id: KeySourceId,
    /// The last good set; empty until there is one.
    pub(super) keys: ArcSwapOption<KeySet>,
    state: Mutex<State>,
}

struct State {
    timeout: Duration,
    attempted: bool,
    failures: u32,
    digest: Option<Digest>,
    last_success: Option<SystemTime>,
    last_error: Option<Arc<FetchError>>,
    next_attempt: Option<SystemTime>,
}

impl Source {
    pub(super) fn new(source: &KeySource) -> Self {
        Self {
            id: source.id.clone(),
            keys: ArcSwapOption::empty(),
            state: Mutex::new(State {
                timeout: source.timeout,
                attempted: false,
                failures: 0,
                digest: None,
                last_success: None,
                last_error: None,
                next_attempt: None,
            }),
        }
    }

    /// From the next attempt on.
    pub(super) fn set_timeout(&self, timeout: Duration) {
        self.state().timeout = timeout;
    }

    /// Whether the first attempt has ended, well or badly.
    pub(super) fn attempted(&self) -> bool {
        self.state().attempted
    }

    pub(super) fn status(&self) -> SourceStatus {
        let keys = self.keys.load_full();
        let state = self.state();
        SourceStatus {
            id: self.id.clone(),
            keys: keys.as_ref().map_or(0, |keys| keys.usable()),
            skipped: keys.as_ref().map_or(0, |keys| keys.skipped().len()),
            last_success: state.last_success,
            last_error: state.last_error.clone(),
            failures: state.failures,
            next_attempt: state.next_attempt,
        }
    }

    /// Takes the outcome in and says how long to wait. The keys are in place before anything says
    /// that they are.
    fn record(
        &self,
        outcome: Result<Fetched, FetchError>,
        now: SystemTime,
        schedule: &Schedule,
    ) -> Duration {
        let mut state = self.state();
        match outcome {
            Ok(fetched) => {
                // The same text keeps the same set, so that what was derived from it stays valid.
                if state.digest != Some(fetched.digest) {
                    tracing::info!(
                        issuer = %self.id.issuer,
                        keys = fetched.keys.usable(),
                        skipped = fetched.keys.skipped().len(),
                        "key set changed"
                    );
                    self.keys.store(Some(Arc::new(fetched.keys)));
                    state.digest = Some(fetched.digest);
                } else if state.failures > 0 {
                    tracing::info!(issuer = %self.id.issuer, "key set is fetched again");
                }
                state.failures = 0;
                state.last_success = Some(now);
                state.last_error = None;
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                self.report(&error, &state, schedule);
                state.last_error = Some(Arc::new(error));
            }
        }
        let wait = schedule.wait_after(state.failures);
        state.attempted = true;
        state.next_attempt = now.checked_add(wait);
        wait
    }

    fn report(&self, error: &FetchError, state: &State, schedule: &Schedule) {
        let repeats = state.failures > 1 && schedule.is_fast(state.failures);
        let error = error.describe();
        let issuer = &self.id.issuer;
        let keys = if state.last_success.is_some() { "last good" } else { "none" };
        if repeats {
            tracing::debug!(%issuer, error, keys, failures = state.failures, "key fetch failed");
        } else {
            tracing::warn!(%issuer, error, keys, failures = state.failures, "key fetch failed");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every source's task needs.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) fetcher: Fetcher,
    pub(super) schedule: Arc<Schedule>,
    pub(super) clock: Clock,
    pub(super) observer: Observer,
    /// Counts changes of any source's state.
    pub(super) changes: watch::Sender<u64>,
}

impl Worker {
    /// Fetches for as long as the task lives: at once, then as the schedule says.
    pub(super) async fn run(self, source: Arc<Source>) {
        loop {
            let within = source.state().timeout;
            source.state().next_attempt = None;
            let start = Instant::now();
            let outcome = self.fetcher.fetch(&source.id, within).await;
            let result = outcome.as_ref().map_or_else(FetchError::result, |_| AttemptResult::Ok);
            let wait = source.record(outcome, self.clock.now(), &self.schedule);
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
            (self.observer)(&Attempt { source: &source.id, result, duration: start.elapsed() });
            sleep(wait).await;
        }
    }
}
