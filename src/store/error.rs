//! Why a store cannot be opened, read or written.

use std::io;
use std::path::PathBuf;

/// Why something could not be done with the files of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or read.
    #[error("cannot use `{folder}` as a store")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Another process has it open.
    #[error("`{file}` is open in another process; one at a time")]
    InUse {
        /// Which.
        file: PathBuf,
    },
    /// It is not what this program writes.
    #[error("`{file}` is format {found}, and this version reads up to {known}; use a newer one")]
    NewerFormat {
        /// Which.
        file: PathBuf,
        /// The format it has.
        found: u64,
        /// The newest format that is known.
        known: u64,
    },
    /// It contradicts itself.
    #[error("the store is damaged: {0}; restore an export of it")]
    Damaged(String),
    /// The database says so.
    #[error("the store cannot be read or written")]
    Database(#[source] Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// What was asked for is too old: those changes are no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Compacted {
    /// The revision that was asked for.
    pub asked: u64,
    /// The oldest that there is.
    pub oldest: u64,
}
