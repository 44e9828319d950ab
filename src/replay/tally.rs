//! What came of all records, in memory that does not grow with them.

use std::collections::BTreeMap;
use std::fmt;

use super::judge::After;
use super::record::{Before, Record};
use crate::model::{Outcome, Reason};
use crate::plan::WorkloadPlan;

/// So many kinds of changes are told apart, and so many things that records lack; names of policies
/// come from the log, where there may be any number.
const MOST_KINDS: usize = 10_000;

/// Counts.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Records that were read.
    pub records: u64,
    /// Outcomes as recorded.
    pub before: Outcomes,
    /// Outcomes by these policies, of those where it can be told.
    pub after: Outcomes,
    /// Allowed then, denied now.
    pub lose_access: u64,
    /// Denied then, allowed now.
    pub gain_access: u64,
    /// The same outcome, for another reason, or by another policy or rule.
    pub other_reason: u64,
    /// Refused for what no policy changes.
    pub unaffected: u64,
    /// Without an outcome to compare with.
    pub undecided_before: u64,
    /// Where it cannot be told.
    pub cannot_tell: u64,
    /// What those lack.
    pub lacking: BTreeMap<String, u64>,
    /// What changed, by reason, policy and rule.
    pub groups: BTreeMap<Change, Group>,
    /// Changes that found no place among the groups.
    pub ungrouped: u64,
    /// Lines that are no records.
    pub malformed: u64,
}

/// How often each outcome was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Allowed.
    pub allow: u64,
    /// Denied.
    pub deny: u64,
}

impl Outcomes {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Allow => self.allow += 1,
            Outcome::Deny => self.deny += 1,
        }
    }
}

/// Why something was decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The reason, as metrics name it; `None` where it is not known.
    pub reason: Option<String>,
    /// `namespace/name`
    pub policy: Option<String>,
    /// From 0.
    pub rule: Option<u32>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_deref().unwrap_or("for a reason that was not recorded"))?;
        if let Some(policy) = &self.policy {
            write!(f, " {policy}")?;
            if let Some(rule) = self.rule {
                write!(f, " rules[{rule}]")?;
            }
        }
        Ok(())
    }
}

/// A kind of change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Whether access is lost; otherwise it is gained.
    pub loses: bool,
    /// Why it was decided as it was.
    pub before: Cause,
    /// Why it is decided otherwise.
    pub after: Cause,
}

/// Records that changed in one way.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<Example>,
}

/// A request whose outcome changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Where its record is, from 1.
    pub line: u64,
    /// When it was.
    pub time: Option<String>,
    /// Its method; `None` for a connection.
    pub method: Option<String>,
    /// Its host.
    pub host: Option<String>,
    /// Its path without query.
    pub path: Option<String>,
    /// The port it came to.
    pub port: Option<u32>,
    /// The peer's first name.
    pub peer: Option<String>,
    /// The peer's address.
    pub address: Option<String>,
}

/// How many examples are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examples(pub usize);

impl Tally {
    /// Whether some outcome changes.
    pub fn has_changes(&self) -> bool {
        self.lose_access > 0 || self.gain_access > 0
    }

