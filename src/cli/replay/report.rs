//! What `postern replay` found out, for people and for programs.

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
