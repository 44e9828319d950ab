//! The catalogue of mutations fits the sources. What catches each mutation is found by
//! `cargo run --example postern-mutations`, which takes a while.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    dead_code,
    reason = "test support functions, of which the runner uses more"
)]

#[path = "mutations/catalogue.rs"]
mod catalogue;
#[path = "conformance/yaml.rs"]
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_mutation_still_has_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let moved: Vec<_> = catalogue::read()
        .into_iter()
        .filter_map(|mutation| {
            let text = fs::read_to_string(root.join(&mutation.file)).unwrap_or_default();
            let count = mutation.apply(&text).err()?;
            Some(format!("`from` of `{}` is {count} times in {}", mutation.name, mutation.file))
        })
        .collect();
    assert!(moved.is_empty(), "\n{}\n", moved.join("\n"));
}

#[test]
fn every_mutation_changes_something_and_has_a_name_of_its_own() {
    let all = catalogue::read();
    let names: BTreeSet<_> = all.iter().map(|mutation| &mutation.name).collect();
    assert_eq!(names.len(), all.len());
    let idle: Vec<_> = all.iter().filter(|mutation| mutation.from == mutation.to).collect();
    assert!(idle.is_empty(), "{idle:?}");
}
