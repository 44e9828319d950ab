//! What is found in whole files: traps, the samples of Istio's documentation in other words, and the
//! project's own examples.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern::diagnostic::Diagnostic;
use postern::lint::{self, Sorted, Subject};
use postern::manifest::{self, Options};
use postern::model::{Mesh, Resource};

/// Everything that is said of some text, as `postern lint` says it.
pub(crate) fn findings(text: &str, file: &str) -> Vec<Diagnostic> {
    let decoded = manifest::decode(text, Some(file), &Options::default());
    let complete = !decoded.has_errors();
    let resources: Vec<Arc<Resource>> = decoded.accepted().cloned().map(Arc::new).collect();
    let mut all = decoded.diagnostics;
    let mesh = Mesh::default();
    let services = &decoded.services;
    all.extend(lint::lint(Subject { resources: &resources, mesh: &mesh, services, complete }));
    let Sorted { shown, ignored } = lint::sort(all, &resources);
    assert!(ignored.is_empty() || text.contains(lint::ANNOTATION));
    shown
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// One line for each finding, below the name of its file.
fn listed(folder: &str) -> String {
    let mut text = String::new();
    for path in files(folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut found = findings(&fs::read_to_string(&path).unwrap(), name);
        found.sort_by_key(|found| found.position);
        writeln!(text, "{name}{}", if found.is_empty() { ": nothing" } else { "" }).unwrap();
        for Diagnostic { position, severity, code, message, .. } in found {
            let (line, column) = (position.line, position.column);
            let severity = severity.as_str();
            writeln!(text, "  {line}:{column} {severity} {code} {message}").unwrap();
        }
    }
    text
}

#[test]
fn traps() {
    assert!(files("tests/lint/traps").len() >= 20);
    insta::assert_snapshot!("traps", listed("tests/lint/traps"));
}

#[test]
fn samples_of_istios_documentation() {
    insta::assert_snapshot!("samples", listed("tests/lint/samples"));
}

#[test]
fn examples() {
    insta::assert_snapshot!("bookinfo", listed("examples/bookinfo"));
    insta::assert_snapshot!("httpbin", listed("examples/httpbin"));
}
