//! Paths: regular expressions of v1alpha1 and v1beta1, templates of v2.
//!
//! Only whether they are usable; `compile` makes matchers of them.

use std::sync::LazyLock;

use regex::Regex;

use super::super::{
    codes,
    cursor::{At, string},
    problem::{Problem, Report},
    text::quoted,
};
use crate::model::{AccessPath, Located};
use crate::path_regex::PathRegex;

/// How long a path may be, and how large what is made of it.
const LONGEST: usize = 4096;
const LARGEST: usize = 1 << 20;

static BEGINNING: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"^[0-9a-zA-Z./*()?!\\_\-]"));
static TEMPLATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r"^((/([A-Za-z0-9\-._~!$&'()+,;=:@]|%[0-9a-fA-F]{2})*)|(/\{\*{1,2}\}))+$|^/\*$")
});

/// A pattern of our own. None is ever wrong; if one were, nothing would fit it.
pub(super) fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// The path of v1alpha1 and v1beta1: a regular expression that a path fits as a whole.
pub(super) fn regex(at: &At<'_>, report: &mut Report<'_>) -> Option<AccessPath> {
    let text = string(at, report)?;
    let place = |value: String| AccessPath::Regex(Located::new(value, at.node.position));
    if !BEGINNING.as_ref().is_some_and(|it| it.is_match(&text)) || text.len() > LONGEST {
        let message = format!("{} is not a path", quoted(&text));
        report.add(
            Problem::error(codes::BAD_ACCESS_PATH, at, message)
                .help("write a regular expression that whole paths fit, such as `/orders/.*`"),
        );
        return None;
    }
    // What Kyma routes by prefix, and what no one means by the expression that it is.
    if text == "/*" {
        return Some(place("/.*".to_owned()));
    }
    let built = regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(LARGEST).build();
    let (code, why, help) = match built {
        Ok(_) if PathRegex::parse(&text).is_ok() => return Some(place(text)),
        // Good only by what was put around it, as `/a)|(?:b`.
        Ok(_) => NO_REGEX,
        Err(error) => why_not(&error, &text),
    };
    let message = format!("{} cannot be used: {why}", quoted(&text));
    report.add(Problem::error(code, at, message).help(help));
    None
}

fn why_not(
    error: &regex::Error,
    text: &str,
) -> (crate::diagnostic::Code, &'static str, &'static str) {
    let looks_around = ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|it| text.contains(it));
    let is_too_large = matches!(error, regex::Error::CompiledTooBig(_));
    let refers_back =
        text.as_bytes().windows(2).any(|pair| matches!(pair, [b'\\', b'1'..=b'9' | b'k']));
    if looks_around {
        (
            codes::UNSUPPORTED_REGEX,
            "it looks around (`(?=`, `(?!`, `(?<`), which takes more than linear time",
            "give what the lookaround excludes a rule of its own before this one: the first rule \
             that fits a request decides",
        )
    } else if is_too_large {
        (
            codes::UNSUPPORTED_REGEX,
            "it is too large once its repetitions are written out",
            "repeat fewer times, or use `*` and `+`",
        )
    } else if refers_back {
        (
            codes::UNSUPPORTED_REGEX,
            "it refers back to a group, which takes more than linear time",
            "write the alternatives out, each as a rule of its own",
        )
    } else {
        NO_REGEX
    }
}

const NO_REGEX: (crate::diagnostic::Code, &str, &str) = (
    codes::BAD_ACCESS_PATH,
    "it is not a regular expression",
    "brackets and parentheses come in pairs; write `\\` before a character that means itself",
);

/// The path of v2: segments, `{*}` for any one of them, `{**}` for any number at the end.
pub(super) fn template(at: &At<'_>, report: &mut Report<'_>) -> Option<AccessPath> {
    let text = string(at, report)?;
    let wrong = if !TEMPLATE.as_ref().is_some_and(|it| it.is_match(&text)) || text.len() > LONGEST {
        Some("is not a path template")
    } else if text.split_once("{**}").is_some_and(|(_, rest)| rest.contains('{')) {
        Some("has an operator after `{**}`")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        let message = format!("{} {wrong}", quoted(&text));
        report.add(Problem::error(codes::BAD_ACCESS_PATH, at, message).help(
            "write segments, with `{*}` for one and `{**}` at the end for any number; `/*` is all",
        ));
        return None;
    }
    let text = if text == "/*" { "/{**}".to_owned() } else { text };
    Some(AccessPath::Template(Located::new(text, at.node.position)))
}
