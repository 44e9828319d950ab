//! Paths that regular expressions and templates tell apart: for each set of them that a path can fit
//! together, and no others, the shortest such paths.
//!
//! All of them are followed at once, character by character, and characters that none of them tells
//! apart are one. What a path means to anybody is for others. Visible ASCII is all there is.

use std::collections::{HashMap, HashSet, VecDeque};

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::model::AccessPath;

/// How large the patterns of one host may be together.
const MOST_NODES: usize = 20_000;

/// How many paths are kept of those that fit the same.
const MOST_ALIKE: usize = 3;

/// Characters, by their bits.
type Chars = u128;

/// The nicest first.
const USUAL: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_~!$&'()*+,;=:@\"<>[]^`{|}./%\\";

/// What Envoy's templates take in a segment.
const IN_SEGMENT: &str =
    "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-._~%!$&'()*+,;:@=";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Those first that are the same however paths are normalized.
    pub(super) texts: Vec<String>,
    /// Whether there are no others.
    pub(super) is_whole: bool,
}

/// Paths for these patterns. Takes one of `states_left` for each path that is followed.
pub(super) fn apart(patterns: &[&AccessPath], states_left: &mut usize) -> Paths {
    let mut machine = Machine::default();
    let mut is_whole = true;
    let mut starts = Vec::new();
    for (number, pattern) in patterns.iter().enumerate() {
        match machine.add_pattern(pattern, number) {
            Some(start) => starts.push(start),
            None => is_whole = false,
        }
    }
    is_whole &= !machine.is_inexact;
    let mut search = Search { machine, seen: HashSet::new(), queue: VecDeque::new() };
    let whole = search.machine.closure(starts, true);
    search.visit(search.machine.step(&whole, '/'), Shape::default(), "/".to_owned());
    let mut alike: HashMap<(Vec<usize>, bool), usize> = HashMap::new();
    let (mut plain, mut odd) = (Vec::new(), Vec::new());
    while let Some((state, shape, path)) = search.queue.pop_front() {
        let known = alike.entry((search.machine.fitting(&state), shape.is_odd())).or_default();
        if *known < MOST_ALIKE {
            *known += 1;
            if shape.is_odd() { odd.push(path.clone()) } else { plain.push(path.clone()) }
        }
        // Nothing fits any more, however it goes on.
        if state.is_empty() {
            continue;
        }
        if *states_left == 0 {
            is_whole = false;
            break;
        }
        *states_left -= 1;
        for next in search.machine.characters(&state) {
            let state = search.machine.step(&state, next);
            search.visit(state, shape.with(next), format!("{path}{next}"));
        }
    }
    // A lone `%` is no path everywhere.
    let escaped: Vec<String> = odd.iter().filter_map(|path| escaped(path)).collect();
    plain.extend(odd);
    plain.extend(escaped);
    Paths { texts: plain, is_whole }
}

fn escaped(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut text = parts.next()?.to_owned();
    let mut changed = false;
    for part in parts {
        text.push('%');
        let digits = part.chars().take(2).filter(char::is_ascii_hexdigit).count();
        if digits < 2 {
            text.push_str("41");
            changed = true;
        }
        text.push_str(part);
    }
    changed.then_some(text)
}

/// What normalization would look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Shape {
    /// Dots that the last segment is made of, if of nothing else.
    dots: u8,
    has_others: bool,
    was_odd: bool,
}

impl Shape {
    fn with(self, next: char) -> Self {
        let was_odd = self.was_odd || matches!(next, '%' | '\\');
        match next {
            '/' => Self { dots: 0, has_others: false, was_odd: was_odd || !self.has_others },
            '.' if !self.has_others && self.dots < 2 => Self { dots: self.dots + 1, ..self },
            _ => Self { dots: 0, has_others: true, was_odd },
        }
    }

    fn is_odd(self) -> bool {
        self.was_odd || self.dots > 0
    }
}

/// Nodes that wait for a character or for the end, ascending.
type State = Vec<usize>;

struct Search {
    machine: Machine,
    seen: HashSet<(State, Shape)>,
    queue: VecDeque<(State, Shape, String)>,
}

impl Search {
    fn visit(&mut self, state: State, shape: Shape, path: String) {
        if self.seen.insert((state.clone(), shape)) {
            self.queue.push_back((state, shape, path));
        }
    }
}

#[derive(Debug)]
enum Node {
    Character(Chars, usize),
    Either(Vec<usize>),
    Start(usize),
    End(usize),
    /// The end of the pattern of this number.
    Last(usize),
}

/// All patterns, as one automaton.
#[derive(Debug, Default)]
struct Machine {
    nodes: Vec<Node>,
    /// Whether there is something in them that is not followed.
    is_inexact: bool,
}

impl Machine {
    fn add(&mut self, node: Node) -> Option<usize> {
        let place = self.nodes.len();
        (place < MOST_NODES).then(|| {
            self.nodes.push(node);
            place
        })
    }

