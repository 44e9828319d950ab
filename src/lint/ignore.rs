//! Findings that the author of a resource wants to hear no more of.
//!
//! Only warnings and notes can be ignored, each by its code and for one resource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Finding, codes};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::manifest::text::quoted;
use crate::model::{Resource, ResourceId};

/// The annotation that names codes, with commas between.
pub const ANNOTATION: &str = "postern.dev/lint-ignore";

/// Findings, and those that were not to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// What is to be shown, in the order it came, then what is wrong with the annotations.
    pub shown: Vec<Diagnostic>,
    /// What some annotation ignores.
    pub ignored: Vec<Diagnostic>,
}

/// Holds findings against the annotations of the resources they are about. A code that ignores
/// nothing is a finding, too.
pub fn sort(findings: Vec<Diagnostic>, resources: &[Arc<Resource>]) -> Sorted {
    let mut sorted = Sorted::default();
    let mut about_ignoring = Vec::new();
    let mut wanted: BTreeMap<ResourceId, BTreeSet<Code>> = BTreeMap::new();
    for resource in resources {
        let metadata = resource.metadata();
        let Some(text) = metadata.annotations.get(ANNOTATION) else { continue };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match code(word) {
                Ok(code) => {
                    wanted.entry(resource.id()).or_default().insert(code);
                }
                Err(why) => about_ignoring.push(
                    Finding::warning(
                        codes::BAD_IGNORE,
                        (resource.id(), metadata),
                        metadata.position,
                        format!("{} cannot be ignored: {why}", quoted(word)),
                    )
                    .help(format!("write codes of docs/lints into `{ANNOTATION}`, with commas")),
                ),
            }
        }
    }
    let mut used: BTreeSet<(ResourceId, Code)> = BTreeSet::new();
    for found in findings {
        let id = found.resource.as_ref().filter(|_| found.severity != Severity::Error);
        let id = id.filter(|id| wanted.get(id).is_some_and(|codes| codes.contains(&found.code)));
        if let Some(id) = id {
            used.insert((id.clone(), found.code));
            sorted.ignored.push(found);
        } else {
            sorted.shown.push(found);
        }
    }
    for resource in resources {
        let (id, metadata) = (resource.id(), resource.metadata());
        for code in wanted.get(&id).into_iter().flatten() {
            if !used.contains(&(id.clone(), *code)) {
                let message = format!("`{code}` is ignored here, and was not found");
                about_ignoring.push(
                    Finding::warning(
                        codes::UNUSED_IGNORE,
                        (id.clone(), metadata),
                        metadata.position,
                        message,
                    )
                    .note()
                    .help(format!("remove it from `{ANNOTATION}`")),
                );
            }
        }
    }
    sorted.shown.extend(about_ignoring.into_iter().map(Finding::into_diagnostic));
    sorted
}

fn code(word: &str) -> Result<Code, &'static str> {
    let digits = word.strip_prefix("PST").filter(|digits| digits.len() == 4);
    let digits = digits.filter(|digits| digits.chars().all(|c| c.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok()).ok_or("it is no code")?;
    let code = Code(number);
    if [codes::UNUSED_IGNORE, codes::BAD_IGNORE].contains(&code) {
        return Err("it is about ignoring");
    }
    match codes::find(code) {
        Some(_) => Ok(code),
        None if crate::manifest::codes::ALL.iter().any(|(known, _)| *known == code) => {
            Err("it is no lint")
        }
        None => Err("there is no such code"),
    }
}
