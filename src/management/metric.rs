//! What is measured of a service, over which time, and how Prometheus is asked for it.
//!
//! Asking is `prometheus`'s job.

use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Requests a second.
    Rps,
    /// The share of requests that failed, from 0 to 1: by 5xx, and maybe by a gRPC status.
    ErrorRate,
    /// The time within which 99 % of requests were answered, in milliseconds.
    Latency,
}

impl Metric {
    /// As paths and answers have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rps => "rps",
            Self::ErrorRate => "error-rate",
            Self::Latency => "latency",
        }
    }
}

/// Whose telemetry counts. Each request is reported by both sides, so never both at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reporter {
    /// That of clients, and of waypoints, which report instead of them.
    #[default]
    Source,
    /// That of servers.
    Destination,
}

impl Reporter {
    /// As settings have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source|waypoint",
            Self::Destination => "destination",
        }
    }
}

/// How what proxies report is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// Whose counts.
    pub reporter: Reporter,
    /// How often Prometheus looks at proxies. A rate needs several of these.
    pub scrape_interval: Duration,
    /// Whether a gRPC status that is not OK is an error, too. Its HTTP status is 200.
    pub grpc_errors: bool,
}

/// How far back to look. Displays in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range(Duration);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// No range: not of the form of `30m`, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`range` must be a number with s, m, h, d or w, such as `30m`, and at most 30d")]
pub struct InvalidRange;

impl Default for Range {
    fn default() -> Self {
        Self(Duration::from_secs(HOUR))
    }
}

impl Range {
    /// The longest.
    const MOST: Duration = Duration::from_secs(30 * DAY);

    /// Reads `[1-9][0-9]*(s|m|h|d|w)`.
    pub fn parse(text: &str) -> Result<Self, InvalidRange> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text.strip_prefix(digits) {
            Some("s") => 1,
            Some("m") => MINUTE,
            Some("h") => HOUR,
            Some("d") => DAY,
            Some("w") => 7 * DAY,
            Some(_) | None => return Err(InvalidRange),
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let number = digits.parse::<u64>().ok().filter(|_| plain);
        let seconds = number.and_then(|number| number.checked_mul(unit)).ok_or(InvalidRange)?;
        let range = Duration::from_secs(seconds);
        if range > Self::MOST { Err(InvalidRange) } else { Ok(Self(range)) }
    }

    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// How far apart its points are, in seconds: few enough for a picture.
    pub fn step(self) -> u64 {
        const STEPS: [(u64, u64); 3] = [(5 * MINUTE, 15), (HOUR, 60), (DAY, 300)];
        let found = STEPS.into_iter().find(|(longest, _)| self.seconds() <= *longest);
        found.map_or(900, |(_, step)| step)
    }
}

