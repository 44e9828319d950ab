//! `jwt` as Oathkeeper has it.
//!
//! Stricter than Istio's in one thing: a token names its key.

use crate::authn::{self, ScopeStrategy, Verifier, WantedKey};
use crate::decide::{Finding, SCOPE_CLAIMS, entries};
use crate::model::{Demand, JwtError, OathkeeperJwt, Refusal, ScopeMatching, Value};
use crate::plan::JwtRulePlan;

pub(super) fn check(
    config: &OathkeeperJwt,
    keys: &[JwtRulePlan],
    token: &str,
    verifier: &Verifier<'_>,
    wanted: &mut Vec<WantedKey>,
) -> Finding {
    // Something else: perhaps a token that another strategy has an endpoint asked about.
    if token.split('.').count() != 3 {
        return Finding::NotResponsible;
    }
    match verified(config, keys, token, verifier, wanted) {
        Ok(()) => Finding::Passes,
        Err(refusal) => Finding::Refused(refusal),
    }
}

fn verified(
    config: &OathkeeperJwt,
    keys: &[JwtRulePlan],
    token: &str,
    verifier: &Verifier<'_>,
    wanted: &mut Vec<WantedKey>,
) -> Result<(), Refusal> {
    let mut refusal = Refusal::JwtKey;
    let mut found = None;
    for rule in keys {
        match authn::verify_token(rule, token, verifier, wanted) {
            Ok(token) if token.names_its_key => {
                found = Some(token);
                break;
            }
            Ok(_) => {}
            Err(JwtError::KidAlgMismatch) => {}
            Err(error) => refusal = Refusal::Jwt(error),
        }
    }
    let token = found.ok_or(refusal)?;
    if !config.allowed_algorithms.iter().any(|allowed| allowed == token.algorithm) {
        return Err(Refusal::JwtAlgorithm);
    }
    demands(config, &token.claims).map_err(Refusal::JwtDemand)
}

fn demands(config: &OathkeeperJwt, claims: &Value) -> Result<(), Demand> {
    let texts = |claim: &str, split| {
        claims.get(claim).map(|claim| entries(claim, split).collect::<Vec<_>>())
    };
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let issuers = &config.trusted_issuers;
    if !issuers.is_empty() && !issuers.iter().any(|trusted| trusted == issuer) {
        return Err(Demand::Issuer);
    }
    let audiences = texts("aud", false).unwrap_or_default();
    if !config.target_audience.iter().all(|wanted| audiences.contains(&wanted.as_str())) {
        return Err(Demand::Audience);
    }
    // The first of the claims that is there.
    let granted = SCOPE_CLAIMS.iter().find_map(|claim| texts(claim, true)).unwrap_or_default();
    let grants = |required: &String| {
        strategy(config.scope_strategy).is_some_and(|it| it.grants(&granted, required))
    };
    if config.required_scope.iter().all(grants) { Ok(()) } else { Err(Demand::Scope) }
}

/// `None` leaves scopes to an endpoint; nobody asks one about a JWT.
pub(super) fn strategy(matching: ScopeMatching) -> Option<ScopeStrategy> {
    match matching {
        ScopeMatching::Exact => Some(ScopeStrategy::Exact),
        ScopeMatching::Hierarchic => Some(ScopeStrategy::Hierarchic),
        ScopeMatching::Wildcard => Some(ScopeStrategy::Wildcard),
        ScopeMatching::None => None,
    }
}
