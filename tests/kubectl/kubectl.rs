//! Which kubectl there is.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const NEEDED: &str = "kubectl 1.27 or newer is needed on PATH, or named by KUBECTL \
                      (https://kubernetes.io/docs/tasks/tools/)";

/// The version whose words the sessions have.
const REFERENCE: u32 = 32;

/// A kubectl.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    pub(crate) path: PathBuf,
    pub(crate) minor: u32,
}

impl Kubectl {
    /// Whether the sessions have its words.
    pub(crate) fn is_reference(&self) -> bool {
        self.minor == REFERENCE
    }

    /// A session in its words, as far as they are not those of the session.
    pub(crate) fn in_its_words(&self, session: &str) -> String {
        let mut text = String::new();
        for line in session.lines() {
            let is_new = self.minor < 30 && (line.is_empty() || line.starts_with("      enum: "));
            if !is_new {
                text.push_str(line);
                text.push('\n');
            }
        }
        if self.minor < 28 { text.replace(" annotated\n", " annotate\n") } else { text }
    }

    /// One of each minor that is there, the oldest first.
    pub(crate) fn all() -> Vec<Self> {
        let named = env::var_os("KUBECTL").map(PathBuf::from);
        let first = named.or_else(on_path).unwrap_or_else(|| panic!("{NEEDED}"));
        let first = first.canonicalize().unwrap_or_else(|error| {
            panic!("{NEEDED}: cannot find {}: {error}", first.display());
        });
        let beside = first.parent().map(Path::to_owned);
        let more = env::var_os("KUBECTLS").map(PathBuf::from);
        let mut found = BTreeMap::new();
        for folder in beside.into_iter().chain(more) {
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| name.starts_with("kubectl.1.")) {
                    let minor = minor_of(&entry.path());
                    found.insert(minor, entry.path());
                }
            }
        }
        let minor = minor_of(&first);
        found.entry(minor).or_insert(first);
        found.into_iter().map(|(minor, path)| Self { path, minor }).collect()
    }
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file())
}

fn minor_of(path: &Path) -> u32 {
    let output = Command::new(path)
        .args(["version", "--client", "--output=json"])
        .output()
        .unwrap_or_else(|error| panic!("{NEEDED}: cannot run {}: {error}", path.display()));
    let version: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{NEEDED}: {} says no version: {output:?}", path.display()));
    let minor = version["clientVersion"]["minor"].as_str().unwrap_or_default();
    let minor = minor.trim_end_matches('+').parse().unwrap_or_default();
    assert!(minor >= 27, "{NEEDED}; {} is 1.{minor}", path.display());
    minor
}
