//! What the status of a resource says: whether its present form is accepted, and why not.
//!
//! A function of what control last did. Writing the status to where the resource stands is up to
//! those who can write there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::model::{Kind, ResourceId};
use crate::source::Corpus;

use self::api_rule::ApiRuleForm;
use super::status::{ControlStatus, Problem, Subject};

mod api_rule;

/// The type of the condition that is ours. Others in the same status belong to others.
pub const CONDITION: &str = "Accepted";

/// Where a code is explained; also how messages of ours are told from those of others.
const DOCUMENTATION: &str =
    "https://github.com/postern-authz/postern/blob/main/docs/diagnostics.md#";

/// How many problems a message lists, and how long it gets: the rest is in the log.
const MOST_PROBLEMS: usize = 8;
const MOST_CHARACTERS: usize = 4_096;

/// What became of every resource of one policy set.
#[derive(Debug)]
pub struct Acceptances {
    corpus: Arc<Corpus>,
    resources: BTreeMap<ResourceId, Acceptance>,
    /// Of files that could not be made out.
    files: BTreeMap<Arc<str>, Acceptance>,
}

/// An object as it stands in an API.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'o> {
    /// Which one.
    pub id: &'o ResourceId,
    /// Its name as a [`crate::source::PolicyFile`], and its text there: the status is about this text
    /// or about none.
    pub file: &'o str,
    /// See `file`.
    pub text: &'o str,
    /// `metadata.generation`
    pub generation: Option<i64>,
    /// `status`
    pub status: Option<&'o Value>,
}

impl Acceptances {
    /// Of the policy set that this is the state after.
    pub fn of(control: &ControlStatus) -> Self {
        let mut resources: BTreeMap<ResourceId, Acceptance> =
            control.resources.iter().map(|it| (it.id(), Acceptance::default())).collect();
        for finding in &control.findings {
            if let Some(found) = finding.resource.as_ref().and_then(|id| resources.get_mut(id)) {
                found.findings.push(Finding::of(finding));
            }
        }
        let mut files = BTreeMap::new();
        for rejection in &control.rejected {
            let findings = rejection.problems.iter().map(|problem| match problem {
                Problem::Text(diagnostic) => Finding::of(diagnostic),
                Problem::Read(problem) => Finding {
                    severity: Severity::Error,
                    code: None,
                    text: problem.error.to_string(),
                    field: (String::new(), problem.error.to_string()),
                },
            });
            let refused = Refused { kept: rejection.kept > 0, effect: rejection.effect() };
            let acceptance = Acceptance { refused: Some(refused), findings: findings.collect() };
            match &rejection.subject {
                Subject::Resource(id) => drop(resources.insert(id.clone(), acceptance)),
                Subject::Path(path) => drop(files.insert(path.clone(), acceptance)),
            }
        }
        Self { corpus: control.corpus.clone(), resources, files }
    }

    /// The status that an object shall have; nothing where it has it already, and where control has
    /// not seen this form of it yet. `now` is RFC 3339 with seconds.
    ///
    /// What others say in the status stays.
    pub fn status(&self, object: Standing<'_>, now: &str) -> Option<Value> {
        let files = &self.corpus.files;
        let at = files.binary_search_by(|file| (*file.name).cmp(object.file)).ok()?;
        if &*files.get(at)?.text != object.text {
            return None;
        }
        let acceptance = self.resources.get(object.id).or_else(|| self.files.get(object.file))?;
        let before = object.status.and_then(Value::as_object);
        let after = match object.id.kind {
            Kind::ApiRule => {
                let form = ApiRuleForm::of(object.text);
                api_rule::status(acceptance, before, form, object.generation, now)
            }
            Kind::AuthorizationPolicy | Kind::RequestAuthentication | Kind::PeerAuthentication => {
                acceptance.status(before, object.generation, now)
            }
        };
        (before != Some(&after)).then_some(Value::Object(after))
    }
}

/// What became of one resource.
#[derive(Debug, Clone, PartialEq, Default)]
struct Acceptance {
    /// Nothing where the present form is in force.
    refused: Option<Refused>,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq)]
