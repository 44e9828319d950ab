//! What went wrong elsewhere, and must hold here: a test for each advisory that concerns a server
//! which decides. `docs/advisories.md` lists them all, also those that do not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

#[path = "../blackbox/mod.rs"]
mod blackbox;
#[path = "../engines/mod.rs"]
mod engines;
mod headers_and_bytes;
mod paths_and_hosts;
mod policy_engine;
mod provider;
mod scene;
mod tokens;
mod tokens_and_keys;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The modules with tests, as the page names them.
const CLASSES: [&str; 4] =
    ["headers_and_bytes", "paths_and_hosts", "policy_engine", "tokens_and_keys"];

/// The page and the tests name each other.
#[test]
fn every_test_of_the_page_exists_and_every_test_is_on_the_page() {
    let page = read("docs/advisories.md");
    let named = paths_in(&page);
    let mut tests = BTreeSet::new();
    for class in CLASSES {
        let names = functions(&read(&format!("tests/advisories/{class}.rs")));
        assert!(!names.is_empty(), "{class}");
        tests.extend(names.into_iter().map(|name| format!("{class}::{name}")));
    }
    let of_classes = |path: &&String| CLASSES.iter().any(|class| path.starts_with(class));
    let on_page: BTreeSet<_> = named.iter().filter(of_classes).cloned().collect();
    assert_eq!(on_page, tests);
    // Unit tests, by module.
    for path in named.iter().filter(|path| !of_classes(path)) {
        let (module, name) = path.rsplit_once("::").unwrap();
        let module = module.replace("::", "/");
        let files = [format!("src/{module}.rs"), format!("src/{module}/mod.rs")];
        let file = files.iter().find(|file| root().join(file).is_file());
        let file = file.unwrap_or_else(|| panic!("`{path}`: no such module"));
        assert!(functions(&read(file)).contains(name), "`{path}`: not in {file}");
    }
}

#[test]
fn the_check_can_fail() {
    let page = "| a | `tokens_and_keys::x`, `authn::tests::y` | `not a path` |";
    let expect = ["authn::tests::y", "tokens_and_keys::x"].map(str::to_owned);
    assert_eq!(paths_in(page), BTreeSet::from(expect));
    assert_eq!(functions("#[test]\nfn a() {}\nfn no_test() {}"), BTreeSet::from(["a".to_owned()]));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// Every `module::name` in backticks.
fn paths_in(page: &str) -> BTreeSet<String> {
    let is_path = |text: &&str| {
        text.contains("::")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    page.split('`').skip(1).step_by(2).filter(is_path).map(str::to_owned).collect()
}

/// The names of test functions: those after a line with an attribute.
fn functions(text: &str) -> BTreeSet<String> {
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let mut names = BTreeSet::new();
    for (number, line) in lines.iter().enumerate() {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) else {
            continue;
        };
        let above = number.checked_sub(1).and_then(|above| lines.get(above)).unwrap_or(&"");
        if above.ends_with(']') && !above.starts_with("//") {
            names.insert(name.to_owned());
        }
    }
    names
}
