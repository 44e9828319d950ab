//! The built binary, run as a user would, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A scratch folder, which is where the binary runs: names in its output are short and stable.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The binary, without anything of this process's environment.
    pub(crate) fn postern(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.current_dir(self.path()).env_clear();
        command
    }
}