struct Refused {
    /// Whether an earlier form is in force.
    kept: bool,
    effect: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
struct Finding {
    severity: Severity,
    code: Option<Code>,
    text: String,
    /// Which field it is about, and what is wrong with it.
    field: (String, String),
}

impl Finding {
    fn of(diagnostic: &Diagnostic) -> Self {
        let Diagnostic { path, message, code, severity, .. } = diagnostic;
        let text = match path.as_str() {
            "" => format!("{message} ({code})"),
            path => format!("{path}: {message} ({code})"),
        };
        let field = (path.clone(), message.clone());
        Self { severity: *severity, code: Some(*code), text, field }
    }
}

impl Acceptance {
    fn reason(&self) -> &'static str {
        match &self.refused {
            None => "InForce",
            Some(Refused { kept: true, .. }) => "EarlierFormInForce",
            Some(Refused { kept: false, .. }) => "NeverAccepted",
        }
    }

    fn message(&self) -> String {
        let mut message = match &self.refused {
            None => "in force".to_owned(),
            Some(Refused { effect, .. }) => (*effect).to_owned(),
        };
        let shown = self.findings.iter().take(MOST_PROBLEMS);
        for (at, Finding { text, .. }) in shown.enumerate() {
            message.push_str(if at == 0 { ": " } else { "; " });
            message.push_str(text);
        }
        if let Some(more @ 1..) = self.findings.len().checked_sub(MOST_PROBLEMS) {
            message.push_str(&format!("; and {more} more"));
        }
        if message.chars().count() > MOST_CHARACTERS {
            message = message.chars().take(MOST_CHARACTERS - 3).collect();
            message.push_str("...");
        }
        message
    }

    fn status(
        &self,
        before: Option<&Map<String, Value>>,
        generation: Option<i64>,
        now: &str,
    ) -> Map<String, Value> {
        let mut status = before.cloned().unwrap_or_default();
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        self.put_condition(conditions, generation, now);
        let (ours, mut others): (Vec<_>, Vec<_>) = match status.remove("validationMessages") {
            Some(Value::Array(messages)) => messages.into_iter().partition(is_ours),
            Some(_) | None => Default::default(),
        };
        drop(ours);
        others.extend(self.validation_messages());
        if !others.is_empty() {
            status.insert("validationMessages".into(), Value::Array(others));
        }
        if let Some(generation) = generation
            && number(status.get("observedGeneration")) != Some(generation)
        {
            status.insert("observedGeneration".into(), generation.into());
        }
        status
    }

    fn put_condition(&self, conditions: &mut Value, generation: Option<i64>, now: &str) {
        let status = if self.refused.is_none() { "True" } else { "False" };
        let mut condition = json!({
            "type": CONDITION,
            "status": status,
            "reason": self.reason(),
            "message": self.message(),
            "lastTransitionTime": now,
        });
        if let Some(generation) = generation {
            set(&mut condition, "observedGeneration", generation.into());
        }
        if !conditions.is_array() {
            *conditions = json!([]);
        }
        let Some(conditions) = conditions.as_array_mut() else { return };
        let is_ours = |found: &&mut Value| found.get("type") == Some(&json!(CONDITION));
        let Some(found) = conditions.iter_mut().find(is_ours) else {
            conditions.push(condition);
            return;
        };
        if found.get("status") == condition.get("status")
            && let Some(since) = found.get("lastTransitionTime")
        {
            set(&mut condition, "lastTransitionTime", since.clone());
        }
        // Written as a text by some, which says the same.
        if number(found.get("observedGeneration")) == generation
            && let Some(written) = found.get("observedGeneration")
        {
            set(&mut condition, "observedGeneration", written.clone());
        }
        *found = condition;
    }

    /// In the shape of Istio's own, which knows codes of Istio only: the one for a resource that is
    /// not as the schema wants it. The page that each names tells them apart.
    fn validation_messages(&self) -> Vec<Value> {
        let mut messages: Vec<Value> = Vec::new();
        for Finding { severity, code, .. } in &self.findings {
            let Some(code) = code else { continue };
            let message = json!({
                "type": { "name": "SchemaValidationError", "code": "IST0106" },
                "level": match severity {
                    Severity::Note => "INFO",
                    Severity::Warning => "WARNING",
                    Severity::Error => "ERROR",
                },
                "documentationUrl": format!("{DOCUMENTATION}{}", code.to_string().to_lowercase()),
            });
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        messages
    }
}

fn is_ours(message: &Value) -> bool {
    let url = message.get("documentationUrl").and_then(Value::as_str);
    url.is_some_and(|url| url.starts_with(DOCUMENTATION))
}

fn number(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
