//! YAML text to a JSON value, anchors included.
//!
//! Strict where the case files are: no tags, no merge keys, no key twice.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// The first document of `text`.
pub(crate) fn parse(text: &str) -> Value {
    let mut loader = Loader { events: Parser::new_from_str(text), anchors: BTreeMap::new() };
    loop {
        match loader.next() {
            Event::StreamStart | Event::DocumentStart(_) => {}
            event => return loader.value(event),
        }
    }
}

struct Loader<'t> {
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, Value>,
}

impl<'t> Loader<'t> {
    fn next(&mut self) -> Event<'t> {
        self.events.next().expect("YAML ends early").expect("bad YAML").0
    }

    fn value(&mut self, event: Event<'t>) -> Value {
        let (anchor, value) = match event {
            Event::Alias(id) => return self.anchors[&id].clone(),
            Event::Scalar(text, style, anchor, None) => (anchor, scalar(&text, style)),
            Event::SequenceStart(anchor, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next() {
                        Event::SequenceEnd => break,
                        event => items.push(self.value(event)),
                    }
                }
                (anchor, Value::Array(items))
            }
            Event::MappingStart(anchor, None) => {
                let mut map = Map::new();
                loop {
                    let key = match self.next() {
                        Event::MappingEnd => break,
                        Event::Scalar(key, _, 0, None) => key.into_owned(),
                        other => panic!("{other:?} as a key"),
                    };
                    let event = self.next();
                    let value = self.value(event);
                    assert!(map.insert(key.clone(), value).is_none(), "key `{key}` twice");
                }
                (anchor, Value::Object(map))
            }
            other => panic!("unexpected {other:?}"),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        value
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    let number = || text.parse::<f64>().ok().and_then(Number::from_f64);
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match text.parse::<i64>() {
            Ok(integer) => integer.into(),
            Err(_) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                number().map_or_else(|| Value::String(text.to_owned()), Value::Number)
            }
            Err(_) => Value::String(text.to_owned()),
        },
    }
}
