//! The annotations with which a policy says what its denials look like.
//!
//! What is wrong with one is a warning, and it counts as absent: an annotation never decides whether
//! a policy is in force. Whether annotations count at all is configuration.

use std::collections::BTreeMap;

use super::codes;
use super::cursor::At;
use super::problem::{Problem, Report};
use super::text::quoted;
use crate::model::{DenyAuthor, DenyResponse, InvalidDenyResponse, Kind};

const STATUS: &str = "postern.dev/deny-status";
const BODY: &str = "postern.dev/deny-body";
const HEADERS: &str = "postern.dev/deny-headers";
const PREFIX: &str = "postern.dev/deny-";

/// What usable annotations say; `None` where they say nothing.
pub(crate) fn decode(annotations: &BTreeMap<String, String>) -> Option<DenyResponse> {
    let mut response = DenyResponse::default();
    for (name, text) in annotations {
        // What is wrong is said by `check`.
        drop(read(name, text, &mut response));
    }
    (!response.is_empty()).then_some(response)
}

/// Reports annotations that say nothing, or nothing usable.
pub(crate) fn check(
    kind: Kind,
    annotations: &At<'_>,
    action: Option<&str>,
    report: &mut Report<'_>,
) {
    for (entry, at) in annotations.entries() {
        if !entry.key.starts_with(PREFIX) {
            continue;
        }
        let name = quoted(&entry.key);
        let (message, help) = if kind != Kind::AuthorizationPolicy {
            (format!("{name} is for AuthorizationPolicy only, not {kind}"), "remove it".to_owned())
        } else if action == Some("AUDIT") {
            (format!("{name} says nothing: an AUDIT policy denies nothing"), "remove it".to_owned())
        } else if let Some(Err(error)) =
            at.str().map(|text| read(&entry.key, text, &mut DenyResponse::default()))
        {
            match error {
                Unusable::Unknown => (
                    format!("{name} is no annotation of Postern"),
                    format!("write `{STATUS}`, `{BODY}` or `{HEADERS}`"),
                ),
                Unusable::Value(error) => (
                    format!("{name} is left out: {error}"),
                    "until it is mended, denials look as if it were not there".to_owned(),
                ),
            }
        } else {
            continue;
        };
        report.add(Problem::warning(codes::BAD_DENY_ANNOTATION, &at, message).help(help));
    }
}

#[derive(Debug)]
enum Unusable {
    Unknown,
    Value(InvalidDenyResponse),
}

impl From<InvalidDenyResponse> for Unusable {
    fn from(error: InvalidDenyResponse) -> Self {
        Self::Value(error)
    }
}

/// One annotation, into the response; others say nothing.
fn read(name: &str, text: &str, response: &mut DenyResponse) -> Result<(), Unusable> {
    match name {
        STATUS => response.status = Some(DenyResponse::parse_status(text)?),
        BODY => response.body = Some(DenyResponse::parse_body(text)?),
        HEADERS => {
            let headers = DenyResponse::parse_header_lines(text, DenyAuthor::Policy)?;
            response.headers = Some(headers);
        }
        _ if name.starts_with(PREFIX) => return Err(Unusable::Unknown),
        _ => {}
    }
    Ok(())
}
