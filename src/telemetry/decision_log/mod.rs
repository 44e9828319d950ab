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
mod trace_context;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use file::RotatingFile;
pub use record::{Decision, SCHEMA};
pub use redaction::{NEVER_LOGGED, Redaction};
pub use sampling::{InvalidRate, SampleRates};
pub use trace_context::TraceContext;
pub use writer::{Destination, Sink, Writer};

use super::metrics::DecisionLogMetrics;
use crate::authn::clock::Clock;
use json::Object;
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

/// An event that lacks only how long the decision took.
#[derive(Debug)]
pub struct Draft(Object);

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
        let Inner { settings, clock, .. } = &*self.0;
        let rate = settings.rates.of(&decision.verdict);
        if !sampling::is_in(rate, decision.trace.as_ref()) {
            return None;
        }
        Some(Draft(record::write(decision, clock.now(), rate, &settings.redaction)))
    }

    /// Hands an event over, or drops it where too many wait.
    pub fn log(&self, Draft(mut event): Draft, duration: Duration) {
        event.seconds("postern.duration", duration);
        self.0.queue.push(event.finish_line());
    }
}

#[cfg(test)]
mod tests;
