//! Protobuf's `Struct` to and from our values.

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};

use crate::model::Value;

/// Dynamic metadata as a condition sees it.
pub(super) fn from_struct(message: &Struct) -> Value {
    Value::Object(message.fields.iter().map(|(n, v)| (n.clone(), from_value(v))).collect())
}

fn from_value(value: &ProtoValue) -> Value {
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
