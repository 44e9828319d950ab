//! What control needs to know of decoded text.
//!
//! Decoding is `manifest`'s job; `app` says which function does it.

use std::{fmt, sync::Arc};

use crate::diagnostic::{Diagnostic, Severity};
use crate::model::{RefusedScope, Resource, ResourceId, Service};
use crate::source::PolicyFile;

/// The documents of all files, and everything that is wrong with them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// In the order of files and of documents in them.
    pub documents: Vec<Document>,
    /// In the same order.
    pub diagnostics: Vec<Diagnostic>,
    /// Services, which say which workloads are meant by their names.
    pub services: Vec<Service>,
}

/// One document that is about a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The name of its file.
    pub file: Arc<str>,
    /// Which resource, where it got that far.
    pub id: Option<ResourceId>,
    /// The resource, if nothing is wrong with it.
    pub resource: Option<Arc<Resource>>,
    /// What it would be about if it is refused, where it got that far.
    pub scope: Option<RefusedScope>,
}

/// Turns text into documents. Called off the async threads.
#[derive(Clone)]
pub struct Decode(Arc<Decoder>);

type Decoder = dyn Fn(&[PolicyFile]) -> Decoded + Send + Sync;

impl Decode {
    /// A decoder.
    pub fn new(decode: impl Fn(&[PolicyFile]) -> Decoded + Send + Sync + 'static) -> Self {
        Self(Arc::new(decode))
    }

    /// Decodes all files of a policy set.
    pub fn decode(&self, files: &[PolicyFile]) -> Decoded {
        (self.0)(files)
    }
}

impl fmt::Debug for Decode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decode").finish_non_exhaustive()
    }
}

impl Decoded {
    pub(super) fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
