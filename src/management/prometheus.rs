//! Prometheus, asked over its HTTP API.
//!
//! What is asked for is `metric`'s job. Nothing of what Prometheus says reaches a caller but numbers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::metric::{Metric, Range, Telemetry, query};
use crate::outbound::{Client, OutboundError, Outgoing, Target};

/// Where it is, and how it is asked. Cheap to clone.
#[derive(Clone)]
pub struct Prometheus {
    /// Asks. Reads the bodies of errors, too.
    pub client: Client,
    /// Of `query_range`.
    pub target: Target,
    /// Sent with each query.
    pub authorization: Option<HeaderValue>,
    /// How the telemetry in it is read.
    pub telemetry: Telemetry,
    /// How long one answer may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prometheus").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Why there are no numbers.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// No answer.
    #[error("Prometheus cannot be asked")]
    Unreachable(#[source] OutboundError),
    /// An answer that is none.
    #[error("Prometheus answers with {0}")]
    Status(StatusCode),
    /// It does not understand what it was asked, which is nobody's fault but ours.
    #[error("Prometheus does not understand the query")]
    BadQuery,
    /// Something that Prometheus does not say.
    #[error("what answers is no Prometheus")]
    Garbage,
}

/// The numbers of one metric, as JSON: a list of `timestamp` (seconds since 1970) and `value`.
pub type Timeseries = Vec<Value>;

impl Prometheus {
    /// The target of a server's URL, such as `http://prometheus:9090` or `https://host/prefix`.
    pub fn target(url: &str) -> Result<Target, OutboundError> {
        let base = Target::parse(url)?;
        if url.contains(['?', '#']) {
            return Err(OutboundError::Url);
        }
        drop(base);
        Target::parse(&format!("{}/api/v1/query_range", url.trim_end_matches('/')))
    }

    /// What was measured of a service until `now`, in seconds since 1970. Empty where nothing was.
    pub async fn timeseries(
        &self,
        metric: Metric,
        service: &str,
        namespace: &str,
        range: Range,
        now: u64,
    ) -> Result<Timeseries, PrometheusError> {
        let query = query(metric, service, namespace, range, self.telemetry);
        let start = now.saturating_sub(range.seconds()).to_string();
        let (end, step) = (now.to_string(), range.step().to_string());
        let timeout = format!("{}ms", self.timeout.as_millis());
        let form = [
            ("query", query),
            ("start", start),
            ("end", end),
            ("step", step),
            ("timeout", timeout),
        ];
        let form = form.map(|(name, value)| {
            format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))
        });
        let mut headers = HeaderMap::new();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form_type);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let body = Bytes::from(form.join("&"));
        let outgoing = Outgoing { issuer: "", method: Method::POST, headers, body };
        let sent = self.client.send(&self.target, outgoing, self.timeout).await;
        let answer = sent.map_err(PrometheusError::Unreachable)?;
        let status = answer.status();
        if status == StatusCode::BAD_REQUEST && is_bad_data(answer.body()) {
            return Err(PrometheusError::BadQuery);
        }
        if !status.is_success() {
            return Err(PrometheusError::Status(status));
        }
        read(answer.body()).ok_or(PrometheusError::Garbage)
    }
}

#[derive(Deserialize)]
struct Refusal {
    status: String,
    #[serde(rename = "errorType")]
    error_type: String,
}

/// Whether Prometheus itself says that a query is wrong. A 400 of something before it is no word of its.
fn is_bad_data(body: &[u8]) -> bool {
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    refusal.is_some_and(|it| it.status == "error" && it.error_type == "bad_data")
}

#[derive(Deserialize)]
struct Reply<'a> {
    status: &'a str,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    values: Vec<(Number, String)>,
}

/// The points of an answer; `None` where it is none that the query can have. What is no number, such
/// as a share of no requests, is no point.
fn read(body: &[u8]) -> Option<Timeseries> {
    let Reply { status, data } = serde_json::from_slice(body).ok()?;
    if status != "success" || data.result_type != "matrix" {
        return None;
    }
    let mut series = data.result.into_iter();
    let values = series.next().map(|series| series.values).unwrap_or_default();
    if series.next().is_some() {
        return None;
    }
    let mut points = Vec::with_capacity(values.len());
    for (timestamp, value) in values {
        let timestamp = timestamp.to_string();
        let seconds = timestamp.split('.').next().and_then(|text| text.parse::<i64>().ok())?;
        let value: f64 = value.parse().ok()?;
        if let Some(value) = Number::from_f64(value) {
            points.push(json!({ "timestamp": seconds, "value": value }));
        }
    }
    Some(points)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn reply(values: &Value) -> Vec<u8> {
        let result = json!([{ "metric": {}, "values": values }]);
        let data = json!({ "resultType": "matrix", "result": result });
        json!({ "status": "success", "data": data }).to_string().into_bytes()
    }

    #[test]
    fn points_are_whole_seconds_and_numbers() {
        let values =
            json!([[1, "1.5"], [2.75, "2"], [3, "NaN"], [4, "+Inf"], [5, "-Inf"], [6, "0"]]);
        let expected = json!([
            { "timestamp": 1, "value": 1.5 },
            { "timestamp": 2, "value": 2.0 },
            { "timestamp": 6, "value": 0.0 },
        ]);
        assert_eq!(json!(read(&reply(&values)).unwrap()), expected);
    }

    #[test]
    fn no_series_is_no_error() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert_eq!(read(body), Some(Vec::new()));
    }

    #[rstest]
    #[case::html("<html>")]
    #[case::error(r#"{"status":"error","errorType":"bad_data","error":"x"}"#)]
    #[case::status(r#"{"status":"error","data":{"resultType":"matrix","result":[]}}"#)]
    #[case::vector(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#)]
    #[case::value(
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"x"]]}]}}"#
    )]
    #[case::time(
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[["1","1"]]}]}}"#
    )]
    #[case::two(r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[]},{"values":[]}]}}"#)]
    fn garbage(#[case] body: &str) {
        assert_eq!(read(body.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn whatever_answers_is_survived(body in ".{0,64}") {
            drop(read(body.as_bytes()));
            is_bad_data(body.as_bytes());
        }
    }

    #[rstest]
    #[case("http://p:9090", "http://p:9090/api/v1/query_range")]
    #[case("https://u:p@h/prometheus/", "https://h/prometheus/api/v1/query_range")]
    fn targets(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(Prometheus::target(url).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("p:9090")]
    #[case("ftp://p")]
    #[case("http://p/?query=up")]
    #[case("http://p/#a")]
    fn no_targets(#[case] url: &str) {
        Prometheus::target(url).unwrap_err();
    }
}
