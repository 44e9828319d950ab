//! Which of several token rules counts.
//!
//! Istio asks for: any rule whose places all hold good tokens, else every rule's places empty or
//! good. Envoy walks that requirement rule by rule and changes the request on the way, also while
//! a rule that fails in the end is tried; later rules see what is left. So does this.

use std::sync::Arc;

use smallvec::SmallVec;

use super::extract::{self, Found, Place};
use super::query::Query;
use super::token::Token;
use super::token_cache::ParsedToken;
use super::{KeyLookup, Verifier, WantedKey, is_exempt};
use crate::compile::normalize_audience;
use crate::key_set::{Generation, KeySet};
use crate::model::{Http, JwtError, Value};
use crate::plan::{JwtPlan, JwtRulePlan, KeyReference};

/// What came of it.
#[derive(Debug, Default)]
pub struct Authentication {
    /// Why the request is refused, if it is.
    pub error: Option<JwtError>,
    /// The payload of the last token that was verified; native metadata has it even where the
    /// request is refused in the end.
    pub claims: Option<Arc<Value>>,
    /// What was changed in the request.
    pub changes: Changes,
    /// Keys that might verify what failed, if they could be had.
    pub wanted: Vec<WantedKey>,
    /// For how long the same tokens lead to the same.
    pub validity: Validity,
}

/// For how long tokens lead to what they led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// To the end of this second, counted from 1970; `None` where no token bounds it.
    pub through: Option<u64>,
    /// Whether a token failed by keys that are fetched: other keys may be there at any time.
    pub keys_may_come: bool,
}

impl Validity {
    fn end_with(&mut self, second: u64) {
        self.through = Some(self.through.map_or(second, |through| through.min(second)));
    }
}

/// Which parts of the request were changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names of headers removed or set, sorted, each once. Shared with the plan: a request that has
    /// its token removed costs no memory.
    headers: SmallVec<[Arc<str>; 2]>,
    /// Whether the path has lost a parameter.
    pub path: bool,
}

impl Changes {
    /// Names of headers removed or set, each once, in order.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(AsRef::as_ref)
    }

    /// Notes changes that were made before.
    pub fn also(&mut self, before: &Self) {
        self.path |= before.path;
        for name in &before.headers {
            self.note_header(name);
        }
    }

    /// Notes that this header was removed or set.
    pub fn note_header(&mut self, name: &Arc<str>) {
        if let Err(place) = self.headers.binary_search(name) {
            self.headers.insert(place, name.clone());
        }
    }
}

/// How one rule ended.
enum Failure {
    /// No token at its places.
    Missing,
    /// A bad token.
    Bad(JwtError),
}

pub(super) fn verify(
    plan: &JwtPlan,
    http: &mut Http<'_>,
    verifier: &Verifier<'_>,
) -> Authentication {
    let mut walk = Walk { verifier, result: Authentication::default() };
    // First for all rules, then once more for each rule that is tried: so a rule that fails in the
    // end leaves no header behind when it is tried again.
    for rule in &plan.rules {
        walk.sanitize(rule, http);
    }
    if plan.rules.is_empty() || is_exempt(http) {
        return walk.result;
    }
    let error = walk.requirement(&plan.rules, http).err();
    Authentication { error, ..walk.result }
}

struct Walk<'a> {
    verifier: &'a Verifier<'a>,
    result: Authentication,
}

