//! The pages of docs/lints: every lint has one, and what they show is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use postern::lint::codes;

use crate::found::findings;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lints")
}

/// The YAML below a heading.
fn example<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, below) = page.split_once(&format!("\n## {heading}\n\n```yaml\n")).unwrap();
    below.split_once("```\n").unwrap().0
}

#[test]
fn every_lint_has_a_page_and_every_page_a_lint() {
    let mut expected: BTreeSet<String> =
        codes::all().map(|lint| format!("{}.md", lint.code)).collect();
    expected.insert("README.md".to_owned());
    let pages: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(pages, expected);
}

#[test]
fn the_index_lists_all_codes_and_nothing_else() {
    let index = fs::read_to_string(folder().join("README.md")).unwrap();
    let listed: Vec<&str> = index.lines().filter(|line| line.starts_with("| [")).collect();
    let expected: Vec<String> = codes::all()
        .map(|lint| format!("| [{0}]({0}.md) | {1} |", lint.code, lint.meaning))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn the_table_of_diagnostics_has_every_lint() {
    let text = fs::read_to_string(folder().parent().unwrap().join("diagnostics.md")).unwrap();
    for lint in codes::all() {
        let row = format!("| {} | {} |", lint.code, lint.meaning);
        assert!(text.contains(&row), "{row}");
    }
}

#[test]
fn a_bad_example_has_that_finding_alone_and_a_good_one_none() {
    for lint in codes::all() {
        let code = lint.code.to_string();
        let page = fs::read_to_string(folder().join(format!("{code}.md"))).unwrap();
        assert!(page.starts_with(&format!("# {code}: {}\n", lint.meaning)), "{code}");
        let found = |heading| {
            let found = findings(example(&page, heading), "example.yaml");
            // Each stands somewhere in the example.
            assert!(found.iter().all(|found| found.position.line > 0), "{code}");
            found
        };
        let (bad, good) = (found("Bad"), found("Good"));
        let codes: BTreeSet<String> = bad.iter().map(|found| found.code.to_string()).collect();
        assert_eq!(codes, [code.clone()].into(), "{code}: {bad:#?}");
        assert!(good.is_empty(), "{code}: {good:#?}");
    }
}
