//! A histogram of durations whose `observe` takes no lock.
//!
//! Only for the request path; everything else uses the histogram of `prometheus-client`.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper bounds in nanoseconds. Set by hand: the conventional defaults start at 5 ms, and a decision
/// takes microseconds.
const BOUNDS: [u64; 17] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// Counts durations in fixed buckets from 5 µs to 5 s.
#[derive(Debug, Default)]
pub(super) struct DurationHistogram {
    /// One for each bound, and the overflow at the end.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What several histograms counted together.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationSample {
    /// Upper bounds in seconds, ascending, the last one infinite; and how many durations are not above
    /// the bound, but above the one before.
    pub buckets: Vec<(f64, u64)>,
    /// All durations together, in seconds.
    pub sum: f64,
}

impl DurationHistogram {
    /// Counts one duration.
    pub(super) fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().take_while(|bound| **bound < nanoseconds).count();
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What several have counted.
    pub(super) fn sample<'a>(parts: &(impl Iterator<Item = &'a Self> + Clone)) -> DurationSample {
        let sum = |of: &dyn Fn(&Self) -> Option<&AtomicU64>| {
            let counts = parts.clone().filter_map(of);
            counts.map(|count| count.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets =
            bounds.enumerate().map(|(place, bound)| (bound, sum(&|part| part.counts.get(place))));
        let buckets = buckets.collect();
        DurationSample { buckets, sum: seconds(sum(&|part| Some(&part.nanoseconds))) }
    }

    /// Shows several as one.
    pub(super) fn encode<'a>(
        parts: &(impl Iterator<Item = &'a Self> + Clone),
        mut encoder: MetricEncoder<'_>,
    ) -> Result<(), fmt::Error> {
        let DurationSample { buckets, sum } = Self::sample(parts);
        // The total is the sum of what was read here, so that it agrees with the buckets even while
        // others count.
        let total = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
