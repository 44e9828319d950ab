//! A decision as people and programs read it.

use serde_json::{Value as Json, json};

use crate::decide::Certainty;
use crate::decide::reference::{AlternativeTrace, FieldTrace, RuleTrace};
use crate::gate::Explanation;
use crate::model::{Action, Located, Outcome, Reason, RuleId};
use crate::plan::WorkloadPlan;

/// For people: the decision and the value that made it; with `walk` every rule and why it did not.
pub(super) fn human(plan: &WorkloadPlan, explanation: &Explanation, walk: bool) -> String {
    let verdict = explanation.passage.verdict;
    let mut out = String::new();
    let word = match verdict.outcome() {
        Outcome::Allow => "ALLOW",
        Outcome::Deny => "DENY",
    };
    let decided = match verdict.reason.rule() {
        Some(rule) => format!("{}  rule {}", policy_id(plan, rule), rule.rule),
        None => sentence(plan, verdict.reason),
    };
    line(&mut out, format_args!("{word}  {decided}"));
    if let Some(trace) = verdict.reason.rule().and_then(|rule| find(explanation, rule)) {
        for matched in matched_values(plan, trace) {
            line(&mut out, format_args!("      {matched}"));
        }
    }
    if let Some(rule) = verdict.audited_by {
        line(&mut out, format_args!("AUDIT {}  rule {}", policy_id(plan, rule), rule.rule));
    }
    if let Some(shadow) = verdict.shadow {
        let by = shadow.reason.rule().map_or_else(
            || sentence(plan, shadow.reason),
            |rule| format!("{}  rule {}", policy_id(plan, rule), rule.rule),
        );
        line(
            &mut out,
            format_args!("with dry-run policies enforced: {}  {by}", shadow.outcome().as_str()),
        );
    }
    if walk {
        line(&mut out, format_args!(""));
        for trace in &explanation.rules {
            rule_walk(plan, trace, &mut out);
        }
        if explanation.rules.is_empty() {
            line(&mut out, format_args!("no rule was looked at"));
        }
    }
    out
}

/// For programs; `version` changes when a field changes its meaning.
pub(super) fn json(plan: &WorkloadPlan, explanation: &Explanation, walk: bool) -> Json {
    let verdict = explanation.passage.verdict;
    let mut object = json!({
        "version": 1,
        "decision": verdict.outcome().as_str(),
        "reason": verdict.reason.as_str(),
    });
    let mut set = |name: &str, value: Json| {
        if let Some(members) = object.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    };
    if let Some(rule) = verdict.reason.rule() {
        set("policy", json!(policy_id(plan, rule)));
        set("rule", json!(rule.rule));
        let values = find(explanation, rule).map(|trace| matched_values(plan, trace));
        set("matched", json!(values.unwrap_or_default()));
    }
    if let Reason::Jwt(error) = verdict.reason {
        set("error", json!(error.to_string()));
    }
    if let Some(rule) = verdict.audited_by {
        set("auditedBy", json!(policy_id(plan, rule)));
    }
    if let Some(shadow) = verdict.shadow {
        set(
            "shadow",
            json!({"decision": shadow.outcome().as_str(), "reason": shadow.reason.as_str()}),
        );
    }
    if walk {
        let rules = explanation.rules.iter().map(|trace| {
            json!({
                "policy": policy_id(plan, trace.id),
                "rule": trace.id.rule,
                "matches": trace.matches,
                "unmet": unmet(trace).into_iter().map(|f| field_text(f)).collect::<Vec<_>>(),
            })
        });
        set("rules", rules.collect());
    }
    object
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&text.to_string());
    out.push('\n');
}

fn sentence(plan: &WorkloadPlan, reason: Reason) -> String {
    match reason {
        Reason::NoAllowPolicy => "no ALLOW policy applies, and no DENY rule matches".into(),
        Reason::NoAllowRule => "ALLOW policies apply, and none of their rules matches".into(),
        Reason::PeerUnauthenticated => {
            "PeerAuthentication is STRICT, and the peer has no identity".into()
        }
        Reason::Jwt(error) => format!("{} {error}", error.status()),
        Reason::InvalidPolicy => {
            let ids: Vec<_> = plan.invalid.iter().map(ToString::to_string).collect();
            format!("never valid: {}", ids.join(", "))
        }
        Reason::UnknownWorkload => "the workload is not configured".into(),
        Reason::MalformedRequest => "the request is malformed".into(),
        Reason::AllowRule(_) | Reason::DenyRule(_) | Reason::CustomProviderUndefined(_) => {
            reason.as_str().into()
        }
    }
}