/// The query for a metric in PromQL. `service` and `namespace` are names that have been checked.
pub fn query(
    metric: Metric,
    service: &str,
    namespace: &str,
    range: Range,
    telemetry: Telemetry,
) -> String {
    let Telemetry { reporter, scrape_interval, grpc_errors } = telemetry;
    let window = range.step().max(60).max(scrape_interval.as_secs().saturating_mul(4));
    let reporter = reporter.as_str();
    let of = format!(
        "reporter=~\"{reporter}\",destination_service_name=\"{service}\",\
         destination_service_namespace=\"{namespace}\""
    );
    let rate = |more: &str| format!("rate(istio_requests_total{{{of}{more}}}[{window}s])");
    match metric {
        Metric::Rps => format!("sum({})", rate("")),
        Metric::ErrorRate => {
            let mut failed = rate(",response_code=~\"5..\"");
            if grpc_errors {
                // A series that is both is one of them.
                failed.push_str(" or ");
                failed.push_str(&rate(",grpc_response_status=~\"[1-9][0-9]?\""));
            }
            // Without failures there is no series of them, while there is traffic.
            format!("(sum({failed}) or vector(0)) / sum({})", rate(""))
        }
        Metric::Latency => format!(
            "histogram_quantile(0.99, sum by (le) \
             (rate(istio_request_duration_milliseconds_bucket{{{of}}}[{window}s])))"
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1s", 1, 15)]
    #[case("5m", 300, 15)]
    #[case("301s", 301, 60)]
    #[case("1h", 3_600, 60)]
    #[case("61m", 3_660, 300)]
    #[case("24h", 86_400, 300)]
    #[case("2d", 172_800, 900)]
    #[case("4w", 2_419_200, 900)]
    #[case("30d", 2_592_000, 900)]
    fn ranges(#[case] text: &str, #[case] seconds: u64, #[case] step: u64) {
        let range = Range::parse(text).unwrap();
        assert_eq!((range.seconds(), range.step()), (seconds, step));
    }

    #[rstest]
    #[case("")]
    #[case("h")]
    #[case("1")]
    #[case("0h")]
    #[case("01h")]
    #[case("-1h")]
    #[case("+1h")]
    #[case("1.5h")]
    #[case("1h30m")]
    #[case("1H")]
    #[case("1ms")]
    #[case("1y")]
    #[case(" 1h")]
    #[case("1h ")]
    #[case("٣h")]
    #[case("31d")]
    #[case("5w")]
    #[case("99999999999999999999s")]
    #[case("9999999999999999999w")]
    fn no_ranges(#[case] text: &str) {
        assert_eq!(Range::parse(text), Err(InvalidRange));
    }

    proptest! {
        /// Prometheus refuses more than 11,000 points.
        #[test]
        fn there_are_never_too_many_points(seconds in 1_u64..=30 * DAY) {
            let range = Range::parse(&format!("{seconds}s")).unwrap();
            prop_assert!(range.seconds() / range.step() < 11_000);
        }
    }

    #[test]
    fn queries() {
        let ask = |metric, range: &str, telemetry| {
            query(metric, "pay", "shop", Range::parse(range).unwrap(), telemetry)
        };
        let usual = Telemetry {
            reporter: Reporter::Source,
            scrape_interval: Duration::from_secs(15),
            grpc_errors: false,
        };
        insta::assert_snapshot!(
            ask(Metric::Rps, "1h", usual),
            @r#"sum(rate(istio_requests_total{reporter=~"source|waypoint",destination_service_name="pay",destination_service_namespace="shop"}[60s]))"#
        );
        insta::assert_snapshot!(
            ask(Metric::ErrorRate, "24h", Telemetry { reporter: Reporter::Destination, ..usual }),
            @r#"(sum(rate(istio_requests_total{reporter=~"destination",destination_service_name="pay",destination_service_namespace="shop",response_code=~"5.."}[300s])) or vector(0)) / sum(rate(istio_requests_total{reporter=~"destination",destination_service_name="pay",destination_service_namespace="shop"}[300s]))"#
        );
        insta::assert_snapshot!(
            ask(Metric::ErrorRate, "1h", Telemetry { grpc_errors: true, ..usual }),
            @r#"(sum(rate(istio_requests_total{reporter=~"source|waypoint",destination_service_name="pay",destination_service_namespace="shop",response_code=~"5.."}[60s]) or rate(istio_requests_total{reporter=~"source|waypoint",destination_service_name="pay",destination_service_namespace="shop",grpc_response_status=~"[1-9][0-9]?"}[60s])) or vector(0)) / sum(rate(istio_requests_total{reporter=~"source|waypoint",destination_service_name="pay",destination_service_namespace="shop"}[60s]))"#
        );
        let scrape_interval = Duration::from_secs(60);
        insta::assert_snapshot!(
            ask(Metric::Latency, "1m", Telemetry { scrape_interval, ..usual }),
            @r#"histogram_quantile(0.99, sum by (le) (rate(istio_request_duration_milliseconds_bucket{reporter=~"source|waypoint",destination_service_name="pay",destination_service_namespace="shop"}[240s])))"#
        );
    }
}
