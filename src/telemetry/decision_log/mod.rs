//! One structured event for each decision: sampled, without secrets, never in a decision's way.
//!
//! A thread that decides writes the event as one line of JSON into memory and hands it over; if
//! there is no room it is dropped and counted. Where lines end up is the writer's job. The schema is
//! `proto/postern/v1/decision.proto`, explained in docs/decision-log.md.

mod file;
mod json;
mod record;
mod redaction;
mod sampling;
mod tap;
mod trace_context;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use file::RotatingFile;
pub use record::{Decision, SCHEMA};
pub use redaction::{NEVER_LOGGED, Redaction};
pub use sampling::{InvalidRate, SampleRates};
pub use tap::{ROOM, Tap, TapFilter, TooManyWatch, Watch, is_workload};
pub use trace_context::TraceContext;
pub use writer::{Destination, Sink, Writer};

use super::metrics::DecisionLogMetrics;
use crate::authn::clock::Clock;
use json::Object;
use tap::Watching;
use writer::Queue;

/// What is logged of decisions, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How many decisions of each outcome are logged.
    pub rates: SampleRates,
    /// Headers that are logged beside those that policies look at, and headers that never are.
    pub redaction: Redaction,
    /// How many bytes may wait to be written.
    pub buffer: usize,
}

/// Takes decisions to be logged. Cheap to clone.
#[derive(Clone)]
pub struct DecisionLog(Arc<Inner>);

struct Inner {
    settings: Settings,
    clock: Clock,
    queue: Queue,
}

impl fmt::Debug for DecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionLog").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// An event that lacks only how long the decision took, and who gets it.
#[derive(Debug)]
pub struct Draft {
    event: Object,
    is_logged: bool,
    watching: Vec<Arc<Watching>>,
}

impl Draft {
    /// The event of a decision, if it is to be logged or somebody watches.
    pub fn of(
        decision: &Decision<'_>,
        log: Option<&DecisionLog>,
        tap: Option<&Tap>,
    ) -> Option<Self> {
        let watching = tap.map(|tap| tap.wanted_by(decision)).unwrap_or_default();
        if let Some(event) = log.and_then(|log| log.event(decision)) {
            return Some(Self { event, is_logged: true, watching });
        }
        let tap = tap.filter(|_| !watching.is_empty())?;
        let event = record::write(decision, tap.clock().now(), 1.0, tap.redaction());
        Some(Self { event, is_logged: false, watching })
    }

    /// Hands the event over to those who get it; where too much waits, it is dropped.
    pub fn send(self, log: Option<&DecisionLog>, duration: Duration) {
        let Self { mut event, is_logged, watching } = self;
        event.seconds("postern.duration", duration);
        let line = event.finish_line();
        if !watching.is_empty() {
            let line = Bytes::copy_from_slice(&line);
            watching.iter().for_each(|watching| watching.push(line.clone()));
        }
        if let (Some(log), true) = (log, is_logged) {
            log.0.queue.push(line);
        }
    }
}

impl DecisionLog {
    /// A log whose events go to `destination`, and the thread that takes them there.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn open(
        settings: Settings,
        destination: Destination,
        clock: Clock,
        metrics: DecisionLogMetrics,
    ) -> std::io::Result<(Self, Writer)> {
        let (queue, writer) = writer::start(destination, settings.buffer, metrics)?;
        Ok((Self(Arc::new(Inner { settings, clock, queue })), writer))
    }

    /// The event of a decision, if it is one of those to be logged.
    pub fn draft(&self, decision: &Decision<'_>) -> Option<Draft> {
        Draft::of(decision, Some(self), None)
    }

    /// Hands an event over, or drops it where too many wait.
    pub fn log(&self, draft: Draft, duration: Duration) {
        draft.send(Some(self), duration);
    }

    fn event(&self, decision: &Decision<'_>) -> Option<Object> {
        let Inner { settings, clock, .. } = &*self.0;
        let rate = settings.rates.of(&decision.verdict);
        if !sampling::is_in(rate, decision.trace.as_ref()) {
            return None;
        }
        Some(record::write(decision, clock.now(), rate, &settings.redaction))
    }
}

#[cfg(test)]
mod tests;
