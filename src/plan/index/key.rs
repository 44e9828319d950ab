//! Keys: hashes of what a pattern demands, and of everything a value could satisfy.
//!
//! A pattern has one key; a value that matches the pattern has that key among its own. So rules can
//! be found by the keys of a request, and because a key is only a hash, what is found is always
//! tested again. Which patterns and values there are is for `compile` and `decide` to say.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether ASCII case counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `a` is not `A`.
    Counts,
    /// As hosts are compared.
    Ignored,
}

/// What a pattern demands, hashed.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The same for the pattern and for values that match it.
    pub hash: u64,
    shape: Shape,
}

/// What a lookup must know of its keys, so that it computes only those a value could have there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Flag(u8),
    Prefix {
        length: usize,
        end: u8,
    },
    Suffix {
        length: usize,
        end: u8,
    },
    /// The family and the length of the mask as one number.
    Block(usize),
}

const PRESENT: u8 = 1;
const EXACT: u8 = 2;
const PREFIX: u8 = 3;
const SUFFIX: u8 = 4;
const BLOCK: u8 = 5;
const PAIR: u8 = 8;
const FIRST: u8 = 16;
const SECOND: u8 = 32;

impl Key {
    /// Any value.
    pub fn present() -> Self {
        Self { hash: finish(0, 0, PRESENT), shape: Shape::Flag(PRESENT) }
    }

    /// The whole text.
    pub fn exact(text: &str, case: Case) -> Self {
        Self { hash: Words::forward(text.as_bytes(), case).whole(EXACT), shape: Shape::Flag(EXACT) }
    }

    /// What texts begin with.
    pub fn prefix(text: &str, case: Case) -> Self {
        let Some(end) = text.as_bytes().last() else { return Self::present() };
        Self {
            hash: Words::forward(text.as_bytes(), case).whole(PREFIX),
            shape: Shape::Prefix { length: text.len(), end: lower(*end, case) },
        }
    }

    /// What texts end with.
    pub fn suffix(text: &str, case: Case) -> Self {
        let Some(end) = text.as_bytes().first() else { return Self::present() };
        Self {
            hash: Words::backward(text.as_bytes(), case).whole(SUFFIX),
            shape: Shape::Suffix { length: text.len(), end: lower(*end, case) },
        }
    }

    /// A number.
    pub fn number(number: u16) -> Self {
        Self { hash: finish(number.into(), 0, EXACT), shape: Shape::Flag(EXACT) }
    }

    /// Two texts, both whole.
    pub fn pair(first: &str, second: &str) -> Self {
        Self { hash: pair(first, second), shape: Shape::Flag(PAIR) }
    }

    /// The first of two texts, whole.
    pub fn first(text: &str) -> Self {
        Self { hash: one_of_two(text, FIRST), shape: Shape::Flag(FIRST) }
    }

    /// The second of two texts, whole.
    pub fn second(text: &str) -> Self {
        Self { hash: one_of_two(text, SECOND), shape: Shape::Flag(SECOND) }
    }

    /// An address block.
    pub fn block(block: IpNet) -> Self {
        let family = Family::of(block.network());
        let length = usize::from(block.prefix_len());
        Self { hash: family.hash(length), shape: Shape::Block(family.first_length + length) }
    }
}

fn pair(first: &str, second: &str) -> u64 {
    let whole = |text: &str| Words::forward(text.as_bytes(), Case::Counts).whole(PAIR);
    fold(whole(first), whole(second))
}

fn one_of_two(text: &str, which: u8) -> u64 {
    Words::forward(text.as_bytes(), Case::Counts).whole(which)
}

/// The keys to be looked for in one place, in short.
#[derive(Debug, Default)]
pub struct Lookup {
    flags: u8,
    /// Also the lengths of masks.
    prefixes: Option<Box<Lengths>>,
    suffixes: Option<Box<Lengths>>,
}

