//! Which directory entries a path depends on: the entry itself and every symbolic link on the way.
//!
//! Watching them is `watch`'s job.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// More links than this on one path is a loop, as for the kernel.
const MAX_LINKS: usize = 40;

/// Directories to watch, and what in each of them matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Interests(pub(super) BTreeMap<PathBuf, Names>);

/// Which entries of a directory matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// All of them: it is a directory of policies.
    All,
    /// These: a policy file's own, or a link on the way to one.
    Only(BTreeSet<OsString>),
}

impl Names {
    /// Makes everything matter that mattered in either.
    pub(super) fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Only(mine), Self::Only(theirs)) => mine.extend(theirs),
        }
    }
}

impl Interests {
    /// Everything in this directory matters.
    pub(super) fn all_of(&mut self, directory: &Path) {
        if let Ok(directory) = std::path::absolute(directory) {
            self.0.insert(directory, Names::All);
        }
    }

    /// The path matters, and so does every link on the way to what it names. Where something is
    /// missing, its first missing part matters, so that its return is noticed.
    pub(super) fn path(&mut self, path: &Path) {
        if let Ok(path) = std::path::absolute(path) {
            self.follow(&path, 0);
        }
    }

    fn follow(&mut self, path: &Path, links: usize) {
        let mut reached = PathBuf::new();
        let mut components = path.components();
        while let Some(component) = components.next() {
            let name = match component {
                Component::Normal(name) => name,
                // Links before this were followed, so going up is going up.
                Component::ParentDir => {
                    reached.pop();
                    continue;
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {
                    reached.push(component);
                    continue;
                }
            };
            let next = reached.join(name);
            let rest = components.as_path();
            match fs::symlink_metadata(&next) {
                Ok(metadata) if metadata.is_symlink() => {
                    self.entry(&reached, name);
                    if let (Ok(target), true) = (fs::read_link(&next), links < MAX_LINKS) {
                        let target = reached.join(target);
                        // Joining nothing would add a slash, which asks for a directory.
                        let target =
                            if rest.as_os_str().is_empty() { target } else { target.join(rest) };
                        self.follow(&target, links + 1);
                    }
                    return;
                }
                Ok(_) => {
                    if rest.as_os_str().is_empty() {
                        self.entry(&reached, name);
                    }
                    reached = next;
                }
                Err(_) => {
                    self.entry(&reached, name);
                    return;
                }
            }
        }
    }

    fn entry(&mut self, directory: &Path, name: &std::ffi::OsStr) {
        let only = Names::Only(BTreeSet::from([name.to_owned()]));
        match self.0.get_mut(directory) {
            Some(names) => names.merge(only),
            None => {
                self.0.insert(directory.to_owned(), only);
            }
        }
    }
}
