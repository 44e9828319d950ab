//! The whole way of one request: what comes before tokens, tokens, rules.

use crate::access::{self, Ask, Introspection, Tokens};
use crate::authn::{self, Authentication, Verifier};
use crate::decide;
use crate::decide::reference::{self, AccessTrace, RuleTrace};
use crate::model::{
    Action, Attributes, Identity, MutualTlsMode, Outcome, Peer, Reason, Value, Verdict,
};
use crate::plan::WorkloadPlan;

/// What came of a request.
#[derive(Debug)]
pub struct Passage {
    /// The decision.
    pub verdict: Verdict,
    /// What its tokens said and how it was changed; nothing where it did not get that far.
    pub authentication: Authentication,
    /// What introspection endpoints have to be asked first: without that, the request is denied.
    pub asks: Vec<Ask>,
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
    pass_and_tell(plan, attributes, verifier, Introspection::NotHere, || ())
}

/// As [`pass`], with what is known of tokens that endpoints are asked about, and says when tokens have
/// been dealt with, if it comes to that.
///
/// Where there are [`Passage::asks`], whoever can ask has the request, as it came, pass again with the
/// answers.
pub fn pass_and_tell(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: &Verifier<'_>,
    introspection: Introspection<'_>,
    after_tokens: impl FnOnce(),
) -> Passage {
    forget_peer_where_disabled(plan, attributes);
    if let Some(reason) = decide::before_tokens(plan, attributes) {
        return refused(reason, Authentication::default());
    }
    let mut authentication = match &mut attributes.http {
        Some(http) => authn::authenticate(decide::token_rules(plan, http), http, verifier),
        None => Authentication::default(),
    };
    after_tokens();
    if let Some(error) = authentication.error {
        return refused(Reason::Jwt(error), authentication);
    }
    let identity = Identity { claims: authentication.claims.as_deref() };
    if plan.access.is_none() {
        let verdict = decide::decide(plan, attributes, &identity);
        return Passage { verdict, authentication, asks: Vec::new() };
    }
    let (verdict, asks, wanted) = match &attributes.http {
        Some(http) => {
            let mut tokens = Tokens::new(http, verifier, introspection);
            let verdict = decide::decide_examining(plan, attributes, &identity, &mut tokens);
            (verdict, tokens.asks, tokens.wanted)
        }
        None => (decide::decide(plan, attributes, &identity), Vec::new(), Vec::new()),
    };
    authentication.wanted.extend(wanted);
    if verdict.outcome() == Outcome::Allow {
        let claims = authentication.claims.as_deref();
        access::apply(plan, attributes, claims, &mut authentication.changes);
    }
    Passage { verdict, authentication, asks }
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
    Some(decide::decide(plan, attributes, &Identity { claims }))
}

/// A decision with everything that led to it.
#[derive(Debug)]
pub struct Explanation {
    /// What [`pass`] says.
    pub passage: Passage,
    /// How every rule of every attached policy fared, CUSTOM rules on the request as it came, the
    /// others as tokens left it; only CUSTOM rules where tokens were not reached or refused.
    pub rules: Vec<RuleTrace>,
    /// How the rules of APIRules fared that are for the request's host; `None` where APIRules have
    /// nothing to do with it, or were not reached.
    pub access: Option<Vec<AccessTrace>>,
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
        | Reason::NoAllowRule
        | Reason::ApiRule(_)
        | Reason::ApiRuleRefused(..)
        | Reason::NoApiRule => true,
        Reason::CustomProviderUndefined(_)
        | Reason::PeerUnauthenticated
        | Reason::Jwt(_)
        | Reason::InvalidPolicy
        | Reason::UnknownWorkload
        | Reason::MalformedRequest => false,
    };
    let mut access = None;
    if reached_rules {
        access = reference::access_traces(plan, attributes);
        let after = reference::traces(plan, attributes, &passage.identity());
        rules.extend(after.into_iter().filter(|trace| !is_custom(trace)));
    }
    Explanation { passage, rules, access }
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
    Passage { verdict: Verdict::from_reason(reason), authentication, asks: Vec::new() }
}
