//! A few texts that a path fits, and some that it just does not: for paths that are too large to be
//! looked at whole.
//!
//! Which of them is of use is for others to find out.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::model::AccessPath;

/// How many texts are made of one regular expression.
const MOST_TEXTS: usize = 256;

/// Paths that fit, and their neighbours.
pub(super) fn around(path: &AccessPath) -> Vec<String> {
    let inside = texts(path);
    let mut all = inside.clone();
    for text in inside {
        let mut shorter = text.clone();
        shorter.pop();
        let last = text.chars().next_back().unwrap_or('a');
        all.extend([shorter, format!("{text}{last}"), format!("{text}x"), format!("{text}/x")]);
    }
    all.retain(|text| text.starts_with('/'));
    all
}

/// Paths that fit.
fn texts(path: &AccessPath) -> Vec<String> {
    match path {
        AccessPath::Regex(text) if text.value == "/*" => vec!["/".to_owned(), "/any".to_owned()],
        AccessPath::Regex(text) => {
            let parsed = regex_syntax::Parser::new().parse(text);
            let texts = parsed.map(|regex| of_regex(&regex)).unwrap_or_default();
            let is_path = |text: &String| {
                text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'?')
            };
            texts.into_iter().filter(|text| is_path(text) && !text.contains('#')).collect()
        }
        AccessPath::Template(text) => ["one", "one/two"]
            .iter()
            .map(|rest| text.replace("{**}", rest).replace("{*}", "one"))
            .collect(),
    }
}

/// Texts that a regular expression matches, a few for each of its branches.
fn of_regex(regex: &Hir) -> Vec<String> {
    let mut texts = match regex.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => some_of(class).into_iter().map(String::from).collect(),
        HirKind::Capture(capture) => of_regex(&capture.sub),
        HirKind::Alternation(branches) => branches.iter().flat_map(of_regex).collect(),
        HirKind::Repetition(repetition) => {
            let once = of_regex(&repetition.sub);
            let one = once.first().cloned().unwrap_or_default();
            let least = usize::try_from(repetition.min).unwrap_or(1).min(64);
            let start = one.repeat(least.saturating_sub(1));
            let mut texts = Vec::new();
            if repetition.min == 0 {
                texts.push(String::new());
            }
            if repetition.max != Some(0) {
                texts.extend(once.iter().map(|last| format!("{start}{last}")));
            }
            if repetition.max.is_none_or(|most| most > repetition.min.max(1)) {
                texts.push(one.repeat(least.max(1).saturating_add(1)));
            }
            texts
        }
        HirKind::Concat(parts) => {
            let mut texts = vec![String::new()];
            for part in parts {
                let ends = of_regex(part);
                let both = texts
                    .iter()
                    .flat_map(|start| ends.iter().map(move |end| format!("{start}{end}")));
                texts = both.take(MOST_TEXTS).collect();
            }
            texts
        }
    };
    texts.truncate(MOST_TEXTS);
    texts
}

/// Characters of a class that may stand in a path: all of a few, as `(a|b)` is such a class, too, and one
/// of many.
fn some_of(class: &Class) -> Vec<char> {
    let holds = |wanted: char| match class {
        Class::Unicode(class) => {
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }
        Class::Bytes(class) => u8::try_from(wanted).is_ok_and(|wanted| {
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }),
    };
    let usual = ('a'..='z').chain('0'..='9').chain('A'..='Z').chain("-._~/!$&'()*+,;=:@%".chars());
    let found: Vec<char> = usual.into_iter().filter(|c| holds(*c)).collect();
    let shown = if found.len() <= MOST_TEXTS { found.len() } else { 1 };
    found.into_iter().take(shown).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::path_regex::PathRegex;

    #[rstest]
    #[case("/orders", &["/orders"])]
    #[case("/.*", &["/", "/a", "/aa"])]
    #[case("/(a|b)", &["/a", "/b"])]
    #[case("/[0-9]+/x", &["/0/x", "/00/x"])]
    #[case("/a{3}", &["/aaa"])]
    #[case("/v(1|2)?/[^/]*", &["/v/", "/v/a", "/v/aa", "/v1/", "/v1/a"])]
    fn every_branch_has_a_path(#[case] path: &str, #[case] expected: &[&str]) {
        let found = texts(&AccessPath::Regex(path.to_owned().into()));
        for text in expected {
            assert!(found.iter().any(|it| it == text), "{text}: {found:?}");
        }
        let regex = PathRegex::parse(path).unwrap();
        for text in found {
            assert!(regex.matches(&text), "{text}");
        }
    }
}
