//! The answers as a table, for a terminal and for a README.

use std::time::Duration;

use super::answer::{Answer, Rule};
use super::story::Request;

/// How the table may look. Nothing is told by colour alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) colour: bool,
}

impl Style {
    const BOLD: &'static str = "1";
    const DIM: &'static str = "2";
    const RED: &'static str = "31";
    const GREEN: &'static str = "32";

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const HEADINGS: [&str; 5] = ["CALLER, TOKEN", "REQUEST", "ANSWER", "REASON", "POLICY, RULE"];
/// The column that is coloured by the decision.
const ANSWER: usize = 2;
/// Notes stand below this column.
const REASON: usize = 3;

/// The table, and a summary below it.
pub(super) fn render(
    asked: &[(Request, Answer)],
    style: Style,
    through_envoy: bool,
    took: Duration,
) -> String {
    let rows: Vec<_> = asked.iter().map(|(request, answer)| cells(request, answer)).collect();
    let headings = HEADINGS.map(str::to_owned);
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&headings]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let indent = 2 + widths.iter().take(REASON).map(|width| width + 2).sum::<usize>();

    let mut text = String::from("\n");
    put(&mut text, &line(' ', &headings, &widths, |_, cell| style.paint(Style::DIM, cell)));
    let mut service = None;
    for ((request, answer), row) in asked.iter().zip(&rows) {
        if service != Some(request.to) {
            service = Some(request.to);
            put(&mut text, &style.paint(Style::BOLD, request.to.name()));
        }
        let expected = *answer == request.expected;
        let mark = if expected { ' ' } else { '!' };
        let colour = if answer.decision == "allow" { Style::GREEN } else { Style::RED };
        let paint = |column, cell: &str| {
            if column == ANSWER { style.paint(colour, cell) } else { cell.to_owned() }
        };
        put(&mut text, &line(mark, row, &widths, paint));
        let remark = request.remark.map(str::to_owned);
        for note in remark.into_iter().chain(notes(answer)) {
            put(&mut text, &format!("{:indent$}{}", "", style.paint(Style::DIM, &note)));
        }
        if !expected {
            let wanted = format!("!   expected {}", summary(&request.expected));
            put(&mut text, &style.paint(Style::RED, &wanted));
        }
    }
    put(&mut text, "");
    put(&mut text, &conclusion(asked, through_envoy, took));
    text
}

fn conclusion(asked: &[(Request, Answer)], through_envoy: bool, took: Duration) -> String {
    let count = asked.len();
    let allowed = asked.iter().filter(|(_, answer)| answer.decision == "allow").count();
    let different = asked.iter().filter(|(request, answer)| *answer != request.expected).count();
    let how = if through_envoy { "through Envoy" } else { "without an Envoy" };
    let verdict = match different {
        0 => "all as expected".to_owned(),
        some => format!("{some} not as expected, marked with !"),
    };
    let seconds = took.as_secs_f64();
    format!(
        "{count} requests {how}: {allowed} allowed, {} denied, {verdict} ({seconds:.1} s)",
        count - allowed
    )
}

fn cells(request: &Request, answer: &Answer) -> [String; 5] {
    let who = match request.token {
        None => request.caller.to_string(),
        Some(token) => format!("{}, {}", request.caller, token.name()),
    };
    // No policy decides about a bad token; what is wrong with it takes the place.
    let policy = answer.rule.as_ref().map(rule_text).or_else(|| answer.jwt_error.clone());
    [
        who,
        format!("{} {}", request.method, request.path),
        format!("{} {}", answer.status, answer.decision),
        answer.reason.clone(),
        policy.unwrap_or_default(),
    ]
}

fn rule_text(rule: &Rule) -> String {
    format!("{} rules[{}]", rule.policy, rule.number)
}

fn notes(answer: &Answer) -> Vec<String> {
    let audited = answer.audited_by.iter().map(|policy| format!("audited by {policy}"));
    let dry_run = answer.dry_run.iter().map(|dry_run| {
        let rule = dry_run.rule.as_ref().map(|rule| format!(": {}", rule_text(rule)));
        format!("dry run would {}{}", dry_run.decision, rule.unwrap_or_default())
    });
    audited.chain(dry_run).collect()
}

fn summary(answer: &Answer) -> String {
    let mut parts = vec![format!("{} {}", answer.status, answer.decision), answer.reason.clone()];
    parts.extend(answer.jwt_error.clone());
    parts.extend(answer.rule.as_ref().map(rule_text));
    parts.extend(notes(answer));
    parts.join(", ")
}

/// Cells are padded before they are painted: escape codes have no width.
fn line(
    mark: char,
    cells: &[String; 5],
    widths: &[usize; 5],
    paint: impl Fn(usize, &str) -> String,
) -> String {
    let mut row = String::from(mark);
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if column == 0 { 1 } else { 2 };
        let width = if column + 1 == cells.len() { 0 } else { *width };
        row.push_str(&" ".repeat(gap));
        row.push_str(&paint(column, &format!("{cell:width$}")));
    }
    row.trim_end().to_owned()
}

fn put(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::story;
    use super::*;

    fn rendered(change: impl Fn(&mut Answer), colour: bool) -> String {
        let mut asked: Vec<_> = story::requests()
            .into_iter()
            .filter(|request| request.method == "DELETE")
            .map(|request| (request.clone(), request.expected))
            .collect();
        asked.iter_mut().for_each(|(_, answer)| change(answer));
        render(&asked, Style { colour }, true, Duration::from_millis(1_234))
    }

    #[test]
    fn what_is_not_expected_is_marked_and_counted() {
        let text = rendered(
            |answer| {
                if answer.decision == "allow" {
                    "no_allow_policy".clone_into(&mut answer.reason);
                    answer.rule = None;
                }
            },
            false,
        );
        insta::assert_snapshot!(text.trim_matches('\n'), @"
              CALLER, TOKEN       REQUEST                   ANSWER     REASON           POLICY, RULE
            productpage
              gateway             DELETE /api/v1/reviews/7  403 deny   no_allow_rule
                                                                       audited by bookinfo/audit-writes
              gateway, reader     DELETE /api/v1/reviews/7  403 deny   no_allow_rule
                                                                       audited by bookinfo/audit-writes
            ! gateway, moderator  DELETE /api/v1/reviews/7  200 allow  no_allow_policy
                                                                       audited by bookinfo/audit-writes
            !   expected 200 allow, allow_rule, bookinfo/moderators rules[0], audited by bookinfo/audit-writes

            3 requests through Envoy: 1 allowed, 2 denied, 1 not as expected, marked with ! (1.2 s)
            ");
    }

    #[test]
    fn colour_changes_no_character() {
        let (plain, coloured) = (rendered(|_| {}, false), rendered(|_| {}, true));
        let mut stripped = coloured.clone();
        for code in ["0", Style::BOLD, Style::DIM, Style::RED, Style::GREEN] {
            stripped = stripped.replace(&format!("\x1b[{code}m"), "");
        }
        let trimmed = |text: &str| -> Vec<_> {
            text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<String>>()
        };
        assert_ne!(plain, coloured);
        assert_eq!(trimmed(&plain), trimmed(&stripped));
    }
}
