//! One source: its keys, how its fetches went, and what requests ask of it.
//!
//! Which sources there are is `KeySets`' job, fetching again and again is `worker`'s.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{
    FetchError, Schedule, SourceStatus,
    fetch::{Content, Digest, Fetched},
    freshness::Validators,
    unknown_kids::UnknownKids,
};
use crate::key_set::{Generation, KeySet};
use crate::plan::{KeySource, KeySourceId};

/// A source that some rule names.
pub(super) struct Source {
    pub(super) id: KeySourceId,
    /// The last good set; empty until there is one, and once it is too old.
    pub(super) keys: ArcSwapOption<KeySet>,
    /// Wakes the worker for a fetch that a request asked for.
    pub(super) asked: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    state: Mutex<State>,
}

struct State {
    timeout: Duration,
    /// How many fetches have begun.
    begun: u64,
    running: bool,
    /// When the newest fetch began that a request asked for.
    last_asked: Option<Instant>,
    /// Whether a request asked for a fetch that has not begun.
    asked: bool,
    unknown: UnknownKids,
    failures: u32,
    digest: Option<Digest>,
    validators: Option<Validators>,
    last_success: Option<SystemTime>,
    /// [`State::last_success`] on the clock that nobody sets.
    last_seen: Option<Instant>,
    last_error: Option<Arc<FetchError>>,
    last_failure: Option<SystemTime>,
    next_attempt: Option<SystemTime>,
}

/// A fetch that is about to begin.
pub(super) struct Attempted {
    pub(super) timeout: Duration,
    pub(super) validators: Option<Validators>,
}

