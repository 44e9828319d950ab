//! When to fetch next.
//!
//! Arithmetic only; waiting is `source`'s job.

use std::time::Duration;

/// The times between fetches of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// After a success, at most.
    pub refresh: Duration,
    /// After a success, at least, however short a provider says its answer holds.
    pub least_refresh: Duration,
    /// After each of the first failures in a row: most are a restart, or a network that comes up.
    pub fast_retry: Duration,
    /// How many failures in a row are retried fast.
    pub fast_retries: u32,
    /// After the first failure that is not; doubles with each further one.
    pub back_off: Duration,
    /// What it doubles up to.
    pub back_off_limit: Duration,
    /// How much of each wait may be left out, in percent, so that replicas that started together
    /// do not ask together.
    pub jitter_percent: u32,
    /// How long keys are used after they were last seen at their source.
    pub max_age: Duration,
    /// At least so long lies between the starts of two fetches that tokens ask for.
    pub unknown_kid_interval: Duration,
}

impl Default for Schedule {
    /// Istio's times, where Istio has any.
    fn default() -> Self {
        Self {
            refresh: Duration::from_mins(20),
            least_refresh: Duration::from_mins(1),
            fast_retry: Duration::from_secs(1),
            fast_retries: 7,
            back_off: Duration::from_mins(1),
            back_off_limit: Duration::from_hours(1),
            jitter_percent: 10,
            max_age: Duration::from_hours(7 * 24),
            unknown_kid_interval: Duration::from_secs(10),
        }
    }
}

impl Schedule {
    /// How long to wait after a success whose answer says that it holds for `lifetime`.
    pub fn wait_after_success(&self, lifetime: Option<Duration>) -> Duration {
        let lifetime = lifetime.unwrap_or(self.refresh);
        lifetime.max(self.least_refresh).min(self.refresh)
    }

    /// How long to wait after an attempt that was the `failures`th failure in a row.
    pub fn wait_after_failure(&self, failures: u32) -> Duration {
        if failures <= self.fast_retries {
            return self.fast_retry;
        }
        let doublings = failures - self.fast_retries - 1;
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.back_off.saturating_mul(factor).min(self.back_off_limit)
    }

    /// A wait with its jitter taken off, `random` being uniform over all numbers.
    pub fn jittered(&self, wait: Duration, random: u32) -> Duration {
        let share = f64::from(random) / f64::from(u32::MAX);
        let percent = f64::from(self.jitter_percent.min(100));
        wait.mul_f64(1.0 - share * percent / 100.0)
    }

    /// Whether the wait after this many failures is a fast retry.
    pub(super) fn is_fast(&self, failures: u32) -> bool {
        (1..=self.fast_retries).contains(&failures)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1, 1)]
    #[case(7, 1)]
    #[case(8, 60)]
    #[case(9, 120)]
    #[case(13, 32 * 60)]
    #[case(14, 3600)]
    #[case(15, 3600)]
    #[case(60, 3600)]
    #[case(u32::MAX, 3600)]
    fn failures_back_off(#[case] failures: u32, #[case] seconds: u64) {
        assert_eq!(Schedule::default().wait_after_failure(failures), Duration::from_secs(seconds));
    }

    #[rstest]
    #[case::unsaid(None, 1200)]
    #[case::stale_at_once(Some(0), 60)]
    #[case::short(Some(59), 60)]
    #[case::within(Some(300), 300)]
    #[case::long(Some(86_400), 1200)]
    fn lifetimes_count_within_bounds(#[case] lifetime: Option<u64>, #[case] seconds: u64) {
        let wait = Schedule::default().wait_after_success(lifetime.map(Duration::from_secs));
        assert_eq!(wait, Duration::from_secs(seconds));
    }

    #[rstest]
    #[case(0, 1000)]
    #[case(u32::MAX / 2, 950)]
    #[case(u32::MAX, 900)]
    fn jitter_shortens(#[case] random: u32, #[case] milliseconds: u128) {
        let wait = Schedule::default().jittered(Duration::from_secs(1), random);
        assert_eq!(wait.as_millis(), milliseconds);
    }
}
