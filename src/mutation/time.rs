//! When a request began, as `%START_TIME(..)%` writes it: in UTC.

use std::io::Write as _;

use crate::model::StartTime;

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeFormat(Box<[Part]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Year,
    YearOfCentury,
    Month,
    Day,
    DayPadded,
    DayOfYear,
    Hour,
    Hour12,
    Minute,
    Second,
    /// Seconds with this many digits behind them.
    SecondAnd(usize),
    SinceEpoch,
    /// This many digits of the second's fraction.
    Fraction(usize),
    AmPm,
    Weekday {
        short: bool,
    },
    MonthName {
        short: bool,
    },
    Zone(&'static str),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl TimeFormat {
    /// Compiles a format; an empty one is Envoy's own. `None` where it has a conversion that is not
    /// known here.
    pub(super) fn parse(format: &str) -> Option<Self> {
        let format = if format.is_empty() { "%Y-%m-%dT%H:%M:%E3SZ" } else { format };
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let known: &[Part] = match rest.next()? {
                '%' => {
                    text.push('%');
                    continue;
                }
                'Y' => &[Part::Year],
                'y' => &[Part::YearOfCentury],
                'm' => &[Part::Month],
                'd' => &[Part::Day],
                'e' => &[Part::DayPadded],
                'j' => &[Part::DayOfYear],
                'H' => &[Part::Hour],
                'I' => &[Part::Hour12],
                'M' => &[Part::Minute],
                'S' => &[Part::Second],
                's' => &[Part::SinceEpoch],
                'f' => &[Part::Fraction(9)],
                'p' => &[Part::AmPm],
                'a' => &[Part::Weekday { short: true }],
                'A' => &[Part::Weekday { short: false }],
                'b' | 'h' => &[Part::MonthName { short: true }],
                'B' => &[Part::MonthName { short: false }],
                'z' => &[Part::Zone("+0000")],
                'Z' => &[Part::Zone("UTC")],
                'F' => &[Part::Year, dash(), Part::Month, dash(), Part::Day],
                'T' => &[Part::Hour, colon(), Part::Minute, colon(), Part::Second],
                'R' => &[Part::Hour, colon(), Part::Minute],
                'E' => match (rest.next()?, rest.next()) {
                    (digit @ '1'..='9', Some('S')) => &[Part::SecondAnd(digits(digit)?)],
                    (_, _) => return None,
                },
                digit @ '1'..='9' => match rest.next()? {
                    'f' => &[Part::Fraction(digits(digit)?)],
                    _ => return None,
                },
                _ => return None,
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text).into()));
            }
            parts.extend_from_slice(known);
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Some(Self(parts.into()))
    }

    /// Writes a time.
    pub(super) fn write(&self, time: StartTime, out: &mut Vec<u8>) {
        let day = time.seconds.div_euclid(86_400);
        let second_of_day = time.seconds.rem_euclid(86_400);
        let (year, month, day_of_month) = civil(day);
        let (hour, minute, second) =
            (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        let name = |names: &[&'static str], number: i64, short: bool| {
            let name = usize::try_from(number).ok().and_then(|n| names.get(n)).copied();
            let name = name.unwrap_or_default();
            if short { name.get(..3).unwrap_or(name) } else { name }
        };
        let fraction = |digits: usize| {
            let nine = format!("{:09}", time.nanoseconds.min(999_999_999));
            nine.get(..digits).unwrap_or_default().to_owned()
        };
        for part in &self.0 {
            // Writing into memory does not fail.
            drop(match part {
                Part::Text(text) => write!(out, "{text}"),
                Part::Year => write!(out, "{year}"),
                Part::YearOfCentury => write!(out, "{:02}", year.rem_euclid(100)),
                Part::Month => write!(out, "{month:02}"),
                Part::Day => write!(out, "{day_of_month:02}"),
                Part::DayPadded => write!(out, "{day_of_month:2}"),
                Part::DayOfYear => write!(out, "{:03}", day - days_before(year) + 1),
                Part::Hour => write!(out, "{hour:02}"),
                Part::Hour12 => write!(out, "{:02}", (hour + 11) % 12 + 1),
                Part::Minute => write!(out, "{minute:02}"),
                Part::Second => write!(out, "{second:02}"),
                Part::SecondAnd(digits) => write!(out, "{second:02}.{}", fraction(*digits)),
                Part::SinceEpoch => write!(out, "{}", time.seconds),
                Part::Fraction(digits) => write!(out, "{}", fraction(*digits)),
                Part::AmPm => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
                Part::Weekday { short } => {
                    write!(out, "{}", name(&WEEKDAYS, (day + 4).rem_euclid(7), *short))
                }
                Part::MonthName { short } => write!(out, "{}", name(&MONTHS, month - 1, *short)),
                Part::Zone(zone) => write!(out, "{zone}"),
            });
        }
    }
}

fn dash() -> Part {
    Part::Text("-".into())
}

fn colon() -> Part {
    Part::Text(":".into())
}

fn digits(digit: char) -> Option<usize> {
    digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok())
}

/// The day's number, counted from 1970, of the first of January.
fn days_before(year: i64) -> i64 {
    let before = year - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

/// Year, month and day of a day counted from 1970, in the Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    // A guess that is never too late and at most a year too early.
    let mut year = 1970 + day.div_euclid(366);
    while days_before(year + 1) <= day {
        year += 1;
    }
    let is_leap = days_before(year + 1) - days_before(year) == 366;
    let mut left = day - days_before(year);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, length) in (1..).zip(lengths) {
        if left < length {
            return (year, month, left + 1);
        }
        left -= length;
    }
    (year, 12, 31)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", 0, "1970-01-01T00:00:00.000Z")]
    #[case("%F %T", 951_782_400, "2000-02-29 00:00:00")]
    #[case("%F", 4_107_542_399, "2100-02-28")]
    #[case("%F", 4_107_542_400, "2100-03-01")]
    #[case("%a %d %b %y %j", 1_795_000_000, "Wed 18 Nov 26 322")]
    #[case("%I %p|%e|%B|%A", 1_788_307_200, "12 AM| 2|September|Wednesday")]
    #[case("%s.%3f %9f %f %1f", 7, "7.012 012345678 012345678 0")]
    #[case("%E6S%z %Z 100%%", 61, "01.012345+0000 UTC 100%")]
    fn written(#[case] format: &str, #[case] seconds: i64, #[case] expect: &str) {
        let nanoseconds = if format.is_empty() { 0 } else { 12_345_678 };
        let mut out = Vec::new();
        TimeFormat::parse(format).unwrap().write(StartTime { seconds, nanoseconds }, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[rstest]
    #[case("%Q")]
    #[case("%")]
    #[case("%E")]
    #[case("%E3")]
    #[case("%0f")]
    #[case("%3s")]
    fn not_known(#[case] format: &str) {
        assert_eq!(TimeFormat::parse(format), None);
    }
}
