//! Lists the files of a policy set, without reading them.
//!
//! Knows how a Kubernetes ConfigMap volume looks: `shop.yaml` links to `..data/shop.yaml`, `..data`
//! to a directory with a date for a name. Entries that begin with a dot are skipped, so each file is
//! seen once.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{ReadError, SourceProblem, links::Interests};

/// What stands where.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Scan {
    pub(super) found: Vec<Found>,
    pub(super) problems: Vec<SourceProblem>,
    pub(super) interests: Interests,
}

/// One policy file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Arc<str>,
    pub(super) path: PathBuf,
    stamp: Stamp,
}

/// What changes when a file does. Two equal scans around a read mean that what was read is one state
/// of the directory, not half of one and half of the next.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Lists what the roots hold.
pub(super) fn scan(roots: &[PathBuf]) -> Scan {
    let mut walk = Walk::default();
    for root in roots {
        walk.root(root);
    }
    walk.scan
}

#[derive(Debug, Default)]
struct Walk {
    scan: Scan,
    /// Files met before, by device and inode: roots may overlap, and links may meet.
    met: BTreeSet<(u64, u64)>,
}

impl Walk {
    fn root(&mut self, root: &Path) {
        self.scan.interests.path(root);
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => self.directory(root, &metadata, &mut Vec::new()),
            // A file that was named is read whatever its extension.
            Ok(metadata) => self.file(root, &metadata),
            Err(error) => self.problem(root, missing_or(root, error)),
        }
    }

    fn directory(&mut self, path: &Path, metadata: &Metadata, above: &mut Vec<(u64, u64)>) {
        let identity = (metadata.dev(), metadata.ino());
        if above.contains(&identity) {
            self.problem(path, ReadError::LinkLoop);
            return;
        }
        self.scan.interests.all_of(path);
        let mut entries = match read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                self.problem(path, error.into());
                return;
            }
        };
        entries.sort();
        above.push(identity);
        for entry in entries {
            self.entry(&entry, above);
        }
        above.pop();
    }

    fn entry(&mut self, path: &Path, above: &mut Vec<(u64, u64)>) {
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            return;
        }
        let linked = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if linked {
            self.scan.interests.path(path);
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.directory(path, &metadata, above),
            Ok(metadata) if is_policy(path) => self.file(path, &metadata),
            Ok(_) => {}
            // What the link named may have been a directory of policies, so its name says nothing.
            Err(error) => self.problem(path, missing_or(path, error)),
        }
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) {
        if !metadata.is_file() {
            self.problem(path, ReadError::NotRegular);
            return;
        }
        if self.met.insert((metadata.dev(), metadata.ino())) {
            let stamp = Stamp::of(metadata);
            self.scan.found.push(Found { name: name(path), path: path.to_owned(), stamp });
        }
    }

    fn problem(&mut self, path: &Path, error: ReadError) {
        self.scan.problems.push(SourceProblem { path: name(path), error });
    }
}

fn read_dir(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn is_policy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn missing_or(path: &Path, error: io::Error) -> ReadError {
    let linked = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if error.kind() != io::ErrorKind::NotFound {
        error.into()
    } else if linked {
        ReadError::DanglingLink
    } else {
        ReadError::Missing
    }
}

fn name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}
