//! What is wrong, before it is known in which file and resource; and the report that collects it.
//!
//! Says nothing about what can be wrong: that is for the decoders and `admission`.

use super::{cursor::At, node::Node, text::Text};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::model::{Position, ResourceId};

/// A place in a text, and the way to it in its document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spot {
    pub(crate) position: Position,
    pub(crate) width: usize,
    pub(crate) path: String,
}

impl From<&At<'_>> for Spot {
    fn from(at: &At<'_>) -> Self {
        Self { path: at.path.to_string(), ..Self::from(at.node) }
    }
}

impl From<&Node> for Spot {
    fn from(node: &Node) -> Self {
        Self { position: node.position, width: node.width, path: String::new() }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    severity: Severity,
    pub(crate) code: Code,
    spot: Spot,
    message: String,
    help: Option<String>,
}

impl Problem {
    pub(crate) fn error(code: Code, spot: impl Into<Spot>, message: impl Into<String>) -> Self {
        let (spot, message) = (spot.into(), message.into());
        Self { severity: Severity::Error, code, spot, message, help: None }
    }

    pub(crate) fn warning(code: Code, spot: impl Into<Spot>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, spot, message) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// Collects the problems of one text.
#[derive(Debug)]
pub(crate) struct Report<'t> {
    pub(crate) text: &'t Text<'t>,
    /// The resource that problems are about, as soon as it is known.
    pub(crate) resource: Option<ResourceId>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    errors: usize,
}

impl<'t> Report<'t> {
    pub(crate) fn new(text: &'t Text<'t>) -> Self {
        Self { text, resource: None, diagnostics: Vec::new(), errors: 0 }
    }

    /// How many errors there were so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        let Problem { severity, code, spot: Spot { position, width, path }, message, help } =
            problem;
        self.errors += usize::from(severity == Severity::Error);
        self.diagnostics.push(Diagnostic {
            severity,
            code,
            message,
            help,
            file: self.text.file.clone(),
            position,
            excerpt: self.text.excerpt(position, width),
            resource: self.resource.clone(),
            path,
        });
    }
}
