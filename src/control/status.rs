//! What an operator can ask of control: what is in force, what is refused, since when and why.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::diagnostic::Diagnostic;
use crate::model::{Kind, Resource, ResourceId};
use crate::plan::CompiledSize;
use crate::source::{Corpus, SourceProblem};

/// The state after the last corpus.
#[derive(Debug, Clone, Default)]
pub struct ControlStatus {
    /// The policy set that this is the state after.
    pub corpus: Arc<Corpus>,
    /// The revision in force; 0 before the first.
    pub revision: u64,
    /// Since when.
    pub published: Option<Instant>,
    /// How long its compilation took.
    pub compile: Duration,
    /// What deciding takes in memory.
    pub size: CompiledSize,
    /// The resources in force, by kind, namespace and name.
    pub resources: Vec<Arc<Resource>>,
    /// What is refused in its present form.
    pub rejected: Vec<Rejection>,
    /// What is accepted and probably not meant.
    pub findings: Vec<Diagnostic>,
}

impl ControlStatus {
    /// How many resources of a kind are in force.
    pub fn count(&self, kind: Kind) -> usize {
        self.resources.iter().filter(|resource| resource.kind() == kind).count()
    }
}

/// Something whose present form is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// What.
    pub subject: Subject,
    /// How many resources stay in force in their last accepted form. None for a resource means that
    /// what it may be about is denied.
    pub kept: usize,
    /// Why; never empty.
    pub problems: Vec<Problem>,
    /// Since when.
    pub since: Instant,
}

impl Rejection {
    /// What this means for requests, in a few words.
    pub fn effect(&self) -> &'static str {
        match (&self.subject, self.kept) {
            (Subject::Resource(id), 0) if id.kind == Kind::ApiRule => {
                "never accepted: requests for its hosts are denied, or all where they cannot be read"
            }
            (Subject::Resource(_), 0) => "never accepted: the workloads it may select deny",
            (Subject::Resource(_), _) => "its last accepted form stays in force",
            (Subject::Path(_), 0) => "nothing was ever accepted from it",
            (Subject::Path(_), _) => "what was last accepted from it stays in force",
        }
    }
}

/// What a rejection is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A resource.
    Resource(ResourceId),
    /// A file or directory: what is wrong with it cannot be told to be about one resource.
    Path(Arc<str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(id) => id.fmt(f),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// With a text.
    Text(Diagnostic),
    /// With reading it.
    Read(SourceProblem),
}

impl Problem {
    /// The problem in one line, with its place.
    pub fn line(&self) -> String {
        match self {
            Self::Text(diagnostic) => {
                let bare =
                    Diagnostic { excerpt: None, resource: None, help: None, ..diagnostic.clone() };
                bare.to_string()
            }
            Self::Read(problem) => format!("{problem}: {}", problem.error),
        }
    }
}

/// In full, with excerpt and help.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(diagnostic) => diagnostic.fmt(f),
            Self::Read(_) => f.write_str(&self.line()),
        }
    }
}
