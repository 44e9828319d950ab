//! Tokens whose signature was verified, so that it need not be verified for each request.
//!
//! What is kept is one fact: this text is signed with a key of that set. Who it is from, when it
//! holds and for whom is checked each time, by the rule that asks; a set of keys that replaces
//! another has verified nothing yet. So nothing kept can outlive what it was based on, and a rule
//! can only ever be told what it would find itself.

use std::{
    borrow::Borrow,
    fmt,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use quick_cache::{Weighter, sync::Cache, sync::DefaultLifecycle};
use zeroize::Zeroizing;

use super::output::SplitClaims;
use super::token::Token;
use crate::key_set::Generation;
use crate::model::{JwtError, Value};

/// The longest that a token is kept, its own end aside.
const LONGEST_SECONDS: u64 = 60 * 60;

/// How often tokens are looked for that are past their end, at most.
const SWEEP_SECONDS: u64 = 60;

/// How long a bad signature is remembered, and how many are.
const REJECTED_SECONDS: u64 = 30;
const MAX_REJECTED: usize = 8192;

/// Longer tokens are verified each time.
const MAX_TOKEN_LEN: usize = 16 << 10;

/// The verified tokens, bounded in bytes; beside them some that were not. Shared by all requests.
///
/// Holds tokens in memory, to compare them whole: no two texts are ever taken for each other. They
/// are wiped when they leave.
pub struct TokenCache {
    verified: Cache<TokenText, Held, ByBytes, TailHash>,
    /// When tokens past their end are looked for next.
    next_sweep: AtomicU64,
    rejected: Cache<(Generation, Fingerprint), Rejection>,
    any_rejected: AtomicBool,
    fingerprint: [RandomState; 2],
    counts: Counts,
    /// Whether tokens stay that a set of keys does not verify.
    keeps: bool,
}

/// A token and its end, in seconds since 1970.
#[derive(Clone)]
struct Held {
    token: Arc<ParsedToken>,
    until: u64,
}

#[derive(Clone, Copy)]
struct Rejection {
    error: JwtError,
    until: u64,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    rejections: AtomicU64,
}

/// What a cache did and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCacheStatus {
    /// Lookups that spared a verification.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Lookups that found a signature known to be bad.
    pub rejections: u64,
    /// Tokens held.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
}

impl TokenCache {
    /// An empty cache that holds at most about this many bytes.
    pub fn new(max_bytes: u64) -> Self {
        let typical = usize::try_from(max_bytes / 16_384).unwrap_or(usize::MAX);
        let verified = Cache::with(
            typical.max(16),
            max_bytes,
            ByBytes,
            TailHash::default(),
            DefaultLifecycle::default(),
        );
        Self {
            verified,
            next_sweep: AtomicU64::new(0),
            rejected: Cache::new(MAX_REJECTED),
            any_rejected: AtomicBool::new(false),
            fingerprint: Default::default(),
            counts: Counts::default(),
            keeps: false,
        }
    }

    /// The same, that keeps tokens that a set of keys does not verify: where nothing but the cache says
    /// that another set does.
    pub(super) fn keeping(max_bytes: u64) -> Self {
        Self { keeps: true, ..Self::new(max_bytes) }
    }

    /// What it did and holds.
    pub fn status(&self) -> TokenCacheStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TokenCacheStatus {
            hits: read(&self.counts.hits),
            misses: read(&self.counts.misses),
            rejections: read(&self.counts.rejections),
            entries: u64::try_from(self.verified.len()).unwrap_or(u64::MAX),
            bytes: self.verified.weight(),
        }
    }

    /// The token of this text, if some set of keys has verified it.
    pub(super) fn get(&self, text: &str, now: u64) -> Option<Arc<ParsedToken>> {
        let held = self.verified.get(text).filter(|held| now < held.until);
        let count = if held.is_some() { &self.counts.hits } else { &self.counts.misses };
        count.fetch_add(1, Ordering::Relaxed);
        held.map(|held| held.token)
    }

    /// Keeps a token that was verified, at most to its end.
    pub(super) fn insert(&self, text: &str, token: &Arc<ParsedToken>, now: u64) {
        self.sweep(now);
        if text.len() <= MAX_TOKEN_LEN {
            let until = token.token.ends().min(now.saturating_add(LONGEST_SECONDS));
            let text = TokenText(Zeroizing::new(text.to_owned()));
            self.verified.insert(text, Held { token: token.clone(), until });
        }
    }

    /// Forgets a token whose keys are gone.
    pub(super) fn remove(&self, text: &str) {
        if !self.keeps {
            self.verified.remove(text);
        }
    }

    /// Tokens past their end are not found; now and then they leave memory, too.
    fn sweep(&self, now: u64) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.saturating_add(SWEEP_SECONDS);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        if now >= due && self.next_sweep.compare_exchange(due, next, success, failure).is_ok() {
            self.verified.retain(|_, held| now < held.until);
        }
    }

    /// Why these keys did not verify this text, if they were asked lately.
    pub(super) fn rejection(&self, keys: Generation, text: &str, now: u64) -> Option<JwtError> {
        // Mostly there are none, and then the text need not be read.
        if !self.any_rejected.load(Ordering::Relaxed) {
            return None;
        }
        let rejection = self.rejected.get(&(keys, self.fingerprint(text)));
        let error = rejection.filter(|rejection| now < rejection.until)?.error;
        self.counts.rejections.fetch_add(1, Ordering::Relaxed);
        Some(error)
    }

    /// Remembers that these keys did not verify this text.
    pub(super) fn reject(&self, keys: Generation, text: &str, error: JwtError, now: u64) {
        let rejection = Rejection { error, until: now.saturating_add(REJECTED_SECONDS) };
        self.rejected.insert((keys, self.fingerprint(text)), rejection);
        self.any_rejected.store(true, Ordering::Relaxed);
    }

    fn fingerprint(&self, text: &str) -> Fingerprint {
        self.fingerprint.each_ref().map(|state| state.hash_one(text))
    }
}

