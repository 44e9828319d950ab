//! Requests that rules are about: what in a request has to be another way so that a rule matches.
//!
//! Values are made up from what the rules say, and each is tried on the slow twin before it counts.
//! What is done with them, to explain or to compare, is for others.

pub mod boundary;
mod change;
mod meeting;
mod names;
mod test;
mod texts;
mod values;

use std::collections::BTreeMap;

pub use change::Change;
pub use test::{Input, Test, alternatives};

use crate::decide;
use crate::gate;
use crate::model::{Attributes, Identity, Reason, Value};
use crate::plan::WorkloadPlan;

/// A request that is made up, or changed: what a decision looks at, and what a verified token says.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The request as tokens left it.
    pub attributes: Attributes<'static>,
    /// The claims of the token that counts.
    pub claims: Option<Value>,
}

impl Probe {
    /// Who the token names.
    pub fn identity(&self) -> Identity<'_> {
        Identity { claims: self.claims.as_ref() }
    }

    /// The decision about it. Its token is taken for verified.
    pub fn decide(&self, plan: &WorkloadPlan) -> Reason {
        let mut attributes = self.attributes.clone();
        gate::forget_peer_where_disabled(plan, &mut attributes);
        decide::before_tokens(plan, &attributes)
            .unwrap_or_else(|| decide::decide(plan, &attributes, &self.identity()).reason)
    }

    /// Whether there can be such a token: one without claims always, others where a rule takes
    /// tokens of their issuer.
    pub fn has_possible_token(&self, plan: &WorkloadPlan) -> bool {
        let Some(claims) = &self.claims else { return true };
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        plan.jwt.rules.iter().any(|rule| rule.issuer.is_empty() || *rule.issuer == *issuer)
    }
}

/// The issuers that tokens can be from, by the rules of a plan; of those that take any, none.
pub fn issuers(plan: &WorkloadPlan) -> Vec<&str> {
    plan.jwt.rules.iter().map(|rule| &*rule.issuer).filter(|issuer| !issuer.is_empty()).collect()
}

/// Changes a request until all of these hold, one input after the other; says how. Nothing where no
/// way was found, which does not mean that there is none.
pub fn satisfy(probe: &Probe, tests: &[Test], issuers: &[&str]) -> Option<(Probe, Vec<Change>)> {
    let mut by_input: BTreeMap<&Input, Vec<&Test>> = BTreeMap::new();
    for test in tests {
        by_input.entry(test.input()).or_default().push(test);
    }
    let (mut changed, mut changes) = (probe.clone(), Vec::new());
    let holds = |tests: &[&Test], probe: &Probe| tests.iter().all(|test| test.holds(probe));
    for (input, tests) in &by_input {
        if holds(tests, &changed) {
            continue;
        }
        if matches!(input, Input::Claim(_)) && changed.claims.is_none() {
            // A claim is of a token, and there is none yet.
            let about = by_input.get(&Input::RequestPrincipal).map_or(&[][..], Vec::as_slice);
            let (next, change) = a_token(about, &changed, issuers)?;
            changed = next;
            changes.push(change);
        }
        let (next, change) = values::candidates(input, tests, &changed, issuers)
            .into_iter()
            .filter_map(|change| Some((change.applied(&changed)?, change)))
            .find(|(next, _)| holds(tests, next))?;
        changed = next;
        changes.push(change);
    }
    // One token and one peer are behind several inputs.
    tests.iter().all(|test| test.holds(&changed)).then_some((changed, changes))
}

/// The request with a token that these fields take.
fn a_token(tests: &[&Test], probe: &Probe, issuers: &[&str]) -> Option<(Probe, Change)> {
    values::candidates(&Input::RequestPrincipal, tests, probe, issuers)
        .into_iter()
        .filter_map(|change| Some((change.applied(probe)?, change)))
        .find(|(next, _)| next.claims.is_some() && tests.iter().all(|test| test.holds(next)))
}
