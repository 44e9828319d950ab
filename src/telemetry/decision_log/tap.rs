//! Decisions for those who watch them live: which of them, and a short queue for each who watches.
//!
//! A request costs one load where nobody watches. How events get to people is `console`'s job.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Decision, Redaction};
use crate::authn::clock::Clock;
use crate::model::{Outcome, Workload};

/// How many events may wait for one who watches; what finds no room is dropped and counted.
pub const ROOM: usize = 256;

/// Shows decisions to those who watch. Cheap to clone; clones share who does.
#[derive(Clone)]
pub struct Tap(Arc<Inner>);

struct Inner {
    redaction: Redaction,
    clock: Clock,
    most: usize,
    /// As many as there are in `watching`, for those who only have to know whether there are any.
    count: AtomicUsize,
    watching: ArcSwap<Vec<Arc<Watching>>>,
    /// Held by whoever changes `watching`.
    changing: Mutex<()>,
}

/// One who watches, as those who decide see them.
#[derive(Debug)]
pub(super) struct Watching {
    filter: TapFilter,
    queue: Sender<Bytes>,
    dropped: AtomicU64,
}

/// Which decisions somebody watches: those for which all of it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TapFilter {
    /// Only these.
    pub outcome: Option<Outcome>,
    /// Only for this reason, as [`crate::model::Reason::as_str`] has it.
    pub reason: Option<String>,
    /// Only by an AuthorizationPolicy or APIRule with this in its `namespace/name`.
    pub policy: Option<String>,
    /// Only about workloads with this in their namespace, in their name, or in the value of a label;
    /// with a slash, the namespace and what is in one of the others.
    pub workload: Option<String>,
    /// Only of paths that begin so.
    pub path_prefix: Option<String>,
}

/// More watch already than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} watch already, and no more may")]
pub struct TooManyWatch(pub usize);

impl Tap {
    /// For at most this many who watch; what they see of headers is what the decision log shows.
    pub fn new(redaction: Redaction, clock: Clock, most: usize) -> Self {
        Self(Arc::new(Inner {
            redaction,
            clock,
            most,
            count: AtomicUsize::new(0),
            watching: ArcSwap::default(),
            changing: Mutex::default(),
        }))
    }

    /// Whether anybody watches. One load.
    pub fn is_watched(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// How many may watch.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Watches decisions from now on.
    ///
    /// # Errors
    /// As many as may do already.
    pub fn watch(&self, filter: TapFilter) -> Result<Watch, TooManyWatch> {
        let (queue, events) = channel(ROOM);
        let watching = Arc::new(Watching { filter, queue, dropped: AtomicU64::new(0) });
        let added = self.0.change(|all| {
            let has_room = all.len() < self.0.most;
            if has_room {
                all.push(watching.clone());
            }
            has_room
        });
        if !added {
            return Err(TooManyWatch(self.0.most));
        }
        Ok(Watch { tap: self.clone(), watching, events })
    }

    pub(super) fn redaction(&self) -> &Redaction {
        &self.0.redaction
    }

    pub(super) fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Who wants to see a decision.
    pub(super) fn wanted_by(&self, decision: &Decision<'_>) -> Vec<Arc<Watching>> {
        let all = self.0.watching.load();
        all.iter().filter(|watching| watching.filter.takes(decision)).cloned().collect()
    }
}

impl Inner {
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Watching>>) -> T) -> T {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::clone(&self.watching.load());
        let result = change(&mut all);
        let count = all.len();
        self.watching.store(Arc::new(all));
        self.count.store(count, Ordering::Relaxed);
        result
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("watchers", &self.watchers()).finish_non_exhaustive()
    }
}

impl Watching {
    /// Hands an event over, or drops it.
    pub(super) fn push(&self, event: Bytes) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl TapFilter {
    /// Whether a decision is one of those.
    pub fn takes(&self, decision: &Decision<'_>) -> bool {
        let Self { outcome, reason, policy, workload, path_prefix } = self;
        let verdict = &decision.verdict;
        outcome.is_none_or(|outcome| outcome == verdict.outcome())
            && reason.as_deref().is_none_or(|reason| reason == verdict.reason.as_str())
            && policy.as_deref().is_none_or(|wanted| {
                decision.decided_by().is_some_and(|name| is_within(wanted, name))
            })
            && workload.as_deref().is_none_or(|wanted| {
                decision.plan.is_some_and(|plan| is_workload(wanted, &plan.workload))
            })
            && path_prefix.as_deref().is_none_or(|prefix| {
                let http = decision.attributes.and_then(|attributes| attributes.http.as_ref());
                http.is_some_and(|http| http.path_without_query().starts_with(prefix))
            })
    }
}

/// Whether it is in `namespace/name`.
fn is_within(wanted: &str, [namespace, name]: [&str; 2]) -> bool {
    match wanted.split_once('/') {
        Some((first, second)) => namespace.ends_with(first) && name.starts_with(second),
        None => namespace.contains(wanted) || name.contains(wanted),
    }
}

/// Whether a workload is meant, as [`TapFilter::workload`] says.
pub fn is_workload(wanted: &str, workload: &Workload) -> bool {
    let Workload { namespace, labels, name, .. } = workload;
    let is_named = |part: &str| {
        name.as_ref().is_some_and(|name| name.contains(part))
            || labels.values().any(|value| value.contains(part))
    };
    match wanted.split_once('/') {
        Some((first, rest)) => namespace == first && (rest.is_empty() || is_named(rest)),
        None => namespace.contains(wanted) || is_named(wanted),
    }
}

/// One who watches. Ends with its handle.
#[derive(Debug)]
pub struct Watch {
    tap: Tap,
    watching: Arc<Watching>,
    events: Receiver<Bytes>,
}

impl Watch {
    /// The next event: the line of the decision log, in JSON.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.events.recv().await
    }

