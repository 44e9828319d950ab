//! When to fetch next.
//!
//! Arithmetic only; waiting is `source`'s job.

use std::time::Duration;

/// The times between fetches of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// After a success.
    pub refresh: Duration,
    /// After each of the first failures in a row: most are a restart, or a network that comes up.
    pub fast_retry: Duration,
    /// How many failures in a row are retried fast.
    pub fast_retries: u32,
    /// After the first failure that is not; doubles with each further one.
    pub back_off: Duration,
    /// What it doubles up to.
    pub back_off_limit: Duration,
}

impl Default for Schedule {
    /// Istio's times.
    fn default() -> Self {
        Self {
            refresh: Duration::from_mins(20),
            fast_retry: Duration::from_secs(1),
            fast_retries: 7,
            back_off: Duration::from_mins(1),
            back_off_limit: Duration::from_hours(1),
        }
    }
}

impl Schedule {
    /// How long to wait after an attempt that made `failures` in a row, 0 after a success.
    pub fn wait_after(&self, failures: u32) -> Duration {
        if failures == 0 {
            return self.refresh;
        }
        if failures <= self.fast_retries {
            return self.fast_retry;
        }
        let doublings = failures - self.fast_retries - 1;
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.back_off.saturating_mul(factor).min(self.back_off_limit)
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
    #[case(0, 20 * 60)]
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
        assert_eq!(Schedule::default().wait_after(failures), Duration::from_secs(seconds));
    }
}