    /// Its first node.
    fn add_pattern(&mut self, pattern: &AccessPath, number: usize) -> Option<usize> {
        let last = self.add(Node::Last(number))?;
        match pattern {
            AccessPath::Regex(text) => {
                let text = if text.value == "/*" { "/.*" } else { text.value.as_str() };
                self.add_regex(&regex_syntax::Parser::new().parse(text).ok()?, last)
            }
            AccessPath::Template(text) => {
                let mut rest = text.value.as_str();
                let mut next = last;
                while !rest.is_empty() {
                    if let Some(before) = rest.strip_suffix("{**}") {
                        next = self.add_loop(chars_of(IN_SEGMENT) | chars_of("/"), next)?;
                        rest = before;
                    } else if let Some(before) = rest.strip_suffix("{*}") {
                        let more = self.add_loop(chars_of(IN_SEGMENT), next)?;
                        next = self.add(Node::Character(chars_of(IN_SEGMENT), more))?;
                        rest = before;
                    } else {
                        let character = rest.chars().next_back()?;
                        next = self.add(Node::Character(bit(character), next))?;
                        rest = rest.strip_suffix(character)?;
                    }
                }
                Some(next)
            }
        }
    }

    fn add_loop(&mut self, chars: Chars, next: usize) -> Option<usize> {
        let place = self.add(Node::Either(Vec::new()))?;
        let again = self.add(Node::Character(chars, place))?;
        *self.nodes.get_mut(place)? = Node::Either(vec![again, next]);
        Some(place)
    }

    fn add_regex(&mut self, regex: &Hir, next: usize) -> Option<usize> {
        match regex.kind() {
            HirKind::Empty => Some(next),
            HirKind::Literal(literal) => literal.0.iter().rev().try_fold(next, |next, byte| {
                let chars = if byte.is_ascii() { bit(char::from(*byte)) } else { 0 };
                self.add(Node::Character(chars, next))
            }),
            HirKind::Class(class) => self.add(Node::Character(chars_of_class(class), next)),
            HirKind::Look(look) => match look {
                Look::Start | Look::StartLF | Look::StartCRLF => self.add(Node::Start(next)),
                Look::End | Look::EndLF | Look::EndCRLF => self.add(Node::End(next)),
                Look::WordAscii
                | Look::WordAsciiNegate
                | Look::WordUnicode
                | Look::WordUnicodeNegate
                | Look::WordStartAscii
                | Look::WordEndAscii
                | Look::WordStartUnicode
                | Look::WordEndUnicode
                | Look::WordStartHalfAscii
                | Look::WordEndHalfAscii
                | Look::WordStartHalfUnicode
                | Look::WordEndHalfUnicode => {
                    self.is_inexact = true;
                    Some(next)
                }
            },
            HirKind::Capture(capture) => self.add_regex(&capture.sub, next),
            HirKind::Concat(parts) => {
                parts.iter().rev().try_fold(next, |next, part| self.add_regex(part, next))
            }
            HirKind::Alternation(branches) => {
                let starts: Option<Vec<usize>> =
                    branches.iter().map(|branch| self.add_regex(branch, next)).collect();
                self.add(Node::Either(starts?))
            }
            HirKind::Repetition(repetition) => {
                let mut start = next;
                match repetition.max {
                    None => {
                        start = self.add(Node::Either(Vec::new()))?;
                        let again = self.add_regex(&repetition.sub, start)?;
                        *self.nodes.get_mut(start)? = Node::Either(vec![again, next]);
                    }
                    Some(most) => {
                        for _ in repetition.min..most {
                            let once = self.add_regex(&repetition.sub, start)?;
                            start = self.add(Node::Either(vec![once, next]))?;
                        }
                    }
                }
                (0..repetition.min).try_fold(start, |next, _| {
                    // Counts, so that there is an end to repeating what takes no node.
                    let next = self.add(Node::Either(vec![next]))?;
                    self.add_regex(&repetition.sub, next)
                })
            }
        }
    }

    /// What these come to before the next character.
    fn closure(&self, mut stack: Vec<usize>, at_start: bool) -> State {
        let mut seen = HashSet::new();
        let mut state = Vec::new();
        while let Some(place) = stack.pop() {
            if !seen.insert(place) {
                continue;
            }
            match self.nodes.get(place) {
                Some(Node::Either(nexts)) => stack.extend(nexts),
                Some(Node::Start(next)) if at_start => stack.push(*next),
                Some(Node::Start(_)) | None => {}
                Some(Node::Character(..) | Node::End(_) | Node::Last(_)) => state.push(place),
            }
        }
        state.sort_unstable();
        state
    }

    fn step(&self, state: &State, next: char) -> State {
        let bit = bit(next);
        let after = state.iter().filter_map(|place| match self.nodes.get(*place) {
            Some(Node::Character(chars, next)) if chars & bit != 0 => Some(*next),
            Some(
                Node::Character(..)
                | Node::Either(_)
                | Node::Start(_)
                | Node::End(_)
                | Node::Last(_),
            )
            | None => None,
        });
        self.closure(after.collect(), false)
    }

