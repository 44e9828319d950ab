//! The whole way of one request: what comes before tokens, tokens, rules.

use std::sync::Arc;

use crate::access::{self, Ask, Tokens};
use crate::authn::{self, Authentication, Changes, Verifier};
use crate::custom::{self, Consulted, Standing};
use crate::decide;
use crate::decide::reference::{self, AccessTrace, RuleTrace};
use crate::model::{
    Action, Attributes, Identity, MutualTlsMode, Outcome, Peer, Reason, ResourceId, RuleId, Shadow,
    Value, Verdict,
};
use crate::plan::WorkloadPlan;

/// What came of a request.
#[derive(Debug)]
pub struct Passage {
    /// The decision.
    pub verdict: Verdict,
    /// What its tokens said and how it was changed, by extension providers too; nothing where it did
    /// not get that far.
    pub authentication: Authentication,
    /// What CUSTOM rules have to say; `None` where none matches.
    pub consulted: Option<Box<Consulted>>,
    /// What introspection endpoints have to be asked: without that, the request is denied.
    pub introspection: Vec<Ask>,
    /// Which access strategy decided, of the rule of an APIRule that the verdict names.
    pub strategy: Option<usize>,
}

impl Passage {
    /// Who the verified token names.
    pub fn identity(&self) -> Identity<'_> {
        Identity { claims: self.authentication.claims.as_deref() }
    }
}

/// Decides one request and changes it as the upstream shall see it, where no extension provider is
/// defined.
pub fn pass(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: &Verifier<'_>,
) -> Passage {
    pass_and_tell(plan, attributes, verifier, Standing::default(), || ())
}

/// As [`pass`], with what is known of extension providers and introspection endpoints; says when
/// tokens have been dealt with, if it comes to that.
///
/// Where [`Consulted::asks`] or [`Passage::introspection`] are left, the request is denied for those
/// who cannot ask; others ask, and have the request, as it came, pass again with the answers.
pub fn pass_and_tell(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: &Verifier<'_>,
    providers: Standing<'_>,
    after_tokens: impl FnOnce(),
) -> Passage {
    forget_peer_where_disabled(plan, attributes);
    if let Some(reason) = decide::before_custom(plan, attributes) {
        return refused(reason, Authentication::default(), None);
    }
    let mut consulted = custom::consult(plan, attributes, providers);
    if let Some(reason) = consulted.as_ref().and_then(|consulted| consulted.reason) {
        return refused(reason, Authentication::default(), consulted);
    }
    // Extension providers may change what the request is: what they said is about this rule only.
    let authorized = decide::authorized_route(plan, attributes);
    let mut changes = Changes::default();
    if let (Some(consulted), Some(http)) = (&mut consulted, &mut attributes.http) {
        consulted.apply(http, &mut changes);
    }
    let mut authentication = match &mut attributes.http {
        Some(http) => authn::authenticate(decide::token_rules(plan, http), http, verifier),
        None => Authentication::default(),
    };
    authentication.changes.also(&changes);
    after_tokens();
    if let Some(error) = authentication.error {
        return refused(Reason::Jwt(error), authentication, consulted);
    }
    let identity = Identity { claims: authentication.claims.as_deref() };
    let custom_rule = consulted.as_deref().and_then(dry_run_rule);
    if plan.access.is_none() {
        let verdict = with_custom(decide::decide(plan, attributes, &identity), custom_rule);
        return Passage {
            verdict,
            authentication,
            consulted,
            introspection: Vec::new(),
            strategy: None,
        };
    }
    let (verdict, introspection, wanted, strategy) = match &attributes.http {
        Some(http) => {
            let mut tokens = Tokens::new(http, verifier, providers.introspection);
            tokens.authorized = authorized.map(|route| route.plan.clone());
            let verdict = decide::decide_examining(plan, attributes, &identity, &mut tokens);
            (verdict, tokens.asks, tokens.wanted, tokens.decided_by)
        }
        None => (decide::decide(plan, attributes, &identity), Vec::new(), Vec::new(), None),
    };
    authentication.wanted.extend(wanted);
    if verdict.outcome() == Outcome::Allow {
        let claims = authentication.claims.as_deref();
        access::apply(plan, attributes, claims, &mut authentication.changes);
    }
    let verdict = with_custom(verdict, custom_rule);
    Passage { verdict, authentication, consulted, introspection, strategy }
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

/// What comes of a recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedPassage {
    /// This.
    Decided(Verdict),
    /// It ends with its tokens.
    TokenRefused,
    /// It depends on what this extension provider would say, who was not asked.
    NotAsked(Arc<str>),
}

