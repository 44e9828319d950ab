//! The demo's policies: `examples/bookinfo`, which is part of the binary, or files of the user's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};

use crate::diagnostic::Severity;
use crate::manifest;
use crate::model::Resource;

/// The `jwksUri` of the examples. No server is there; the demo puts its own in place of it.
pub(super) const EXAMPLE_JWKS_URI: &str = "http://127.0.0.1:8000/jwks.json";

/// Declares the files of `examples/bookinfo`.
macro_rules! bookinfo {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../examples/bookinfo/", $name)))),+]
    };
}

const BOOKINFO: [(&str, &str); 7] = bookinfo![
    "allow-nothing.yaml",
    "internal-services.yaml",
    "moderation.yaml",
    "mutual-tls.yaml",
    "no-admin.yaml",
    "productpage.yaml",
    "watching.yaml",
];

/// Policies, as text.
#[derive(Debug)]
pub(super) struct PolicySet {
    name: String,
    files: Vec<PolicyFile>,
}

#[derive(Debug)]
struct PolicyFile {
    path: PathBuf,
    text: String,
}

impl PolicySet {
    pub(super) fn built_in() -> Self {
        let file = |(name, text): (&str, &str)| PolicyFile {
            path: Path::new("examples/bookinfo").join(name),
            text: text.to_owned(),
        };
        Self {
            name: "examples/bookinfo (built in)".into(),
            files: BOOKINFO.map(file).into_iter().collect(),
        }
    }

    /// Reads files, and those of folders whose names end as policies do.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            let found = if path.is_dir() { policy_files(path)? } else { vec![path.clone()] };
            for path in found {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read `{}`", path.display()))?;
                files.push(PolicyFile { path, text });
            }
        }
        let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        if files.is_empty() {
            bail!("no .yaml, .yml or .json file in `{}`", names.join("`, `"));
        }
        Ok(Self { name: names.join(", "), files })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// The resources; every problem where there are errors.
    pub(super) fn decode(&self) -> Result<Vec<Arc<Resource>>> {
        let names: Vec<_> = self.files.iter().map(|file| file.path.to_string_lossy()).collect();
        let texts = self.files.iter().map(|file| file.text.as_bytes());
        let files = names.iter().map(AsRef::as_ref).zip(texts);
        let decoded = manifest::decode_files(files, &manifest::Options::default());
        if decoded.has_errors() {
            let errors = decoded.diagnostics.iter().filter(|d| d.severity == Severity::Error);
            let errors: Vec<_> = errors.map(ToString::to_string).collect();
            bail!("the policies have errors\n\n{}", errors.join("\n\n"));
        }
        Ok(decoded.accepted().cloned().map(Arc::new).collect())
    }

    /// Puts `uri` where the examples say [`EXAMPLE_JWKS_URI`]; whether any did.
    pub(super) fn replace_jwks_uri(&mut self, uri: &str) -> bool {
        let mut replaced = false;
        for file in &mut self.files {
            if file.text.contains(EXAMPLE_JWKS_URI) {
                file.text = file.text.replace(EXAMPLE_JWKS_URI, uri);
                replaced = true;
            }
        }
        replaced
    }

    /// Writes the files into `policies/` below this folder, which it returns.
    pub(super) fn write_to(&self, folder: &Path) -> Result<PathBuf> {
        let folder = folder.join("policies");
        fs::create_dir(&folder).with_context(|| format!("create `{}`", folder.display()))?;
        for (index, file) in self.files.iter().enumerate() {
            let name = file.path.file_name().unwrap_or_default();
            let mut target = folder.join(name);
            if target.exists() {
                // Of another folder.
                target = folder.join(format!("{index}-{}", name.to_string_lossy()));
            }
            fs::write(&target, &file.text)
                .with_context(|| format!("write `{}`", target.display()))?;
        }
        Ok(folder)
    }
}

fn policy_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read `{}`", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && extension.is_some_and(|e| ["yaml", "yml", "json"].contains(&e)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bookinfo")
    }

    #[test]
    fn every_example_is_built_in() {
        let found = PolicySet::read(&[folder()]).unwrap();
        let texts = |set: &PolicySet| -> Vec<_> {
            set.files
                .iter()
                .map(|file| (file.path.file_name().map(Into::into), file.text.clone()))
                .collect::<Vec<(Option<PathBuf>, String)>>()
        };
        assert_eq!(texts(&found), texts(&PolicySet::built_in()));
        assert_eq!(found.decode().unwrap().len(), 11);
    }

    #[test]
    fn the_key_set_is_replaced_and_nothing_else() {
        let mut set = PolicySet::built_in();
        assert!(set.replace_jwks_uri("http://127.0.0.1:1/jwks.json"));
        let changed: Vec<_> = set
            .files
            .iter()
            .zip(PolicySet::built_in().files)
            .flat_map(|(new, old)| {
                let lines: Vec<_> = new
                    .text
                    .lines()
                    .zip(old.text.lines())
                    .map(|(n, o)| (n.trim().to_owned(), n != o))
                    .collect();
                lines.into_iter().filter(|(_, differs)| *differs).map(|(line, _)| line)
            })
            .collect();
        assert_eq!(changed, ["jwksUri: http://127.0.0.1:1/jwks.json"]);
        assert!(!set.replace_jwks_uri("http://127.0.0.1:2/jwks.json"));
    }

    #[test]
    fn problems_are_told_with_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: b}\nspec: {mtl: {}}\n";
        fs::write(&path, text).unwrap();
        let error =
            PolicySet::read(std::slice::from_ref(&path)).unwrap().decode().unwrap_err().to_string();
        assert!(error.contains(&format!("{}:4:8: error[PST", path.display())), "{error}");

        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert!(PolicySet::read(&[empty]).is_err());
        assert!(PolicySet::read(&[folder.path().join("nothing")]).is_err());
    }

    #[test]
    fn files_of_one_name_are_both_kept() {
        let folder = tempfile::tempdir().unwrap();
        let set = PolicySet::read(&[
            self::folder().join("no-admin.yaml"),
            self::folder().join("../bookinfo/no-admin.yaml"),
        ]);
        let written = set.unwrap().write_to(folder.path()).unwrap();
        assert_eq!(policy_files(&written).unwrap().len(), 2);
    }
}