fn policy_id(plan: &WorkloadPlan, rule: RuleId) -> String {
    plan.policy(rule).map_or_else(String::new, |policy| {
        let metadata = &policy.metadata;
        let dry_run = if policy.dry_run { " (dry run)" } else { "" };
        format!("AuthorizationPolicy/{}/{}{dry_run}", metadata.namespace, metadata.name)
    })
}

fn find(explanation: &Explanation, rule: RuleId) -> Option<&RuleTrace> {
    explanation.rules.iter().find(|trace| trace.id == rule)
}

/// Each entry that made the rule match, with its place.
fn matched_values(plan: &WorkloadPlan, trace: &RuleTrace) -> Vec<String> {
    let file = plan.policy(trace.id).and_then(|p| p.metadata.file.clone());
    let holding = |list: &'_ [AlternativeTrace]| {
        list.iter().find(|a| a.result == Certainty::Yes).map(|a| a.fields.clone())
    };
    let fields = holding(&trace.operations)
        .into_iter()
        .chain(holding(&trace.sources))
        .flatten()
        .chain(trace.conditions.iter().cloned());
    fields
        .filter_map(|field| {
            let Located { value, position } = field.matched?;
            let place = match &file {
                Some(file) if position.line > 0 => format!("{file}:{}: ", position.line),
                _ => String::new(),
            };
            Some(format!(
                "{place}{} `{value}` matched `{}`",
                field.field,
                field.actual.join("`, `")
            ))
        })
        .collect()
}

fn rule_walk(plan: &WorkloadPlan, trace: &RuleTrace, out: &mut String) {
    let action = plan.policy(trace.id).map_or("", |policy| match policy.action {
        Action::Allow => "ALLOW",
        Action::Deny => "DENY",
        Action::Audit => "AUDIT",
        Action::Custom { .. } => "CUSTOM",
    });
    let result = match (trace.matches, trace.result) {
        (true, Certainty::Unknown) => "counts as a match: an input is not sent",
        (false, Certainty::Unknown) => "counts as no match: an input is not sent",
        (true, _) => "matches",
        (false, _) => "does not match",
    };
    line(
        out,
        format_args!("{} rule {} ({action}): {result}", policy_id(plan, trace.id), trace.id.rule),
    );
    if trace.matches {
        for matched in matched_values(plan, trace) {
            line(out, format_args!("    {matched}"));
        }
    } else {
        for field in unmet(trace) {
            line(out, format_args!("    {}", field_text(field)));
        }
    }
}

/// The fields that kept a rule from matching: of alternatives, those of the one that came nearest.
fn unmet(trace: &RuleTrace) -> Vec<&FieldTrace> {
    let nearest = |list: &'_ [AlternativeTrace]| {
        if list.iter().any(|a| a.result == Certainty::Yes) {
            return None;
        }
        let missed =
            |a: &AlternativeTrace| a.fields.iter().filter(|f| f.result != Certainty::Yes).count();
        list.iter().enumerate().min_by_key(|(_, a)| missed(a)).map(|(at, _)| at)
    };
    let fields = |list: &'_ [AlternativeTrace]| nearest(list);
    let operation = fields(&trace.operations).and_then(|at| trace.operations.get(at));
    let source = fields(&trace.sources).and_then(|at| trace.sources.get(at));
    operation
        .into_iter()
        .chain(source)
        .flat_map(|alternative| &alternative.fields)
        .chain(&trace.conditions)
        .filter(|field| field.result != Certainty::Yes)
        .collect()
}

fn field_text(field: &FieldTrace) -> String {
    let actual = if field.actual.is_empty() {
        "the request has none".to_owned()
    } else {
        format!("the request has `{}`", field.actual.join("`, `"))
    };
    match &field.matched {
        // A `not...` field that an entry spoilt.
        Some(entry) => format!("{}: `{}` matches, {actual}", field.field, entry.value),
        None => {
            let wanted: Vec<_> = field.wanted.iter().map(|w| format!("`{}`", w.value)).collect();
            format!("{}: wants {}, {actual}", field.field, wanted.join(" or "))
        }
    }
}
