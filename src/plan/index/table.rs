//! A hash table of keys, shared by all nodes and sets of an index.
//!
//! Keeps a part of each hash only, so it may find too much, never too little.

use super::super::at;

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One rule, or one pattern of a set.
    One(u32),
    /// A list: where it stands in the lists; its first element is its length.
    List(u32),
    /// A node.
    Node(u32),
}

impl Target {
    /// Numbers are below this.
    pub const NUMBERS: u32 = 1 << 30;
    const EMPTY: u32 = u32::MAX;

    fn bits(self) -> Option<u32> {
        let (kind, number) = match self {
            Self::One(number) => (0, number),
            Self::List(number) => (1, number),
            Self::Node(number) => (2, number),
        };
        (number < Self::NUMBERS).then_some(kind << 30 | number)
    }

    fn from_bits(bits: u32) -> Self {
        let number = bits & (Self::NUMBERS - 1);
        match bits >> 30 {
            0 => Self::One(number),
            1 => Self::List(number),
            _ => Self::Node(number),
        }
    }
}

/// A key to be kept, and where it leads.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// As [`Table::hash`] gave it.
    pub hash: u64,
    /// Where it leads.
    pub target: Target,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    target: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Table {
    /// A power of two of them, some empty; or none.
    slots: Box<[Slot]>,
}

impl Table {
    /// A table of these; `None` where a number is too high.
    pub fn new(entries: &[Entry]) -> Option<Self> {
        if entries.is_empty() {
            return Some(Self::default());
        }
        // At least a fifth stays empty, which ends every search.
        let size = (entries.len() + entries.len() / 4 + 1).checked_next_power_of_two()?;
        let mut slots = vec![Slot { tag: 0, target: Target::EMPTY }; size];
        for entry in entries {
            let target = entry.target.bits()?;
            let mut place = place(entry.hash, size - 1);
            while slots.get(place)?.target != Target::EMPTY {
                place = (place + 1) & (size - 1);
            }
            *slots.get_mut(place)? = Slot { tag: tag(entry.hash), target };
        }
        Some(Self { slots: slots.into() })
    }

    /// The owner that stands for a set of patterns; `None` where there are too many.
    pub fn set(number: usize) -> Option<u32> {
        u32::try_from(number).ok().filter(|number| *number < SETS).map(|number| number | SETS)
    }

    /// The place of a set that [`Table::set`] gave an owner to.
    pub fn place_of_set(owner: u32) -> usize {
        at(owner & !SETS)
    }

    /// The hash under which a key is kept: of the node or set it belongs to, and its attribute.
    #[inline]
    pub fn hash(owner: u32, attribute: u32, key: u64) -> u64 {
        let owner = (u64::from(owner) << 32 | u64::from(attribute)).wrapping_mul(OWNERS);
        let hash = (key ^ owner).wrapping_mul(KEYS);
        hash ^ hash >> 32
    }

    /// What is kept under a hash, perhaps more than once; tells `found` until that says to stop, and
    /// says whether it did.
    #[inline]
    pub fn find(&self, hash: u64, mut found: impl FnMut(Target) -> bool) -> bool {
        let Some(mask) = self.slots.len().checked_sub(1) else { return false };
        let mut place = place(hash, mask);
        while let Some(slot) = self.slots.get(place) {
            if slot.target == Target::EMPTY {
                return false;
            }
            if slot.tag == tag(hash) && found(Target::from_bits(slot.target)) {
                return true;
            }
            place = (place + 1) & mask;
        }
        false
    }

    pub(super) fn heap_size(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

/// Owners from here on are sets, those below are nodes.
const SETS: u32 = 1 << 31;
const OWNERS: u64 = 0xd6e8_feb8_6659_fd93;
const KEYS: u64 = 0xa076_1d64_78bd_642f;

fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

fn place(hash: u64, mask: usize) -> usize {
    at(u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()) & mask
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn found(table: &Table, hash: u64) -> Vec<Target> {
        let mut found = Vec::new();
        table.find(hash, |target| {
            found.push(target);
            false
        });
        found
    }

    fn target() -> impl Strategy<Value = Target> {
        let number = || 0..Target::NUMBERS;
        prop_oneof![
            number().prop_map(Target::One),
            number().prop_map(Target::List),
            number().prop_map(Target::Node),
        ]
    }

    proptest! {
        /// Hashes of few bits: full of collisions, in the place, the tag and both.
        #[test]
        fn what_was_put_in_is_found(
            entries in vec((0u64..4, 0u64..4, target()), 0..60),
            other in (0u64..8, 0u64..8),
        ) {
            let hash = |tag: u64, place: u64| tag << 32 | place;
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(tag, place, target)| Entry { hash: hash(tag, place), target })
                .collect();
            let table = Table::new(&entries).unwrap();
            for entry in &entries {
                prop_assert!(found(&table, entry.hash).contains(&entry.target));
            }
            let (tag, place) = other;
            let same_tag = |target: &Target| {
                entries.iter().any(|e| e.hash >> 32 == tag && e.target == *target)
            };
            prop_assert!(found(&table, hash(tag, place)).iter().all(same_tag));
        }
    }

    #[test]
    fn an_empty_table_has_nothing() {
        assert_eq!(found(&Table::new(&[]).unwrap(), 0), []);
        assert_eq!(found(&Table::default(), 7), []);
    }

    #[test]
    fn a_search_ends_when_told_to() {
        let entries = [1, 2, 3].map(|rule| Entry { hash: 5, target: Target::One(rule) });
        let table = Table::new(&entries).unwrap();
        let mut seen = 0;
        assert!(table.find(5, |_| {
            seen += 1;
            seen == 2
        }));
        assert_eq!(seen, 2);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        for target in [Target::One, Target::List, Target::Node] {
            let table = |number| Table::new(&[Entry { hash: 1, target: target(number) }]);
            assert!(table(Target::NUMBERS).is_none());
            assert_eq!(
                found(&table(Target::NUMBERS - 1).unwrap(), 1),
                [target(Target::NUMBERS - 1)]
            );
        }
    }

    #[test]
    fn owners_and_attributes_have_keys_of_their_own() {
        let set = Table::set(0).unwrap();
        let hashes = [(0, 0), (1, 0), (0, 1), (1, 1), (set, 0), (set, 1)];
        let hashes: std::collections::BTreeSet<_> =
            hashes.iter().map(|(owner, attribute)| Table::hash(*owner, *attribute, 9)).collect();
        assert_eq!(hashes.len(), 6);
        assert_eq!(Table::place_of_set(Table::set(7).unwrap()), 7);
        assert_eq!(Table::set(1 << 31), None);
    }
}
