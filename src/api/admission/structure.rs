//! Structural schemas, read once, and what they say of a value.
//!
//! Only what the schemas of our kinds use is known here; a test sees that they use nothing else. What
//! errors say is what Kubernetes says.

use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use regex::Regex;
use serde_json::{Number, Value, json};

use super::MAX_FINDINGS;
use super::rules::Rules;
use crate::api::field_error::FieldError;
use crate::manifest::time::parse_timestamp;

/// A schema.
#[derive(Debug, Default)]
pub(super) struct Structure {
    /// `string`, `object` and so on; empty for anything.
    kind: String,
    int_or_string: bool,
    is_time: bool,
    is_base64: bool,
    nullable: bool,
    minimum: Option<i64>,
    maximum: Option<i64>,
    properties: Vec<(String, Self)>,
    additional: Option<Box<Self>>,
    items: Option<Box<Self>>,
    required: Vec<String>,
    values: Vec<String>,
    pattern: Option<Pattern>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    max_items: Option<usize>,
    min_properties: Option<usize>,
    max_properties: Option<usize>,
    rules: Option<Rules>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    /// Nothing matches a pattern that is none; a test sees that there is no such.
    regex: Option<Regex>,
}

impl Structure {
    /// Reads a schema.
    pub(super) fn read(schema: &Value) -> Self {
        let text = |name: &str| schema.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| {
            schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
        };
        let texts = |name: &str| -> Vec<String> {
            let texts = schema.get(name).and_then(Value::as_array).into_iter().flatten();
            texts.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let below =
            |name: &str| schema.get(name).filter(|it| it.is_object()).map(Self::read).map(Box::new);
        let properties = schema.get("properties").and_then(Value::as_object);
        Self {
            kind: text("type").unwrap_or_default(),
            int_or_string: schema.get("x-kubernetes-int-or-string") == Some(&json!(true)),
            is_time: text("format").as_deref() == Some("date-time"),
            is_base64: text("format").as_deref() == Some("byte"),
            nullable: schema.get("nullable") == Some(&json!(true)),
            minimum: schema.get("minimum").and_then(Value::as_i64),
            maximum: schema.get("maximum").and_then(Value::as_i64),
            properties: properties
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), Self::read(schema)))
                .collect(),
            additional: below("additionalProperties"),
            items: below("items"),
            required: texts("required"),
            values: texts("enum"),
            pattern: text("pattern").map(|text| Pattern { regex: Regex::new(&text).ok(), text }),
            min_length: number("minLength"),
            max_length: number("maxLength"),
            max_items: number("maxItems"),
            min_properties: number("minProperties"),
            max_properties: number("maxProperties"),
            rules: Rules::read(schema),
        }
    }

    /// What is wrong with one part of an object.
    pub(super) fn check(&self, part: &str, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let (Some(structure), Some(value)) = (self.property(part), object.get(part)) {
            structure.check_value(value, part, &mut errors);
        }
        errors
    }

    /// Which rules do not hold in one part of an object of sound structure.
    pub(super) fn check_rules(&self, part: &str, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let (Some(structure), Some(value)) = (self.property(part), object.get(part)) {
            structure.check_rules_of(value, part, &mut errors);
        }
        errors
    }

    fn property(&self, name: &str) -> Option<&Self> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, structure)| structure)
    }

    /// The schema of a field, and whether it is one of those that are declared.
    fn field(&self, name: &str) -> Option<(&Self, bool)> {
        let declared = self.property(name).map(|structure| (structure, true));
        declared.or_else(|| self.additional.as_deref().map(|structure| (structure, false)))
    }

    fn check_value(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if errors.len() >= MAX_FINDINGS {
            return;
        }
        if self.nullable && value.is_null() {
            return;
        }
        self.check_type(value, path, errors);
        if !self.values.is_empty()
            && !value.as_str().is_some_and(|text| self.values.iter().any(|known| known == text))
        {
            let known: Vec<_> = self.values.iter().map(String::as_str).collect();
            errors.push(FieldError::not_supported_value(path, value, &known));
        }
        match value {
            Value::String(text) => self.check_text(text, path, errors),
            Value::Array(items) => self.check_items(items, path, errors),
            Value::Object(fields) => {
                if self.kind == "object" || self.kind.is_empty() {
                    self.check_fields(fields, path, errors);
                }
            }
            Value::Number(number) => self.check_number(number, path, errors),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn check_number(&self, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
        let found = || Value::Number(number.clone());
        // What is no i64 is larger than any, or a fraction, which is of the wrong type.
        let is_large = |most: i64| number.as_i64().map_or(number.is_u64(), |it| it > most);
        if let Some(most) = self.maximum.filter(|most| is_large(*most)) {
            let detail = format!("{path} in body should be less than or equal to {most}");
            errors.push(FieldError::invalid_value(path, &found(), &detail));
        }
        let is_small = |least: i64| number.as_i64().is_some_and(|it| it < least);
        if let Some(least) = self.minimum.filter(|least| is_small(*least)) {
            let detail = format!("{path} in body should be greater than or equal to {least}");
            errors.push(FieldError::invalid_value(path, &found(), &detail));
        }
    }

    fn check_type(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let found = type_of(value);
        let is_right = if self.int_or_string {
            matches!(found, "integer" | "string")
        } else {
            self.kind.is_empty()
                || self.kind == found
                || (self.kind == "number" && found == "integer")
        };
        if !is_right {
            let expected = if self.int_or_string { "integer,string" } else { &self.kind };
            let detail = format!("{path} in body must be of type {expected}: \"{found}\"");
            errors.push(FieldError::type_invalid(path, found, &detail));
        }
    }

    fn check_text(&self, text: &str, path: &str, errors: &mut Vec<FieldError>) {
        if self.kind != "string" {
            return;
        }
        let length = text.chars().count();
        if let Some(most) = self.max_length.filter(|most| length > *most) {
            errors.push(FieldError::too_long(path, most));
        }
        if let Some(least) = self.min_length.filter(|least| length < *least) {
            let detail = format!("{path} in body should be at least {least} chars long");
            errors.push(FieldError::invalid(path, text, &detail));
        }
        if let Some(Pattern { text: pattern, regex }) = &self.pattern
            && !regex.as_ref().is_some_and(|regex| regex.is_match(text))
        {
            let detail = format!("{path} in body should match '{pattern}'");
            errors.push(FieldError::invalid(path, text, &detail));
        }
        if self.is_base64 && STANDARD.decode(text).is_err() {
            let detail = format!("{path} in body must be of type byte: \"{text}\"");
            errors.push(FieldError::type_invalid(path, text, &detail));
        }
        if self.is_time && parse_timestamp(text).is_none() {
            let detail = format!("{path} in body must be of type date-time: \"{text}\"");
            errors.push(FieldError::type_invalid(path, text, &detail));
        }
    }

    fn check_items(&self, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
        if self.kind != "array" {
            return;
        }
        if let Some(most) = self.max_items.filter(|most| items.len() > *most) {
            errors.push(FieldError::too_many(path, items.len(), most));
        }
        let Some(structure) = &self.items else { return };
        for (index, item) in items.iter().enumerate() {
            structure.check_value(item, &format!("{path}[{index}]"), errors);
        }
    }

    fn check_fields(
        &self,
        fields: &serde_json::Map<String, Value>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        for name in self.required.iter().filter(|name| !fields.contains_key(*name)) {
            errors.push(FieldError::required(format!("{path}.{name}"), ""));
        }
        if let Some(most) = self.max_properties.filter(|most| fields.len() > *most) {
            errors.push(FieldError::too_many(path, fields.len(), most));
        }
        if let Some(least) = self.min_properties.filter(|least| fields.len() < *least) {
            let detail = format!("{path} in body should have at least {least} properties");
            errors.push(FieldError::invalid_value(path, &json!(fields.len()), &detail));
        }
        for (name, value) in fields {
            if let Some((structure, _)) = self.field(name) {
                structure.check_value(value, &format!("{path}.{name}"), errors);
            }
        }
    }

    fn check_rules_of(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if errors.len() >= MAX_FINDINGS {
            return;
        }
        if let Some(rules) = &self.rules {
            errors.extend(rules.check(value, path, &self.kind));
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let Some((structure, is_declared)) = self.field(name) else { continue };
                    let path = if is_declared {
                        format!("{path}.{name}")
                    } else {
                        format!("{path}[{name}]")
                    };
                    structure.check_rules_of(value, &path, errors);
                }
            }
            Value::Array(items) => {
                let Some(structure) = &self.items else { return };
                for (index, item) in items.iter().enumerate() {
                    structure.check_rules_of(item, &format!("{path}[{index}]"), errors);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Whether all patterns and rules could be read.
    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        let here = self.pattern.as_ref().is_none_or(|pattern| pattern.regex.is_some())
            && self.rules.as_ref().is_none_or(Rules::is_sound);
        let mut below = self.properties.iter().map(|(_, structure)| structure);
        here && below.all(Self::is_sound)
            && self.items.as_deref().is_none_or(Self::is_sound)
            && self.additional.as_deref().is_none_or(Self::is_sound)
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
