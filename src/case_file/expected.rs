//! What a case says of its answer.

use std::fmt;

use super::Answer;
use crate::manifest::cursor::{At, Fields, one_of, string, wrong_type};
use crate::manifest::node::Content;
use crate::manifest::problem::Report;
use crate::model::{Outcome, Reason};

const OUTCOMES: [(&str, Outcome); 2] = [("allow", Outcome::Allow), ("deny", Outcome::Deny)];

/// With a reason it is the whole answer, so that what it leaves out must be absent. Without, only
/// what it says is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// `outcome`
    pub outcome: Outcome,
    /// `reason`
    pub reason: Option<&'static str>,
    /// `error`: of a token.
    pub error: Option<String>,
    /// `policy`
    pub policy: Option<String>,
    /// `rule`, from 0.
    pub rule: Option<u32>,
    /// `audited_by`
    pub audited_by: Option<Vec<String>>,
    /// `shadow`
    pub shadow: Option<Box<Self>>,
}

impl Expected {
    /// Only this outcome.
    pub fn only(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            error: None,
            policy: None,
            rule: None,
            audited_by: None,
            shadow: None,
        }
    }

    /// Whether an answer is as expected.
    pub fn is_met_by(&self, answer: &Answer) -> bool {
        let is_whole = self.reason.is_some();
        let audited_by = match &self.audited_by {
            Some(policies) => *policies == answer.audited_by,
            None => !is_whole || answer.audited_by.is_empty(),
        };
        let shadow = match (&self.shadow, &answer.shadow) {
            (Some(expected), Some(shadow)) => expected.is_met_by(shadow),
            (Some(_), None) => false,
            (None, shadow) => !is_whole || shadow.is_none(),
        };
        self.outcome == answer.outcome
            && self.reason.is_none_or(|reason| reason == answer.reason)
            && is_part(is_whole, self.error.as_ref(), answer.error.as_ref())
            && is_part(is_whole, self.policy.as_ref(), answer.policy.as_ref())
            && is_part(is_whole, self.rule.as_ref(), answer.rule.as_ref())
            && audited_by
            && shadow
    }

    /// An outcome alone, or a mapping.
    pub(super) fn read(at: &At<'_>, report: &mut Report<'_>) -> Option<Self> {
        match at.node.content {
            Content::String(_) => one_of(at, &OUTCOMES, report).map(Self::only),
            Content::Mapping(_) => Self::fields(at, report),
            Content::Null
            | Content::Bool(_)
            | Content::OldBool { .. }
            | Content::Number(_)
            | Content::Sequence(_) => {
                wrong_type(at, "`allow`, `deny` or a mapping", report);
                None
            }
        }
    }

    fn fields(at: &At<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut fields = Fields::open(at, report);
        let outcome = fields.required("outcome");
        let outcome = outcome.and_then(|at| one_of(&at, &OUTCOMES, fields.report));
        let reasons = Reason::LABELS.map(|label| (label, label));
        let reason = fields.optional("reason");
        let reason = reason.and_then(|at| one_of(&at, &reasons, fields.report));
        let (error, policy) = (fields.string("error"), fields.string("policy"));
        let rule = fields.optional("rule").and_then(|at| number(&at, fields.report));
        let audited_by = fields.optional("audited_by").map(|at| strings(&at, fields.report));
        let shadow = fields.optional("shadow");
        let shadow = shadow.and_then(|at| Self::read(&at, fields.report)).map(Box::new);
        fields.close_with(advice);
        Some(Self { outcome: outcome?, reason, error, policy, rule, audited_by, shadow })
    }
}

fn is_part<T: PartialEq>(is_whole: bool, expected: Option<&T>, answered: Option<&T>) -> bool {
    if is_whole || expected.is_some() { expected == answered } else { true }
}

fn number(at: &At<'_>, report: &mut Report<'_>) -> Option<u32> {
    let Content::Number(text) = &at.node.content else {
        wrong_type(at, "a number from 0", report);
        return None;
    };
    let number = text.parse().ok();
    if number.is_none() {
        wrong_type(at, "a number from 0", report);
    }
    number
}

fn strings(at: &At<'_>, report: &mut Report<'_>) -> Vec<String> {
    crate::manifest::cursor::list(at, report, string)
}

fn advice(name: &str) -> Option<String> {
    let advice = match name {
        "decision" | "result" => "write it as `outcome`",
        "auditedBy" => "write it as `audited_by`",
        "dryRun" | "dry_run" => "write what dry-run policies would say as `shadow`",
        _ => return None,
    };
    Some(advice.to_owned())
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome.as_str())?;
        let parts = [self.reason, self.error.as_deref(), self.policy.as_deref()];
        for part in parts.into_iter().flatten() {
            write!(f, " {part}")?;
        }
        if let Some(rule) = self.rule {
            write!(f, " rule {rule}")?;
        }
        match self.audited_by.as_deref() {
            None => {}
            Some([]) => f.write_str(", audited by none")?,
            Some(policies) => write!(f, ", audited by {}", policies.join(", "))?,
        }
        match &self.shadow {
            Some(shadow) => write!(f, ", shadow: {shadow}"),
            None => Ok(()),
        }
    }
}
