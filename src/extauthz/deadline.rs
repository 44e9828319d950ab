//! How long Envoy waits for an answer, as gRPC's `grpc-timeout` says.
//!
//! An answer that comes later is a denial, or worse: `failure_mode_allow` makes it an ALLOW.

use std::time::Duration;

use http::HeaderMap;

/// Kept back of Envoy's time, for deciding again and for the way back.
const RESERVE: Duration = Duration::from_millis(25);

/// How long a request may wait for keys: `most`, and not longer than Envoy waits.
pub(super) fn left_for_keys(metadata: &HeaderMap, most: Duration) -> Duration {
    let timeout = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok());
    left_of(timeout.and_then(parse), most)
}

/// The same, where that time is known.
pub(super) fn left_of(timeout: Option<Duration>, most: Duration) -> Duration {
    match timeout {
        Some(timeout) => most.min(timeout.saturating_sub(RESERVE)),
        // Envoy sends none for `timeout: 0s`, which waits for ever.
        None => most,
    }
}

/// At most eight digits and a unit, as gRPC over HTTP/2 has it.
fn parse(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().last()?;
    let digits = text.get(..unit_at)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_hours(number)),
        'M' => Some(Duration::from_mins(number)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::not_said(None, 150)]
    #[case::long("2S".into(), 150)]
    #[case::envoys_default("200m".into(), 150)]
    #[case::short("100m".into(), 75)]
    #[case::micro("99999u".into(), 74)]
    #[case::hardly_any("20m".into(), 0)]
    #[case::none("0n".into(), 0)]
    #[case::huge("99999999H".into(), 150)]
    #[case::not_a_timeout("soon".into(), 150)]
    #[case::too_long("123456789m".into(), 150)]
    #[case::empty("".into(), 150)]
    fn what_is_left(#[case] timeout: Option<&str>, #[case] milliseconds: u128) {
        let mut metadata = HeaderMap::new();
        if let Some(timeout) = timeout {
            metadata.insert("grpc-timeout", timeout.parse().unwrap());
        }
        let left = left_for_keys(&metadata, Duration::from_millis(150));
        assert_eq!(left.as_millis(), milliseconds);
    }
}
