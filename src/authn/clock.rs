//! Wall-clock time as an argument.
//!
//! Says what time it is; waiting is tokio's job.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

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

    /// The time now in seconds since 1970, as tokens have it. A clock that stands before 1970 knows
    /// nothing; that counts as the end of time, when every token that ends has expired.
    pub fn unix_seconds(self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_wrong_makes_no_token_good() {
        let before = Clock::from_fn(|| UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(before.unix_seconds(), u64::MAX);
        assert_eq!(Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(7)).unix_seconds(), 7);
    }
}
