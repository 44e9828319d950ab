//! What policies mean: every case of `tests/cases`, decided by everything that decides.
//! `tests/cases/README.md` describes the format.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

mod engines;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use engines::Engines;
use postern::case_file::{CaseFile, PolicySource};
use rstest::rstest;

#[rstest]
#[tokio::test]
async fn case(#[files("tests/cases/*/*.yaml")] path: PathBuf) {
    let file = read(&fs::read_to_string(&path).unwrap());
    let engines = start(&file, path.parent().unwrap()).await;
    let mut mismatches = String::new();
    for case in &file.requests {
        assert!(case.expect.reason.is_some(), "{}: the whole answer is expected", case.name);
        for (engine, answer) in engines.answers(&case.request).await {
            if !case.expect.is_met_by(&answer) {
                writeln!(mismatches, "{}, {engine}:", case.name).unwrap();
                writeln!(mismatches, "  expected {}", case.expect).unwrap();
                writeln!(mismatches, "  answered {answer}").unwrap();
            }
        }
    }
    assert!(mismatches.is_empty(), "\n{}\n{mismatches}", path.display());
}

/// A comparison that never fails proves nothing.
#[tokio::test]
async fn a_wrong_expectation_is_seen_by_every_engine() {
    let file = read(
        "{policies: [], requests: [{name: x, expect: {outcome: deny, reason: no_allow_rule}}]}",
    );
    let engines = start(&file, Path::new(".")).await;
    let answers = engines.answers(&file.requests[0].request).await;
    assert_eq!(answers.len(), 3);
    let expect = &file.requests[0].expect;
    assert!(answers.iter().all(|(_, answer)| !expect.is_met_by(answer)), "{answers:?}");
}

fn read(text: &str) -> CaseFile {
    CaseFile::read(text, Some("case.yaml")).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<String>())
    })
}

async fn start(file: &CaseFile, folder: &Path) -> Engines {
    let mut settings = file.settings.clone();
    settings.entry("namespace").or_insert("foo".into());
    let text = |policy: &PolicySource| match policy {
        PolicySource::Path(path) => fs::read_to_string(folder.join(path)).unwrap(),
        // Every JSON text is YAML.
        PolicySource::Inline(root) => root.to_json().to_string(),
    };
    let policies: Vec<_> = file.policies.iter().flatten().map(text).collect();
    Engines::start(&policies, &settings).await
}
