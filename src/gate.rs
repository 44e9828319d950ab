//! The whole way of one request: what comes before tokens, tokens, rules.

use crate::authn::{self, Authentication, Verifier};
use crate::decide;
use crate::decide::reference::{self, RuleTrace};
use crate::model::{
    Action, Attributes, Identity, MutualTlsMode, Peer, Reason, RuleId, Shadow, Value, Verdict,
};
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
        Identity { claims: self.authentication.claims.as_deref() }
    }
}

/// Decides one request and changes it as the upstream shall see it.
pub fn pass(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: &Verifier<'_>,
) -> Passage {
    pass_and_tell(plan, attributes, verifier, || ())
}

/// As [`pass`], and says when tokens have been dealt with, if it comes to that.
pub fn pass_and_tell(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: &Verifier<'_>,
    after_tokens: impl FnOnce(),
) -> Passage {
    forget_peer_where_disabled(plan, attributes);
    if let Some(reason) = decide::before_tokens(plan, attributes) {
        return refused(reason, Authentication::default());
    }
    // On the request as it came, as CUSTOM rules are.
    let shadow_custom = decide::shadow_custom(plan, attributes);
    let authentication = match &mut attributes.http {
        Some(http) => authn::authenticate(&plan.jwt, http, verifier),
        None => Authentication::default(),
    };
    after_tokens();
    if let Some(error) = authentication.error {
        return refused(Reason::Jwt(error), authentication);
    }
    let identity = Identity { claims: authentication.claims.as_deref() };
    let verdict = decide::decide(plan, attributes, &identity);
    Passage { verdict: with_custom(verdict, shadow_custom), authentication }
}

/// What became of a request's tokens, as somebody else found out.
#[derive(Debug, Clone, Copy)]
pub enum RecordedTokens<'a> {
    /// There was none.
    None,
    /// They are good, and say this.
    Verified(&'a Value),
    /// One of them was refused.
    Refused,
}

/// Decides a request whose tokens were dealt with before: `attributes` are as tokens left it. `None`
/// where it ends with its tokens.
pub fn pass_recorded(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    tokens: RecordedTokens<'_>,
) -> Option<Verdict> {
    forget_peer_where_disabled(plan, attributes);
    if let Some(reason) = decide::before_tokens(plan, attributes) {
        return Some(Verdict::from_reason(reason));
    }
    let claims = match tokens {
        RecordedTokens::None => None,
        RecordedTokens::Verified(claims) => Some(claims),
        RecordedTokens::Refused => return None,
    };
    let shadow_custom = decide::shadow_custom(plan, attributes);
    let verdict = decide::decide(plan, attributes, &Identity { claims });
    Some(with_custom(verdict, shadow_custom))
}

/// The verdict with the dry-run CUSTOM rule that matched before tokens.
fn with_custom(verdict: Verdict, custom_rule: Option<RuleId>) -> Verdict {
    let shadow = verdict.shadow.map(|shadow| Shadow { custom_rule, ..shadow });
    Verdict { shadow, ..verdict }
}

/// A decision with everything that led to it.
#[derive(Debug)]
pub struct Explanation {
    /// What [`pass`] says.
    pub passage: Passage,
    /// How every rule of every attached policy fared, CUSTOM rules on the request as it came, the
    /// others as tokens left it; only CUSTOM rules where tokens were not reached or refused.
    pub rules: Vec<RuleTrace>,
}

/// Decides as [`pass`] does, and shows the walk.
pub fn explain(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: &Verifier<'_>,
) -> Explanation {
    let is_custom = |trace: &RuleTrace| {
        plan.policy(trace.id).is_some_and(|p| matches!(p.action, Action::Custom { .. }))
    };
    forget_peer_where_disabled(plan, attributes);
    let mut rules = reference::traces(plan, attributes, &Identity::default());
    rules.retain(is_custom);
    let passage = pass(plan, attributes, verifier);
    let reached_rules = match passage.verdict.reason {
        Reason::NoAllowPolicy
        | Reason::AllowRule(_)
        | Reason::DenyRule(_)
        | Reason::NoAllowRule => true,
        Reason::CustomProviderUndefined(_)
        | Reason::PeerUnauthenticated
        | Reason::Jwt(_)
        | Reason::InvalidPolicy
        | Reason::UnknownWorkload
        | Reason::MalformedRequest => false,
    };
    if reached_rules {
        let after = reference::traces(plan, attributes, &passage.identity());
        rules.extend(after.into_iter().filter(|trace| !is_custom(trace)));
    }
    Explanation { passage, rules }
}

/// Mode DISABLE is plaintext only: there is no peer identity, whatever the connection says.
pub fn forgets_peer(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> bool {
    plan.peer.mode_of(attributes.destination_port) == MutualTlsMode::Disable
}

/// As [`pass`] does first.
pub fn forget_peer_where_disabled(plan: &WorkloadPlan, attributes: &mut Attributes<'_>) {
    if forgets_peer(plan, attributes) {
        attributes.peer = Peer::default();
        attributes.missing.peer_certificate = false;
    }
}

fn refused(reason: Reason, authentication: Authentication) -> Passage {
    Passage { verdict: Verdict::from_reason(reason), authentication }
}
