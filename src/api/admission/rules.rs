//! The CEL rules of one schema (`x-kubernetes-validations`).
//!
//! Which values they are held against is `structure`'s.

use kube_cel::{CompiledSchema, ErrorKind, compile_schema, validate_compiled};
use serde_json::{Value, json};

use crate::api::field_error::FieldError;

/// The rules of one schema, without those of the schemas below it.
#[derive(Debug)]
pub(super) struct Rules {
    compiled: CompiledSchema,
    /// Each rule's text, and its message.
    messages: Vec<(String, String)>,
}

impl Rules {
    /// Those of a schema, if it has any.
    pub(super) fn read(schema: &Value) -> Option<Self> {
        let rules = schema.get("x-kubernetes-validations")?;
        let text = |rule: &Value, name: &str| {
            rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let messages = rules.as_array().into_iter().flatten();
        let messages = messages.map(|rule| (text(rule, "rule"), text(rule, "message"))).collect();
        // kube-cel writes the names of declared fields anew, and gets `_` wrong: it takes the
        // `jwks_uri` of an object for `jwks__uri`, so that `has(self.jwks_uri)` never holds. The keys
        // of a map it leaves alone, and so every object is one here. What Kubernetes itself writes
        // anew (reserved words, `-`, `__`) no rule of ours names; a test sees to that.
        let compiled = compile_schema(&json!({
            "type": schema.get("type"),
            "additionalProperties": true,
            "x-kubernetes-validations": rules,
        }));
        Some(Self { compiled, messages })
    }

    /// The rules that do not hold for a value of that type.
    pub(super) fn check(&self, value: &Value, path: &str, kind: &str) -> Vec<FieldError> {
        let Err(found) = validate_compiled(&self.compiled, value, None) else { return Vec::new() };
        let errors = found.into_vec().into_iter().map(|error| {
            let detail = if error.kind == ErrorKind::ValidationFailure {
                error.message
            } else {
                // Among them the name of a port that is no number.
                let why = error.message.strip_prefix("rule evaluation error: ");
                let why = why.unwrap_or(&error.message);
                format!("{why} evaluating rule: {}", self.message(&error.rule))
            };
            FieldError::invalid(path, kind, &detail)
        });
        errors.collect()
    }

    fn message<'a>(&'a self, rule: &'a str) -> &'a str {
        let known = self.messages.iter().find(|(text, _)| text == rule);
        known.map_or(rule, |(_, message)| message)
    }

    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        let escaped = |text: &str| text.contains("__") || text.contains("oldSelf");
        !self.compiled.has_errors()
            && self.messages.iter().all(|(text, message)| !escaped(text) && !message.is_empty())
    }
}
