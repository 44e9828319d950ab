//! Parts of a line, as they are read from JSON: borrowed where nothing is escaped.
//!
//! Lenient where access logs are: a number may be in quotes, and one text stands for a list of one.

use std::fmt;
use std::net::IpAddr;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use smallvec::SmallVec;

use super::Text;
use crate::model::Value;

/// Texts; most headers have one line.
pub type Texts<'a> = SmallVec<[Text<'a>; 1]>;

/// A text, or nothing.
pub(super) struct OptionalText;

impl<'de> DeserializeSeed<'de> for OptionalText {
    type Value = Option<Text<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OptionalText {
    type Value = Option<Text<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Text::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Text::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A name in an object.
pub(super) struct Name<'a>(pub(super) Text<'a>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Text::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Text::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(NameVisitor)
    }
}

/// An address alone, or nothing. An empty text is nothing: a unix socket has none.
pub(super) struct OptionalAddress;

impl<'de> DeserializeSeed<'de> for OptionalAddress {
    type Value = Option<IpAddr>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for OptionalAddress {
    type Value = Option<IpAddr>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an IP address")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| E::custom("not an IP address"))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A number, in quotes or not, or nothing.
pub(super) struct OptionalNumber;

impl<'de> DeserializeSeed<'de> for OptionalNumber {
    type Value = Option<u32>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for OptionalNumber {
    type Value = Option<u32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        u32::try_from(number).map(Some).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        // Numbers of dynamic metadata are doubles.
        let text = format!("{number}");
        text.parse().map(Some).map_err(|_| E::custom("not a whole number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| E::custom("not a whole number"))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A list of texts, or one text, or nothing.
pub(super) struct TextList;

impl<'de> DeserializeSeed<'de> for TextList {
    type Value = Texts<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextList {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Texts::from_iter([Text::Borrowed(text)]))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Texts::from_iter([Text::Owned(text.to_owned())]))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Texts::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Texts::new();
        while let Some(text) = list.next_element::<Name<'de>>()? {
            texts.push(text.0);
        }
        Ok(texts)
    }
}

/// Headers: names in lower case, each with its lines.
pub(super) struct HeaderLists;

impl<'de> DeserializeSeed<'de> for HeaderLists {
    type Value = Vec<(Text<'de>, Texts<'de>)>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderLists {
    type Value = Vec<(Text<'de>, Texts<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut headers: Self::Value = Vec::with_capacity(4);
        while let Some(Name(name)) = map.next_key()? {
            let lines = map.next_value_seed(TextList)?;
            let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Text::Owned(name.to_ascii_lowercase())
            } else {
                name
            };
            if headers.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a header is there twice"));
            }
            headers.push((name, lines));
        }
        Ok(headers)
    }
}

/// Any JSON.
pub(super) struct Any;

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members: Vec<(String, Value)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let member = map.next_value_seed(Self)?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a name is there twice"));
            }
            members.push((name, member));
        }
        Ok(Value::Object(members))
    }
}

/// Whatever stands there.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}
