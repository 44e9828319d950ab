//! Counters of which each thread has its own, as far as they go.
//!
//! Threads that count into one place wait for each other; who reads adds up.

use std::sync::atomic::{AtomicUsize, Ordering};

/// More threads than this answer requests on large machines only, where some then share.
const SHARDS: usize = 16;

/// Several of the same, each on cache lines of its own.
#[derive(Debug, Default)]
pub(super) struct Shards<T>([Padded<T>; SHARDS]);

/// Two lines of 64 bytes: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T> Shards<T> {
    /// The one of this thread.
    pub(super) fn own(&self) -> &T {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        let [first, ..] = &self.0;
        let own = OWN.try_with(|own| *own).unwrap_or_default();
        &self.0.get(own).unwrap_or(first).0
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread;

    use super::*;

    #[test]
    fn nothing_is_lost() {
        let shards = Shards::<AtomicU64>::default();
        thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        shards.own().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let counts: Vec<_> = shards.all().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counts.iter().sum::<u64>(), 2_000 * SHARDS as u64);
        assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
    }
}
