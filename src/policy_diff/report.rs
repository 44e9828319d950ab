//! A comparison for people, for pull requests and for programs.

use serde_json::{Value as Json, json};

use super::{Comparison, Decision, Difference, View};
use crate::extauthz::RequestSettings;

/// What is always said of a search.
const COVERAGE: &str = "requests and connections as Envoy sends them with every input turned on, one token at most, and its \
     signature taken for good; not what upstreams see of them";

/// What a view is called.
fn title(view: View) -> &'static str {
    match view {
        View::Enforced => "access changes",
        View::Shadow => "shadow verdict changes (with dry-run policies enforced)",
        View::Audit => "audit changes",
    }
}

fn direction(difference: &Difference) -> &'static str {
    match (difference.view, difference.gains()) {
        (View::Enforced | View::Shadow, true) => "gains access",
        (View::Enforced | View::Shadow, false) => "loses access",
        (View::Audit, true) => "is audited now",
        (View::Audit, false) => "is no longer audited",
    }
}

/// One line on what was found out.
fn summary(comparison: &Comparison) -> String {
    if comparison.equal {
        return "equal: the same canonical plan".to_owned();
    }
    let requests = comparison.requests;
    let mut given_up = String::new();
    if comparison.gave_up {
        given_up.push_str(", and not every combination was tried");
    }
    if !comparison.unasked.is_empty() {
        let names: Vec<_> = comparison.unasked.iter().map(String::as_str).collect();
        given_up.push_str("; not asked about, for others would have to be: ");
        given_up.push_str(&names.join(", "));
    }
    if comparison.differences.is_empty() {
        return format!("no difference found among {requests} requests{given_up}");
    }
    let of = |view, gains| {
        comparison.differences.iter().filter(|it| it.view == view && it.gains() == gains).count()
    };
    let mut counts = Vec::new();
    for (view, gains, loses) in [
        (View::Enforced, "gains access", "loses access"),
        (View::Shadow, "gains access in the shadow", "loses access in the shadow"),
        (View::Audit, "is audited now", "is no longer audited"),
    ] {
        for (name, count) in [(gains, of(view, true)), (loses, of(view, false))] {
            if view == View::Enforced || count > 0 {
                counts.push(format!("{name}: {count}"));
            }
        }
    }
    format!("{}; {requests} requests asked{given_up}", counts.join(", "))
}

/// The differences by what they are about, in order, `limit` of each view; and how many are left
/// out.
fn grouped(comparison: &Comparison, view: View, limit: usize) -> (Vec<&Difference>, usize) {
    let mut all: Vec<_> = comparison.differences.iter().filter(|it| it.view == view).collect();
    all.sort_by(|a, b| (&a.about, a.gains()).cmp(&(&b.about, b.gains())));
    let left_out = all.len().saturating_sub(limit);
    all.truncate(limit);
    (all, left_out)
}

impl Decision {
    fn line(&self) -> String {
        let mut text = self.decision.to_uppercase();
        text.push_str("  ");
        text.push_str(&self.why);
        if let Some(place) = &self.place {
            text.push_str(&format!("  ({place})"));
        }
        text
    }
}

/// The request as a file, with what no file can say as comments.
fn request(difference: &Difference, settings: &RequestSettings) -> String {
    let mut text = difference.question.text(settings);
    if let Some(token) = &difference.question.token {
        text.push_str(&format!("# token claims: {}\n", token.payload()));
        text.push_str(&format!("# token in: {}\n", token.place));
        text.push_str(&format!("# token signed with keys of: {}\n", token.signer));
    }
    text
}

