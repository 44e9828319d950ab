//! JSON, member by member, at the end of one buffer.
//!
//! Says nothing about what is written; that it is well-formed is up to how it is called: each
//! `object` and `list` closes what it opens.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use crate::model::Value;

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Object {
    out: Vec<u8>,
    is_empty: bool,
}

impl Object {
    /// With room for that many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// The object, with the end of its line.
    pub(super) fn finish_line(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"}\n");
        self.out
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        write_text(&mut self.out, name);
        self.out.push(b':');
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.texts_joined(name, &[text]);
    }

    /// One text of several pieces.
    pub(super) fn texts_joined(&mut self, name: &str, pieces: &[&str]) {
        self.name(name);
        self.out.push(b'"');
        for piece in pieces {
            escape(&mut self.out, piece);
        }
        self.out.push(b'"');
    }

    /// What displays without anything that JSON would have to escape: addresses, hexadecimal digits.
    pub(super) fn plain(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        self.push(format_args!("\"{value}\""));
    }

    pub(super) fn number(&mut self, name: &str, number: impl Into<u64>) {
        self.name(name);
        self.push(format_args!("{}", number.into()));
    }

    pub(super) fn fraction(&mut self, name: &str, number: f64) {
        self.name(name);
        self.out_value(&Value::Number(number));
    }

    /// In seconds, to the nanosecond.
    pub(super) fn seconds(&mut self, name: &str, duration: Duration) {
        self.name(name);
        self.push(format_args!("{}.{:09}", duration.as_secs(), duration.subsec_nanos()));
    }

    pub(super) fn value(&mut self, name: &str, value: &Value) {
        self.name(name);
        self.out_value(value);
    }

    pub(super) fn list<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.name(name);
        self.out.push(b'[');
        for (place, text) in texts.into_iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            write_text(&mut self.out, text);
        }
        self.out.push(b']');
    }

    pub(super) fn object(&mut self, name: &str, members: impl FnOnce(&mut Self)) {
        self.name(name);
        self.out.push(b'{');
        self.is_empty = true;
        members(self);
        self.out.push(b'}');
        self.is_empty = false;
    }

    fn out_value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            // What JSON cannot say no condition matches either.
            Value::Number(n) if !n.is_finite() => self.out.extend_from_slice(b"null"),
            Value::Number(n) => self.push(format_args!("{n}")),
            Value::String(text) => write_text(&mut self.out, text),
            Value::List(items) => {
                self.out.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        self.out.push(b',');
                    }
                    self.out_value(item);
                }
                self.out.push(b']');
            }
            Value::Object(members) => {
                self.out.push(b'{');
                for (place, (name, member)) in members.iter().enumerate() {
                    if place > 0 {
                        self.out.push(b',');
                    }
                    write_text(&mut self.out, name);
                    self.out.push(b':');
                    self.out_value(member);
                }
                self.out.push(b'}');
            }
        }
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Memory is always writable.
        drop(self.out.write_fmt(text));
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // All bytes, without leaving off at the first: many at a time.
    if !text.bytes().fold(false, |found, byte| found | is_special(byte)) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => drop(write!(out, "\\u{byte:04x}")),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<f64>()
                .prop_filter("JSON has no others", |n| n.is_finite())
                .prop_map(Value::Number),
            ".{0,4}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map("[a-c\"\\\\]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn is_same(value: &Value, read: &serde_json::Value) -> bool {
        match value {
            Value::Null => read.is_null(),
            Value::Bool(b) => read.as_bool() == Some(*b),
            Value::Number(n) => read.as_f64() == Some(*n),
            Value::String(s) => read.as_str() == Some(s),
            Value::List(items) => read.as_array().is_some_and(|read| {
                read.len() == items.len() && items.iter().zip(read).all(|(v, r)| is_same(v, r))
            }),
            Value::Object(members) => read.as_object().is_some_and(|read| {
                read.len() == members.len() && members.iter().all(|(n, v)| is_same(v, &read[n]))
            }),
        }
    }

    proptest! {
        /// What is read is what was written, however odd.
        #[test]
        fn it_is_json(text in "\\PC{0,8}|[\\x00-\\x22\\\\é]{0,4}", value in value(), nanos: u64) {
            let mut object = Object::with_capacity(0);
            object.text("text", &text);
            object.list(&text, [text.as_str(), ""]);
            object.object("object", |object| {
                object.object("empty", |_| ());
                object.value("value", &value);
            });
            object.number("number", 7_u32);
            object.seconds("seconds", Duration::from_nanos(nanos));
            let line = object.finish_line();
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(&read["text"], &text);
            prop_assert_eq!(&read[&text], &serde_json::json!([text, ""]));
            prop_assert!(is_same(&value, &read["object"]["value"]), "{:?}", value);
            prop_assert_eq!(&read["object"]["empty"], &serde_json::json!({}));
            prop_assert_eq!(&read["number"], &serde_json::json!(7));
            let seconds = read["seconds"].as_f64().unwrap();
            prop_assert!((seconds - nanos as f64 / 1e9).abs() <= seconds * 1e-12);
        }
    }
}
