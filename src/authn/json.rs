//! JSON objects of tokens, as strict as protobuf's parser of `Struct`: no name twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::model::Value;

/// Parses one JSON object and nothing else.
pub(super) fn parse_object(text: &[u8]) -> Option<Value> {
    let Json(value) = serde_json::from_slice(text).ok()?;
    matches!(value, Value::Object(_)).then_some(value)
}

/// Writes compact JSON, numbers as protobuf writes them.
pub(super) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&number(*n)),
        Value::String(s) => out.push_str(&serde_json::Value::from(s.as_str()).to_string()),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (i, (name, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
    }
}

/// The shortest text that reads back the same, whole numbers without a fraction.
fn number(n: f64) -> String {
    // Below 10^15 the plain form is what `%.15g` prints; above, the exponent has a sign.
    if n == n.trunc() && n.abs() < 1e15 {
        return format!("{n:.0}");
    }
    let plain = n.to_string();
    if n != 0.0 && (n.abs() >= 1e15 || n.abs() < 1e-4) {
        let text = format!("{n:e}");
        if let Some((mantissa, exponent)) = text.split_once('e') {
            let (sign, digits) =
                exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            return format!("{mantissa}e{sign}{digits:0>2}");
        }
    }
    plain
}

struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    // `Struct` has doubles only: large integers lose their last digits here as they do there.
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Json(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some((name, Json(member))) = map.next_entry::<String, Json>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("a name twice"));
            }
            members.push((name, member));
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"a":1} "#, true)]
    #[case(r#"{"a":1,"a":2}"#, false)]
    #[case(r#"{"a":{"b":1,"b":1}}"#, false)]
    #[case(r#"{"a":1} x"#, false)]
    #[case("[1]", false)]
    #[case("\u{feff}{}", false)]
    #[case(r#"{"a":1e400}"#, false)]
    fn objects(#[case] text: &str, #[case] expect: bool) {
        assert_eq!(parse_object(text.as_bytes()).is_some(), expect);
    }

    #[rstest]
    #[case(r#"{"a":[1,-2.5,true,null,"x\""],"b":{}}"#)]
    fn round_trip(#[case] text: &str) {
        let mut out = String::new();
        write(&parse_object(text.as_bytes()).unwrap(), &mut out);
        assert_eq!(out, text);
    }

    #[rstest]
    #[case(5.0, "5")]
    #[case(1.5, "1.5")]
    #[case(1e20, "1e+20")]
    #[case(1e-7, "1e-07")]
    #[case(-3.0, "-3")]
    fn numbers(#[case] n: f64, #[case] expect: &str) {
        assert_eq!(number(n), expect);
    }
}
