//! A JWK set, parsed once, and the signatures it verifies.
//!
//! Pure: where the text comes from is `jwks`' job, what a token says is `jwt`'s.
//!
//! Keys are taken, left and matched as Envoy 1.40 does, with these differences, all of which refuse
//! what Envoy takes:
//!
//! * RSA keys under 2048 bits (RFC 7518 section 3.3) and over 8192 bits are skipped.
//! * A key verifies algorithms of its own type only, and an EC key only that of its curve. Envoy
//!   picks just the hash by the token's `alg`, so that a token saying `RS256` verifies with an
//!   `oct` key, and one saying `ES256` with a P-384 key.
//! * An ECDSA signature has exactly twice the length of the curve's field, a PSS salt the length of
//!   the hash.
//!
//! As with Envoy, an Ed25519 key that a token is tried on ends the search where the signature has
//! another length, an RSA one say.
//!
//! A map of key ids to certificates, which Envoy takes in place of `keys`, is refused: Istio lets
//! none through, neither inline nor fetched.

mod algorithm;
mod jwk;
mod unique_names;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

pub use self::{algorithm::Algorithm, jwk::SkipReason};
use self::{jwk::Key, unique_names::UniqueNames};
use crate::model::JwtError;

/// The most entries a set may have. Providers publish a handful; every one of them costs memory, and
/// may cost a verification for each token.
pub const MAX_KEYS: usize = 1024;

/// Of a signature made with an Ed25519 key (RFC 8032).
const ED25519_SIGNATURE_LEN: usize = 64;

/// The keys of one issuer. Immutable; replaced whole.
pub struct KeySet {
    generation: Generation,
    text: TextHash,
    keys: Keys,
    skipped: Vec<Skipped>,
}

/// SHA-256 of the text that a set was read from; zeros of a set that was read from none.
pub type TextHash = [u8; 32];

/// Tells one parsed set from every other of this process, those of the same text included: what was
/// verified with one says nothing about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation(NonZeroU64);

impl Generation {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX))
    }

    /// The same as a number.
    pub fn number(self) -> NonZeroU64 {
        self.0
    }
}

enum Keys {
    Unavailable,
    Parsed(Vec<Key>),
}

/// An entry of `keys` that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in `keys`.
    pub index: usize,
    /// Its `kid`, where it has one.
    pub kid: Option<Box<str>>,
    /// Why.
    pub reason: SkipReason,
}

/// Why a text is no key set at all.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeySet {
    /// Not JSON, or with a member named twice.
    #[error("not JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Without `keys`.
    #[error("`keys` is missing")]
    NoKeys,
    /// `keys` is something else.
    #[error("`keys` is not a list")]
    KeysNotAList,
    /// More than [`MAX_KEYS`].
    #[error("{count} keys, which is more than {MAX_KEYS}")]
    TooManyKeys {
        /// How many.
        count: usize,
    },
}

impl KeySet {
    /// Reads a JWK set. A key that cannot be used is skipped, as RFC 7517 section 5 asks for and
    /// Envoy does: the others still verify. A set without a usable key is a set all the same.
    pub fn parse(text: &str) -> Result<Self, InvalidKeySet> {
        let UniqueNames(document) = serde_json::from_str(text).map_err(InvalidKeySet::Json)?;
        let document = document.as_object().ok_or(InvalidKeySet::NotAnObject)?;
        let entries = document.get("keys").ok_or(InvalidKeySet::NoKeys)?;
        let entries = entries.as_array().ok_or(InvalidKeySet::KeysNotAList)?;
        if entries.len() > MAX_KEYS {
            return Err(InvalidKeySet::TooManyKeys { count: entries.len() });
        }
        let mut keys = Vec::with_capacity(entries.len());
        let mut skipped = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match Key::parse(entry) {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(Skipped { index, kid: kid(entry), reason }),
            }
        }
        let mut hash = TextHash::default();
        for (byte, known) in hash.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()) {
            *byte = *known;
        }
        Ok(Self { generation: Generation::next(), text: hash, keys: Keys::Parsed(keys), skipped })
    }

    /// The state without any keys: they could not be had yet. Every token fails, as under Istio,
    /// which then installs a key that nobody can sign with.
    pub fn unavailable() -> Self {
        Self {
            generation: Generation::next(),
            text: TextHash::default(),
            keys: Keys::Unavailable,
            skipped: Vec::new(),
        }
    }

    /// Whether `signature` over `signing_input` (header, dot, payload) is made with one of these
    /// keys, as [`KeySet::signer`] finds it.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<(), JwtError> {
        self.signer(algorithm, kid, signing_input, signature).map(|_| ())
    }

    /// The `kid`, if it has one, of the key that `signature` over `signing_input` is made with.
    ///
    /// A token's `kid` asks for keys of that `kid` and keys without; no or an empty `kid` asks for
    /// all. A key's `alg`, where it has one, must be the token's.
    pub fn signer(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        signing_input: &[u8],
        signature: &[u8],
    ) -> Result<Option<&str>, JwtError> {
        let keys = match &self.keys {
            Keys::Unavailable => return Err(JwtError::VerificationFails),
            Keys::Parsed(keys) if keys.is_empty() => return Err(JwtError::NoValidKeys),
            Keys::Parsed(keys) => keys,
        };
        let kid = kid.filter(|kid| !kid.is_empty());
        let mut error = JwtError::KidAlgMismatch;
        for key in keys.iter().filter(|key| key.is_asked_for(kid, algorithm)) {
            // Envoy gives up here, whatever the token's `alg` and whatever keys come after.
            if key.is_ed25519() && signature.len() != ED25519_SIGNATURE_LEN {
                return Err(JwtError::Ed25519WrongLength);
            }
            if key.verifies(algorithm, signing_input, signature) {
                return Ok(key.kid());
            }
            error = JwtError::VerificationFails;
        }
        Err(error)
    }

    /// Which set this is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Tells sets of one text from those of another, in this process and in others.
    pub fn text_hash(&self) -> &TextHash {
        &self.text
    }

    /// Whether a key has this `kid`.
    pub fn names(&self, kid: &str) -> bool {
        match &self.keys {
            Keys::Unavailable => false,
            Keys::Parsed(keys) => keys.iter().any(|key| key.kid() == Some(kid)),
        }
    }

    /// How many keys verify.
    pub fn usable(&self) -> usize {
        match &self.keys {
            Keys::Unavailable => 0,
            Keys::Parsed(keys) => keys.len(),
        }
    }

    /// The `kid` of each key that verifies, as far as it has one.
    pub fn key_ids(&self) -> impl Iterator<Item = Option<&str>> {
        let keys = match &self.keys {
            Keys::Unavailable => &[][..],
            Keys::Parsed(keys) => keys,
        };
        keys.iter().map(Key::kid)
    }

    /// The keys that do not, in the order of the set.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// Counts, never keys: a set can hold secrets.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("usable", &self.usable())
            .field("skipped", &self.skipped)
            .finish()
    }
}

fn kid(entry: &Value) -> Option<Box<str>> {
    jwk::kid(entry).map(Into::into)
}
