//! Reads one YAML or JSON document as JSON values.

use serde_json::{Map, Value};

use crate::manifest::node::{Node, parse_documents};
use crate::model::Position;

use super::Problems;

/// The members of the one object that a file holds; nothing, with the problem noted, where it holds
/// something else.
pub(super) fn object(file: &str, text: &str, problems: &mut Problems) -> Map<String, Value> {
    let mut documents = match documents(file, text) {
        Ok(documents) => documents,
        Err(found) => {
            for (place, problem) in found {
                problems.add(place, problem);
            }
            return Map::new();
        }
    };
    documents.retain(|document| !document.is_null());
    let first = documents.pop();
    match first {
        None => Map::new(),
        Some(Value::Object(members)) if documents.is_empty() => members,
        Some(_) if documents.is_empty() => {
            problems.add(file, "must hold settings by name");
            Map::new()
        }
        Some(_) => {
            problems.add(file, "must hold one document");
            Map::new()
        }
    }
}

/// What to say of a key that means nothing.
pub(super) fn unknown(key: &str, known: &[&str]) -> String {
    let plain = |key: &str| key.replace(['-', '_', '.'], "").to_ascii_lowercase();
    match known.iter().find(|name| plain(name) == plain(key)) {
        Some(name) => format!("`{key}` is no setting: write `{name}`"),
        None => format!("`{key}` is no setting"),
    }
}

fn documents(file: &str, text: &str) -> Result<Vec<Value>, Vec<(String, String)>> {
    let documents = parse_documents(text, Some(file)).map_err(|found| {
        let place = |Position { line, column }: Position| format!("{file}:{line}:{column}");
        found
            .into_iter()
            .map(|problem| (place(problem.position), problem.message))
            .collect::<Vec<_>>()
    })?;
    Ok(documents.iter().map(Node::to_json).collect())
}
