//! Templates of paths: what admission takes compiles, and the compiled form takes the paths that a
//! plain matcher takes, which tries every way to fill the operators.
//!
//! Input that starts with a slash is a template and paths, a line each. All other input is choices,
//! which make a template and paths of its own pieces, so that most of them almost fit.

use arbitrary::{Result, Unstructured};
use postern::manifest::{Options, decode};
use postern::matcher::PathTemplate;

type U<'a, 'b> = &'b mut Unstructured<'a>;

/// Beyond that, nothing new happens.
const MOST: usize = 2_000;

const LITERALS: [&str; 10] = ["a", "b", "ab", "a.b", "%2F", "~", "a;b=1", "@:", "%", "-_"];
/// In place of an operator or of a literal.
const SEGMENTS: [&str; 20] = [
    "a", "b", "ab", "a.b", "", "%2F", "~", "a;b=1", "*", "[", "{*}", "{**}", "a b", "é", "a/b",
    "/", "?", "#", "\n", "a|b",
];

pub(crate) fn run(data: &[u8]) {
    if data.starts_with(b"/") {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let mut lines = text.get(..MOST).unwrap_or(text).split('\n');
        let template = lines.next().unwrap_or_default();
        let paths: Vec<String> = lines.map(str::to_owned).collect();
        compare(template, &paths, is_admitted(template));
    } else {
        // Input that ends early is no case; the generator itself never fails.
        let _ = case(&mut Unstructured::new(data));
    }
}

fn case(u: U<'_, '_>) -> Result<()> {
    let mut template = String::new();
    let mut ended = false;
    for _ in 0..u.int_in_range(1..=5)? {
        template.push('/');
        let operator = if ended { 0 } else { u.int_in_range(0..=5)? };
        template.push_str(match operator {
            1 | 2 => "{*}",
            3 => "{**}",
            _ => u.choose(&LITERALS)?,
        });
        ended |= operator == 3;
    }
    if u.ratio(1, 8)? {
        template.push('/');
    }
    let paths = (0..8).map(|_| path(u, &template)).collect::<Result<Vec<_>>>()?;
    compare(&template, &paths, true);
    Ok(())
}

/// The template with its operators filled, and little changed.
fn path(u: U<'_, '_>, template: &str) -> Result<String> {
    let mut path = String::new();
    for piece in template.split_inclusive('/') {
        let (segment, slash) = match piece.strip_suffix('/') {
            Some(segment) => (segment, "/"),
            None => (piece, ""),
        };
        match segment {
            "{*}" => path.push_str(u.choose(&SEGMENTS)?),
            "{**}" => {
                for i in 0..u.int_in_range(0..=3)? {
                    path.push_str(if i == 0 { "" } else { "/" });
                    path.push_str(u.choose(&SEGMENTS)?);
                }
            }
            _ if u.ratio(1, 12)? => path.push_str(u.choose(&SEGMENTS)?),
            _ => path.push_str(segment),
        }
        path.push_str(if u.ratio(1, 30)? { u.choose(&["", "//", "?", "%2F"])? } else { slash });
    }
    Ok(path)
}

fn compare(template: &str, paths: &[String], admitted: bool) {
    let compiled = PathTemplate::is_template(template).then(|| PathTemplate::parse(template));
    let Some(Some(compiled)) = compiled else {
        assert!(!admitted || compiled.is_none(), "`{template}` is admitted and does not compile");
        return;
    };
    let tokens = tokens(template);
    for path in paths {
        let matched = compiled.matches(path);
        // What is never admitted only must not panic.
        if admitted {
            assert_eq!(matched, fits(&tokens, path), "`{template}` and `{path}`");
        }
    }
}

/// Whether a policy may have this path.
fn is_admitted(template: &str) -> bool {
    if template.chars().any(char::is_control) {
        return false;
    }
    let quoted = template.replace('\'', "''");
    let policy = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: a, namespace: a}}\n\
         spec: {{rules: [{{to: [{{operation: {{paths: ['{quoted}']}}}}]}}]}}\n"
    );
    !decode(&policy, None, &Options::default()).has_errors()
}

#[derive(Clone, Copy)]
enum Token {
    Char(char),
    One,
    Any,
}

fn tokens(template: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        let (token, length) = if rest.starts_with("{**}") {
            (Token::Any, 4)
        } else if rest.starts_with("{*}") {
            (Token::One, 3)
        } else {
            (Token::Char(c), c.len_utf8())
        };
        tokens.push(token);
        rest = rest.split_at(length).1;
    }
    tokens
}

/// By the set of places in the path that the tokens so far can end at.
fn fits(tokens: &[Token], path: &str) -> bool {
    let chars: Vec<char> = path.chars().collect();
    let in_segment = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;:@=".contains(c);
    let mut ends = vec![false; chars.len() + 1];
    ends[0] = true;
    for token in tokens {
        let mut next = vec![false; chars.len() + 1];
        for at in 0..=chars.len() {
            let before = at.checked_sub(1).map(|before| (before, chars[before]));
            next[at] = match (token, before) {
                (Token::Char(wanted), Some((before, c))) => ends[before] && c == *wanted,
                (Token::One, Some((before, c))) => (ends[before] || next[before]) && in_segment(c),
                (Token::Any, Some((before, c))) => {
                    ends[at] || (next[before] && (c == '/' || in_segment(c)))
                }
                (Token::Char(_) | Token::One, None) => false,
                (Token::Any, None) => ends[at],
            };
        }
        ends = next;
    }
    ends[chars.len()]
}