impl Walk<'_> {
    fn requirement(&mut self, rules: &[JwtRulePlan], http: &mut Http<'_>) -> Result<(), JwtError> {
        if let [rule] = rules {
            return self.optional(rule, http);
        }
        // Any of the rules. Of the errors the last one counts that says more than "not mine".
        let mut last = None;
        let mut note = |error| {
            if error != JwtError::UnknownIssuer || last.is_none() {
                last = Some(error);
            }
        };
        for rule in rules {
            match self.rule(rule, http) {
                Ok(()) => return Ok(()),
                Err(Failure::Missing) => {}
                Err(Failure::Bad(error)) => note(error),
            }
        }
        // Or all of them, each good or without a token.
        match rules.iter().try_for_each(|rule| self.optional(rule, http)) {
            Ok(()) => Ok(()),
            Err(error) => {
                note(error);
                Err(last.unwrap_or(error))
            }
        }
    }

    /// A rule that a request without a token meets.
    fn optional(&mut self, rule: &JwtRulePlan, http: &mut Http<'_>) -> Result<(), JwtError> {
        match self.rule(rule, http) {
            Ok(()) | Err(Failure::Missing) => Ok(()),
            Err(Failure::Bad(error)) => Err(error),
        }
    }

    /// Every token at the rule's places must be good; the last one goes first.
    fn rule(&mut self, rule: &JwtRulePlan, http: &mut Http<'_>) -> Result<(), Failure> {
        self.sanitize(rule, http);
        let mut found = extract::tokens(&rule.places, http);
        if found.is_empty() {
            return Err(Failure::Missing);
        }
        let mut accepted: SmallVec<[_; 2]> = SmallVec::new();
        let mut result = Ok(());
        while let Some(Found { token, place }) = found.pop() {
            match self.token(rule, &token) {
                Ok(token) => accepted.push((token, place)),
                Err(error) => {
                    result = Err(Failure::Bad(error));
                    break;
                }
            }
        }
        drop(found);
        // Those before a bad one have changed the request all the same.
        for (token, place) in accepted {
            self.accept(rule, &token, place, http);
        }
        result
    }

    /// The token of this text, if it is good for the rule.
    fn token(&mut self, rule: &JwtRulePlan, text: &str) -> Result<Arc<ParsedToken>, JwtError> {
        let Verifier { keys, cache, now, max_token_size } = *self.verifier;
        if text.len() > max_token_size {
            return Err(JwtError::TooLarge);
        }
        let known = cache.and_then(|cache| cache.get(text, now));
        let is_known = known.is_some();
        let parsed = match known {
            Some(parsed) => parsed,
            None => {
                let token = Token::parse(text, max_token_size)?;
                Arc::new(ParsedToken::new(token, &rule.space_delimited))
            }
        };
        let token = &parsed.token;
        if !rule.issuer.is_empty() && *rule.issuer != *token.issuer {
            return Err(JwtError::UnknownIssuer);
        }
        let in_time = token.check_time(now);
        if let Some(second) = token.unchanged_through(in_time) {
            self.result.validity.end_with(second);
        }
        in_time?;
        token.check_audience(&rule.audiences, normalize_audience)?;
        let mut fetched = None;
        let is_fetched = matches!(rule.keys, KeyReference::Remote(_));
        let Some(key_set) = key_set(rule, keys, &mut fetched) else {
            self.result.validity.keys_may_come = true;
            self.want(rule, token, None);
            return Err(JwtError::VerificationFails);
        };
        let generation = key_set.generation();
        if parsed.is_verified_by(generation) {
            return Ok(parsed);
        }
        let rejection =
            cache.filter(|_| !is_known).and_then(|c| c.rejection(generation, text, now));
        let verified = match rejection {
            Some(error) => Err(error),
            None => token.signer(key_set).map(|_| ()),
        };
        match verified {
            Ok(()) => {
                parsed.note_verified_by(generation);
                if let (Some(cache), false) = (cache, is_known) {
                    cache.insert(text, &parsed, now);
                }
                Ok(parsed)
            }
            Err(error) => {
                self.result.validity.keys_may_come |= is_fetched;
                match cache {
                    Some(cache) if is_known => cache.remove(text),
                    Some(cache) if rejection.is_none() => {
                        cache.reject(generation, text, error, now);
                    }
                    Some(_) | None => {}
                }
                if !key_set.names(&token.key_id) {
                    self.want(rule, token, Some(generation));
                }
                Err(error)
            }
        }
    }

    /// Notes that the keys of the rule may be older than the token.
    fn want(&mut self, rule: &JwtRulePlan, token: &Token, seen: Option<Generation>) {
        let KeyReference::Remote(source) = &rule.keys else { return };
        let key = WantedKey { source: source.clone(), kid: token.key_id.as_str().into(), seen };
        if !self.result.wanted.contains(&key) {
            self.result.wanted.push(key);
        }
    }

    fn accept(
        &mut self,
        rule: &JwtRulePlan,
        parsed: &ParsedToken,
        place: Place<'_>,
        http: &mut Http<'_>,
    ) {
        let token = &parsed.token;
        if let Some(name) = &rule.payload_header {
            self.append(http, name, token.payload_section().to_owned());
        }
        for header in &rule.claim_headers {
            if let Some(value) = parsed.claim_header(&header.claim) {
                self.append(http, &header.header, value);
            }
        }
        if !rule.forward {
            match place {
                Place::Header(name) => self.remove(http, name),
                Place::Param(name) => {
                    http.path = Query::of(&http.path).path_without(&http.path, name).into();
                    self.result.changes.path = true;
                }
                // Envoy leaves cookies in place.
                Place::Cookie => {}
            }
        }
        self.result.claims = Some(parsed.claims(&rule.space_delimited));
    }

    /// Takes out what a client may have set in the place of the rule's output.
    fn sanitize(&mut self, rule: &JwtRulePlan, http: &mut Http<'_>) {
        for name in rule.payload_header.iter().chain(rule.claim_headers.iter().map(|c| &c.header)) {
            self.remove(http, name);
        }
    }

    fn append(&mut self, http: &mut Http<'_>, name: &Arc<str>, value: String) {
        http.headers.append(name.to_string().into(), value.into_bytes().into());
        self.result.changes.note_header(name);
    }

    fn remove(&mut self, http: &mut Http<'_>, name: &Arc<str>) {
        if http.headers.remove(name) {
            self.result.changes.note_header(name);
        }
    }
}

