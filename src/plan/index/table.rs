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
