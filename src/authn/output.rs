//! What a verified token leaves: claims for policies, headers from claims for the upstream.

use std::{mem, sync::Arc};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json;
use crate::model::Value;

/// A payload as policies see it: claims at the top level that are listed, split at blanks.
#[derive(Debug)]
pub(super) struct SplitClaims {
    listed: Arc<[Box<str>]>,
    payload: Arc<Value>,
    /// The members that are split, by their places, as they were.
    texts: Vec<(usize, String)>,
}

impl SplitClaims {
    pub(super) fn new(mut payload: Value, listed: &Arc<[Box<str>]>) -> Self {
        let texts = split(&mut payload, listed);
        Self { listed: listed.clone(), payload: Arc::new(payload), texts }
    }

    /// The payload with these claims split instead.
    pub(super) fn split_at(&self, listed: &Arc<[Box<str>]>) -> Arc<Value> {
        if self.listed == *listed {
            return self.payload.clone();
        }
        let mut payload = self.unsplit();
        split(&mut payload, listed);
        Arc::new(payload)
    }

    /// The header value of a claim, which no splitting changes; `None` where Envoy sets no header.
    pub(super) fn header(&self, path: &[Box<str>]) -> Option<String> {
        // What is split was a text, which has no members.
        match path {
            [name] => self.text(name).or_else(|| claim_header(&self.payload, path)),
            _ => claim_header(&self.payload, path),
        }
    }

    /// What a member was that is split.
    fn text(&self, name: &str) -> Option<String> {
        let Value::Object(members) = &*self.payload else { return None };
        let is_it = |place: usize| members.get(place).is_some_and(|(member, _)| member == name);
        self.texts.iter().find(|(place, _)| is_it(*place)).map(|(_, text)| text.clone())
    }

    /// The payload as it came.
    fn unsplit(&self) -> Value {
        let mut payload = Value::clone(&self.payload);
        if let Value::Object(members) = &mut payload {
            for (place, text) in &self.texts {
                if let Some((_, member)) = members.get_mut(*place) {
                    *member = Value::String(text.clone());
                }
            }
        }
        payload
    }
}

/// Splits listed members in their places, and returns what they were.
fn split(payload: &mut Value, listed: &[Box<str>]) -> Vec<(usize, String)> {
    let Value::Object(members) = payload else { return Vec::new() };
    let mut texts = Vec::new();
    for (place, (name, member)) in members.iter_mut().enumerate() {
        let is_listed = || listed.iter().any(|listed| **listed == **name);
        if let Value::String(text) = member
            && !text.is_empty()
            && is_listed()
        {
            let text = mem::take(text);
            let words = text.split(' ').filter(|word| !word.is_empty());
            *member = Value::List(words.map(|word| Value::String(word.to_owned())).collect());
            texts.push((place, text));
        }
    }
    texts
}

/// The header value of a claim; `None` where Envoy sets no header.
fn claim_header(payload: &Value, path: &[Box<str>]) -> Option<String> {
    let claim = path.iter().try_fold(payload, |value, name| value.get(name))?;
    let text = match claim {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(*n),
        Value::List(_) | Value::Object(_) => {
            let mut text = String::new();
            json::write(claim, &mut text);
            STANDARD.encode(text)
        }
    };
    (!text.is_empty()).then_some(text)
}

/// Whole numbers from 0 up to 2^64 as integers, all others as C's `%f`.
fn number(n: f64) -> String {
    if n < 0.0 || n >= u64::MAX as f64 || n.fract() != 0.0 {
        format!("{n:.6}")
    } else {
        // Minus zero is zero here.
        format!("{:.0}", n.abs())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"c":"x"}"#, "c", Some("x"))]
    #[case(r#"{"c":""}"#, "c", None)]
    #[case(r#"{"c":null}"#, "c", None)]
    #[case(r#"{"c":true}"#, "c", Some("true"))]
    #[case(r#"{"c":0}"#, "c", Some("0"))]
    #[case(r#"{"c":-0.0}"#, "c", Some("0"))]
    #[case(r#"{"c":9223372036854775807}"#, "c", Some("9223372036854775808"))]
    #[case(r#"{"c":-7}"#, "c", Some("-7.000000"))]
    #[case(r#"{"c":0.0000001}"#, "c", Some("0.000000"))]
    #[case(r#"{"c":1e20}"#, "c", Some("100000000000000000000.000000"))]
    #[case(r#"{"c":[]}"#, "c", Some("W10="))]
    #[case(r#"{"c":{"d":"x"}}"#, "c.d", Some("x"))]
    #[case(r#"{"c.d":"x"}"#, "c.d", None)]
    fn claims(#[case] payload: &str, #[case] path: &str, #[case] expect: Option<&str>) {
        let payload = json::parse_object(payload.as_bytes()).unwrap();
        let path: Vec<Box<str>> = path.split('.').map(Into::into).collect();
        assert_eq!(claim_header(&payload, &path).as_deref(), expect);
    }

    #[rstest]
    #[case(r#"{"scope":"read write  admin"}"#, r#"{"scope":["read","write","admin"]}"#)]
    #[case(r#"{"scope":""}"#, r#"{"scope":""}"#)]
    #[case(r#"{"scope":"a\tb"}"#, r#"{"scope":["a\tb"]}"#)]
    #[case(r#"{"o":{"scope":"a b"}}"#, r#"{"o":{"scope":"a b"}}"#)]
    #[case(r#"{"x":"1 2","scope":" ","o":"a b"}"#, r#"{"x":"1 2","scope":[],"o":"a b"}"#)]
    #[case(r#"{"scope":["a b"],"o":1}"#, r#"{"scope":["a b"],"o":1}"#)]
    fn space_delimited(#[case] payload: &str, #[case] expect: &str) {
        let original = json::parse_object(payload.as_bytes()).unwrap();
        let claims = SplitClaims::new(original.clone(), &["scope".into()].into());
        let mut text = String::new();
        json::write(&claims.payload, &mut text);
        assert_eq!(text, expect);

        // Nothing of it is lost: not for rules with other claims, nor for headers.
        assert_eq!(*claims.split_at(&[].into()), original);
        let others = SplitClaims::new(original.clone(), &["o".into(), "x".into()].into());
        assert_eq!(others.split_at(&["scope".into()].into()), claims.payload);
        for path in [&["scope"][..], &["o"], &["o", "scope"], &["scope", "read"], &["x"]] {
            let path: Vec<Box<str>> = path.iter().map(|name| (*name).into()).collect();
            assert_eq!(claims.header(&path), claim_header(&original, &path), "{path:?}");
        }
    }
}
