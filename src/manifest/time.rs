//! Durations as Go's `time.ParseDuration` reads them, and RFC 3339 times.
//!
//! Leaves limits to `admission`.

use std::time::Duration;

/// Parses `1h30m`, `1.5s`, `500ms` or `0`. Negative ones are refused: nothing here can wait less
/// than no time.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole, tail) = rest.split_at_checked(digits(rest))?;
        let (fraction, tail) = match tail.strip_prefix('.') {
            Some(tail) => tail.split_at_checked(digits(tail))?,
            None => ("", tail),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_end = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut scale = unit;
        for digit in fraction.chars() {
            scale /= 10;
            total = total.checked_add(u128::from(digit.to_digit(10)?) * scale)?;
        }
        rest = tail;
    }
    // Go counts in a signed 64-bit number of nanoseconds.
    let nanoseconds = i64::try_from(total).ok()?;
    Some(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

/// Parses `2024-05-01T12:00:00Z` into seconds since 1970; fractions are dropped, as Kubernetes does.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.chars().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separators = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    if !separators.iter().all(|(at, c)| text.get(*at..).is_some_and(|rest| rest.starts_with(*c))) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut zone = text.get(19..)?;
    if let Some(fraction) = zone.strip_prefix('.') {
        zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if zone.len() == fraction.len() {
            return None;
        }
    }
    let offset = match zone.strip_prefix(['+', '-']) {
        None if zone == "Z" => 0,
        None => return None,
        Some(hours) => {
            let (hours, minutes) = hours.split_once(':')?;
            let two = |part: &str| {
                let digits = part.len() == 2 && part.chars().all(|c| c.is_ascii_digit());
                part.parse::<i64>().ok().filter(|_| digits)
            };
            let (hours, minutes) = (two(hours)?, two(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    // Days since 1970-01-01 of the proleptic Gregorian calendar, with years that start in March.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
            - 1
            - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Writes seconds since 1970 as [`parse_timestamp`] reads them, of the years up to 9999.
pub(crate) fn format_timestamp(seconds: u64) -> Option<String> {
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    // The same calendar, from its first day in March of the year 0.
    days = days.checked_add(719_468)?;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let of_era_year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + of_era_year + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    (year <= 9999)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, Some("1970-01-01T00:00:00Z"))]
    #[case(951_782_400, Some("2000-02-29T00:00:00Z"))]
    #[case(1_709_251_199, Some("2024-02-29T23:59:59Z"))]
    #[case(253_402_300_799, Some("9999-12-31T23:59:59Z"))]
    #[case(253_402_300_800, None)]
    #[case(u64::MAX, None)]
    fn written(#[case] seconds: u64, #[case] expect: Option<&str>) {
        assert_eq!(format_timestamp(seconds).as_deref(), expect);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0..253_402_300_800_u64) {
            let text = format_timestamp(seconds).unwrap();
            prop_assert_eq!(parse_timestamp(&text), i64::try_from(seconds).ok());
        }
    }

    #[rstest]
    #[case("5s", Some(5_000_000_000))]
    #[case("1h30m", Some(5_400_000_000_000))]
    #[case("1.5s", Some(1_500_000_000))]
    #[case(".5s", Some(500_000_000))]
    #[case("1.s", Some(1_000_000_000))]
    #[case("500ms", Some(500_000_000))]
    #[case("1us", Some(1_000))]
    #[case("1\u{b5}s", Some(1_000))]
    #[case("1\u{3bc}s", Some(1_000))]
    #[case("1ns", Some(1))]
    #[case("1.0000000000001s", Some(1_000_000_000))]
    #[case("0", Some(0))]
    #[case("+5s", Some(5_000_000_000))]
    #[case("2562047h47m16.854775807s", Some(9_223_372_036_854_775_807))]
    #[case::overflow("2562048h", None)]
    #[case::more_digits_than_any_number("99999999999999999999999999999999999999999s", None)]
    #[case("", None)]
    #[case("+", None)]
    #[case("-5s", None)]
    #[case("5", None)]
    #[case("s", None)]
    #[case(".s", None)]
    #[case("5d", None)]
    #[case("5 s", None)]
    #[case("5S", None)]
    #[case("apple", None)]
    fn durations_are_read_like_go(#[case] text: &str, #[case] nanoseconds: Option<u64>) {
        assert_eq!(parse_duration(text), nanoseconds.map(Duration::from_nanos));
    }

    #[rstest]
    #[case("1970-01-01T00:00:00Z", Some(0))]
    #[case("1969-12-31T23:59:59Z", Some(-1))]
    #[case("2000-02-29T12:30:45Z", Some(951_827_445))]
    #[case("2024-05-01T12:00:00Z", Some(1_714_564_800))]
    #[case("2024-05-01T14:00:00+02:00", Some(1_714_564_800))]
    #[case("2024-05-01T10:30:00.999-01:30", Some(1_714_564_800))]
    #[case("0001-01-01T00:00:00Z", Some(-62_135_596_800))]
    #[case("2023-02-29T00:00:00Z", None)]
    #[case("2024-13-01T00:00:00Z", None)]
    #[case("2024-05-00T00:00:00Z", None)]
    #[case("2024-05-01T24:00:00Z", None)]
    #[case("2024-05-01T12:00:00", None)]
    #[case("2024-05-01 12:00:00Z", None)]
    #[case("2024-05-01T12:00:00.Z", None)]
    #[case("2024-05-01T12:00:00+2:00", None)]
    #[case("2024-05-01T12:00:00+24:00", None)]
    #[case("2024-05-01T12:00:00Zx", None)]
    #[case("2024-05-01", None)]
    #[case("\u{ff12}024-05-01T12:00:00Z", None)]
    #[case("+024-05-01T12:00:00Z", None)]
    #[case("", None)]
    fn timestamps_are_rfc_3339(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(parse_timestamp(text), seconds);
    }
}
