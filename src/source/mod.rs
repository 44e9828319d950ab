//! Where policies come from: the text of a whole policy set, each time it changes.
//!
//! What the text means is `manifest`'s job, what happens to it `control`'s.

use std::{io, path::Path, sync::Arc};

pub mod file;
#[cfg(feature = "kube")]
pub mod kube;
mod links;
#[cfg(feature = "api")]
pub mod local;
#[cfg(any(feature = "api", feature = "kube"))]
mod objects;
mod scan;
mod watch;

use crate::model::Workload;

/// The policy set as it stands: always whole, so that a reader cannot miss a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Corpus {
    /// Every file that could be read, in the order the user named them, directories in name order.
    pub files: Vec<PolicyFile>,
    /// What could not be read. The resources that came from there are unknown, not gone.
    pub problems: Vec<SourceProblem>,
    /// The workloads that were found where the policies come from, in the order of their names.
    pub workloads: Arc<[Workload]>,
}

/// One file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its path, as the user would type it.
    pub name: Arc<str>,
    /// What it holds.
    pub text: Arc<str>,
}

/// A file or directory that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{path}`")]
pub struct SourceProblem {
    /// Its path, as the user would type it.
    pub path: Arc<str>,
    /// Why.
    #[source]
    pub error: ReadError,
}

impl SourceProblem {
    /// Whether a file of this name stood at or below the path that cannot be read.
    pub fn covers(&self, name: &str) -> bool {
        Path::new(name).starts_with(&*self.path)
    }
}

/// Why a file or directory could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It was named, and there is nothing.
    #[error("no such file or directory")]
    Missing,
    /// A symbolic link without a target.
    #[error("the symbolic link points nowhere")]
    DanglingLink,
    /// A directory that contains itself.
    #[error("symbolic links lead back to a directory above")]
    LinkLoop,
    /// A socket, a pipe, a device.
    #[error("not a regular file")]
    NotRegular,
    /// More than [`file::MAX_FILE_BYTES`].
    #[error("larger than {} MiB", file::MAX_FILE_BYTES / 1024 / 1024)]
    TooLarge,
    /// Not text.
    #[error("not UTF-8: byte {at} does not belong to a character")]
    NotUtf8 {
        /// Which byte, from 0.
        at: usize,
    },
    /// It had content and is 0 bytes now, which is what a file looks like while it is being written.
    #[error("it became empty; delete the file if its policies shall go")]
    Emptied,
    /// Anything else the operating system says.
    #[error("{message}")]
    Io {
        /// What kind.
        kind: io::ErrorKind,
        /// Its words.
        message: String,
    },
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io { kind: error.kind(), message: error.to_string() }
    }
}
