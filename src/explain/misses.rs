//! Where no ALLOW rule matched: which came nearest, and what would have satisfied them.
//!
//! A change is shown only if the decision about the changed request says what is said of it.

use crate::decide::Certainty;
use crate::decide::reference::{FieldTrace, RuleTrace};
use crate::model::{Action, Outcome, Reason, RuleId};
use crate::plan::WorkloadPlan;
use crate::witness::{self, Change, Probe};

/// How many ways to match one rule are looked at for a change that works.
const MOST_ALTERNATIVES: usize = 8;

/// An ALLOW rule that did not match.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    /// Which.
    pub rule: RuleId,
    /// The fields that did not hold: of its sources and operations those of the nearest.
    pub failed: Vec<FieldTrace>,
    /// What would have satisfied them.
    pub remedy: Remedy,
}

/// What would have satisfied a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Remedy {
    /// With these changes it would have been allowed.
    Allows(Vec<Change>),
    /// With these changes the rule would have matched, and the request would still be denied.
    Denies(Vec<Change>, Reason),
    /// With these changes the rule would have matched, but no rule takes tokens of that issuer.
    NoSuchToken(Vec<Change>),
    /// No change was found: the rule asks for what contradicts itself, or for more than is tried.
    Unknown,
}

/// The nearest misses first, `most` of them; of equally near ones first those that a change allows.
pub fn misses(plan: &WorkloadPlan, probe: &Probe, traces: &[RuleTrace], most: usize) -> Vec<Miss> {
    let is_allow = |trace: &&RuleTrace| {
        plan.policy(trace.id).is_some_and(|it| it.action == Action::Allow && !it.dry_run)
    };
    let missed = traces.iter().filter(is_allow).filter(|trace| !trace.matches);
    let mut ranked: Vec<(usize, &RuleTrace)> =
        missed.map(|trace| (ways(trace).first().map_or(0, |way| way.failed), trace)).collect();
    ranked.sort_by_key(|(failed, _)| *failed);
    ranked.truncate(most);
    let issuers = witness::issuers(plan);
    let mut misses: Vec<_> =
        ranked.into_iter().map(|(_, trace)| miss(plan, probe, &issuers, trace)).collect();
    misses.sort_by_key(|it| (it.failed.len(), !matches!(it.remedy, Remedy::Allows(_))));
    misses
}

/// One source and one operation of a rule, with how many fields keep them from matching.
struct Way {
    number: usize,
    source: Option<usize>,
    operation: Option<usize>,
    failed: usize,
}

/// The nearest first; `number` counts as [`witness::alternatives`] does.
fn ways(trace: &RuleTrace) -> Vec<Way> {
    let failed = |fields: &[FieldTrace]| {
        fields.iter().filter(|field| field.result != Certainty::Yes).count()
    };
    let each =
        |number: usize| if number == 0 { vec![None] } else { (0..number).map(Some).collect() };
    let sources: Vec<usize> = trace.sources.iter().map(|it| failed(&it.fields)).collect();
    let operations: Vec<usize> = trace.operations.iter().map(|it| failed(&it.fields)).collect();
    let of = |list: &[usize], at: Option<usize>| at.and_then(|at| list.get(at)).map_or(0, |n| *n);
    let conditions = failed(&trace.conditions);
    let mut ways = Vec::new();
    for source in each(sources.len()) {
        for operation in each(operations.len()) {
            let failed = of(&sources, source) + of(&operations, operation) + conditions;
            ways.push(Way { number: ways.len(), source, operation, failed });
        }
    }
    ways.sort_by_key(|way| way.failed);
    ways
}

fn miss(plan: &WorkloadPlan, probe: &Probe, issuers: &[&str], trace: &RuleTrace) -> Miss {
    let ways = ways(trace);
    let nearest = ways.first();
    let source = nearest.and_then(|way| trace.sources.get(way.source?));
    let operation = nearest.and_then(|way| trace.operations.get(way.operation?));
    let alternatives = source.into_iter().chain(operation);
    let fields = alternatives.flat_map(|it| &it.fields).chain(&trace.conditions);
    let failed = fields.filter(|field| field.result != Certainty::Yes).cloned().collect();
    let mut remedy = Remedy::Unknown;
    for way in ways.iter().take(MOST_ALTERNATIVES) {
        let found = remedy_of(plan, probe, issuers, trace.id, way.number);
        let is_best = matches!(found, Remedy::Allows(_));
        if is_best || remedy == Remedy::Unknown {
            remedy = found;
        }
        if is_best {
            break;
        }
    }
    Miss { rule: trace.id, failed, remedy }
}

fn remedy_of(
    plan: &WorkloadPlan,
    probe: &Probe,
    issuers: &[&str],
    id: RuleId,
    number: usize,
) -> Remedy {
    let rule = plan
        .policy(id)
        .and_then(|policy| Some((policy, policy.rules.get(usize::try_from(id.rule).ok()?)?)));
    let Some((policy, rule)) = rule else { return Remedy::Unknown };
    let Some(tests) = witness::alternatives(policy, rule).nth(number) else {
        return Remedy::Unknown;
    };
    let Some((changed, changes)) = witness::satisfy(probe, &tests, issuers) else {
        return Remedy::Unknown;
    };
    let reason = changed.decide(plan);
    match reason.outcome() {
        // On a connection, nothing makes a rule with HTTP fields match.
        Outcome::Deny if reason == Reason::NoAllowRule => Remedy::Unknown,
        Outcome::Deny => Remedy::Denies(changes, reason),
        Outcome::Allow if !changed.has_possible_token(plan) => Remedy::NoSuchToken(changes),
        Outcome::Allow => Remedy::Allows(changes),
    }
}
