//! How far it is, on stderr: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::load::{Progress, Until};

use super::report::grouped;

/// Between two lines where they stay.
const SELDOM: Duration = Duration::from_secs(5);
/// Between two looks of a line that changes.
const OFTEN: Duration = Duration::from_millis(200);

pub(super) struct ProgressLine {
    terminal: bool,
    until: Until,
    begun: Instant,
    warm_up: Duration,
    /// Calls before those that count.
    before: u64,
    counting: Option<Instant>,
    shown: Instant,
    shown_done: u64,
}

impl ProgressLine {
    pub(super) fn begin(until: Until, warm_up: Duration) -> Self {
        let now = Instant::now();
        Self {
            terminal: std::io::stderr().is_terminal(),
            until,
            begun: now,
            warm_up,
            before: 0,
            counting: None,
            shown: now,
            shown_done: 0,
        }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let done = match progress {
            Progress::Counting => {
                self.counting = Some(Instant::now());
                self.before = self.shown_done;
                return;
            }
            Progress::Done(done) => done,
            Progress::Over => return,
        };
        let since = self.shown.elapsed();
        if since < if self.terminal { OFTEN } else { SELDOM } {
            return;
        }
        let rate = done.saturating_sub(self.shown_done) as f64 / since.as_secs_f64();
        (self.shown, self.shown_done) = (Instant::now(), done);
        let stage = match (self.counting, self.until) {
            (None, _) => format!("warming up, {}", left(self.warm_up, self.begun)),
            (Some(begun), Until::Elapsed(time)) => left(time, begun),
            (Some(_), Until::Calls(calls)) => {
                format!("{} to go", grouped(calls.saturating_sub(done.saturating_sub(self.before))))
            }
        };
        let text =
            format!("{} requests, {} a second, {stage}", grouped(done), grouped(rate.round()));
        let mut stderr = std::io::stderr();
        // Where stderr is closed, nobody looks.
        drop(if self.terminal {
            write!(stderr, "\r\x1b[K{text}")
        } else {
            writeln!(stderr, "{text}")
        });
    }

    /// A line that changes goes, so that it does not stand among the figures.
    pub(super) fn end(&self) {
        if self.terminal {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}

fn left(all: Duration, begun: Instant) -> String {
    format!("{} s left", all.saturating_sub(begun.elapsed()).as_secs_f64().ceil())
}