/// Decides a request whose tokens were dealt with before, and whose extension providers were asked:
/// `attributes` are as both left it.
pub fn pass_recorded(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    tokens: RecordedTokens<'_>,
    providers: Standing<'_>,
) -> RecordedPassage {
    let decided = |reason| RecordedPassage::Decided(Verdict::from_reason(reason));
    forget_peer_where_disabled(plan, attributes);
    if let Some(reason) = decide::before_custom(plan, attributes) {
        return decided(reason);
    }
    let mut custom_rule = None;
    if let Some(consulted) = custom::consult(plan, attributes, providers) {
        custom_rule = dry_run_rule(&consulted);
        if let Some(ask) = consulted.asks.first() {
            return RecordedPassage::NotAsked(ask.provider.clone());
        }
        if let Some(reason) = consulted.reason {
            return decided(reason);
        }
    }
    let claims = match tokens {
        RecordedTokens::None => None,
        RecordedTokens::Verified(claims) => Some(claims),
        RecordedTokens::Refused => return RecordedPassage::TokenRefused,
    };
    let verdict = decide::decide(plan, attributes, &Identity { claims });
    RecordedPassage::Decided(with_custom(verdict, custom_rule))
}

/// The first dry-run CUSTOM rule that matched before tokens.
fn dry_run_rule(consulted: &Consulted) -> Option<RuleId> {
    consulted.dry_run.iter().filter_map(|ask| ask.rule.policy()).min()
}

/// The verdict with that rule.
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
    /// How the rules of APIRules fared that are for the request's host; `None` where APIRules have
    /// nothing to do with it, or were not reached.
    pub access: Option<Vec<AccessTrace>>,
    /// What never had an accepted form and closes the request.
    pub invalid: Vec<ResourceId>,
}

/// Decides as [`pass_and_tell`] does, and shows the walk.
pub fn explain(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: &Verifier<'_>,
    providers: Standing<'_>,
) -> Explanation {
    let is_custom = |trace: &RuleTrace| {
        plan.policy(trace.id).is_some_and(|p| matches!(p.action, Action::Custom { .. }))
    };
    forget_peer_where_disabled(plan, attributes);
    let mut rules = reference::traces(plan, attributes, &Identity::default());
    rules.retain(is_custom);
    let closing = reference::closing_api_rules(plan, attributes);
    let invalid = plan.invalid.iter().chain(closing).cloned().collect();
    let passage = pass_and_tell(plan, attributes, verifier, providers, || ());
    let mut access = None;
    if passage.verdict.reason.reached_rules() {
        access = reference::access_traces(plan, attributes);
        let after = reference::traces(plan, attributes, &passage.identity());
        rules.extend(after.into_iter().filter(|trace| !is_custom(trace)));
    }
    Explanation { passage, rules, access, invalid }
}

/// Mode DISABLE is plaintext only: there is no peer identity, whatever the connection says.
pub fn forgets_peer(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> bool {
    decide::peer_modes(plan, attributes).any(|mode| mode == MutualTlsMode::Disable)
}

/// As [`pass`] does first.
pub fn forget_peer_where_disabled(plan: &WorkloadPlan, attributes: &mut Attributes<'_>) {
    if forgets_peer(plan, attributes) {
        // Where the port is not known, so is whether there is an identity.
        let is_known =
            decide::peer_modes(plan, attributes).all(|mode| mode == MutualTlsMode::Disable);
        attributes.peer = Peer::default();
        attributes.missing.peer_certificate = !is_known;
    }
}

fn refused(
    reason: Reason,
    authentication: Authentication,
    consulted: Option<Box<Consulted>>,
) -> Passage {
    let verdict = Verdict::from_reason(reason);
    let (introspection, strategy) = (Vec::new(), None);
    Passage { verdict, authentication, consulted, introspection, strategy }
}
