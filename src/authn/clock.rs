//! Wall-clock time as an argument.
//!
//! Says what time it is; waiting is tokio's job.

use std::{fmt, time::SystemTime};

/// Where the wall time comes from, so that tests can say what time it is.
#[derive(Clone, Copy)]
pub struct Clock(fn() -> SystemTime);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn system() -> Self {
        Self(SystemTime::now)
    }

    /// A clock that asks `now`.
    pub fn from_fn(now: fn() -> SystemTime) -> Self {
        Self(now)
    }

    /// The time now.
    pub fn now(self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
