//! Findings as SARIF 2.1.0: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/>.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value as Json, json};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::lint::{Sorted, codes};
use crate::manifest;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
const PAGES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs");

/// What a path of a URI cannot hold as it is (RFC 3986).
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// One log with one run.
pub(super) fn log(sorted: &Sorted) -> Json {
    let all = || sorted.shown.iter().chain(&sorted.ignored);
    // The gravest level of each code, and its place in the list of rules.
    let mut levels: BTreeMap<Code, Severity> = BTreeMap::new();
    for found in all() {
        let level = levels.entry(found.code).or_insert(found.severity);
        *level = found.severity.max(*level);
    }
    let codes: Vec<Code> = levels.keys().copied().collect();
    let rules: Vec<Json> = levels.into_iter().map(|(code, level)| rule(code, level)).collect();
    let results = sorted.shown.iter().map(|found| result(found, &codes));
    let ignored = sorted.ignored.iter().map(|found| {
        let mut result = result(found, &codes);
        if let Some(members) = result.as_object_mut() {
            members.insert("suppressions".to_owned(), json!([{ "kind": "inSource" }]));
        }
        result
    });
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "postern lint",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results.chain(ignored).collect::<Vec<_>>(),
        }],
    })
}

fn rule(code: Code, level: Severity) -> Json {
    let (meaning, page) = match codes::find(code) {
        Some(lint) => (lint.meaning, format!("{PAGES}/lints/{code}.md")),
        None => {
            let known = manifest::codes::ALL.iter().find(|(known, _)| *known == code);
            (known.map_or("", |(_, meaning)| meaning), format!("{PAGES}/diagnostics.md"))
        }
    };
    let mut rule = json!({
        "id": code.to_string(),
        "shortDescription": { "text": meaning },
        "helpUri": page,
        "defaultConfiguration": { "level": level.as_str() },
    });
    if let (Some(lint), Some(members)) = (codes::find(code), rule.as_object_mut()) {
        members.insert("name".to_owned(), lint.name.into());
    }
    rule
}

fn result(found: &Diagnostic, codes: &[Code]) -> Json {
    let text = match &found.help {
        Some(help) => format!("{}; {help}", found.message),
        None => found.message.clone(),
    };
    let mut result = json!({
        "ruleId": found.code.to_string(),
        "level": found.severity.as_str(),
        "message": { "text": text },
    });
    if let Some(members) = result.as_object_mut() {
        if let Ok(index) = codes.binary_search(&found.code) {
            members.insert("ruleIndex".to_owned(), index.into());
        }
        if let Some(location) = location(found) {
            members.insert("locations".to_owned(), json!([location]));
        }
    }
    result
}

fn location(found: &Diagnostic) -> Option<Json> {
    let file = found.file.as_deref()?;
    let mut physical = json!({ "artifactLocation": { "uri": uri(file) } });
    if let (true, Some(members)) = (found.position.line > 0, physical.as_object_mut()) {
        let mut region = json!({
            "startLine": found.position.line,
            "startColumn": found.position.column,
        });
        if let (Some(excerpt), Some(members)) = (&found.excerpt, region.as_object_mut()) {
            let width = u32::try_from(excerpt.width).unwrap_or(1);
            members
                .insert("endColumn".to_owned(), found.position.column.saturating_add(width).into());
        }
        members.insert("region".to_owned(), region);
    }
    let mut location = json!({ "physicalLocation": physical });
    if let (Some(id), Some(members)) = (&found.resource, location.as_object_mut()) {
        let name = match found.path.as_str() {
            "" => id.to_string(),
            path => format!("{id}/{path}"),
        };
        members.insert(
            "logicalLocations".to_owned(),
            json!([{ "fullyQualifiedName": name, "kind": "resource" }]),
        );
    }
    Some(location)
}

/// A path as a URI: relative ones stay so, for whoever reads the log knows where it was made.
fn uri(path: &str) -> String {
    let encoded = utf8_percent_encode(path, NOT_IN_PATHS).to_string();
    // What stands before a colon would be read as a scheme.
    let is_like_a_scheme = path.split('/').next().is_some_and(|first| first.contains(':'));
    if path.starts_with('/') {
        format!("file://{encoded}")
    } else if is_like_a_scheme {
        format!("./{encoded}")
    } else {
        encoded
    }
}
