//! JSON objects of tokens, as strict as protobuf's parser of `Struct`: no name twice, no deep
//! nesting.
//!
//! Protobuf's also takes what is not quite JSON (trailing commas, single quotes, names without
//! quotes, control characters); this does not.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::model::Value;

/// How deep objects and lists nest at most, the outermost included.
const MAX_DEPTH: u8 = 100;

/// Among so many members a name is found sooner by comparing it with each than by its hash.
const FEW_MEMBERS: usize = 32;

/// Parses one JSON object and nothing else; `null` is one without members, as to protobuf.
pub(super) fn parse_object(text: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Json { depth_left: MAX_DEPTH }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(_) => Some(value),
        Value::Null => Some(Value::Object(Vec::new())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::List(_) => None,
    }
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

#[derive(Clone, Copy)]
struct Json {
    depth_left: u8,
}

impl Json {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        let depth_left = depth_left.ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Json {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json {
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
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let mut known = members.iter().map(|(known, _)| known);
            let is_new = if members.len() < FEW_MEMBERS {
                known.all(|known| *known != name)
            } else {
                if names.is_empty() {
                    names.extend(known.cloned());
                }
                names.insert(name.clone())
            };
            if !is_new {
                return Err(A::Error::custom("a name twice"));
            }
            members.push((name, map.next_value_seed(inside)?));
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Each as native Envoy answered.
    #[rstest]
    #[case(r#"{"a":1} "#, true)]
    #[case(" \n{\"a\":1}\t\r", true)]
    #[case(r#"{"a":1,"a":2}"#, false)]
    #[case(r#"{"sub":1,"s\u0075b":2}"#, false)]
    #[case(r#"{"":1}"#, true)]
    #[case(r#"{"":1,"":2}"#, false)]
    #[case(r#"{"a":{"b":1,"b":1}}"#, false)]
    #[case(r#"{"a":[{"b":1,"b":1}]}"#, false)]
    #[case(r#"{"a":1} x"#, false)]
    #[case("{}\0", false)]
    #[case("\x0c{}", false)]
    #[case("[1]", false)]
    #[case("\"x\"", false)]
    #[case("", false)]
    #[case("null", true)]
    #[case("\u{feff}{}", false)]
    #[case(r#"{"a":/*x*/1}"#, false)]
    #[case(r#"{"a":True}"#, false)]
    #[case::number_too_large(r#"{"a":1e400}"#, false)]
    #[case::number_too_small(r#"{"a":-1e400}"#, false)]
    #[case::largest_number(r#"{"a":1.7976931348623157e308}"#, true)]
    #[case::rounded_up(r#"{"a":1.7976931348623159e308}"#, false)]
    #[case::rounded_down(r#"{"a":1e-400}"#, true)]
    #[case::many_digits(r#"{"a":99999999999999999999999999999999999999}"#, true)]
    #[case(r#"{"a":01}"#, false)]
    #[case(r#"{"a":1.}"#, false)]
    #[case(r#"{"a":.5}"#, false)]
    #[case(r#"{"a":+1}"#, false)]
    #[case(r#"{"a":0x10}"#, false)]
    #[case(r#"{"a":NaN}"#, false)]
    #[case(r#"{"a":-Infinity}"#, false)]
    #[case(r#"{"a":1e+}"#, false)]
    #[case(r#"{"a":"\u0000"}"#, true)]
    #[case(r#"{"a":"\ud83d\ude00"}"#, true)]
    #[case::lone_surrogate(r#"{"a":"\ud800"}"#, false)]
    #[case::lone_low_surrogate(r#"{"a":"\udc00"}"#, false)]
    #[case::half_a_pair(r#"{"a":"\ud800\u0041"}"#, false)]
    #[case(r#"{"a":"\x41"}"#, false)]
    #[case(r#"{"a":"\/"}"#, true)]
    fn objects(#[case] text: &str, #[case] expect: bool) {
        assert_eq!(parse_object(text.as_bytes()).is_some(), expect);
    }

    /// However many members stand between them.
    #[test]
    fn a_name_twice() {
        for count in (1..40).chain([100, 1_000]) {
            let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":{n}")).collect();
            let members = members.join(",");
            assert!(parse_object(format!("{{{members}}}").as_bytes()).is_some());
            for again in [0, count / 2, count - 1] {
                let text = format!("{{{members},\"{again}\":0}}");
                assert_eq!(parse_object(text.as_bytes()), None, "{again} of {count}");
            }
        }
    }

    /// Native Envoy takes these.
    #[rstest]
    #[case::trailing_comma(r#"{"a":1,}"#)]
    #[case::single_quotes("{'a':1}")]
    #[case::no_quotes("{a:1}")]
    #[case::quote_escaped(r#"{"a":"\'"}"#)]
    #[case::control_character("{\"a\":\"\x01\"}")]
    #[case::line_break("{\"a\":\"\n\"}")]
    #[case::tab("{\"a\":\"\t\"}")]
    fn what_is_not_quite_json_is_none(#[case] text: &str) {
        assert_eq!(parse_object(text.as_bytes()), None);
    }

    #[rstest]
    #[case::not_utf8(b"{\"a\":\"\xff\"}")]
    #[case::overlong(b"{\"a\":\"\xc0\x80\"}")]
    #[case::surrogate(b"{\"a\":\"\xed\xa0\x80\"}")]
    fn bytes_that_are_no_text(#[case] text: &[u8]) {
        assert_eq!(parse_object(text), None);
    }

    /// With the object around them, 100 levels are read and 101 are not.
    #[rstest]
    #[case::lists("[", "]")]
    #[case::objects("{\"a\":[", "]}")]
    fn nesting(#[case] open: &str, #[case] close: &str) {
        let levels = open.len().min(2);
        let nested = |depth: usize| {
            let times = depth / levels;
            let rest = if depth % levels == 1 { "[]" } else { "1" };
            let text = format!("{{\"x\":{}{rest}{}}}", open.repeat(times), close.repeat(times));
            parse_object(text.as_bytes()).is_some()
        };
        assert!(nested(99));
        assert!(!nested(100));
        assert!(!nested(127));
        assert!(!nested(100_000));
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
