//! A decision as people and programs read it.
//!
//! Shows what `gate` found out; decides nothing.

mod access;
mod field;
mod human;
mod json;
mod misses;

use crate::authn::{Authentication, Verifier};
use crate::custom::Standing;
use crate::decide::Certainty;
use crate::decide::reference::{AlternativeTrace, FieldTrace, RuleTrace};
use crate::extauthz::Malformed;
use crate::gate::{self, Explanation, Passage};
use crate::model::{Action, Attributes, AuthorizationPolicy, Reason, Rule, RuleId, Verdict};
use crate::plan::WorkloadPlan;
use crate::witness::Probe;

pub use human::human;
pub use json::json;
pub use misses::{Miss, Remedy, misses};

/// A decision and everything that is known about it.
#[derive(Debug)]
pub struct Decided<'a> {
    /// By which.
    pub plan: &'a WorkloadPlan,
    /// The decision and how every rule fared.
    pub explanation: Explanation,
    /// Why the request could not be read, if it could not.
    pub malformed: Option<Malformed>,
    /// Whether it is a request, not a connection.
    pub is_http: bool,
    /// The first name of the peer.
    pub principal: Option<String>,
    /// The port that decides which mutual TLS mode holds.
    pub port: Option<u16>,
    /// Where no ALLOW rule matched: those that came nearest, the nearest first.
    pub misses: Vec<Miss>,
}

impl<'p> Decided<'p> {
    /// Decides a request as it was read, or what could not be read. `most_misses` is how many of
    /// [`Decided::misses`] are looked for.
    pub fn new(
        plan: &'p WorkloadPlan,
        attributes: Result<Attributes<'_>, Malformed>,
        verifier: &Verifier<'_>,
        providers: Standing<'_>,
        most_misses: usize,
    ) -> Self {
        let mut attributes = match attributes {
            Ok(attributes) => attributes,
            Err(malformed) => return Self::malformed(plan, malformed),
        };
        let is_http = attributes.http.is_some();
        let principal = attributes.peer.principal().map(str::to_owned);
        let port = attributes.destination_port;
        let explanation = gate::explain(plan, &mut attributes, verifier, providers);
        let misses = if explanation.passage.verdict.reason == Reason::NoAllowRule {
            let claims = explanation.passage.authentication.claims.as_deref().cloned();
            let probe = Probe { attributes: attributes.into_owned(), claims };
            misses(plan, &probe, &explanation.rules, most_misses)
        } else {
            Vec::new()
        };
        Self { plan, explanation, malformed: None, is_http, principal, port, misses }
    }

    fn malformed(plan: &'p WorkloadPlan, malformed: Malformed) -> Self {
        let verdict = Verdict::from_reason(Reason::MalformedRequest);
        let passage = Passage {
            verdict,
            authentication: Authentication::default(),
            consulted: None,
            introspection: Vec::new(),
            strategy: None,
        };
        Self {
            plan,
            explanation: Explanation {
                passage,
                rules: Vec::new(),
                access: None,
                invalid: Vec::new(),
            },
            malformed: Some(malformed),
            is_http: true,
            principal: None,
            port: None,
            misses: Vec::new(),
        }
    }
}

impl Decided<'_> {
    fn reason(&self) -> Reason {
        self.explanation.passage.verdict.reason
    }

    fn policy(&self, rule: RuleId) -> Option<&AuthorizationPolicy> {
        self.plan.policy(rule)
    }

    fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.policy(id)?.rules.get(usize::try_from(id.rule).ok()?)
    }

    fn trace(&self, rule: RuleId) -> Option<&RuleTrace> {
        self.explanation.rules.iter().find(|trace| trace.id == rule)
    }

    /// As [`crate::model::ResourceId`] displays.
    fn policy_id(&self, rule: RuleId) -> String {
        self.policy(rule).map(id_of).unwrap_or_default()
    }

    /// How every rule fared that was reached, in the order in which actions are evaluated.
    fn walked(&self) -> Vec<&RuleTrace> {
        let reached = match self.reason() {
            Reason::PeerUnauthenticated
            | Reason::InvalidPolicy
            | Reason::UnknownWorkload
            | Reason::MalformedRequest => false,
            Reason::CustomProviderUndefined(_)
            | Reason::CustomDenied(_)
            | Reason::CustomError(_)
            | Reason::Jwt(_)
            | Reason::NoAllowPolicy
            | Reason::AllowRule(_)
            | Reason::DenyRule(_)
            | Reason::NoAllowRule
            | Reason::ApiRule(_)
            | Reason::ApiRuleRefused(..)
            | Reason::NoApiRule => true,
        };
        let mut traces: Vec<_> = self.explanation.rules.iter().filter(|_| reached).collect();
        traces.sort_by_key(|trace| self.policy(trace.id).map(|policy| order(&policy.action)));
        traces
    }

    /// Every AUDIT rule that matched.
    pub fn audited_by(&self) -> Vec<RuleId> {
        if self.explanation.passage.verdict.audited_by.is_none() {
            return Vec::new();
        }
        let matching = self.explanation.rules.iter().filter(|trace| trace.matches);
        let audits = matching.filter(|trace| {
            self.policy(trace.id)
                .is_some_and(|policy| policy.action == Action::Audit && !policy.dry_run)
        });
        audits.map(|trace| trace.id).collect()
    }
}

fn id_of(policy: &AuthorizationPolicy) -> String {
    format!("AuthorizationPolicy/{}/{}", policy.metadata.namespace, policy.metadata.name)
}

fn order(action: &Action) -> u8 {
    match action {
        Action::Custom { .. } => 0,
        Action::Deny => 1,
        Action::Allow => 2,
        Action::Audit => 3,
    }
}

fn action_name(action: &Action) -> &'static str {
    match action {
        Action::Custom { .. } => "CUSTOM",
        Action::Deny => "DENY",
        Action::Allow => "ALLOW",
        Action::Audit => "AUDIT",
    }
}

/// The fields that made a rule match: of alternatives, those of the first that holds.
fn met(trace: &RuleTrace) -> Vec<&FieldTrace> {
    let holding = |list: &'_ [AlternativeTrace]| {
        list.iter().position(|alternative| alternative.result == Certainty::Yes)
    };
    of_alternatives(trace, holding).collect()
}

/// The fields that kept a rule from matching: of alternatives, those of the one that came nearest.
fn unmet(trace: &RuleTrace) -> Vec<&FieldTrace> {
    let missed = |alternative: &AlternativeTrace| {
        alternative.fields.iter().filter(|field| field.result != Certainty::Yes).count()
    };
    let nearest = |list: &'_ [AlternativeTrace]| {
        if list.iter().any(|alternative| alternative.result == Certainty::Yes) {
            return None;
        }
        (0..list.len()).min_by_key(|at| list.get(*at).map(missed))
    };
    of_alternatives(trace, nearest).filter(|field| field.result != Certainty::Yes).collect()
}

fn of_alternatives(
    trace: &RuleTrace,
    choose: impl Fn(&[AlternativeTrace]) -> Option<usize>,
) -> impl Iterator<Item = &FieldTrace> {
    let chosen = |list: &'_ [AlternativeTrace]| choose(list);
    let source = chosen(&trace.sources).and_then(|at| trace.sources.get(at));
    let operation = chosen(&trace.operations).and_then(|at| trace.operations.get(at));
    let alternatives = source.into_iter().chain(operation);
    alternatives.flat_map(|alternative| &alternative.fields).chain(&trace.conditions)
}

#[cfg(test)]
mod tests;
