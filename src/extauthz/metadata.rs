//! Protobuf's `Struct` to and from our values.

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};

use super::wire::Writer;
use crate::model::Value;

/// Dynamic metadata as a condition sees it.
pub(super) fn from_struct(message: &Struct) -> Value {
    Value::Object(message.fields.iter().map(|(n, v)| (n.clone(), from_value(v))).collect())
}

/// One value of it.
pub(super) fn from_value(value: &ProtoValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(n)) => Value::Number(*n),
        Some(Kind::StringValue(s)) => Value::String(s.clone()),
        Some(Kind::BoolValue(b)) => Value::Bool(*b),
        Some(Kind::StructValue(s)) => from_struct(s),
        Some(Kind::ListValue(l)) => Value::List(l.values.iter().map(from_value).collect()),
    }
}

/// A value for dynamic metadata.
pub(super) fn to_value(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(*b),
        Value::Number(n) => Kind::NumberValue(*n),
        Value::String(s) => Kind::StringValue(s.clone()),
        Value::List(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() })
        }
        Value::Object(members) => Kind::StructValue(Struct {
            fields: members.iter().map(|(n, v)| (n.clone(), to_value(v))).collect(),
        }),
    };
    ProtoValue { kind: Some(kind) }
}

/// The fields of the message of a value.
pub(super) fn write_value(out: &mut Writer, value: &Value) {
    match value {
        Value::Null => out.varint(1, 0),
        Value::Bool(b) => out.varint(4, u64::from(*b)),
        Value::Number(n) => out.double(2, *n),
        Value::String(s) => out.text_of_oneof(3, &[s]),
        Value::List(items) => out.message(6, |list| {
            for item in items {
                list.message(1, |out| write_value(out, item));
            }
        }),
        Value::Object(members) => out.message(5, |object| {
            for (name, member) in members {
                write_member(object, name, |out| write_value(out, member));
            }
        }),
    }
}

/// A member in the message of an object.
pub(super) fn write_member(object: &mut Writer, name: &str, value: impl FnOnce(&mut Writer)) {
    object.message(1, |entry| {
        entry.text(1, name);
        entry.message(2, value);
    });
}

/// The members of an object that Envoy can read at the second level of dynamic metadata. It gives up
/// on a message of more than 100 levels, and a response that it cannot read is a denial.
pub(super) fn readable_members(object: &Value) -> Value {
    match object {
        Value::Object(members) => {
            let readable = members.iter().filter(|(_, member)| is_readable(member));
            Value::Object(readable.cloned().collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::List(_) => {
            object.clone()
        }
    }
}

/// Whether Envoy can read a member of such an object.
pub(super) fn is_readable(member: &Value) -> bool {
    // What remains below `CheckResponse`, the metadata, and the object itself, with some to spare.
    const MAX_LEVELS: usize = 90;
    levels(member) <= MAX_LEVELS
}

/// How many messages are within each other: a list is one of values, an object one of entries.
fn levels(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        Value::List(items) => 2 + items.iter().map(levels).max().unwrap_or_default(),
        Value::Object(members) => {
            3 + members.iter().map(|(_, m)| levels(m)).max().unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn what_is_left_can_be_read() {
        let list = |value| Value::List(vec![value]);
        let object = |value| Value::Object(vec![("a".to_owned(), value)]);
        let nested = |depth: usize, wrap: &dyn Fn(Value) -> Value| {
            (0..depth).fold(Value::Null, |value, _| wrap(value))
        };
        let (mut kept, mut left_out) = (0, 0);
        for depth in 1..=99 {
            for claim in [nested(depth, &list), nested(depth, &object)] {
                let claims =
                    Value::Object(vec![("x".to_owned(), claim), ("y".to_owned(), Value::Null)]);
                let readable = readable_members(&claims);
                assert!(readable.get("y").is_some());
                if readable.get("x").is_some() {
                    kept += 1;
                } else {
                    left_out += 1;
                }
                // As deep as in a response: a message, its metadata, an entry of that.
                let metadata = Struct { fields: [("p".to_owned(), to_value(&readable))].into() };
                let response = envoy_types::pb::envoy::service::auth::v3::CheckResponse {
                    dynamic_metadata: Some(metadata),
                    ..Default::default()
                };
                let bytes = response.encode_to_vec();
                envoy_types::pb::envoy::service::auth::v3::CheckResponse::decode(&*bytes).unwrap();
            }
        }
        assert!(kept > 60 && left_out > 60, "{kept} {left_out}");
    }
}
