//! One field of a rule against what the request has.
//!
//! Everything in it was written by somebody else, so it is shown on one line, cut, and without
//! control characters.

use serde_json::{Value as Json, json};

use crate::decide::Certainty;
use crate::decide::reference::FieldTrace;
use crate::manifest::text::quoted;
use crate::model::AuthorizationPolicy;

/// How many entries of a list are shown.
const SHOWN: usize = 5;

/// For people: the place, the field, and how it fared.
pub(super) fn sentence(policy: Option<&AuthorizationPolicy>, field: &FieldTrace) -> String {
    let actual = actual(field);
    let have = match actual.as_slice() {
        [] => "the request has none".to_owned(),
        [empty] if empty.is_empty() => "the request's is empty".to_owned(),
        values => format!("the request has {}", some_of(values, ", ")),
    };
    let wanted: Vec<_> = field.wanted.iter().map(|entry| entry.value.clone()).collect();
    let holds = field.result == Certainty::Yes;
    let how = match (&field.matched, is_negative(field)) {
        _ if field.result == Certainty::Unknown => {
            format!("cannot be known, because Envoy does not send it; {have}")
        }
        (Some(entry), negative) => {
            let but = if negative { ", and must not" } else { "" };
            match actual.as_slice() {
                [value] => format!("{} matches {}{but}", quoted(&entry.value), quoted(value)),
                _ => format!("{} matches{but}; {have}", quoted(&entry.value)),
            }
        }
        (None, true) if holds => format!("not {}; {have}", some_of(&wanted, " or ")),
        (None, _) => format!("wants {}; {have}", some_of(&wanted, " or ")),
    };
    format!("{}{}: {how}", place(policy, field), field.field)
}

/// For programs.
pub(super) fn json(policy: Option<&AuthorizationPolicy>, field: &FieldTrace) -> Json {
    let wanted: Vec<_> = field.wanted.iter().map(|entry| &entry.value).collect();
    let mut object = json!({
        "field": field.field,
        "holds": field.result == Certainty::Yes,
        "entries": wanted,
        "request": actual(field),
    });
    if let Some(members) = object.as_object_mut() {
        if let Some(entry) = &field.matched {
            members.insert("matched".to_owned(), json!(entry.value));
        }
        if let Some(file) = policy.and_then(|policy| policy.metadata.file.as_ref()) {
            members.insert("file".to_owned(), json!(&**file));
        }
        let entry = field.matched.as_ref().or(field.wanted.first());
        if let Some(entry) = entry.filter(|entry| entry.position.line > 0) {
            members.insert("line".to_owned(), json!(entry.position.line));
            members.insert("column".to_owned(), json!(entry.position.column));
        }
    }
    object
}

/// Where the entry stands that decided: an editor can jump there.
fn place(policy: Option<&AuthorizationPolicy>, field: &FieldTrace) -> String {
    let file = policy.and_then(|policy| policy.metadata.file.as_ref());
    let entry = field.matched.as_ref().or(field.wanted.first());
    match (file, entry) {
        (Some(file), Some(entry)) if entry.position.line > 0 => {
            format!("{file}:{}:{}: ", entry.position.line, entry.position.column)
        }
        _ => String::new(),
    }
}

fn is_negative(field: &FieldTrace) -> bool {
    field.field.rsplit('.').next().is_some_and(|name| name.starts_with("not"))
}

/// Headers that hold credentials: what is printed here ends up in logs and tickets.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// What the request has, as the user would write it. The trace keeps bytes as Latin-1, and marks
/// metadata by its type.
fn actual(field: &FieldTrace) -> Vec<String> {
    let header = field.field.strip_prefix("when[request.headers[");
    let name = header.and_then(|header| header.split_once(']')).map(|(name, _)| name);
    let is_secret = name
        .is_some_and(|name| SECRET_HEADERS.iter().any(|secret| secret.eq_ignore_ascii_case(name)));
    let shown = |value: &String| {
        if is_secret {
            return "<not shown>".to_owned();
        }
        if header.is_some() {
            let bytes: Option<Vec<u8>> =
                value.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
            return bytes.map_or_else(
                || value.clone(),
                |bytes| String::from_utf8_lossy(&bytes).into_owned(),
            );
        }
        let unmarked = value.strip_prefix("string\0").or(value.strip_prefix("list\0"));
        unmarked.unwrap_or(value).to_owned()
    };
    field.actual.iter().map(shown).collect()
}

fn some_of(values: &[String], between: &str) -> String {
    let mut shown: Vec<_> = values.iter().take(SHOWN).map(|value| quoted(value)).collect();
    if let Some(more) = values.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(between)
}
