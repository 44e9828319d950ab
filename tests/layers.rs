//! Imports point up the page of `src/lib.rs`, and a few pairs are forbidden altogether.
//!
//! A single crate has no compiler to stop a cycle, so this test reads the sources.

#![expect(clippy::unwrap_used, reason = "test support functions")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and what it must not name although the order would allow it.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("model", &["tokio", "serde_json", "tonic", "tracing", "hyper"]),
    ("matcher", &["tokio", "tonic", "tracing", "hyper"]),
    ("plan", &["tokio", "tonic", "tracing", "hyper"]),
    ("compile", &["tokio", "tonic", "tracing", "hyper"]),
    // The decision is a function: no clock, no I/O, no events. Of what stands above it, it sees
    // words, matchers and plans.
    (
        "decide",
        &[
            "tokio",
            "tonic",
            "tracing",
            "hyper",
            "std::time",
            "crate::authn",
            "crate::manifest",
            "crate::key_set",
        ],
    ),
];

#[test]
fn imports_point_up() {
    let mut problems = Vec::new();
    let order = modules_in_order();
    for (module, files) in sources(&order) {
        for file in files {
            let text = code(&file);
            let place = file.strip_prefix(root()).unwrap().display().to_string();
            if text.contains("use crate::{") {
                problems.push(format!("{place}: write one `use crate::x` line for each module"));
            }
            for used in crate_modules(&text) {
                match order.iter().position(|m| *m == used) {
                    None => problems.push(format!("{place}: `{used}` is not in src/lib.rs")),
                    Some(at) if at > position(&order, &module) => {
                        problems
                            .push(format!("{place}: `{module}` uses `{used}`, which is below it"));
                    }
                    Some(_) => {}
                }
            }
            for (_, forbidden) in FORBIDDEN.iter().filter(|(m, _)| *m == module) {
                for word in *forbidden {
                    if text.contains(&format!("{word}::")) {
                        problems.push(format!("{place}: `{module}` must not use `{word}`"));
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn the_check_can_fail() {
    assert_eq!(crate_modules("use crate::gate::pass;\n crate::model::Kind"), ["gate", "model"]);
    let order = modules_in_order();
    assert!(position(&order, "model") < position(&order, "decide"));
    assert!(position(&order, "decide") < position(&order, "extauthz"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn modules_in_order() -> Vec<String> {
    code(&root().join("lib.rs"))
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';').map(Into::into))
        .collect()
}

fn position(order: &[String], module: &str) -> usize {
    order.iter().position(|m| m == module).unwrap()
}

fn sources(order: &[String]) -> BTreeMap<String, Vec<PathBuf>> {
    order
        .iter()
        .map(|module| {
            let mut files = Vec::new();
            collect(&root().join(module), &mut files);
            let file = root().join(format!("{module}.rs"));
            files.extend(file.is_file().then_some(file));
            assert!(!files.is_empty(), "no source for `{module}`");
            (module.clone(), files)
        })
        .collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        // Unit tests may put layers together as they like.
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") && !is_test {
            files.push(path);
        }
    }
}

/// The text without comments and without inline test modules.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn crate_modules(text: &str) -> Vec<String> {
    text.split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .filter(|module: &String| !module.is_empty())
        .collect()
}
