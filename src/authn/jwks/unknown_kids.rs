//! Key ids that a source was asked for and does not have.
//!
//! So that a client which keeps sending a token of a forgotten key does not have keys fetched for
//! ever. How often they may be fetched at all is `source`'s job.

use std::{
    collections::{
        HashMap,
        hash_map::{Entry, RandomState},
    },
    hash::BuildHasher as _,
    time::Duration,
};

use tokio::time::Instant;

/// How many are remembered. Random ones fill it and keep others out, which costs those a look at
/// the clock; it never costs memory.
const CAPACITY: usize = 1024;

/// The longest that one is not asked for.
const LONGEST: Duration = Duration::from_mins(5);

/// The ids, by a keyed hash: they come from whoever sends a request, of any length. Two that share
/// a hash share their fate, which is a wait for the next regular fetch.
#[derive(Debug, Default)]
pub(super) struct UnknownKids {
    hasher: RandomState,
    seen: HashMap<u64, Unknown>,
}

#[derive(Debug, Clone, Copy)]
struct Unknown {
    until: Instant,
    lasting: Duration,
}

impl UnknownKids {
    /// Whether it is not worth asking for this one yet.
    pub(super) fn contains(&self, kid: &str, now: Instant) -> bool {
        self.seen.get(&self.hasher.hash_one(kid)).is_some_and(|unknown| now < unknown.until)
    }

    /// The source was asked and does not have it: not again for `lasting`, and for twice as long
    /// each time that is repeated.
    pub(super) fn insert(&mut self, kid: &str, now: Instant, lasting: Duration) {
        if self.seen.len() >= CAPACITY {
            // What ended a while ago is not repeated.
            self.seen.retain(|_, unknown| now < unknown.until + unknown.lasting);
        }
        let full = self.seen.len() >= CAPACITY;
        match self.seen.entry(self.hasher.hash_one(kid)) {
            // Several requests waited for the same answer.
            Entry::Occupied(known) if now < known.get().until => {}
            Entry::Occupied(mut known) => {
                let lasting = known.get().lasting.saturating_mul(2).min(LONGEST);
                known.insert(Unknown { until: now + lasting, lasting });
            }
            Entry::Vacant(new) if !full => {
                let lasting = lasting.min(LONGEST);
                new.insert(Unknown { until: now + lasting, lasting });
            }
            Entry::Vacant(_) => {}
        }
    }

    /// The source has other keys than before: each may be among them.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn repeated_ones_last_longer() {
        let mut kids = UnknownKids::default();
        let mut now = Instant::now();
        for lasting in [10, 20, 40, 80, 160, 300, 300] {
            assert!(!kids.contains("a", now));
            kids.insert("a", now, TEN);
            kids.insert("a", now, TEN);
            now += Duration::from_secs(lasting);
            assert!(kids.contains("a", now - Duration::from_millis(1)), "{lasting}");
        }
        assert!(!kids.contains("b", now));
    }

    #[test]
    fn random_ones_fill_no_memory() {
        let mut kids = UnknownKids::default();
        let now = Instant::now();
        for n in 0..10 * CAPACITY {
            kids.insert(&n.to_string(), now, TEN);
        }
        assert_eq!(kids.seen.len(), CAPACITY);
        assert!(kids.contains("0", now));
        // Later there is room again.
        let later = now + 2 * TEN;
        kids.insert("later", later, TEN);
        assert!(kids.contains("later", later));
        assert_eq!(kids.seen.len(), 1);
    }

    #[test]
    fn other_keys_clear_them() {
        let mut kids = UnknownKids::default();
        let now = Instant::now();
        kids.insert("a", now, TEN);
        kids.clear();
        assert!(!kids.contains("a", now));
    }
}