impl Lookup {
    /// Takes note of a key that is kept in this place.
    pub fn note(&mut self, key: &Key) {
        match key.shape {
            Shape::Flag(flag) => self.flags |= flag,
            Shape::Prefix { length, end } => {
                self.prefixes.get_or_insert_default().note(length, end);
            }
            Shape::Suffix { length, end } => {
                self.suffixes.get_or_insert_default().note(length, end);
            }
            Shape::Block(length) => self.prefixes.get_or_insert_default().note(length, 0),
        }
    }

    /// What it holds on the heap, in bytes.
    pub fn heap_size(&self) -> usize {
        [&self.prefixes, &self.suffixes].into_iter().flatten().count() * size_of::<Lengths>()
    }

    /// Hands over the key that every value has, until `found` says to stop; says whether it did.
    pub fn present(&self, mut found: impl FnMut(u64) -> bool) -> bool {
        self.has(PRESENT) && found(finish(0, 0, PRESENT))
    }

    /// The keys of a text, but for [`Lookup::present`].
    pub fn text(&self, text: &[u8], case: Case, mut found: impl FnMut(u64) -> bool) -> bool {
        self.has(EXACT) && found(Words::forward(text, case).whole(EXACT))
            || self.starts(text, case, &mut found)
            || self.ends(text, case, &mut found)
    }

    fn starts(&self, text: &[u8], case: Case, found: &mut impl FnMut(u64) -> bool) -> bool {
        let Some(lengths) = &self.prefixes else { return false };
        let mut words = Words::forward(text, case);
        lengths.any(text.len(), |length| {
            let end = text.get(length.wrapping_sub(1)).copied().unwrap_or_default();
            lengths.may_end_with(lower(end, case)) && found(words.hash(length, PREFIX))
        })
    }

    fn ends(&self, text: &[u8], case: Case, found: &mut impl FnMut(u64) -> bool) -> bool {
        let Some(lengths) = &self.suffixes else { return false };
        let mut words = Words::backward(text, case);
        lengths.any(text.len(), |length| {
            let end = text.get(text.len().wrapping_sub(length)).copied().unwrap_or_default();
            lengths.may_end_with(lower(end, case)) && found(words.hash(length, SUFFIX))
        })
    }

    /// The keys of a number, but for [`Lookup::present`].
    pub fn number(&self, number: u16, mut found: impl FnMut(u64) -> bool) -> bool {
        self.has(EXACT) && found(finish(number.into(), 0, EXACT))
    }

    /// The keys of two texts, but for [`Lookup::present`].
    pub fn pair(&self, first: &str, second: &str, mut found: impl FnMut(u64) -> bool) -> bool {
        self.has(PAIR) && found(pair(first, second))
            || self.has(FIRST) && found(one_of_two(first, FIRST))
            || self.has(SECOND) && found(one_of_two(second, SECOND))
    }

    /// The keys of an address: each block that it is in.
    pub fn address(&self, ip: IpAddr, mut found: impl FnMut(u64) -> bool) -> bool {
        let Some(lengths) = &self.prefixes else { return false };
        let family = Family::of(ip);
        lengths.any(family.first_length + family.bits, |at| {
            at.checked_sub(family.first_length).is_some_and(|length| found(family.hash(length)))
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// An address, its bits at the upper end.
struct Family {
    value: u128,
    bits: usize,
    /// Where the lengths of this family's masks begin in [`Lengths`].
    first_length: usize,
}

impl Family {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                Self { value: u128::from(ip.to_bits()) << 96, bits: 32, first_length: 1 }
            }
            IpAddr::V6(ip) => Self { value: ip.to_bits(), bits: 128, first_length: 64 },
        }
    }

    /// Of the block of that mask that the address is in.
    fn hash(&self, length: usize) -> u64 {
        let shift = u32::try_from(128usize.saturating_sub(length)).unwrap_or_default();
        let kept = self.value & u128::MAX.checked_shl(shift).unwrap_or_default();
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        finish(fold(half(kept >> 64), half(kept)), self.first_length + length, BLOCK)
    }
}

/// Which lengths prefixes have, and which bytes they end with: there only, values are hashed.
#[derive(Debug, Default)]
struct Lengths {
    /// A bit for each length; the last stands for all longer ones too.
    set: [u64; 4],
    longest: usize,
    ends: [u64; 4],
}

const LONG: usize = 255;

impl Lengths {
    fn note(&mut self, length: usize, end: u8) {
        let (word, bit) = split(length.min(LONG));
        if let Some(word) = self.set.get_mut(word) {
            *word |= bit;
        }
        self.longest = self.longest.max(length);
        let (word, bit) = split(end.into());
        if let Some(word) = self.ends.get_mut(word) {
            *word |= bit;
        }
    }

