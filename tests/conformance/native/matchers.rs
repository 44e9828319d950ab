//! Envoy's matchers for the patterns of a policy.

use serde_json::{Value, json};

/// A pattern with a star at its start or end, or nothing but a star.
pub(super) fn string(pattern: &str) -> Value {
    string_after("", pattern)
}

/// A pattern for what comes after `start`; a star alone takes anything at all but nothing.
pub(super) fn string_after(start: &str, pattern: &str) -> Value {
    if pattern == "*" {
        regex(".+")
    } else if let Some(end) = pattern.strip_prefix('*') {
        match start {
            "" => json!({ "suffix": end }),
            _ => regex(&format!("{start}.*{}", quote(end))),
        }
    } else if let Some(beginning) = pattern.strip_suffix('*') {
        json!({"prefix": format!("{start}{beginning}")})
    } else {
        json!({"exact": format!("{start}{pattern}")})
    }
}

pub(super) fn regex(regex: &str) -> Value {
    json!({"safe_regex": {"regex": regex}})
}

/// A header; here a star alone asks for nothing but presence.
pub(super) fn header(name: &str, pattern: &str, ignore_case: bool) -> Value {
    if pattern == "*" {
        return json!({"name": name, "present_match": true});
    }
    let mut matcher = string(pattern);
    matcher["ignore_case"] = ignore_case.into();
    json!({"name": name, "string_match": matcher})
}

/// The text as a regex that matches nothing else.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// An address, or a range of them.
pub(super) fn cidr(text: &str) -> Value {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse::<u32>().expect("a prefix length")),
        None => (text, if text.contains(':') { 128 } else { 32 }),
    };
    json!({"address_prefix": address, "prefix_len": length})
}

/// A value among dynamic metadata.
pub(super) fn metadata(filter: &str, path: &[&str], value: &Value) -> Value {
    let keys: Vec<_> = path.iter().map(|key| json!({ "key": key })).collect();
    json!({"metadata": {"filter": filter, "path": keys, "value": value}})
}

/// Any of some value matchers.
pub(super) fn any_value(mut matchers: Vec<Value>) -> Value {
    match matchers.len() {
        1 => matchers.remove(0),
        _ => json!({"or_match": {"value_matchers": matchers}}),
    }
}

/// A list with such a value in it.
pub(super) fn list_with(value: &Value) -> Value {
    json!({"list_match": {"one_of": value}})
}
