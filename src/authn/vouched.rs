//! Tokens that nobody signed, taken for signed: for asking what would become of a request.
//!
//! All but the signature is found out as it is for every request. Nothing that serves requests may
//! ever hold one of these: the verifier comes out of here, and goes nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token::Token;
use super::token_cache::{ParsedToken, TokenCache};
use super::{DEFAULT_MAX_TOKEN_SIZE, KeyLookup, Verifier};
use crate::key_set::{Generation, KeySet, TextHash};
use crate::plan::{JwtRulePlan, KeyReference, KeySourceId};

/// How much is held of tokens that were vouched for; more than one request has.
const CACHE_BYTES: u64 = 64 << 20;

/// Whose keys a token is taken to be signed with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signer {
    /// Those of an inline set, by its text.
    Inline(TextHash),
    /// Those of a source.
    Remote(KeySourceId),
    /// Keys that no rule names.
    Stranger,
}

impl Signer {
    /// Whose keys a rule takes.
    pub fn of(rule: &JwtRulePlan) -> Self {
        match &rule.keys {
            KeyReference::Inline(keys) => Self::Inline(*keys.text_hash()),
            KeyReference::Remote(source) => Self::Remote(source.clone()),
        }
    }
}

/// The keys of one plan, and the tokens that are taken to be signed with them.
#[derive(Debug)]
pub struct Vouching {
    /// By signer: its sets. An inline set that stands in two rules is two sets.
    generations: BTreeMap<Signer, Vec<Generation>>,
    sources: Sources,
    cache: TokenCache,
}

/// Sets that verify nothing by themselves.
#[derive(Debug, Default)]
struct Sources(BTreeMap<KeySourceId, Arc<KeySet>>);

impl KeyLookup for Sources {
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>> {
        self.0.get(source).cloned()
    }
}

impl Vouching {
    /// For these rules.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r JwtRulePlan>) -> Self {
        let mut generations: BTreeMap<Signer, Vec<Generation>> = BTreeMap::new();
        let mut sources = Sources::default();
        for rule in rules {
            let generation = match &rule.keys {
                KeyReference::Inline(keys) => keys.generation(),
                KeyReference::Remote(source) => {
                    let unavailable = || Arc::new(KeySet::unavailable());
                    sources.0.entry(source.clone()).or_insert_with(unavailable).generation()
                }
            };
            let known = generations.entry(Signer::of(rule)).or_default();
            if !known.contains(&generation) {
                known.push(generation);
            }
        }
        Self { generations, sources, cache: TokenCache::keeping(CACHE_BYTES) }
    }

    /// The text of a token with this payload, which from now on counts as signed by `signer`,
    /// where this plan has its keys. The same text for the same payload and signer, whatever the plan.
    pub fn token(&self, payload: &str, signer: &Signer, now: u64) -> String {
        // The signer is part of the text, so that no two signers make the same token.
        let header = format!(r#"{{"alg":"RS256","typ":"JWT","signer":{:?}}}"#, name_of(signer));
        let sections =
            [header.as_str(), payload, "unsigned"].map(|part| URL_SAFE_NO_PAD.encode(part));
        let text = sections.join(".");
        if let Some(generations) = self.generations.get(signer)
            && let Ok(token) = Token::parse(&text, DEFAULT_MAX_TOKEN_SIZE)
        {
            let parsed = Arc::new(ParsedToken::new(token, &[].into()));
            generations.iter().for_each(|keys| parsed.note_verified_by(*keys));
            self.cache.insert(&text, &parsed, now);
        }
        text
    }

    /// What verifies such tokens, and no other.
    pub fn verifier(&self, now: u64) -> Verifier<'_> {
        let max_token_size = DEFAULT_MAX_TOKEN_SIZE;
        Verifier { keys: &self.sources, cache: Some(&self.cache), now, max_token_size }
    }
}

/// As people are told.
impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("the inline jwks"),
            Self::Remote(KeySourceId { uri: Some(uri), .. }) => write!(f, "{uri}"),
            Self::Remote(KeySourceId { issuer, uri: None }) => {
                write!(f, "issuer {issuer}, by discovery")
            }
            Self::Stranger => f.write_str("no rule"),
        }
    }
}

/// Plain letters and digits.
fn name_of(signer: &Signer) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match signer {
        Signer::Stranger => "stranger".to_owned(),
        Signer::Inline(hash) => format!("inline-{}", hex(hash)),
        Signer::Remote(KeySourceId { issuer, uri }) => {
            let uri = uri.as_deref().map(|uri| hex(uri.as_bytes())).unwrap_or_default();
            format!("remote-{}-{uri}", hex(issuer.as_bytes()))
        }
    }
}
