//! What fuzzing starts from, and what it once found, on every test run and a stable compiler.
//!
//! The targets are the very files that `fuzz/` builds, so the two cannot diverge.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::let_underscore_must_use,
    reason = "test support functions"
)]

use std::any::Any;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets/check_request.rs"]
mod check_request;
#[path = "../fuzz/targets/http_request.rs"]
mod http_request;
#[path = "../fuzz/targets/jwt.rs"]
mod jwt;
#[path = "../fuzz/targets/manifest.rs"]
mod manifest;
#[path = "../fuzz/targets/path_template.rs"]
mod path_template;
#[path = "../fuzz/targets/plan_equals_reference.rs"]
mod plan_equals_reference;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 6] = [
    ("check_request", check_request::run),
    ("http_request", http_request::run),
    ("jwt", jwt::run),
    ("manifest", manifest::run),
    ("path_template", path_template::run),
    ("plan_equals_reference", plan_equals_reference::run),
];

#[test]
fn every_kept_input_passes() {
    let mut failures = Vec::new();
    for (name, target) in TARGETS {
        let seeds = inputs("corpus", name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for path in seeds.into_iter().chain(inputs("regressions", name)) {
            let data = fs::read(&path).unwrap();
            if let Err(panic) = catch_unwind(|| target(&data)) {
                failures.push(format!("{}: {}", path.display(), message(&*panic)));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

/// Every target that is built is replayed here.
#[test]
fn no_target_is_left_out() {
    let mut built: Vec<_> = fs::read_dir(root().join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    built.sort();
    assert_eq!(built, TARGETS.map(|(name, _)| name));
}

/// Inputs that are no files yet: prefixes of the seeds, and seeds with a flipped bit.
#[test]
fn neighbours_of_the_seeds_pass() {
    for (name, target) in TARGETS {
        for path in inputs("corpus", name) {
            let data = fs::read(&path).unwrap();
            for at in (0..data.len()).step_by(1 + data.len() / 40) {
                target(&data[..at]);
                let mut flipped = data.clone();
                flipped[at] ^= 1 << (at % 8);
                target(&flipped);
            }
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder).join(target)).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}
