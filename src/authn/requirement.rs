//! Which of several token rules counts.
//!
//! Istio asks for: any rule whose places all hold good tokens, else every rule's places empty or
//! good. Envoy walks that requirement rule by rule and changes the request on the way, also while
//! a rule that fails in the end is tried; later rules see what is left. So does this.

use std::collections::BTreeSet;

use super::extract::{self, Place};
use super::query::Query;
use super::token::Token;
use super::{KeyLookup, is_exempt, output};
use crate::compile::normalize_audience;
use crate::key_set::KeySet;
use crate::model::{Http, JwtError, Value};
use crate::plan::{JwtPlan, JwtRulePlan, KeyReference};

/// What came of it.
#[derive(Debug, Default)]
pub struct Authentication {
    /// Why the request is refused, if it is.
    pub error: Option<JwtError>,
    /// The payload of the last token that was verified; native metadata has it even where the
    /// request is refused in the end.
    pub claims: Option<Value>,
    /// What was changed in the request.
    pub changes: Changes,
}

/// Which parts of the request were changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names of headers removed or set.
    pub headers: BTreeSet<Box<str>>,
    /// Whether the path has lost a parameter.
    pub path: bool,
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
    keys: &dyn KeyLookup,
    now: u64,
    max_token_size: usize,
) -> Authentication {
    let mut walk = Walk { keys, now, max_token_size, result: Authentication::default() };
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
    keys: &'a dyn KeyLookup,
    now: u64,
    max_token_size: usize,
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
        while let Some(found) = found.pop() {
            let token = Token::parse(&found.token, self.max_token_size).map_err(Failure::Bad)?;
            check(rule, &token, self.keys, self.now, |_| ()).map_err(Failure::Bad)?;
            self.accept(rule, &token, found.place, http);
        }
        Ok(())
    }

    fn accept(
        &mut self,
        rule: &JwtRulePlan,
        token: &Token<'_>,
        place: Place<'_>,
        http: &mut Http<'_>,
    ) {
        if let Some(name) = &rule.payload_header {
            self.append(http, name, token.payload_section.to_owned());
        }
        for header in &rule.claim_headers {
            if let Some(value) = output::claim_header(&token.payload, &header.claim) {
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
        self.result.claims = Some(output::normalize(&token.payload, &rule.space_delimited));
    }

    /// Takes out what a client may have set in the place of the rule's output.
    fn sanitize(&mut self, rule: &JwtRulePlan, http: &mut Http<'_>) {
        for name in rule.payload_header.iter().chain(rule.claim_headers.iter().map(|c| &c.header)) {
            self.remove(http, name);
        }
    }

    fn append(&mut self, http: &mut Http<'_>, name: &str, value: String) {
        http.headers.append(name.to_owned().into(), value.into_bytes().into());
        self.result.changes.headers.insert(name.into());
    }

    fn remove(&mut self, http: &mut Http<'_>, name: &str) {
        if http.headers.remove(name) {
            self.result.changes.headers.insert(name.into());
        }
    }
}

/// What the rule says of a token; `signed_by` is told the `kid` of the key that verified it.
fn check<T>(
    rule: &JwtRulePlan,
    token: &Token<'_>,
    keys: &dyn KeyLookup,
    now: u64,
    signed_by: impl FnOnce(Option<&str>) -> T,
) -> Result<T, JwtError> {
    if !rule.issuer.is_empty() && *rule.issuer != *token.issuer {
        return Err(JwtError::UnknownIssuer);
    }
    token.check_time(now)?;
    token.check_audience(&rule.audiences, normalize_audience)?;
    let signer = |keys: &KeySet| {
        let input = token.signing_input.as_bytes();
        keys.signer(token.algorithm, Some(&token.key_id), input, &token.signature).map(signed_by)
    };
    match &rule.keys {
        KeyReference::Inline(keys) => signer(keys),
        KeyReference::Remote(source) => match keys.keys(source) {
            Some(keys) => signer(&keys),
            None => signer(&KeySet::unavailable()),
        },
    }
}

/// What one rule says of one token, wherever it stands: the `kid` of the key that verified it.
pub(super) fn check_token(
    rule: &JwtRulePlan,
    token: &str,
    keys: &dyn KeyLookup,
    now: u64,
    max_token_size: usize,
) -> Result<Option<Box<str>>, JwtError> {
    let token = Token::parse(token, max_token_size)?;
    check(rule, &token, keys, now, |kid| kid.map(Into::into))
}
