//! What `postern replay` found out, for people and for programs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::cli::bench::grouped;
use crate::replay::{Cause, Example, Outcomes, Tally};

/// How long it took, which is no part of what was found out.
pub(super) fn speed(tally: &Tally, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let rate = tally.records as f64 / seconds.max(f64::MIN_POSITIVE);
    format!("{} records in {seconds:.1} s, {rate:.0} a second", grouped(tally.records))
}

/// For people.
pub(super) fn human(tally: &Tally, log: &str) -> String {
    let mut text = String::new();
    // Memory is always writable.
    write(&mut text, tally, log).ok();
    text
}

fn write(text: &mut String, tally: &Tally, log: &str) -> std::fmt::Result {
    writeln!(text, "records      {} of {log}", grouped(tally.records))?;
    let outcomes = |Outcomes { allow, deny }: Outcomes| {
        format!("{} allowed, {} denied", grouped(allow), grouped(deny))
    };
    writeln!(text, "before       {}", outcomes(tally.before))?;
    writeln!(text, "after        {}", outcomes(tally.after))?;
    writeln!(
        text,
        "changed      {} lose access, {} gain access",
        grouped(tally.lose_access),
        grouped(tally.gain_access)
    )?;
    let rest = [
        ("other cause", tally.other_reason, "same outcome, by another reason, policy or rule"),
        ("unaffected", tally.unaffected, "malformed, or of no known workload"),
        ("no outcome", tally.undecided_before, "not said what was decided"),
        ("cannot tell", tally.cannot_tell, "what decides was not recorded:"),
        ("malformed", tally.malformed, "lines that are no records"),
        (
            "assumed",
            tally.assumed_one_line,
            "headers that came in one line: an access log shows the first",
        ),
    ];
    for (name, number, what) in rest.into_iter().filter(|(_, number, _)| *number > 0) {
        writeln!(text, "{name:<12} {} {what}", grouped(number))?;
        if name == "cannot tell" {
            for (field, number) in by_number(&tally.lacking) {
                writeln!(text, "             {} {field}", grouped(number))?;
            }
        }
    }
    for (loses, title) in [(true, "loses access"), (false, "gains access")] {
        let mut groups: Vec<_> =
            tally.groups.iter().filter(|(change, _)| change.loses == loses).collect();
        groups.sort_by_key(|(_, group)| Reverse(group.count));
        if groups.is_empty() {
            continue;
        }
        writeln!(text, "\n{title}")?;
        for (change, group) in groups {
            writeln!(text, "  {:<10} {} -> {}", grouped(group.count), change.before, change.after)?;
            for example in &group.examples {
                writeln!(text, "             {}", line(example))?;
            }
        }
    }
    if tally.ungrouped > 0 {
        writeln!(text, "\n{} changes of further kinds", grouped(tally.ungrouped))?;
    }
    Ok(())
}

fn by_number(lacking: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut list: Vec<_> = lacking.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    list.sort_by_key(|(_, count)| Reverse(*count));
    list
}

fn line(example: &Example) -> String {
    let Example { line, time, method, host, path, port, peer, address } = example;
    let mut text = format!("line {line}");
    let mut add = |piece: &str| {
        text.push_str("  ");
        text.push_str(piece);
    };
    if let Some(time) = time {
        add(time);
    }
    match (method, port) {
        (Some(method), _) => {
            let (host, path) = (host.as_deref().unwrap_or_default(), path.as_deref());
            add(&format!("{method} {host}{}", path.unwrap_or_default()));
        }
        (None, Some(port)) => add(&format!("connection to port {port}")),
        (None, None) => add("connection"),
    }
    if let Some(who) = peer.as_deref().or(address.as_deref()) {
        add(&format!("from {who}"));
    }
    // What stands in a log was written by clients: nothing of it moves a cursor.
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `version` changes when a field changes its meaning or goes; new fields may come any time.
pub(super) fn json(tally: &Tally) -> Json {
    let outcomes = |Outcomes { allow, deny }| json!({ "allow": allow, "deny": deny });
    let cause = |cause: &Cause| json!({ "reason": cause.reason, "policy": cause.policy, "rule": cause.rule });
    let changes = tally.groups.iter().map(|(change, group)| {
        json!({
            "change": if change.loses { "loses_access" } else { "gains_access" },
            "before": cause(&change.before),
            "after": cause(&change.after),
            "count": group.count,
            "examples": group.examples.iter().map(example).collect::<Vec<_>>(),
        })
    });
    json!({
        "version": 1,
        "records": tally.records,
        "before": outcomes(tally.before),
        "after": outcomes(tally.after),
        "losesAccess": tally.lose_access,
        "gainsAccess": tally.gain_access,
        "otherCause": tally.other_reason,
        "unaffected": tally.unaffected,
        "noOutcome": tally.undecided_before,
        "cannotTell": tally.cannot_tell,
        "lacking": tally.lacking,
        "malformed": tally.malformed,
        "assumedOneLine": tally.assumed_one_line,
        "changes": changes.collect::<Vec<_>>(),
        "furtherChanges": tally.ungrouped,
    })
}

fn example(example: &Example) -> Json {
    let Example { line, time, method, host, path, port, peer, address } = example;
    json!({
        "line": line,
        "time": time,
        "method": method,
        "host": host,
        "path": path,
        "port": port,
        "peer": peer,
        "address": address,
    })
}
