//! The task that fetches the keys of one source, again and again.
//!
//! What an outcome means is `source`'s job, how long to wait `schedule`'s.

use std::{future, sync::Arc};

use aws_lc_rs::rand;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Attempt, AttemptResult, FetchError, Observer, Schedule, fetch::fetch, source::Source};
use crate::authn::clock::Clock;
use crate::outbound::Client;

/// What every source's task needs.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) schedule: Arc<Schedule>,
    pub(super) clock: Clock,
    pub(super) observer: Observer,
    /// Counts changes of any source's state.
    pub(super) changes: watch::Sender<u64>,
}

impl Worker {
    /// Fetches for as long as the task lives: at once, then as the schedule says, and sooner where
    /// a request asks for a key that is not there.
    pub(super) async fn run(self, source: Arc<Source>) {
        loop {
            let attempted = source.begin();
            let start = Instant::now();
            let validators = attempted.validators.as_ref();
            let outcome = fetch(&self.client, &source.id, attempted.timeout, validators).await;
            let result = outcome.as_ref().map_or_else(FetchError::result, |_| AttemptResult::Ok);
            let wait = source.end(outcome, self.clock.now(), &self.schedule, random());
            self.changed();
            (self.observer)(&Attempt { source: &source.id, result, duration: start.elapsed() });
            self.wait(&source, Instant::now() + wait).await;
        }
    }

    /// Until the next fetch is due at the latest.
    async fn wait(&self, source: &Source, due: Instant) {
        loop {
            let soonest = source.soonest_asked(&self.schedule).unwrap_or(due);
            let expires = source.expires(&self.schedule);
            tokio::select! {
                () = sleep_until(due.min(soonest)) => return,
                () = until(expires) => {
                    source.expire();
                    self.changed();
                }
                () = source.asked.notified() => {}
            }
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}

/// Without a source of randomness there is no jitter, which is no reason not to fetch.
fn random() -> u32 {
    let mut bytes = [0; 4];
    match rand::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}