/// For a terminal; `limit` differences of each view.
pub fn human(comparison: &Comparison, settings: &RequestSettings, limit: usize) -> String {
    let mut text = String::new();
    for view in [View::Enforced, View::Shadow, View::Audit] {
        let (differences, left_out) = grouped(comparison, view, limit);
        if differences.is_empty() {
            continue;
        }
        add(&mut text, format_args!("{}\n", title(view)));
        let mut about = None;
        for difference in differences {
            if about != Some(&difference.about) {
                add(&mut text, format_args!("\n{}\n", difference.about));
                about = Some(&difference.about);
            }
            add(&mut text, format_args!("  {}\n", direction(difference)));
            add(&mut text, format_args!("    before  {}\n", difference.before.line()));
            add(&mut text, format_args!("    after   {}\n", difference.after.line()));
            for line in request(difference, settings).lines() {
                add(&mut text, format_args!("      {line}\n"));
            }
        }
        if left_out > 0 {
            add(&mut text, format_args!("\nand {left_out} more: --limit shows them\n"));
        }
        text.push('\n');
    }
    add(&mut text, format_args!("{}\n", summary(comparison)));
    if !comparison.equal {
        add(&mut text, format_args!("covered: {COVERAGE}\n"));
    }
    text
}

/// For a pull request.
pub fn markdown(comparison: &Comparison, settings: &RequestSettings, limit: usize) -> String {
    let mut text = String::new();
    add(&mut text, format_args!("## Policy changes\n\n**{}**\n", summary(comparison)));
    for view in [View::Enforced, View::Shadow, View::Audit] {
        let (differences, left_out) = grouped(comparison, view, limit);
        if differences.is_empty() {
            continue;
        }
        add(&mut text, format_args!("\n### {}\n", capitalised(title(view))));
        let mut about = None;
        for difference in differences {
            if about != Some(&difference.about) {
                add(&mut text, format_args!("\n#### `{}`\n", difference.about));
                about = Some(&difference.about);
            }
            add(&mut text, format_args!("\n**{}**\n\n", direction(difference)));
            add(&mut text, format_args!("| | |\n|---|---|\n"));
            for (name, decision) in [("before", &difference.before), ("after", &difference.after)] {
                add(&mut text, format_args!("| {name} | {} |\n", cell(&decision.line())));
            }
            let request = request(difference, settings);
            let fence = fence(&request);
            add(&mut text, format_args!("\n{fence}yaml\n{request}{fence}\n"));
        }
        if left_out > 0 {
            add(&mut text, format_args!("\nand {left_out} more\n"));
        }
    }
    if !comparison.equal {
        add(&mut text, format_args!("\nCovered: {COVERAGE}.\n"));
    }
    text
}

/// Text of a policy must not end the cell it stands in.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// Longer than any in the text.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(longest.saturating_add(1).max(3))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.push_str(&line.to_string());
}

/// For programs. `version` changes when a field changes its meaning or goes; new fields may come any
/// time.
pub fn json(comparison: &Comparison, settings: &RequestSettings, limit: usize) -> Json {
    let of = |view: View| {
        let (differences, left_out) = grouped(comparison, view, limit);
        let differences: Vec<Json> = differences
            .into_iter()
            .map(|it| {
                json!({
                    "about": it.about,
                    "change": if it.gains() { "gains" } else { "loses" },
                    "before": decision(&it.before),
                    "after": decision(&it.after),
                    "request": it.question.text(settings),
                    "tokenClaims": it.question.token.as_ref().map(super::Token::payload),
                    "tokenSigner": it.question.token.as_ref().map(|token| token.signer.to_string()),
                    "tokenPlace": it.question.token.as_ref().map(|token| token.place.to_string()),
                })
            })
            .collect();
        json!({ "differences": differences, "leftOut": left_out })
    };
    json!({
        "version": 1,
        "equal": comparison.equal,
        "changed": !comparison.differences.is_empty(),
        "summary": summary(comparison),
        "requests": comparison.requests,
        "gaveUp": comparison.gave_up,
        "notAsked": comparison.unasked,
        "access": of(View::Enforced),
        "shadow": of(View::Shadow),
        "audit": of(View::Audit),
    })
}

fn decision(it: &Decision) -> Json {
    json!({
        "decision": it.decision,
        "reason": it.reason,
        "why": it.why,
        "policy": it.policy,
        "rule": it.rule,
        "place": it.place,
    })
}
