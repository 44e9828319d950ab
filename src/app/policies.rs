//! Where policies come from, as configured: files, or the embedded store.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use crate::config::Config;
use crate::source::Corpus;
use crate::source::file::{FileSource, Watching};
#[cfg(feature = "api")]
use crate::source::local::LocalSource;
#[cfg(feature = "api")]
use crate::store::Store;

/// A source that is not read yet, or that was.
#[derive(Debug)]
pub(super) enum PolicySource {
    Files(FileSource),
    #[cfg(feature = "api")]
    Store(LocalSource, Store),
}

impl PolicySource {
    /// The one that is configured.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        #[cfg(feature = "api")]
        if let Some(store) = config.store.clone() {
            let store = tokio::task::spawn_blocking(move || super::store::open(&store)).await??;
            return Ok(Self::Store(super::store::source(store.clone()), store));
        }
        Ok(Self::Files(FileSource::new(config.policies.clone())))
    }

    /// The store that it reads.
    #[cfg(feature = "api")]
    pub(super) fn store(&self) -> Option<Store> {
        match self {
            Self::Files(_) => None,
            Self::Store(_, store) => Some(store.clone()),
        }
    }

    /// Whether nothing is served if something is wrong with the policies at the start. What is wrong
    /// in a store can only be mended through its API.
    pub(super) fn must_be_good(&self) -> bool {
        match self {
            Self::Files(_) => true,
            #[cfg(feature = "api")]
            Self::Store(..) => false,
        }
    }

    /// All policies.
    pub(super) async fn read(mut self) -> Result<(Self, Arc<Corpus>)> {
        tokio::task::spawn_blocking(move || {
            let corpus = match &mut self {
                Self::Files(files) => files.read(),
                #[cfg(feature = "api")]
                Self::Store(objects, _) => objects.read(),
            };
            (self, Arc::new(corpus))
        })
        .await
        .context("read the policies")
    }

    /// Sends them again whenever they change.
    pub(super) async fn watch(self, corpora: watch::Sender<Arc<Corpus>>) {
        match self {
            Self::Files(files) => files.watch(Watching::default(), corpora).await,
            #[cfg(feature = "api")]
            Self::Store(objects, _) => objects.watch(corpora).await,
        }
    }
}
