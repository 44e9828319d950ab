//! What stands in a token, for people: one line each, times as times.

use serde_json::{Map, Value as Json};

use crate::manifest::time::format_timestamp;

/// Claims that are seconds since 1970 (RFC 7519, OpenID Connect).
const TIMES: [&str; 5] = ["exp", "nbf", "iat", "auth_time", "updated_at"];

/// The members of a section as they came; `None` for what is no JSON object.
pub(super) fn members(section: Option<&[u8]>) -> Option<Map<String, Json>> {
    serde_json::from_slice(section?).ok()
}

/// One line for each member.
pub(super) fn lines(members: &Map<String, Json>, now: u64) -> Vec<String> {
    let width = members.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    members
        .iter()
        .map(|(name, value)| {
            let time = time_of(name, value).map(|at| format!("  {}", when(at, now)));
            let line = format!("  {name:width$}  {value}{}", time.unwrap_or_default());
            plain(line.trim_end())
        })
        .collect()
}

/// The times among the claims.
pub(super) fn times(members: &Map<String, Json>) -> impl Iterator<Item = (&str, u64)> {
    members.iter().filter_map(|(name, value)| Some((name.as_str(), time_of(name, value)?)))
}

fn time_of(name: &str, value: &Json) -> Option<u64> {
    if !TIMES.contains(&name) {
        return None;
    }
    let seconds = value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range, and the fraction is meant to go"
    )]
    let seconds = seconds as u64;
    Some(seconds)
}

/// A time, and how far it is from another one.
pub(super) fn when(at: u64, now: u64) -> String {
    let shown = format_timestamp(at).unwrap_or_else(|| "after the year 9999".to_owned());
    match at.abs_diff(now) {
        0 => format!("{shown}, now"),
        span if at > now => format!("{shown}, {} from now", duration(span)),
        span => format!("{shown}, {} ago", duration(span)),
    }
}

/// The two largest units, as far as they are next to each other.
fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        if count > 0 || !parts.is_empty() {
            parts.push((count, name));
        }
    }
    let shown: Vec<_> = parts
        .into_iter()
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    shown.join(" ")
}

/// Without characters that could make a terminal do something.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { String::from(c) })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "1970-01-01T00:00:00Z, now")]
    #[case(1, "1970-01-01T00:00:01Z, 1 s from now")]
    #[case(3_600, "1970-01-01T01:00:00Z, 1 h from now")]
    #[case(5_430, "1970-01-01T01:30:30Z, 1 h 30 min from now")]
    #[case(3_601, "1970-01-01T01:00:01Z, 1 h from now")]
    #[case(400 * 86_400, "1971-02-05T00:00:00Z, 1 y 35 d from now")]
    #[case(u64::MAX, "after the year 9999, 584942417355 y 26 d from now")]
    fn times_from_now(#[case] at: u64, #[case] expect: &str) {
        assert_eq!(when(at, 0), expect);
    }

    #[test]
    fn nothing_reaches_the_terminal() {
        let members = members(Some("{\"a\\u001b\":\"\u{9b}x\u{7f}\\n\"}".as_bytes())).unwrap();
        assert_eq!(lines(&members, 0), [r#"  a\u001b  "\u009bx\u007f\n""#]);
    }
}
