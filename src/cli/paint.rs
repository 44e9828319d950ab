//! Colour for people at terminals, and for nobody else.

use std::io::{IsTerminal as _, Stdout};

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// The words that say how it went, and whether that is well.
const WORDS: [(&str, bool); 2] = [("ALLOW", true), ("DENY", false)];

/// Whether what goes there may have colour: to a terminal, unless `NO_COLOR` says otherwise
/// (<https://no-color.org>) or the terminal cannot.
pub(super) fn wanted(stdout: &Stdout) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stdout.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// The first word of a decision in the colour of its outcome.
pub(super) fn decision(text: &str, wanted: bool) -> String {
    let found = WORDS.iter().find_map(|(word, is_good)| {
        Some((*word, text.strip_prefix(word)?, if *is_good { GREEN } else { RED }))
    });
    match found {
        Some((word, rest, colour)) if wanted => format!("{colour}{word}{PLAIN}{rest}"),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_and_only_if_wanted() {
        assert_eq!(decision("ALLOW  a DENY rule", true), "\u{1b}[32mALLOW\u{1b}[0m  a DENY rule");
        assert_eq!(decision("DENY   b", true), "\u{1b}[31mDENY\u{1b}[0m   b");
        assert_eq!(decision("DENY   b", false), "DENY   b");
        assert_eq!(decision("other", true), "other");
    }
}
