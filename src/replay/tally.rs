//! What came of all records, in memory that does not grow with them.

use std::collections::BTreeMap;
use std::fmt;

use super::judge::{After, Lacking};
use super::record::Record;
use crate::model::Outcome;
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
    /// Entries of access logs with a header of which only the first line is logged; that it has no
    /// other is assumed.
    pub assumed_one_line: u64,
}

/// One side of a comparison: what was decided, or is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// `None` where it is not said.
    pub outcome: Option<Outcome>,
    /// As metrics name it.
    pub reason: Option<&'a str>,
    /// Which policy.
    pub policy: Option<PolicyName<'a>>,
    /// Its rule, from 0.
    pub rule: Option<u32>,
}

/// `namespace/name`, in one piece or in two.
#[derive(Debug, Clone, Copy)]
pub enum PolicyName<'a> {
    /// As it is written.
    Whole(&'a str),
    /// The namespace and the name.
    Parts([&'a str; 2]),
}

impl PartialEq for PolicyName<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a == b,
            (Self::Parts(a), Self::Parts(b)) => a == b,
            (Self::Whole(whole), Self::Parts([namespace, name]))
            | (Self::Parts([namespace, name]), Self::Whole(whole)) => {
                whole.split_once('/') == Some((*namespace, *name))
            }
        }
    }
}

impl fmt::Display for PolicyName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => f.write_str(whole),
            Self::Parts([namespace, name]) => write!(f, "{namespace}/{name}"),
        }
    }
}

/// What is said now.
#[derive(Debug, Clone)]
pub enum Told<'a> {
    /// This.
    Decided(Said<'a>),
    /// Nothing: it was refused for what no policy changes.
    Unaffected,
    /// It depends on something that is not recorded.
    CannotTell(Lacking),
}

impl<'a> Said<'a> {
    /// What a record says.
    pub fn by_record(record: &'a Record<'_>) -> Self {
        let before = &record.before;
        Self {
            outcome: match before.outcome.as_deref() {
                Some("allow") => Some(Outcome::Allow),
                Some(_) => Some(Outcome::Deny),
                None => None,
            },
            reason: before.reason.as_deref(),
            policy: before.policy.as_deref().map(PolicyName::Whole),
            rule: before.rule,
        }
    }

    fn cause(&self) -> Cause {
        Cause {
            reason: self.reason.map(str::to_owned),
            policy: self.policy.map(|policy| policy.to_string()),
            rule: self.rule,
        }
    }
}

impl<'a> Told<'a> {
    /// What these policies say.
    pub fn by_policies(after: After, plan: &'a WorkloadPlan) -> Self {
        let only = |outcome, reason| {
            Self::Decided(Said { outcome: Some(outcome), reason, ..Said::default() })
        };
        match after {
            After::Decided(reason) => {
                let policy = reason.rule().and_then(|rule| plan.policy(rule));
                Self::Decided(Said {
                    outcome: Some(reason.outcome()),
                    reason: Some(reason.as_str()),
                    policy: policy.map(|policy| {
                        PolicyName::Parts([&policy.metadata.namespace, &policy.metadata.name])
                    }),
                    rule: reason.rule().map(|rule| rule.rule),
                })
            }
            After::DecidedSomehow(outcome) => only(outcome, None),
            After::TokenRefused => only(Outcome::Deny, Some("jwt")),
            After::Unaffected => Self::Unaffected,
            After::CannotTell(lacking) => Self::CannotTell(lacking),
        }
    }
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
        before: &Said<'_>,
        after: &Told<'_>,
        example: impl FnOnce() -> Example,
        examples: &mut Examples,
    ) {
        self.records += 1;
        if let Some(outcome) = before.outcome {
            self.before.count(outcome);
        }
        let after = match after {
            Told::Unaffected => {
                self.unaffected += 1;
                if let Some(outcome) = before.outcome {
                    self.after.count(outcome);
                }
                return;
            }
            Told::CannotTell(lacking) => {
                self.cannot_tell += 1;
                count_lacking(&mut self.lacking, &lacking.0);
                return;
            }
            Told::Decided(after) => after,
        };
        if let Some(outcome) = after.outcome {
            self.after.count(outcome);
        }
        let (Some(was), Some(is)) = (before.outcome, after.outcome) else {
            self.undecided_before += 1;
            return;
        };
        if was == is {
            self.other_reason += u64::from(!is_same_cause(before, after));
            return;
        }
        let loses = is == Outcome::Deny;
        if loses {
            self.lose_access += 1;
        } else {
            self.gain_access += 1;
        }
        let change = Change { loses, before: before.cause(), after: after.cause() };
        self.add_change(change, example, examples);
    }

    fn add_change(
        &mut self,
        change: Change,
        example: impl FnOnce() -> Example,
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
            group.examples.push(example());
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

/// Who does not say why says nothing that could be otherwise.
fn is_same_cause(before: &Said<'_>, after: &Said<'_>) -> bool {
    let (Some(was), Some(is)) = (before.reason, after.reason) else { return true };
    was == is && before.policy == after.policy && before.rule == after.rule
}

impl Example {
    /// Of a record in that line.
    pub fn of(line: u64, record: &Record<'_>) -> Self {
        let text = |text: &Option<super::Text<'_>>| text.as_deref().map(str::to_owned);
        Self {
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
}
