//! The whole way of one request: what comes before tokens, tokens, rules.

use crate::authn::{self, Authentication, KeyLookup};
use crate::decide;
use crate::model::{Attributes, Identity, Reason, Verdict};
use crate::plan::WorkloadPlan;

/// What came of a request.
#[derive(Debug)]
pub struct Passage {
    /// The decision.
    pub verdict: Verdict,
    /// What its tokens said and how it was changed; nothing where it did not get that far.
    pub authentication: Authentication,
}

impl Passage {
    /// Who the verified token names.
    pub fn identity(&self) -> Identity<'_> {
        Identity { claims: self.authentication.claims.as_ref() }
    }
}

/// Decides one request at `now` (seconds since 1970) and changes it as the upstream shall see it.
pub fn pass(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    keys: &dyn KeyLookup,
    now: u64,
) -> Passage {
    if let Some(reason) = decide::before_tokens(plan, attributes) {
        return refused(reason, Authentication::default());
    }
    let authentication = match &mut attributes.http {
        Some(http) => authn::authenticate(&plan.jwt, http, keys, now),
        None => Authentication::default(),
    };
    if let Some(error) = authentication.error {
        return refused(Reason::Jwt(error), authentication);
    }
    let identity = Identity { claims: authentication.claims.as_ref() };
    let verdict = decide::decide(plan, attributes, &identity);
    Passage { verdict, authentication }
}

fn refused(reason: Reason, authentication: Authentication) -> Passage {
    Passage { verdict: Verdict::from_reason(reason), authentication }
}
