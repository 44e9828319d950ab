//! What is wrong with one field of an object, in the words of Kubernetes' validation.
//!
//! Leaves to `status` what becomes of several of them.

use std::fmt;

use serde_json::Value;

/// How a field is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CauseReason {
    /// It must be there.
    Required,
    /// Its value cannot be used.
    Invalid,
    /// Its value is not one of a list.
    NotSupported,
    /// Its value has the wrong type.
    TypeInvalid,
    /// Its text is too long.
    TooLong,
    /// It has too many items.
    TooMany,
    /// It must not be there.
    Forbidden,
    /// The same value stands elsewhere.
    Duplicate,
}

impl CauseReason {
    /// The word of `causes[].reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
        }
    }
}

/// What is wrong with one field. Displays as `path: what`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// How it is wrong.
    pub reason: CauseReason,
    /// The path of the field, such as `spec.rules[0].to`.
    pub field: String,
    /// What is wrong, without the path.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl FieldError {
    fn new(
        reason: CauseReason,
        field: impl Into<String>,
        value: Option<&str>,
        detail: &str,
    ) -> Self {
        let mut message = reason.title().to_owned();
        for part in value.into_iter().chain((!detail.is_empty()).then_some(detail)) {
            message.push_str(": ");
            message.push_str(part);
        }
        Self { reason, field: field.into(), message }
    }

    /// The field must be there.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(CauseReason::Required, field, None, detail)
    }

    /// A text cannot be used.
    pub fn invalid(field: impl Into<String>, value: &str, detail: &str) -> Self {
        Self::new(CauseReason::Invalid, field, Some(&quote(value)), detail)
    }

    /// A value cannot be used.
    pub fn invalid_value(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(CauseReason::Invalid, field, Some(&shown(value)), detail)
    }

    /// The text is not among those allowed.
    pub fn not_supported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        Self::not_supported_value(field, &Value::String(value.to_owned()), supported)
    }

    /// The value, of whatever type, is not among those allowed.
    pub fn not_supported_value(
        field: impl Into<String>,
        value: &Value,
        supported: &[&str],
    ) -> Self {
        let listed: Vec<_> = supported.iter().map(|text| quote(text)).collect();
        let detail = format!("supported values: {}", listed.join(", "));
        Self::new(CauseReason::NotSupported, field, Some(&shown(value)), &detail)
    }

    /// The value has the wrong type; `found` is the type that it has.
    pub fn type_invalid(field: impl Into<String>, found: &str, detail: &str) -> Self {
        Self::new(CauseReason::TypeInvalid, field, Some(&quote(found)), detail)
    }

    /// The text has more bytes than allowed.
    pub fn too_long(field: impl Into<String>, longest: usize) -> Self {
        let detail = format!("may not be more than {longest} bytes");
        Self::new(CauseReason::TooLong, field, None, &detail)
    }

    /// The list or map has more items than allowed.
    pub fn too_many(field: impl Into<String>, count: usize, most: usize) -> Self {
        let detail = format!("must have at most {most} items");
        Self::new(CauseReason::TooMany, field, Some(&count.to_string()), &detail)
    }

    /// The field must not be there.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(CauseReason::Forbidden, field, None, detail)
    }

    /// The same value stands elsewhere.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(CauseReason::Duplicate, field, Some(&shown(value)), "")
    }

    /// An update without a resource version, where one is needed.
    pub fn no_resource_version() -> Self {
        // The number zero, as Kubernetes prints it.
        let detail = "must be specified for an update";
        Self::new(CauseReason::Invalid, "metadata.resourceVersion", Some("0x0"), detail)
    }

    /// The cause in the details of a Status.
    pub(super) fn cause(&self) -> super::status::Cause {
        super::status::Cause {
            reason: self.reason.as_str().to_owned(),
            message: self.message.clone(),
            field: self.field.clone(),
        }
    }
}

/// A text in double quotes, with escapes as Go prints them.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), quote)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(FieldError::required("a.b", ""), "a.b: Required value", "FieldValueRequired")]
    #[case(
        FieldError::invalid("a", "x\"\n\u{1}", "bad"),
        r#"a: Invalid value: "x\"\n\x01": bad"#,
        "FieldValueInvalid"
    )]
    #[case(FieldError::invalid_value("a", &json!(0), "bad"), "a: Invalid value: 0: bad", "FieldValueInvalid")]
    #[case(FieldError::invalid_value("a", &json!([1]), ""), "a: Invalid value: [1]", "FieldValueInvalid")]
    #[case(
        FieldError::no_resource_version(),
        "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update",
        "FieldValueInvalid"
    )]
    #[case(
        FieldError::type_invalid(
            "spec.a",
            "string",
            "spec.a in body must be of type integer: \"string\""
        ),
        r#"spec.a: Invalid value: "string": spec.a in body must be of type integer: "string""#,
        "FieldValueTypeInvalid"
    )]
    #[case(
        FieldError::too_long("a", 63),
        "a: Too long: may not be more than 63 bytes",
        "FieldValueTooLong"
    )]
    #[case(
        FieldError::too_many("a", 5, 3),
        "a: Too many: 5: must have at most 3 items",
        "FieldValueTooMany"
    )]
    #[case(FieldError::forbidden("a", "no"), "a: Forbidden: no", "FieldValueForbidden")]
    #[case(FieldError::duplicate("a[1]", &json!("x")), "a[1]: Duplicate value: \"x\"", "FieldValueDuplicate")]
    fn texts(#[case] error: FieldError, #[case] expect: &str, #[case] reason: &str) {
        assert_eq!(error.to_string(), expect);
        assert_eq!(error.reason.as_str(), reason);
    }
}
