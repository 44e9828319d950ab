//! Ages as kubectl prints them: two units at most, and the smaller one only while it matters.
//!
//! Takes the time from its callers.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time from `created` until `now`, both in seconds since 1970. `created` is `None` where there
/// is no time, and `Some(None)` where it cannot be read.
pub fn age(created: Option<Option<i64>>, now: i64) -> String {
    match created {
        None => "<unknown>".to_owned(),
        Some(None) => "<invalid>".to_owned(),
        Some(Some(created)) => duration(now.saturating_sub(created)),
    }
}

fn duration(seconds: i64) -> String {
    let two = |big: i64, big_name: char, small: i64, small_name: char| {
        let (count, rest) = (seconds / big, seconds % big / small);
        if rest == 0 {
            format!("{count}{big_name}")
        } else {
            format!("{count}{big_name}{rest}{small_name}")
        }
    };
    let one = |unit: i64, name: char| format!("{}{name}", seconds / unit);
    match seconds {
        // Clocks of two machines may differ by a little.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => one(1, 's'),
        // 2 to 10 minutes
        120..600 => two(MINUTE, 'm', 1, 's'),
        // to 3 hours
        600..10_800 => one(MINUTE, 'm'),
        // to 8 hours
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        // to 2 days
        28_800..172_800 => one(HOUR, 'h'),
        // to 8 days
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        // to 2 years
        691_200..63_072_000 => one(DAY, 'd'),
        // to 8 years
        63_072_000..252_288_000 => two(YEAR, 'y', DAY, 'd'),
        252_288_000.. => one(YEAR, 'y'),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(-2, "<invalid>")]
    #[case(-1, "0s")]
    #[case(0, "0s")]
    #[case(3, "3s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(123, "2m3s")]
    #[case(599, "9m59s")]
    #[case(600, "10m")]
    #[case(10_799, "179m")]
    #[case(10_800, "3h")]
    #[case(11_100, "3h5m")]
    #[case(28_799, "7h59m")]
    #[case(28_800, "8h")]
    #[case(172_799, "47h")]
    #[case(172_800, "2d")]
    #[case(183_600, "2d3h")]
    #[case(691_199, "7d23h")]
    #[case(691_200, "8d")]
    #[case(2 * YEAR - 1, "729d")]
    #[case(2 * YEAR, "2y")]
    #[case(3 * YEAR + 4 * DAY, "3y4d")]
    #[case(8 * YEAR - 1, "7y364d")]
    #[case(8 * YEAR, "8y")]
    #[case(i64::MAX, "292471208677y")]
    fn durations(#[case] seconds: i64, #[case] expect: &str) {
        assert_eq!(duration(seconds), expect);
    }

    #[test]
    fn ages() {
        assert_eq!(age(Some(Some(100)), 105), "5s");
        assert_eq!(age(Some(Some(i64::MIN)), i64::MAX), "292471208677y");
        assert_eq!(age(Some(None), 0), "<invalid>");
        assert_eq!(age(None, 0), "<unknown>");
    }

    proptest! {
        #[test]
        fn no_age_is_longer_than_its_column(seconds in 0..100 * YEAR) {
            prop_assert!(duration(seconds).len() <= 6);
        }
    }
}
