//! Values as YAML, for files that people read and keep under version control.
//!
//! Block style throughout; text is quoted where any reader of YAML might take it for something else.

use serde_json::Value;

/// One document, without markers.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                indented(indent, text);
                string(key, text);
                text.push(':');
                below(value, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indented(indent, text);
                text.push('-');
                entry(item, indent, text);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            indented(indent, text);
            scalar(value, text);
            text.push('\n');
        }
    }
}

/// What follows a key. Lists stand at its own indentation, as kubectl writes them.
fn below(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            block(value, indent + 2, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(value, indent, text);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            text.push(' ');
            scalar(value, text);
            text.push('\n');
        }
    }
}

/// What follows a dash: the first line of a block stands beside it.
fn entry(value: &Value, indent: usize, text: &mut String) {
    let mut inner = String::new();
    block(value, indent + 2, &mut inner);
    text.push(' ');
    text.push_str(inner.trim_start_matches(' '));
}

fn scalar(value: &Value, text: &mut String) {
    match value {
        Value::String(value) => string(value, text),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        // An empty list or object is the same in JSON.
        | Value::Object(_) => {
            text.push_str(&value.to_string());
        }
    }
}

fn string(value: &str, text: &mut String) {
    if is_plain(value) {
        text.push_str(value);
    } else {
        // A JSON string is a YAML one.
        text.push_str(&Value::from(value).to_string());
    }
}

fn is_plain(text: &str) -> bool {
    const OTHER_THINGS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let within =
        |c: char| c.is_ascii_alphanumeric() || " -_./,;()<>=$%&|+'`*{}[]!?^~\\\"@".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.')
        && !text.ends_with(' ')
        && text.chars().all(|c| within(c) || c == ':')
        && !text.contains(": ")
        && !text.ends_with(':')
        // `.5` and `.inf` are numbers.
        && !text.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || "iInN".contains(c)))
        && !OTHER_THINGS.iter().any(|other| text.eq_ignore_ascii_case(other))
}

fn indented(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::document;
    use crate::manifest::node::{Node, parse_documents};

    fn read_back(text: &str) -> serde_json::Value {
        let documents = parse_documents(text, Some("written.yaml")).unwrap();
        assert_eq!(documents.len(), 1, "{text}");
        documents.first().map(Node::to_json).unwrap()
    }

    #[test]
    fn looks_as_people_write_it() {
        let value = json!({
            "a": { "b": [{ "c": 1, "d": ["x", ["u", "z"], {}] }, "yes", "a: b", "*"], "e": [] },
            "key: odd": "two\nlines",
        });
        insta::assert_snapshot!(document(&value), @r#"
        a:
          b:
          - c: 1
            d:
            - x
            - - u
              - z
            - {}
          - "yes"
          - "a: b"
          - "*"
          e: []
        "key: odd": "two\nlines"
        "#);
        assert_eq!(read_back(&document(&value)), value);
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let text = "[a-y:# .'\"*&!?{}\\[\\],|>@`%0-9\\-~\\n=<\\\\]{0,6}|true|No|null|\\.5|1e3|<<";
        let leaf = prop_oneof![
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            text.prop_map(Into::into),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(text, inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// What is written is read as the same.
        #[test]
        fn round_trips(value in prop::collection::vec(values(), 1..3)) {
            let value = serde_json::Value::from(value);
            prop_assert_eq!(read_back(&document(&value)), value);
        }
    }
}
