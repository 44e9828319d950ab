//! The time, and what is random, as objects need them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;

use crate::authn::clock::Clock;

/// One moment of one request.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) seconds: i64,
    /// RFC 3339 with seconds.
    pub(super) text: String,
}

impl Moment {
    pub(super) fn now(clock: Clock) -> Self {
        Self::of(clock.now())
    }

    fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
        Self { seconds, text: rfc3339(seconds) }
    }
}

/// For seconds since 1970, none of them before.
pub(super) fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March, so that the odd day is the last one; eras of 400 of them.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Random bits. `None` where the system has none to give.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// A fresh UUID (version 4).
pub(super) fn uuid() -> Option<String> {
    let mut bits = u128::from_be_bytes(random()?);
    bits &= !(0xf << 76 | 0b11 << 62);
    bits |= 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts: Option<Vec<_>> = parts.into_iter().map(|(from, to)| hex.get(from..to)).collect();
    Some(parts?.join("-"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::manifest::time::parse_timestamp;

    #[rstest]
    #[case(0, "1970-01-01T00:00:00Z")]
    #[case(951_782_400, "2000-02-29T00:00:00Z")]
    #[case(1_704_067_199, "2023-12-31T23:59:59Z")]
    #[case(4_107_542_400, "2100-03-01T00:00:00Z")]
    fn times(#[case] seconds: i64, #[case] expected: &str) {
        assert_eq!(rfc3339(seconds), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0..253_402_300_799_i64) {
            prop_assert_eq!(parse_timestamp(&rfc3339(seconds)), Some(seconds));
        }
    }

    #[test]
    fn uuids_say_that_they_are_random() {
        let uuid = uuid().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]));
    }
}
