//! A JSON-like value: JWT claims and Envoy's dynamic metadata, as protobuf's `Struct` sees them.

/// Numbers are doubles, as in `google.protobuf.Value`, which native Envoy matches against.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Self>),
    /// An object, in the order of its text; names are unique.
    Object(Vec<(String, Self)>),
}

impl Value {
    /// The member of an object; `None` for other values too.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::List(_) => None,
        }
    }

    /// The string, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}