/// Counts, never tokens.
impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenCache").field(&self.status()).finish()
    }
}

/// 128 bits of keyed hashes: a bad token is known by them, which cannot let anybody in.
type Fingerprint = [u64; 2];

/// A token, and by which sets its signature was verified.
#[derive(Debug)]
pub(super) struct ParsedToken {
    pub(super) token: Token,
    /// By [`Generation::number`]; 0 is none. Several rules may take one token by keys of their own.
    verified_by: [AtomicU64; 4],
    /// The payload as policies see it, for the first rule that saw it.
    claims: SplitClaims,
}

impl ParsedToken {
    pub(super) fn new(mut token: Token, space_delimited: &Arc<[Box<str>]>) -> Self {
        let claims = SplitClaims::new(token.take_payload(), space_delimited);
        Self { token, verified_by: Default::default(), claims }
    }

    /// Whether these keys have verified it.
    pub(super) fn is_verified_by(&self, keys: Generation) -> bool {
        let number = keys.number().get();
        self.verified_by.iter().any(|slot| slot.load(Ordering::Relaxed) == number)
    }

    /// These keys have verified it. Of more sets than fit, the ones noted last are known.
    pub(super) fn note_verified_by(&self, keys: Generation) {
        let [first, rest @ ..] = &self.verified_by;
        let mut number = keys.number().get();
        for slot in std::iter::once(first).chain(rest) {
            number = slot.swap(number, Ordering::Relaxed);
            if number == 0 {
                return;
            }
        }
    }

    /// The payload with these claims split at blanks.
    pub(super) fn claims(&self, space_delimited: &Arc<[Box<str>]>) -> Arc<Value> {
        self.claims.split_at(space_delimited)
    }

    /// What a header for this claim says; `None` where Envoy sets no header.
    pub(super) fn claim_header(&self, path: &[Box<str>]) -> Option<String> {
        self.claims.header(path)
    }

    /// At least what it takes in memory: the payload, as text and parsed, which in the worst case is
    /// one short value after another, and what is beside it.
    fn weight(&self) -> usize {
        1024 + 32 * self.token.payload_section().len()
    }
}

/// A token's text, wiped when it is dropped.
struct TokenText(Zeroizing<String>);

impl Borrow<str> for TokenText {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq for TokenText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for TokenText {}

impl Hash for TokenText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

/// Hashes the last bytes of a text only. Those of a token are its signature, and only tokens whose
/// signature was verified are held: nobody without a key can make two that end alike.
#[derive(Default, Clone)]
struct TailHash(RandomState);

struct TailHasher(DefaultHasher);

impl BuildHasher for TailHash {
    type Hasher = TailHasher;

    fn build_hasher(&self) -> TailHasher {
        TailHasher(self.0.build_hasher())
    }
}

impl Hasher for TailHasher {
    fn write(&mut self, bytes: &[u8]) {
        let tail = bytes.last_chunk::<64>().map_or(bytes, |tail| tail);
        self.0.write(tail);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// What an entry takes in memory.
#[derive(Clone)]
struct ByBytes;

impl Weighter<TokenText, Held> for ByBytes {
    fn weight(&self, text: &TokenText, held: &Held) -> u64 {
        u64::try_from(text.0.len() + held.token.weight()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
