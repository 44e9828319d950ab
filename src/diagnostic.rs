//! What is wrong with a document: a stable code, a place, what to write instead.

use std::{fmt, sync::Arc};

use crate::model::{Position, ResourceId};

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Accepted, and probably not what was meant.
    Warning,
    /// Refused.
    Error,
}

impl Severity {
    /// `note`, `warning`, `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding. Displays as `policies/shop.yaml:14:11: error[PST0107]: ...` with a `help` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Stable code, `PSTnnnn`; see docs/diagnostics.md.
    pub code: Code,
    /// What is wrong, one line, lower case, user text in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The file, as the user named it.
    pub file: Option<Arc<str>>,
    /// Where in the file.
    pub position: Position,
    /// The text of that line, for the excerpt.
    pub excerpt: Option<Excerpt>,
    /// The resource it is about, where it got that far.
    pub resource: Option<ResourceId>,
    /// Where in the resource, such as `spec.rules[0].from[0].source.ipBlocks[2]`.
    pub path: String,
}

/// The line a diagnostic points at, and how many characters to underline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The whole line, without its end.
    pub line: String,
    /// How many characters the underline covers, at least 1.
    pub width: usize,
}

/// A stable code: `Code(107)` is `PST0107`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PST{:04}", self.0)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if self.position.line > 0 {
            write!(f, "{}:{}:", self.position.line, self.position.column)?;
        }
        if self.file.is_some() || self.position.line > 0 {
            f.write_str(" ")?;
        }
        write!(f, "{}[{}]: {}", self.severity.as_str(), self.code, self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let column = usize::try_from(self.position.column).unwrap_or(1).max(1);
            write!(f, "\n   |\n   | {}\n   | {:>column$}", excerpt.line, "^")?;
            for _ in 1..excerpt.width {
                f.write_str("^")?;
            }
        }
        if let Some(id) = &self.resource {
            write!(f, "\n   = in {id}")?;
            if !self.path.is_empty() {
                write!(f, " at {}", self.path)?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n   = help: {help}")?;
        }
        Ok(())
    }
}
