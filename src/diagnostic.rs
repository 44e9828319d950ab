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

/// The line a diagnostic points at, fit to be printed: a long line is cut to the part that matters,
/// control characters are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, or the part of it around the underline.
    pub line: String,
    /// The first underlined character, counted from 0 in `line`.
    pub start: usize,
    /// How many characters the underline covers, at least 1.
    pub width: usize,
}

impl Excerpt {
    /// Columns of a line that are shown whole.
    const WHOLE: usize = 120;
    /// Columns shown before the underline of a line that is cut.
    const BEFORE: usize = 40;
    /// Columns shown of a line that is cut.
    const SHOWN: usize = 100;

    /// The excerpt of a whole line (without its end) that underlines `width` characters from
    /// `column` (from 1) on.
    pub fn new(line: &str, column: u32, width: usize) -> Self {
        let characters: Vec<char> =
            line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let start = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        let mut excerpt = Self { line: characters.iter().collect(), start, width };
        if characters.len() > Self::WHOLE {
            let skipped = start.saturating_sub(Self::BEFORE).min(characters.len());
            let shown = characters.iter().skip(skipped).take(Self::SHOWN);
            excerpt.line = shown.collect();
            excerpt.start = start - skipped;
            if skipped > 0 {
                excerpt.line.insert_str(0, "...");
                excerpt.start += 3;
            }
            if skipped + Self::SHOWN < characters.len() {
                excerpt.line.push_str("...");
            }
        }
        let length = excerpt.line.chars().count();
        excerpt.start = excerpt.start.min(length);
        excerpt.width = width.min(length - excerpt.start).max(1);
        excerpt
    }

    /// The line below the excerpt: carets under the underlined characters, on a terminal that gives
    /// wide characters two columns.
    fn underline(&self) -> String {
        let columns = |from: usize, count: usize| -> usize {
            self.line.chars().skip(from).take(count).map(columns_of).sum()
        };
        let indent = columns(0, self.start);
        let carets = columns(self.start, self.width).max(1);
        format!("{}{}", " ".repeat(indent), "^".repeat(carets))
    }
}

/// How many columns a terminal gives a character: 0 for combining marks, 2 for East Asian wide ones
/// and emoji (Unicode's UAX 11, by block), else 1.
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF01..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1F9FF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
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
        let number = self.position.line.to_string();
        let gutter = number.len().max(2);
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{:gutter$} |\n{number:>gutter$} | {}", "", excerpt.line)?;
            write!(f, "\n{:gutter$} | {}", "", excerpt.underline())?;
        }
        if let Some(id) = &self.resource {
            write!(f, "\n{:gutter$} = in {id}", "")?;
            if !self.path.is_empty() {
                write!(f, " at {}", self.path)?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:gutter$} = help: {help}", "")?;
        }
        Ok(())
    }
}
