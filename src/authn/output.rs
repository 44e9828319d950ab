//! What a verified token leaves for the upstream: headers from claims.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json;
use crate::model::Value;

/// The header value of a claim; `None` where Envoy sets no header.
pub(super) fn claim_header(payload: &Value, path: &[Box<str>]) -> Option<String> {
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

/// The payload as policies see it: listed claims at the top level split at blanks.
pub(super) fn normalize(payload: &Value, space_delimited: &[Box<str>]) -> Value {
    let Value::Object(members) = payload else { return payload.clone() };
    let split = |name: &str, member: &Value| {
        let listed = space_delimited.iter().any(|s| **s == *name);
        match member.as_str().filter(|text| listed && !text.is_empty()) {
            Some(text) => {
                let words = text.split(' ').filter(|word| !word.is_empty());
                Value::List(words.map(|word| Value::String(word.to_owned())).collect())
            }
            None => member.clone(),
        }
    };
    Value::Object(members.iter().map(|(n, m)| (n.clone(), split(n, m))).collect())
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
    fn space_delimited(#[case] payload: &str, #[case] expect: &str) {
        let payload = json::parse_object(payload.as_bytes()).unwrap();
        let mut text = String::new();
        json::write(&normalize(&payload, &["scope".into()]), &mut text);
        assert_eq!(text, expect);
    }
}