/// The keys of a rule, if they can be had.
fn key_set<'k>(
    rule: &'k JwtRulePlan,
    keys: &dyn KeyLookup,
    fetched: &'k mut Option<Arc<KeySet>>,
) -> Option<&'k KeySet> {
    match &rule.keys {
        KeyReference::Inline(keys) => Some(keys),
        KeyReference::Remote(source) => {
            *fetched = keys.keys(source);
            fetched.as_deref()
        }
    }
}

/// A token that was verified.
#[derive(Debug)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: Arc<Value>,
    /// `alg`
    pub algorithm: &'static str,
    /// Whether it says which key it is signed with, and the set has one of that name.
    pub names_its_key: bool,
}

pub(super) fn verify_token(
    rule: &JwtRulePlan,
    text: &str,
    verifier: &Verifier<'_>,
    wanted: &mut Vec<WantedKey>,
) -> Result<VerifiedToken, JwtError> {
    let mut walk = Walk { verifier, result: Authentication::default() };
    let parsed = walk.token(rule, text);
    for key in walk.result.wanted {
        if !wanted.contains(&key) {
            wanted.push(key);
        }
    }
    let parsed = parsed?;
    let mut fetched = None;
    let key_set = key_set(rule, verifier.keys, &mut fetched);
    let kid = &parsed.token.key_id;
    Ok(VerifiedToken {
        claims: parsed.claims(&rule.space_delimited),
        algorithm: parsed.token.algorithm_name(),
        names_its_key: !kid.is_empty() && key_set.is_some_and(|keys| keys.names(kid)),
    })
}

/// What one rule says of one token, wherever it stands: the `kid` of the key that verified it.
pub(super) fn check_token(
    rule: &JwtRulePlan,
    token: &str,
    verifier: &Verifier<'_>,
) -> Result<Option<Box<str>>, JwtError> {
    let mut walk = Walk { verifier, result: Authentication::default() };
    let parsed = walk.token(rule, token)?;
    // A second time, to name the key: who verifies requests has no use for its name.
    let mut fetched = None;
    let keys = key_set(rule, verifier.keys, &mut fetched).ok_or(JwtError::VerificationFails)?;
    parsed.token.signer(keys).map(|kid| kid.map(Into::into))
}