    fn may_end_with(&self, byte: u8) -> bool {
        let (word, bit) = split(byte.into());
        self.ends.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Each length up to `most`, ascending, until one will do; says whether one did.
    fn any(&self, most: usize, mut will_do: impl FnMut(usize) -> bool) -> bool {
        let most = most.min(self.longest);
        for (word, first) in self.set.iter().zip((0usize..).step_by(64)) {
            let mut left = *word;
            while left != 0 {
                let length = first + usize::try_from(left.trailing_zeros()).unwrap_or_default();
                if length > most {
                    return false;
                }
                if length == LONG {
                    return (LONG..=most).any(will_do);
                }
                if will_do(length) {
                    return true;
                }
                left &= left.wrapping_sub(1);
            }
        }
        false
    }
}

fn split(number: usize) -> (usize, u64) {
    (number / 64, 1 << (number % 64))
}

/// A text in words of eight bytes, hashed up to any length, ascending, at a word's cost each.
struct Words<'t> {
    chunks: &'t [[u8; 8]],
    /// The bytes beside whole chunks.
    rest: u64,
    length: usize,
    backward: bool,
    case: Case,
    /// How many chunks are in `state`.
    done: usize,
    state: u64,
}

impl<'t> Words<'t> {
    fn forward(text: &'t [u8], case: Case) -> Self {
        let (chunks, rest) = text.as_chunks::<8>();
        let rest = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self { chunks, rest, length: text.len(), backward: false, case, done: 0, state: 0 }
    }

    /// From the last byte to the first.
    fn backward(text: &'t [u8], case: Case) -> Self {
        let (rest, chunks) = text.as_rchunks::<8>();
        let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self { chunks, rest, length: text.len(), backward: true, case, done: 0, state: 0 }
    }

    fn word(&self, number: usize) -> u64 {
        let word = if self.backward {
            let chunk =
                self.chunks.len().checked_sub(number + 1).and_then(|at| self.chunks.get(at));
            chunk.map_or(self.rest, |chunk| u64::from_be_bytes(*chunk))
        } else {
            self.chunks.get(number).map_or(self.rest, |chunk| u64::from_le_bytes(*chunk))
        };
        match self.case {
            Case::Counts => word,
            Case::Ignored => lower_word(word),
        }
    }

    fn whole(mut self, kind: u8) -> u64 {
        self.hash(self.length, kind)
    }

