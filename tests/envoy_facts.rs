//! `docs/envoy-facts.md` names cases and tests that exist, and every row of it has an end.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test support functions"
)]

#[path = "conformance/yaml.rs"]
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[test]
fn every_row_ends_in_something_that_exists() {
    let known = Known::read();
    let mut problems = Vec::new();
    let mut rows = 0;
    for (number, line) in (1..).zip(read("docs/envoy-facts.md").lines()) {
        let named = references(line);
        problems.extend(
            named
                .iter()
                .filter_map(|name| Some(format!("{number}: `{name}` {}", known.lacks(name)?))),
        );
        let Some(end) = end_of_row(line) else { continue };
        rows += 1;
        let reason = end.contains("Envoy's own") || end.contains("not in a CheckRequest");
        if !reason && references(end).is_empty() {
            problems.push(format!("{number}: neither a case nor a reason: {end}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(rows > 200, "{rows} rows: are the tables still read?");
}

/// What a CheckRequest lacks is told to those who set Envoy up.
#[test]
fn what_a_check_request_lacks_is_in_the_semantics() {
    let semantics = read("docs/semantics.md");
    let missing: BTreeSet<String> = read("docs/envoy-facts.md")
        .lines()
        .filter_map(end_of_row)
        .filter_map(|end| end.split_once("not in a CheckRequest").map(|(_, end)| end.to_owned()))
        .flat_map(|end| settings(&end))
        .filter(|setting| !semantics.contains(setting))
        .collect();
    assert_eq!(missing, BTreeSet::new(), "settings that docs/semantics.md does not name");
}

/// The last cell of a row that is no heading.
fn end_of_row(line: &str) -> Option<&str> {
    let end = line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | ")?.1;
    (end != "end").then_some(end)
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `NN-file/set`, `NN-file/set: request`, `module::test`.
fn references(text: &str) -> Vec<&str> {
    let is_case = |name: &str| {
        name.split_once('-').is_some_and(|(n, _)| n.len() == 2 && n.parse::<u8>().is_ok())
    };
    code(text).filter(|name| is_case(name) || name.contains("::")).collect()
}

/// Names of settings among code.
fn settings(text: &str) -> Vec<String> {
    let is_setting = |name: &&str| {
        name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-')
            && (name.contains('_') || name.starts_with("--"))
    };
    let names = code(text).map(|name| name.split(':').next().unwrap());
    names.filter(is_setting).map(str::to_owned).collect()
}

struct Known {
    /// Names, paths and tokens of requests by `file/set`.
    requests: BTreeMap<String, BTreeSet<String>>,
    /// Sources by path.
    sources: Vec<(PathBuf, String)>,
}

impl Known {
    fn read() -> Self {
        let mut requests = BTreeMap::new();
        for file in files(&root().join("tests/conformance/cases"), "yaml") {
            let text = fs::read_to_string(&file).unwrap();
            let content: Value = yaml::parse(&text);
            let file = file.file_stem().unwrap().to_str().unwrap();
            for set in content["sets"].as_array().unwrap() {
                let labels = set["requests"].as_array().unwrap().iter().flat_map(|request| {
                    ["name", "path", "token"]
                        .map(|field| request[field].as_str().map(str::to_owned))
                });
                let name = format!("{file}/{}", set["name"].as_str().unwrap());
                let before = requests.insert(name.clone(), labels.flatten().collect());
                assert_eq!(before, None, "{name} is there twice");
            }
        }
        let sources = ["src", "tests"].iter().flat_map(|folder| files(&root().join(folder), "rs"));
        let sources = sources.map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        });
        Self { requests, sources: sources.collect() }
    }

    /// What is wrong with a reference.
    fn lacks(&self, name: &str) -> Option<&'static str> {
        if name.contains("::") {
            let (module, _) = name.split_once("::").unwrap();
            let (_, function) = name.rsplit_once("::").unwrap();
            let is_there = self.sources.iter().any(|(path, text)| {
                path.with_extension("").components().any(|part| part.as_os_str() == module)
                    && text.contains(&format!("fn {function}("))
            });
            return (!is_there).then_some("is no test");
        }
        let (set, request) = name.split_once(": ").map_or((name, None), |(s, r)| (s, Some(r)));
        match (self.requests.get(set), request) {
            (None, _) => Some("is no set"),
            (Some(requests), Some(request)) if !requests.contains(request) => {
                Some("is no request of that set")
            }
            (Some(_), _) => None,
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}
