//! A file's text by line and column: for positions of problems, and for the excerpts shown with them.
//!
//! Knows nothing of YAML or JSON.

use std::sync::Arc;

use crate::diagnostic::Excerpt;
use crate::model::Position;

/// Bytes of the longest line that excerpts are made of.
const LONGEST_LINE: usize = 64 * 1024;

/// A text, and the name of the file it came from.
#[derive(Debug)]
pub(crate) struct Text<'t> {
    pub(crate) file: Option<Arc<str>>,
    /// Without a byte order mark.
    pub(crate) content: &'t str,
    lines: Vec<&'t str>,
}

impl<'t> Text<'t> {
    pub(crate) fn new(content: &'t str, file: Option<&str>) -> Self {
        let content = content.strip_prefix('\u{FEFF}').unwrap_or(content);
        let lines = lines(content).map(|(_, line)| line).collect();
        Self { file: file.map(Arc::from), content, lines }
    }

    /// The line with that number (from 1), without its end.
    pub(crate) fn line(&self, number: u32) -> Option<&'t str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.lines.get(index).copied()
    }

    /// The line of a place, for people. `None` for a line with key material, which must not get
    /// into logs, and for one so long that thousands of excerpts of it would take minutes.
    pub(crate) fn excerpt(&self, position: Position, width: usize) -> Option<Excerpt> {
        let line = self.line(position.line).filter(|line| line.len() <= LONGEST_LINE)?;
        (!may_hold_key(line)).then(|| Excerpt::new(line, position.column, width))
    }
}

/// Whether a text may be a part of a JSON Web Key or a PEM key, or a password: such must not get into
/// logs.
fn may_hold_key(text: &str) -> bool {
    ["kty", "client_secret", "\"d\"", "\"k\"", "\"p\"", "\"q\"", "PRIVATE KEY"]
        .iter()
        .any(|mark| text.contains(mark))
}

/// The lines of a text with the byte each starts at. Lines end as YAML says: `\n`, `\r\n` or `\r`.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some((0, text));
    std::iter::from_fn(move || {
        let (start, tail) = rest.take()?;
        let Some(end) = tail.find(['\n', '\r']) else {
            return (!tail.is_empty() || start == 0).then_some((start, tail));
        };
        let (line, ending) = tail.split_at_checked(end)?;
        let next = ending
            .strip_prefix("\r\n")
            .or_else(|| ending.strip_prefix(['\n', '\r']))
            .unwrap_or_default();
        rest = Some((start + tail.len() - next.len(), next));
        Some((start, line))
    })
}

/// Turns ascending byte offsets into positions without counting from the start each time.
#[derive(Debug)]
pub(crate) struct Positions<'t> {
    rest: std::str::CharIndices<'t>,
    text: &'t str,
    offset: usize,
    position: Position,
    after_carriage_return: bool,
}

impl<'t> Positions<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            rest: text.char_indices(),
            text,
            offset: 0,
            position: Position { line: 1, column: 1 },
            after_carriage_return: false,
        }
    }

    /// The position of a byte. Fast where `offset` is not below that of the call before.
    pub(crate) fn of(&mut self, offset: usize) -> Position {
        if offset < self.offset {
            *self = Self::new(self.text);
        }
        while self.offset < offset {
            let Some((start, c)) = self.rest.next() else { break };
            self.offset = start + c.len_utf8();
            match c {
                // The second half of `\r\n`: the line was counted at its first.
                '\n' if self.after_carriage_return => {}
                '\n' | '\r' => {
                    self.position.line = self.position.line.saturating_add(1);
                    self.position.column = 1;
                }
                _ => self.position.column = self.position.column.saturating_add(1),
            }
            self.after_carriage_return = c == '\r';
        }
        self.position
    }
}

/// The first character that neither YAML nor JSON allows anywhere in a text, with its byte offset.
pub(crate) fn forbidden_character(text: &str) -> Option<(usize, char)> {
    text.char_indices().find(|(_, c)| {
        matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{7F}'..='\u{84}'
            | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}')
    })
}

/// User text as messages show it: in backticks, on one line, not too long, and never a key.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if may_hold_key(text) {
        return "`...`".to_owned();
    }
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}
