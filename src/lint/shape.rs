//! Policies that are built in a way that is rarely meant.
//!
//! These are guesses, made where being wrong is costly; everything that is common and harmless is
//! let pass.

use std::collections::HashSet;

use super::meaning::{Alternative, Meaning, Test};
use super::pattern::{Pattern, Text};
use super::policies::{Policies, Policy};
use super::{Finding, codes};
use crate::plan::vocabulary::Attribute;

/// First segments of paths that everyone may have.
const PUBLIC: [&str; 19] = [
    "health",
    "healthz",
    "healthcheck",
    "ready",
    "readyz",
    "readiness",
    "live",
    "livez",
    "liveness",
    "ping",
    "status",
    "metrics",
    "version",
    "public",
    "static",
    "assets",
    ".well-known",
    "login",
    "favicon.ico",
];

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    for policy in &policies.authorization {
        if policy.is_allow() {
            let split = stray_dashes(policy, findings);
            only_exclusions(policy, &split, findings);
            allows_everything(policies, policy, findings);
            allows_nothing(policies, policy, findings);
        }
        mesh_wide_deny(policy, findings);
    }
}

/// Rules that a dash seems to have torn apart.
fn stray_dashes(policy: &Policy<'_>, findings: &mut Vec<Finding>) -> HashSet<usize> {
    let mut torn = HashSet::new();
    let rules: Vec<(usize, &Meaning)> = policy.known().collect();
    // Where many rules have one part only, that is how they are meant.
    let parts: Vec<Part> = rules.iter().filter_map(|(_, meaning)| only_part(meaning)).collect();
    let is_one_rule = parts.is_sorted_by(|a, b| a < b);
    for pair in rules.windows(2).filter(|_| is_one_rule) {
        let [(_, one), (number, next)] = pair else { continue };
        let (Some(first), Some(second)) = (only_part(one), only_part(next)) else { continue };
        if is_public(one) || is_public(next) {
            continue;
        }
        let (first, second) = (first.as_str(), second.as_str());
        torn.insert(*number);
        let message = format!(
            "this is a rule of its own: `{second}` is not joined to the `{first}` above, either is \
             enough"
        );
        findings.push(
            policy
                .warning(codes::STRAY_DASH, *number, policy.rule_position(*number), message)
                .help(format!("to ask for both, remove the dash before `{second}`")),
        );
    }
    for (number, meaning) in rules {
        let lists =
            [("from", "source", &meaning.sources), ("to", "operation", &meaning.operations)];
        for (list, name, alternatives) in lists {
            for (at, pair) in (1usize..).zip(alternatives.windows(2)) {
                let [one, next] = pair else { continue };
                if !is_torn(one, next) {
                    continue;
                }
                torn.insert(number);
                let message = format!(
                    "this `{name}` stands beside the one above: either is enough, they are not joined"
                );
                let finding = policy
                    .warning(codes::STRAY_DASH, number, next.position, message)
                    .path(format!("spec.rules[{number}].{list}[{at}].{name}"))
                    .help(format!("to ask for both, write their fields into one `{name}`"));
                findings.push(finding);
            }
        }
    }
    torn
}

/// A part of a rule, in the order they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    From,
    To,
    When,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::When => "when",
        }
    }
}

/// The only part of a rule that asks for something.
fn only_part(meaning: &Meaning) -> Option<Part> {
    let Meaning { sources, operations, conditions } = meaning;
    match (sources.is_empty(), operations.is_empty(), conditions.is_empty()) {
        (false, true, true) => Some(Part::From),
        (true, false, true) => Some(Part::To),
        (true, true, false) => Some(Part::When),
        (_, _, _) => None,
    }
}

/// Whether one alternative alone makes the other pointless in practice: it only excludes, or it is
/// the methods that go with the other's paths.
fn is_torn(one: &Alternative, next: &Alternative) -> bool {
    let only_excludes = |alternative: &Alternative| {
        !alternative.tests.is_empty() && alternative.tests.iter().all(|test| test.negated)
    };
    let is_method = |test: &Test| test.attribute == Attribute::Method;
    let only_methods = |alternative: &Alternative| alternative.tests.iter().all(is_method);
    let no_methods = |alternative: &Alternative| {
        !alternative.tests.iter().any(is_method)
            && alternative.tests.iter().any(|test| test.attribute != Attribute::Method)
    };
    let of_methods = |a: &Alternative, b: &Alternative| {
        let methods = a.tests.iter().any(is_method) && only_methods(a);
        methods && no_methods(b) && !is_public_operation(a) && !is_public_operation(b)
    };
    only_excludes(one) || only_excludes(next) || of_methods(one, next) || of_methods(next, one)
}