    /// Counts one record and what was found out about it; an example is kept if there is room.
    pub fn add(
        &mut self,
        line: u64,
        record: &Record<'_>,
        after: &After,
        plan: &WorkloadPlan,
        examples: &mut Examples,
    ) {
        self.records += 1;
        let before = match record.before.outcome.as_deref() {
            Some("allow") => Some(Outcome::Allow),
            Some(_) => Some(Outcome::Deny),
            None => None,
        };
        if let Some(before) = before {
            self.before.count(before);
        }
        if let Some(after) = after.outcome() {
            self.after.count(after);
        }
        match after {
            After::Unaffected => {
                self.unaffected += 1;
                if let Some(before) = before {
                    self.after.count(before);
                }
            }
            After::CannotTell(lacking) => {
                self.cannot_tell += 1;
                count_lacking(&mut self.lacking, &lacking.0);
            }
            After::Decided(_) | After::DecidedSomehow(_) | After::TokenRefused => {
                match (before, after.outcome()) {
                    (None, _) | (_, None) => self.undecided_before += 1,
                    (Some(before), Some(outcome)) if before == outcome => {
                        if !is_same_cause(&record.before, after, plan) {
                            self.other_reason += 1;
                        }
                    }
                    (Some(_), Some(outcome)) => {
                        let loses = outcome == Outcome::Deny;
                        if loses {
                            self.lose_access += 1;
                        } else {
                            self.gain_access += 1;
                        }
                        let change = Change {
                            loses,
                            before: cause_before(&record.before),
                            after: cause_after(after, plan),
                        };
                        self.add_change(change, line, record, examples);
                    }
                }
            }
        }
    }

    fn add_change(
        &mut self,
        change: Change,
        line: u64,
        record: &Record<'_>,
        examples: &mut Examples,
    ) {
        if self.groups.len() >= MOST_KINDS && !self.groups.contains_key(&change) {
            self.ungrouped += 1;
            return;
        }
        let group = self.groups.entry(change).or_default();
        group.count += 1;
        if let Some(left) = examples.0.checked_sub(1) {
            examples.0 = left;
            group.examples.push(example(line, record));
        }
    }
}

fn count_lacking(lacking: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = lacking.get_mut(name) {
        *count += 1;
    } else if lacking.len() < MOST_KINDS {
        lacking.insert(name.to_owned(), 1);
    }
}

fn reason_after(after: &After) -> Option<&'static str> {
    match after {
        After::Decided(reason) => Some(reason.as_str()),
        After::TokenRefused => Some("jwt"),
        After::DecidedSomehow(_) | After::Unaffected | After::CannotTell(_) => None,
    }
}

fn rule_after<'p>(after: &After, plan: &'p WorkloadPlan) -> Option<([&'p str; 2], u32)> {
    let After::Decided(reason) = after else { return None };
    let rule = Reason::rule(*reason)?;
    let metadata = &plan.policy(rule)?.metadata;
    Some(([&metadata.namespace, &metadata.name], rule.rule))
}

fn is_same_cause(before: &Before<'_>, after: &After, plan: &WorkloadPlan) -> bool {
    let rule = rule_after(after, plan);
    let is_same_policy = match (&before.policy, &rule) {
        (None, None) => true,
        (Some(before), Some(([namespace, name], _))) => {
            before.split_once('/') == Some((*namespace, *name))
        }
        (Some(_), None) | (None, Some(_)) => false,
    };
    // Who does not say why says nothing that could be otherwise.
    let (Some(before_reason), Some(reason)) = (before.reason.as_deref(), reason_after(after))
    else {
        return true;
    };
    before_reason == reason && is_same_policy && before.rule == rule.map(|(_, rule)| rule)
}

fn cause_before(before: &Before<'_>) -> Cause {
    Cause {
        reason: before.reason.as_deref().map(str::to_owned),
        policy: before.policy.as_deref().map(str::to_owned),
        rule: before.rule,
    }
}

fn cause_after(after: &After, plan: &WorkloadPlan) -> Cause {
    let rule = rule_after(after, plan);
    Cause {
        reason: reason_after(after).map(str::to_owned),
        policy: rule.map(|([namespace, name], _)| format!("{namespace}/{name}")),
        rule: rule.map(|(_, rule)| rule),
    }
}

fn example(line: u64, record: &Record<'_>) -> Example {
    let text = |text: &Option<super::Text<'_>>| text.as_deref().map(str::to_owned);
    Example {
        line,
        time: text(&record.time),
        method: text(&record.method),
        host: text(&record.server_address),
        path: text(&record.path),
        port: record.local_port,
        peer: record.peer_names.first().map(|name| name.to_string()),
        address: record.peer_address.map(|ip| ip.to_string()),
    }
}