    /// The next event, if it is there already.
    pub fn waiting(&mut self) -> Option<Bytes> {
        self.events.try_recv().ok()
    }

    /// How many events found no room so far.
    pub fn dropped(&self) -> u64 {
        self.watching.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tap.0.change(|all| all.retain(|other| !Arc::ptr_eq(other, &self.watching)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::super::Draft;
    use super::*;
    use crate::model::Reason;

    fn tap(most: usize) -> Tap {
        Tap::new(Redaction::default(), Clock::system(), most)
    }

    fn decide(tap: &Tap, reason: Reason) {
        let draft = Draft::of(&Decision::undecided(reason, 1), None, Some(tap));
        if let Some(draft) = draft {
            draft.send(None, Duration::from_micros(3));
        }
    }

    fn seen(watch: &mut Watch) -> Vec<serde_json::Value> {
        let next = std::iter::from_fn(|| watch.waiting());
        next.map(|line| serde_json::from_slice(&line).unwrap()).collect()
    }

    #[test]
    fn those_who_watch_see_what_they_asked_for() {
        let tap = tap(2);
        assert!(!tap.is_watched());
        decide(&tap, Reason::NoAllowPolicy);
        let mut all = tap.watch(TapFilter::default()).unwrap();
        let denied = TapFilter { outcome: Some(Outcome::Deny), ..TapFilter::default() };
        let mut denied = tap.watch(denied).unwrap();
        decide(&tap, Reason::NoAllowPolicy);
        decide(&tap, Reason::NoAllowRule);
        let reasons = |seen: Vec<serde_json::Value>| -> Vec<String> {
            seen.iter().map(|event| event["postern.reason"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(reasons(seen(&mut all)), ["no_allow_policy", "no_allow_rule"]);
        let events = seen(&mut denied);
        assert_eq!(events[0]["postern.duration"], 3e-6);
        assert_eq!(reasons(events), ["no_allow_rule"]);
    }

    #[test]
    fn no_more_watch_than_may() {
        let tap = tap(1);
        let first = tap.watch(TapFilter::default()).unwrap();
        assert_eq!(tap.watch(TapFilter::default()).unwrap_err(), TooManyWatch(1));
        drop(first);
        assert!(!tap.is_watched());
        assert!(tap.watch(TapFilter::default()).is_ok());
    }

    #[test]
    fn who_does_not_read_loses_events_and_is_told_how_many() {
        let tap = tap(1);
        let mut watch = tap.watch(TapFilter::default()).unwrap();
        for _ in 0..ROOM + 3 {
            decide(&tap, Reason::NoAllowRule);
        }
        assert_eq!((seen(&mut watch).len(), watch.dropped()), (ROOM, 3));
        decide(&tap, Reason::NoAllowRule);
        assert_eq!((seen(&mut watch).len(), watch.dropped()), (1, 3));
    }

    #[rstest]
    #[case("shop", true)]
    #[case("ho", true)]
    #[case("cart", true)]
    #[case("cart-7", true)]
    #[case("shop/", true)]
    #[case("shop/cart", true)]
    #[case("sho/cart", false)]
    #[case("shop/web", false)]
    #[case("web", false)]
    fn workloads_by_what_people_know_of_them(#[case] wanted: &str, #[case] expect: bool) {
        let workload = Workload {
            namespace: "shop".into(),
            labels: [("app".into(), "cart".into())].into(),
            name: Some("cart-7".into()),
            ..Workload::default()
        };
        assert_eq!(is_workload(wanted, &workload), expect);
    }

    #[rstest]
    #[case("no-admin", true)]
    #[case("shop", true)]
    #[case("shop/no-admin", true)]
    #[case("shop/no", true)]
    #[case("bank/no-admin", false)]
    #[case("other", false)]
    fn policies_by_a_part_of_their_names(#[case] wanted: &str, #[case] expect: bool) {
        assert_eq!(is_within(wanted, ["shop", "no-admin"]), expect);
    }
}