    /// The patterns that fit if this is the end.
    fn fitting(&self, state: &State) -> Vec<usize> {
        let mut stack = state.clone();
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        while let Some(place) = stack.pop() {
            if !seen.insert(place) {
                continue;
            }
            match self.nodes.get(place) {
                Some(Node::Last(number)) => found.push(*number),
                Some(Node::End(next)) => stack.push(*next),
                Some(Node::Either(nexts)) => stack.extend(nexts),
                Some(Node::Character(..) | Node::Start(_)) | None => {}
            }
        }
        found.sort_unstable();
        found
    }

    /// One of each kind of characters that a state tells apart.
    fn characters(&self, state: &State) -> Vec<char> {
        let mut kinds = vec![bit('/'), bit('.'), chars_of("%\\")];
        let usual = chars_of(USUAL);
        kinds.push(usual & !kinds.iter().fold(0, |all, kind| all | kind));
        let sets: HashSet<Chars> = state
            .iter()
            .filter_map(|place| match self.nodes.get(*place)? {
                Node::Character(chars, _) => Some(*chars),
                Node::Either(_) | Node::Start(_) | Node::End(_) | Node::Last(_) => None,
            })
            .collect();
        for set in sets {
            let both = kinds.iter().flat_map(|kind| [kind & set, kind & !set]);
            kinds = both.filter(|kind| *kind != 0).collect();
        }
        let first = |kind: &Chars| USUAL.chars().find(|c| kind & bit(*c) != 0);
        let mut found: Vec<char> = kinds.iter().filter_map(first).collect();
        found.sort_by_key(|c| USUAL.find(*c));
        found
    }
}

/// None for what cannot stand in a path.
fn bit(character: char) -> Chars {
    if character.is_ascii_graphic() && !matches!(character, '?' | '#') {
        1 << u32::from(character)
    } else {
        0
    }
}

fn chars_of(text: &str) -> Chars {
    text.chars().fold(0, |all, character| all | bit(character))
}

fn chars_of_class(class: &Class) -> Chars {
    let holds = |wanted: char| match class {
        Class::Unicode(class) => {
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }
        Class::Bytes(class) => u8::try_from(wanted).is_ok_and(|wanted| {
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }),
    };
    USUAL.chars().filter(|c| holds(*c)).fold(0, |all, c| all | bit(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::path_regex::PathRegex;

    fn all(patterns: &[&str]) -> Paths {
        let paths: Vec<AccessPath> =
            patterns.iter().map(|it| AccessPath::Regex((*it).to_owned().into())).collect();
        apart(&paths.iter().collect::<Vec<_>>(), &mut 5_000)
    }

    #[test]
    fn every_character_of_a_path_is_known() {
        let graphic = ('!'..='~').filter(|c| !"?#".contains(*c));
        let (known, missing): (Vec<char>, Vec<char>) = graphic.partition(|c| USUAL.contains(*c));
        assert!(missing.is_empty() && known.len() == USUAL.len(), "{missing:?}");
    }

    /// Some path fits the one and not the other.
    #[rstest]
    #[case("/.+", "/[^/]+")]
    #[case("/[a-z0-9]+", "/[a-z]+")]
    #[case("/[a-z]", "/[a-cx-z]")]
    #[case("/a{3,5}", "/a{3,4}")]
    #[case("/a{71}", "/a{70}")]
    #[case("/x.*", "/x[^%]*")]
    #[case("/(a|b)*c", "/(a|b)*bc")]
    #[case("/^?a|/b$", "/a")]
    fn what_is_outside_is_found(#[case] wide: &str, #[case] narrow: &str) {
        let paths = all(&[wide, narrow]);
        assert!(paths.is_whole);
        let [wide, narrow] = [wide, narrow].map(|it| PathRegex::parse(it).unwrap());
        let mut texts = paths.texts.iter();
        assert!(texts.any(|it| wide.matches(it) && !narrow.matches(it)), "{paths:?}");
    }

    #[test]
    fn what_is_not_followed_is_said() {
        assert!(!all(&["/a\\b.*"]).is_whole);
        assert!(!all(&["/(.*a.{14}|x)", "/.*b.{14}"]).is_whole);
    }

    proptest! {
        /// Whatever fits some patterns and no others, some path of the list does, too.
        #[test]
        fn whatever_patterns_a_path_fits_a_known_one_does(
            patterns in prop::collection::vec("/[ab.*|/]{0,5}(\\.\\*|\\[\\^a\\]\\+|a\\{2,3\\})?", 1..4),
            paths in prop::collection::vec("/[abc/%.]{0,5}", 8),
        ) {
            let compiled: Vec<_> = patterns.iter().filter_map(|it| PathRegex::parse(it).ok()).collect();
            prop_assume!(compiled.len() == patterns.len());
            let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let known = all(&texts);
            prop_assert!(known.is_whole);
            let fitting =
                |path: &str| compiled.iter().map(|it| it.matches(path)).collect::<Vec<_>>();
            for path in paths {
                let wanted = fitting(&path);
                prop_assert!(known.texts.iter().any(|it| fitting(it) == wanted), "{path}");
            }
        }
    }
}
