//! Since when which kind is not followed, and why: in the log once for each reason, in metrics always.
//!
//! What to do about it is `watching`'s job.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{trouble::Trouble, watching::Place};
use crate::telemetry::metrics::KubeMetrics;

/// How all places stand.
#[derive(Debug)]
pub(super) struct Outages {
    standing: Mutex<Vec<Standing>>,
    metrics: KubeMetrics,
}

#[derive(Debug)]
struct Standing {
    place: Arc<Place>,
    /// Since when it is not followed.
    since: Option<Instant>,
    /// In a row.
    failures: u32,
    /// What the log says last.
    said: Option<Trouble>,
}

impl Outages {
    /// Nothing is followed yet.
    pub(super) fn new(places: &[Arc<Place>], metrics: KubeMetrics) -> Self {
        let now = Instant::now();
        let standing = |place: &Arc<Place>| Standing {
            place: place.clone(),
            since: Some(now),
            failures: 0,
            said: None,
        };
        Self { standing: Mutex::new(places.iter().map(standing).collect()), metrics }
    }

    /// A place could not be listed or watched. Tells how often in a row.
    pub(super) fn failed(&self, at: usize, trouble: Trouble) -> u32 {
        let mut all = self.lock();
        let Some(standing) = all.get_mut(at) else { return 1 };
        let kind = standing.place.kind;
        self.metrics.failed(kind, trouble.label());
        standing.since.get_or_insert_with(Instant::now);
        standing.failures = standing.failures.saturating_add(1);
        let resource = &standing.place.resource_name;
        let again = standing.said.as_ref().is_some_and(|said| said.label() == trouble.label());
        match &trouble {
            Trouble::Expired => tracing::info!(resource, reason = %trouble, "listing anew"),
            _ if again => tracing::debug!(resource, reason = %trouble, "still not followed"),
            Trouble::Forbidden { .. }
            | Trouble::NoSuchKind { .. }
            | Trouble::Unauthorized { .. }
            | Trouble::Unreachable { .. }
            | Trouble::Unreadable { .. }
            | Trouble::Refused { .. } => tracing::warn!(
                resource,
                reason = %trouble,
                "not followed: what was last seen of it stays"
            ),
        }
        let failures = standing.failures;
        standing.said = Some(trouble);
        failures
    }

    /// The watch at this path of the API was answered.
    pub(super) fn followed(&self, path: &str) {
        for standing in self.lock().iter_mut().filter(|standing| standing.place.path == path) {
            let Some(since) = standing.since.take() else { continue };
            if standing.said.take().is_some() {
                tracing::info!(
                    resource = standing.place.resource_name,
                    after_seconds = since.elapsed().as_secs_f64(),
                    "followed again"
                );
            }
            standing.failures = 0;
        }
    }

    /// For how long each kind has not been followed somewhere; zero is well.
    pub(super) fn samples(&self) -> Vec<(&'static str, Duration)> {
        let mut longest: Vec<(&'static str, Duration)> = Vec::new();
        for Standing { place, since, .. } in &*self.lock() {
            let outage = since.map(|since| since.elapsed()).unwrap_or_default();
            match longest.iter_mut().find(|(kind, _)| *kind == place.kind) {
                Some((_, known)) => *known = outage.max(*known),
                None => longest.push((place.kind, outage)),
            }
        }
        longest
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        // Nothing in here can be half done.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
