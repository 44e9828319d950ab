//! A decision as people and programs read it.
//!
//! Shows what `gate` found out; decides nothing.

mod field;
mod human;
mod json;

use crate::authn::{Authentication, Verifier};
use crate::decide::Certainty;
use crate::decide::reference::{AlternativeTrace, FieldTrace, RuleTrace};
use crate::extauthz::Malformed;
use crate::gate::{self, Explanation, Passage};
use crate::model::{Action, Attributes, AuthorizationPolicy, Reason, Rule, RuleId, Verdict};
use crate::plan::WorkloadPlan;
use crate::request_file::RequestFile;

pub(super) use human::human;
pub(super) use json::json;

/// A decision and everything that is known about it.
#[derive(Debug)]
pub(super) struct Decided<'a> {
    pub(super) plan: &'a WorkloadPlan,
    pub(super) explanation: Explanation,
    /// Why the request could not be read, if it could not.
    pub(super) malformed: Option<Malformed>,
    pub(super) is_http: bool,
    /// The first name of the peer.
    pub(super) principal: Option<String>,
    /// The port that decides which mutual TLS mode holds.
    pub(super) port: Option<u16>,
}

impl<'p> Decided<'p> {
    /// Decides a request as it was read, or what could not be read.
    pub(super) fn new(
        plan: &'p WorkloadPlan,
        request: &RequestFile,
        attributes: Result<Attributes<'_>, Malformed>,
        verifier: &Verifier<'_>,
    ) -> Self {
        let (explanation, malformed) = match attributes {
            Ok(mut attributes) => (gate::explain(plan, &mut attributes, verifier), None),
            Err(malformed) => {
                let verdict = Verdict::from_reason(Reason::MalformedRequest);
                let passage = Passage { verdict, authentication: Authentication::default() };
                (Explanation { passage, rules: Vec::new() }, Some(malformed))
            }
        };
        Self {
            plan,
            explanation,
            malformed,
            is_http: !request.connection,
            principal: request.source.principals.first().cloned(),
            port: request.destination.port,
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
            | Reason::Jwt(_)
            | Reason::NoAllowPolicy
            | Reason::AllowRule(_)
            | Reason::DenyRule(_)
            | Reason::NoAllowRule => true,
        };
        let mut traces: Vec<_> = self.explanation.rules.iter().filter(|_| reached).collect();
        traces.sort_by_key(|trace| self.policy(trace.id).map(|policy| order(&policy.action)));
        traces
    }

    /// Every AUDIT rule that matched.
    pub(super) fn audited_by(&self) -> Vec<RuleId> {
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

    /// Where no ALLOW rule matched: the one that came nearest.
    fn nearest_miss(&self) -> Option<&RuleTrace> {
        let allows = self.explanation.rules.iter().filter(|trace| {
            self.policy(trace.id)
                .is_some_and(|policy| policy.action == Action::Allow && !policy.dry_run)
        });
        allows
            .filter(|trace| self.reason() == Reason::NoAllowRule && !trace.matches)
            .min_by_key(|trace| (unmet(trace).is_empty(), unmet(trace).len()))
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