/// Whether all that a rule opens is for everyone.
fn is_public(meaning: &Meaning) -> bool {
    !meaning.operations.is_empty() && meaning.operations.iter().all(is_public_operation)
}

fn is_public_operation(operation: &Alternative) -> bool {
    operation.tests.iter().filter(|test| !test.negated).any(|test| {
        test.entries.iter().all(|entry| {
            if let Pattern::Path(Text::Exact(path) | Text::Prefix(path)) = &entry.pattern {
                let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
                return PUBLIC.contains(&first.trim_end_matches('*'));
            }
            // CORS preflights have no credentials.
            test.attribute == Attribute::Method && entry.text == "OPTIONS"
        })
    })
}

fn only_exclusions(policy: &Policy<'_>, torn: &HashSet<usize>, findings: &mut Vec<Finding>) {
    for (number, meaning) in policy.known().filter(|(number, _)| !torn.contains(number)) {
        let mut tests = meaning.tests().peekable();
        let Some(first) = tests.peek().copied() else { continue };
        if !tests.all(|test| test.negated) {
            continue;
        }
        let message = "this ALLOW rule only says what it excludes: it lets in everything else, also \
                       requests without what it looks at";
        findings.push(
            policy
                .warning(codes::ONLY_EXCLUSIONS, number, first.position(), message)
                .help("say what is allowed, or deny what is excluded with a DENY policy"),
        );
    }
}

fn mesh_wide_deny(policy: &Policy<'_>, findings: &mut Vec<Finding>) {
    let is_wide = policy.scope.is_wide() && policy.scope.is_of_root();
    if !policy.is_deny() || !is_wide || policy.policy.dry_run {
        return;
    }
    let everything = policy.known().any(|(_, meaning)| meaning.is_anything());
    let help = "add a `selector`, or put it into the namespace that it is for";
    let message = if everything {
        "this policy denies every request to every workload of the mesh"
    } else {
        "this DENY policy is for every workload of the mesh, gateways included"
    };
    let finding = policy.policy_warning(codes::MESH_WIDE_DENY, message).help(help);
    findings.push(if everything { finding } else { finding.note() });
}

/// An ALLOW policy without rules for a whole namespace is how one denies by default.
fn allows_nothing(policies: &Policies<'_>, policy: &Policy<'_>, findings: &mut Vec<Finding>) {
    if !policy.policy.rules.is_empty() || policy.scope.is_wide() || !policies.complete {
        return;
    }
    let is_opened = policies.authorization.iter().any(|other| {
        other.is_allow()
            && !other.policy.rules.is_empty()
            && other.policy.dry_run == policy.policy.dry_run
            && other.scope.may_overlap(&policy.scope)
    });
    if is_opened {
        return;
    }
    let message =
        "this ALLOW policy has no rules, and no other policy allows anything: all is denied";
    findings.push(
        policy
            .policy_warning(codes::ALLOWS_NOTHING, message)
            .help("add rules; or, to deny all on purpose, a DENY policy with `rules: [{}]`"),
    );
}

fn allows_everything(policies: &Policies<'_>, policy: &Policy<'_>, findings: &mut Vec<Finding>) {
    for (number, _) in policy.known().filter(|(_, meaning)| meaning.is_anything()) {
        let others: usize = policies
            .authorization
            .iter()
            .filter(|other| {
                other.is_allow()
                    && other.policy.dry_run == policy.policy.dry_run
                    && policy.scope.covers(&other.scope)
            })
            .map(|other| other.policy.rules.len())
            .sum();
        // Without this one.
        let others = others.saturating_sub(1);
        let message = match others {
            0 => "this rule allows every request".to_owned(),
            1 => "this rule allows every request, so 1 other ALLOW rule changes nothing".to_owned(),
            _ => format!(
                "this rule allows every request, so {others} other ALLOW rules change nothing"
            ),
        };
        let finding = policy
            .warning(codes::ALLOWS_EVERYTHING, number, policy.rule_position(number), message)
            .help("say who may do what, or remove the rule");
        findings.push(if others == 0 { finding.note() } else { finding });
    }
}
