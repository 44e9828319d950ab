//! Patterns for the slow twin: a few pieces and plain backtracking.

/// A piece of a pattern.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// The text itself.
    Literal(String),
    /// A run of characters of a class, at least so many.
    Run { class: fn(char) -> bool, at_least: usize },
}

/// Shorthand for a literal piece.
pub(super) fn literal(text: impl Into<String>) -> Piece {
    Piece::Literal(text.into())
}

/// `.*`, `.+` of RE2: no line feed.
pub(super) fn dots(at_least: usize) -> Piece {
    Piece::Run { class: |c| c != '\n', at_least }
}

/// `[^/]*`
pub(super) fn not_slash() -> Piece {
    Piece::Run { class: |c| c != '/', at_least: 0 }
}

/// One segment of a path template, and any number of them.
pub(super) fn segment() -> Piece {
    Piece::Run { class: is_pchar, at_least: 1 }
}

/// See [`segment`].
pub(super) fn segments() -> Piece {
    Piece::Run { class: |c| c == '/' || is_pchar(c), at_least: 0 }
}

/// Anything at all, as prefix and suffix patterns take it.
pub(super) fn anything() -> Piece {
    Piece::Run { class: |_| true, at_least: 0 }
}

fn is_pchar(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;:@=".contains(c)
}

/// Whether the whole text fits the pieces.
pub(super) fn fits(pieces: &[Piece], text: &str) -> bool {
    match pieces.split_first() {
        None => text.is_empty(),
        Some((Piece::Literal(wanted), rest)) => {
            text.strip_prefix(wanted.as_str()).is_some_and(|after| fits(rest, after))
        }
        Some((Piece::Run { class, at_least }, rest)) => {
            let ends =
                text.char_indices().take_while(|(_, c)| class(*c)).map(|(at, c)| at + c.len_utf8());
            std::iter::once(0)
                .chain(ends)
                .skip(*at_least)
                .any(|end| text.get(end..).is_some_and(|after| fits(rest, after)))
        }
    }
}

/// Istio's plain string patterns; a lone star is `star`.
pub(super) fn plain(pattern: &str, star: Piece) -> Vec<Piece> {
    if pattern == "*" {
        vec![star]
    } else if let Some(suffix) = pattern.strip_prefix('*') {
        vec![anything(), literal(suffix)]
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        vec![literal(prefix), anything()]
    } else {
        vec![literal(pattern)]
    }
}

/// A path with `{*}` and `{**}`.
pub(super) fn template(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (i, part) in pattern.split("{**}").enumerate() {
        if i > 0 {
            pieces.push(segments());
        }
        for (i, text) in part.split("{*}").enumerate() {
            if i > 0 {
                pieces.push(segment());
            }
            pieces.push(literal(text));
        }
    }
    pieces
}
