//! The result of case files for people and programs.

use serde_json::{Value as Json, json};

use crate::cli::check::count;
use crate::manifest::text::quoted;
use crate::model::Position;

use super::coverage::{Coverage, RuleCoverage};
use super::run::Suite;

/// One line for each file, and what is wrong below it.
pub(super) fn human(suite: &Suite, coverage: bool) -> String {
    let mut text = String::new();
    for file in &suite.files {
        let failed = file.cases.iter().filter(|case| case.failure.is_some()).count();
        let word = if failed == 0 { "ok    " } else { "FAILED" };
        let requests = count(file.cases.len(), "request");
        line(&mut text, format_args!("{word}  {}  {requests}", file.name));
        for case in &file.cases {
            let Some(failure) = &case.failure else { continue };
            let Position { line: number, column } = case.position;
            let name = quoted(&case.name);
            line(&mut text, format_args!(""));
            line(&mut text, format_args!("  {}:{number}:{column}: {name}", file.name));
            line(&mut text, format_args!("    expected  {}", failure.expected));
            line(&mut text, format_args!("    answered  {}", failure.answered));
            for explanation in failure.explanation.lines() {
                line(&mut text, format_args!("    {explanation}"));
            }
        }
        if failed > 0 {
            line(&mut text, format_args!(""));
        }
    }
    if coverage {
        show_coverage(&suite.coverage, &mut text);
    }
    let (all, failed) = (suite.cases().count(), suite.failed());
    line(&mut text, format_args!("{} passed, {failed} failed", all - failed));
    text
}

fn show_coverage(coverage: &Coverage, text: &mut String) {
    let rules: Vec<_> = coverage.rules().collect();
    let matched = rules.iter().filter(|(.., rule)| rule.matched > 0).count();
    let conditions = || rules.iter().flat_map(|(.., rule)| rule.conditions.values());
    let both = conditions().filter(|seen| seen.held > 0 && seen.refused > 0).count();
    line(text, format_args!(""));
    line(
        text,
        format_args!(
            "{matched} of {} matched, {both} of {} seen to hold and to refuse",
            count(rules.len(), "rule"),
            count(conditions().count(), "condition")
        ),
    );
    for (policy, number, rule) in rules {
        let lacks = lacks(rule);
        if rule.matched > 0 && lacks.is_empty() {
            continue;
        }
        let never = if rule.matched == 0 { "  never matched" } else { "" };
        line(text, format_args!("  {}{policy} rules[{number}]{never}", place(rule)));
        for (field, what) in lacks {
            line(text, format_args!("    {field}: {what}"));
        }
    }
    line(text, format_args!(""));
}

/// The conditions that were seen from one side only.
fn lacks(rule: &RuleCoverage) -> Vec<(&str, &'static str)> {
    let lacks = |(held, refused)| match (held, refused) {
        (0, 0) => Some("never asked"),
        (0, _) => Some("never held"),
        (_, 0) => Some("never refused"),
        _ => None,
    };
    let conditions = rule.conditions.iter();
    conditions
        .filter_map(|((_, field), seen)| Some((&**field, lacks((seen.held, seen.refused))?)))
        .collect()
}

fn place(rule: &RuleCoverage) -> String {
    match &rule.file {
        Some(file) if rule.position.line > 0 => {
            format!("{file}:{}:{}: ", rule.position.line, rule.position.column)
        }
        Some(_) | None => String::new(),
    }
}

/// `version` changes when a field changes its meaning or goes; new fields may come any time.
pub(super) fn json(suite: &Suite, coverage: bool) -> Json {
    let files: Vec<_> = suite
        .files
        .iter()
        .map(|file| {
            let cases = file.cases.iter().map(|case| {
                let mut object = json!({
                    "name": case.name,
                    "line": case.position.line,
                    "passed": case.failure.is_none(),
                });
                if let (Some(failure), Some(members)) = (&case.failure, object.as_object_mut()) {
                    members.insert("expected".to_owned(), json!(failure.expected));
                    members.insert("answered".to_owned(), json!(failure.answered));
                    members.insert("explanation".to_owned(), json!(failure.explanation));
                }
                object
            });
            json!({ "file": &*file.name, "requests": cases.collect::<Vec<_>>() })
        })
        .collect();
    let (all, failed) = (suite.cases().count(), suite.failed());
    let mut object =
        json!({ "version": 1, "passed": all - failed, "failed": failed, "files": files });
    if let Some(members) = object.as_object_mut().filter(|_| coverage) {
        members.insert("coverage".to_owned(), rules_json(&suite.coverage));
    }
    object
}

fn rules_json(coverage: &Coverage) -> Json {
    let rules = coverage.rules().map(|(policy, number, rule)| {
        let conditions = rule.conditions.iter().map(|((position, field), seen)| {
            json!({
                "field": field,
                "line": position.line,
                "held": seen.held,
                "refused": seen.refused,
            })
        });
        json!({
            "policy": policy,
            "rule": number,
            "file": rule.file.as_deref(),
            "line": rule.position.line,
            "matched": rule.matched,
            "conditions": conditions.collect::<Vec<_>>(),
        })
    });
    rules.collect()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.push_str(&line.to_string());
    text.push('\n');
}