    /// The hash of the first `length` bytes; no shorter than the last time.
    fn hash(&mut self, length: usize, kind: u8) -> u64 {
        while self.done < length / 8 {
            self.state = fold(self.state, self.word(self.done));
            self.done += 1;
        }
        let beside = length % 8;
        let state = if beside == 0 {
            self.state
        } else {
            fold(self.state, self.word(self.done) & ((1 << (8 * beside)) - 1))
        };
        finish(state, length, kind)
    }
}

fn fold(state: u64, word: u64) -> u64 {
    (state.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn finish(state: u64, length: usize, kind: u8) -> u64 {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let hash = fold(state, length ^ u64::from(kind) << 56);
    hash ^ hash >> 29
}

fn lower(byte: u8, case: Case) -> u8 {
    match case {
        Case::Counts => byte,
        Case::Ignored => byte.to_ascii_lowercase(),
    }
}

/// ASCII upper case to lower case in each byte.
fn lower_word(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * EACH);
    let from_a = low.wrapping_add((0x80 - 0x41) * EACH);
    let above_z = low.wrapping_add((0x80 - 0x5b) * EACH);
    let upper = from_a & !above_z & !word & (0x80 * EACH);
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(keys: &[Key]) -> Lookup {
        let mut lookup = Lookup::default();
        keys.iter().for_each(|key| lookup.note(key));
        lookup
    }

    fn keys_of_text(lookup: &Lookup, text: &str, case: Case) -> Vec<u64> {
        let mut keys = Vec::new();
        lookup.text(text.as_bytes(), case, |key| {
            keys.push(key);
            false
        });
        keys
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[aB/]{0,20}", "[aB]{250,260}", "[aé]{0,9}"]
    }

    proptest! {
        #[test]
        fn a_text_has_the_keys_of_its_parts_and_no_others(text in text(), other in text(), cut in 0usize..300) {
            let at = text.floor_char_boundary(cut.min(text.len()));
            let (start, end) = text.split_at(at);
            for case in [Case::Counts, Case::Ignored] {
                let fits = |wanted: &str, part: &str| match case {
                    Case::Counts => wanted == part,
                    Case::Ignored => wanted.eq_ignore_ascii_case(part),
                };
                let keys = [
                    Key::prefix(start, case),
                    Key::suffix(end, case),
                    Key::exact(&text, case),
                    Key::prefix(&other, case),
                    Key::suffix(&other, case),
                    Key::exact(&other, case),
                ];
                let found = keys_of_text(&lookup(&keys), &text, case);
                let has = |key: &Key| found.contains(&key.hash);
                prop_assert!(start.is_empty() || has(&keys[0]));
                prop_assert!(end.is_empty() || has(&keys[1]));
                prop_assert!(has(&keys[2]));
                let part = |range| text.as_bytes().get(range).and_then(|b| str::from_utf8(b).ok());
                let n = other.len();
                let starts = part(0..n).is_some_and(|p| fits(&other, p));
                prop_assert_eq!(n > 0 && starts, n > 0 && has(&keys[3]));
                let ends = part(text.len().saturating_sub(n)..text.len()).is_some_and(|p| fits(&other, p));
                prop_assert_eq!(n > 0 && ends, n > 0 && has(&keys[4]));
                prop_assert_eq!(fits(&other, &text), has(&keys[5]));
            }
        }

        #[test]
        fn an_address_has_the_keys_of_its_blocks(a: u32, b: u32, c: u128, d: u128, bits in 0u8..=128) {
            let v4 = |ip: u32| IpAddr::from(ip.to_be_bytes());
            let v6 = |ip: u128| IpAddr::from(ip.to_be_bytes());
            for (block, ip) in [(v4(a), v4(b)), (v4(a), v4(a ^ 1)), (v6(c), v6(d)), (v6(c), v6(c ^ 8)), (v4(a), v6(d))] {
                let bits = if block.is_ipv4() { bits.min(32) } else { bits };
                let block = IpNet::new(block, bits).unwrap();
                let key = Key::block(block);
                let found = lookup(&[key]).address(ip, |hash| hash == key.hash);
                prop_assert_eq!(found, block.contains(&ip));
            }
        }

        #[test]
        fn case_is_ignored_in_words(bytes: [u8; 8]) {
            let lower = bytes.map(|b| b.to_ascii_lowercase());
            prop_assert_eq!(lower_word(u64::from_le_bytes(bytes)), u64::from_le_bytes(lower));
        }
    }
}