impl Source {
    pub(super) fn new(source: &KeySource) -> Self {
        Self {
            id: source.id.clone(),
            keys: ArcSwapOption::empty(),
            asked: Notify::new(),
            ended: watch::Sender::new(0),
            state: Mutex::new(State {
                timeout: source.timeout,
                begun: 0,
                running: false,
                last_asked: None,
                asked: false,
                unknown: UnknownKids::default(),
                failures: 0,
                digest: None,
                validators: None,
                last_success: None,
                last_seen: None,
                last_error: None,
                last_failure: None,
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
        *self.ended.borrow() > 0
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
            last_failure: state.last_failure,
            failures: state.failures,
            next_attempt: state.next_attempt,
        }
    }

    /// Asks for a key that the set of generation `seen` (`None`: no set) does not have, and waits
    /// for it until `deadline`. Whether there is another set now.
    pub(super) async fn seek(
        &self,
        kid: &str,
        seen: Option<Generation>,
        deadline: Instant,
        schedule: &Schedule,
    ) -> bool {
        let mut ended = self.ended.subscribe();
        // Asking comes before looking, so that no set slips in between unseen.
        let awaited = self.ask(kid, deadline, schedule);
        loop {
            if self.has_other_than(seen) {
                return true;
            }
            let Some(awaited) = awaited else { return false };
            if *ended.borrow_and_update() >= awaited {
                self.remember_unknown(kid, schedule);
                return false;
            }
            let ended_or_late = timeout_at(deadline, ended.changed()).await;
            if !ended_or_late.is_ok_and(|source_is_there| source_is_there.is_ok()) {
                return false;
            }
        }
    }

    fn has_other_than(&self, seen: Option<Generation>) -> bool {
        let now = self.keys.load().as_ref().map(|keys| keys.generation());
        now.is_some() && now != seen
    }

    /// Which fetch to wait for; `None` where that is pointless or would take too long. In the
    /// latter case keys are fetched all the same, for those who come later.
    ///
    /// A fetch that is under way is not enough, as it may have begun before the key was there.
    fn ask(&self, kid: &str, deadline: Instant, schedule: &Schedule) -> Option<u64> {
        let mut state = self.state();
        let now = Instant::now();
        if state.unknown.contains(kid, now) {
            return None;
        }
        if !state.asked {
            state.asked = true;
            self.asked.notify_one();
        }
        let awaited = state.begun + 1;
        (state.running || state.soonest(now, schedule)? < deadline).then_some(awaited)
    }

    /// The source was asked after this key was, and does not have it.
    fn remember_unknown(&self, kid: &str, schedule: &Schedule) {
        let mut state = self.state();
        if state.failures == 0 {
            state.unknown.insert(kid, Instant::now(), schedule.unknown_kid_interval);
        }
    }

    /// When the fetch that requests asked for may begin; `None` where none asked.
    pub(super) fn soonest_asked(&self, schedule: &Schedule) -> Option<Instant> {
        let state = self.state();
        if state.asked { state.soonest(Instant::now(), schedule) } else { None }
    }

    /// When the keys become too old; `None` without keys.
    pub(super) fn expires(&self, schedule: &Schedule) -> Option<Instant> {
        self.keys.load().as_ref()?;
        self.state().last_seen?.checked_add(schedule.max_age)
    }

    /// Forgets keys that were not seen at their source for too long.
    pub(super) fn expire(&self) {
        let mut state = self.state();
        self.keys.store(None);
        // They must come whole next time.
        state.validators = None;
        state.digest = None;
        tracing::error!(issuer = %self.id.issuer, "keys are too old, tokens of this issuer fail");
    }

    /// A fetch begins.
    pub(super) fn begin(&self) -> Attempted {
        let mut state = self.state();
        state.begun += 1;
        state.running = true;
        if std::mem::take(&mut state.asked) {
            state.last_asked = Some(Instant::now());
        }
        state.next_attempt = None;
        Attempted { timeout: state.timeout, validators: state.validators.clone() }
    }

    /// Takes the outcome in and says how long to wait. The keys are in place before anything says
    /// that they are.
    pub(super) fn end(
        &self,
        outcome: Result<Fetched, FetchError>,
        now: SystemTime,
        schedule: &Schedule,
        random: u32,
    ) -> Duration {
        let mut state = self.state();
        let wait = match outcome {
            Ok(fetched) => {
                let wait = schedule.wait_after_success(fetched.lifetime);
                self.take(&mut state, fetched, now);
                wait
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                self.report(&error, &state, schedule);
                state.last_error = Some(Arc::new(error));
                state.last_failure = Some(now);
                schedule.wait_after_failure(state.failures)
            }
        };
        let wait = schedule.jittered(wait, random);
        state.running = false;
        state.next_attempt = now.checked_add(wait);
        let begun = state.begun;
        drop(state);
        self.ended.send_replace(begun);
        wait
    }

    fn take(&self, state: &mut State, fetched: Fetched, now: SystemTime) {
        match fetched.content {
            // The same text keeps the same set, so that what was derived from it stays valid.
            Content::Keys(keys, digest) if state.digest != Some(digest) => {
                tracing::info!(
                    issuer = %self.id.issuer,
                    keys = keys.usable(),
                    skipped = keys.skipped().len(),
                    "key set changed"
                );
                self.keys.store(Some(Arc::new(keys)));
                state.digest = Some(digest);
                // Whoever asked looks again, and asks again if need be.
                state.unknown.clear();
                state.asked = false;
            }
            Content::Keys(..) | Content::NotModified => {
                if state.failures > 0 {
                    tracing::info!(issuer = %self.id.issuer, "key set is fetched again");
                }
            }
        }
        state.validators = fetched.validators;
        state.failures = 0;
        state.last_success = Some(now);
        state.last_seen = Some(Instant::now());
        state.last_error = None;
    }

    fn report(&self, error: &FetchError, state: &State, schedule: &Schedule) {
        let repeats = state.failures > 1 && schedule.is_fast(state.failures);
        let error = error.describe();
        let issuer = &self.id.issuer;
        let keys = if self.keys.load().is_some() { "last good" } else { "none" };
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

impl State {
    /// When a fetch that a request asks for may begin.
    fn soonest(&self, now: Instant, schedule: &Schedule) -> Option<Instant> {
        match self.last_asked {
            Some(last) => last.checked_add(schedule.unknown_kid_interval).map(|at| at.max(now)),
            None => Some(now),
        }
    }
}
