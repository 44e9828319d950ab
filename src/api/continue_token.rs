//! Continue tokens: where a page of a list ended, opaque to clients.
//!
//! Whether the list is still kept is for the store to say.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::status::ApiError;

const VERSION: &str = "meta.k8s.io/v1";

/// Where the page before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinueToken {
    /// The resource version of the list; all of its pages have the same.
    pub resource_version: u64,
    /// The key of the last object of the page before. The next page has what comes after.
    pub start: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: String,
    rv: u64,
    start: String,
}

impl ContinueToken {
    /// The text that clients give back.
    pub fn encode(&self) -> String {
        let Self { resource_version: rv, start } = self;
        let wire = serde_json::json!({ "v": VERSION, "rv": rv, "start": start });
        URL_SAFE_NO_PAD.encode(wire.to_string())
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let invalid = |why: &str| {
            ApiError::bad_request(format!(
                "invalid continue token: continue key is not valid: {why}"
            ))
        };
        // Some clients add the padding.
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| invalid("it is not base64"))?;
        let Wire { v, rv, start } = serde_json::from_slice(&bytes)
            .map_err(|_| invalid("it is not what the server gave"))?;
        if v != VERSION {
            return Err(invalid("server does not recognize this encoded version"));
        }
        if rv == 0 || start.is_empty() {
            return Err(invalid("it is incomplete"));
        }
        Ok(Self { resource_version: rv, start })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(resource_version in 1..=u64::MAX, start in ".{1,40}") {
            let token = ContinueToken { resource_version, start };
            let text = token.encode();
            prop_assert_eq!(ContinueToken::decode(&text), Ok(token));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            drop(ContinueToken::decode(&text));
        }
    }

    #[rstest]
    #[case("!")]
    #[case("")]
    #[case::not_json("e30x")]
    #[case::empty_object("e30")]
    #[case::other_version(&URL_SAFE_NO_PAD.encode(r#"{"v":"v2","rv":1,"start":"a/b"}"#))]
    #[case::no_version_of_the_list(&URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a/b"}"#))]
    #[case::negative(&URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"a/b"}"#))]
    fn bad_tokens(#[case] text: &str) {
        let error = ContinueToken::decode(text).unwrap_err();
        assert_eq!(error.code(), 400);
        assert!(error.to_string().starts_with("invalid continue token: "), "{error}");
    }
}
