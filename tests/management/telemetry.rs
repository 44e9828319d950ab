//! An hour of Istio's telemetry, in a real Prometheus.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use postern::authn::clock::Clock;
use tempfile::TempDir;

use crate::prometheus::{NEEDED, Prometheus};

/// How often the generator's proxies were looked at, in seconds.
const EVERY: u64 = 15;

/// A Prometheus that has it.
pub(crate) struct Telemetry {
    prometheus: Prometheus,
    _folder: TempDir,
}

/// What proxies count: a name with its labels, and how much it grows in a second.
const SERIES: [(&str, &str, f64); 17] = [
    // Clients report 15 requests a second, 3 of them failed.
    ("istio_requests_total", r#"reporter="source",SHOP,response_code="200""#, 12.0),
    ("istio_requests_total", r#"reporter="source",SHOP,response_code="503""#, 2.0),
    ("istio_requests_total", r#"reporter="source",SHOP,response_code="500""#, 1.0),
    // Servers report the same requests once more, here with other numbers.
    ("istio_requests_total", r#"reporter="destination",SHOP,response_code="200""#, 40.0),
    ("istio_requests_total", r#"reporter="destination",SHOP,response_code="503""#, 10.0),
    // Others of that name, elsewhere.
    ("istio_requests_total", r#"reporter="source",ELSEWHERE,response_code="500""#, 1000.0),
    // Reported by a waypoint, and never failed.
    ("istio_requests_total", r#"reporter="waypoint",AMBIENT,response_code="200""#, 4.0),
    // There, and never called.
    ("istio_requests_total", r#"reporter="source",IDLE,response_code="200""#, 0.0),
    // 10 calls by gRPC: 6 are well, 3 fail with a status of gRPC, 1 with one of both.
    ("istio_requests_total", r#"reporter="source",GRPC,response_code="200",STATUS="0""#, 6.0),
    ("istio_requests_total", r#"reporter="source",GRPC,response_code="200",STATUS="5""#, 2.0),
    ("istio_requests_total", r#"reporter="source",GRPC,response_code="200",STATUS="14""#, 1.0),
    ("istio_requests_total", r#"reporter="source",GRPC,response_code="503",STATUS="14""#, 1.0),
    // 98 of 100 within 100 ms, all within 200 ms: 99 within 150 ms.
    ("istio_request_duration_milliseconds_bucket", r#"reporter="source",SHOP,le="100""#, 98.0),
    ("istio_request_duration_milliseconds_bucket", r#"reporter="source",SHOP,le="200""#, 100.0),
    ("istio_request_duration_milliseconds_bucket", r#"reporter="source",SHOP,le="+Inf""#, 100.0),
    ("istio_request_duration_milliseconds_bucket", r#"reporter="destination",SHOP,le="5""#, 100.0),
    (
        "istio_request_duration_milliseconds_bucket",
        r#"reporter="destination",SHOP,le="+Inf""#,
        100.0,
    ),
];

const SERVICES: [(&str, &str, &str); 5] = [
    ("SHOP", "payment-service", "payments"),
    ("ELSEWHERE", "payment-service", "elsewhere"),
    ("AMBIENT", "ambient", "payments"),
    ("IDLE", "idle", "payments"),
    ("GRPC", "ledger", "payments"),
];

/// Three hours until now and a while on, in the text form.
fn telemetry() -> String {
    let now = Clock::system().unix_seconds() / EVERY * EVERY;
    let (first, last) = (now - 3 * 3600, now + 1800);
    let mut text = String::new();
    let mut family = "";
    for (name, labels, rate) in SERIES {
        if name != family {
            family = name;
            let (name, kind) = match name.strip_suffix("_total") {
                Some(name) => (name, "counter"),
                None => (name.strip_suffix("_bucket").unwrap(), "histogram"),
            };
            writeln!(text, "# TYPE {name} {kind}").unwrap();
        }
        let mut labels = labels.replace("STATUS", "grpc_response_status");
        for (short, service, namespace) in SERVICES {
            let long = format!(
                r#"destination_service_name="{service}",destination_service_namespace="{namespace}""#
            );
            labels = labels.replace(short, &long);
        }
        for time in (first..=last).step_by(15) {
            let value = rate * f64::from(u32::try_from(time - first).unwrap());
            writeln!(text, "{name}{{{labels}}} {value} {time}").unwrap();
        }
    }
    text.push_str("# EOF\n");
    text
}

impl Telemetry {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these arguments of Prometheus.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("telemetry"), telemetry()).unwrap();
        let mut import = Command::new("promtool");
        import.args(["tsdb", "create-blocks-from", "openmetrics"]);
        let output = import.arg(at("telemetry")).arg(at("data")).output();
        let output = output.unwrap_or_else(|error| panic!("{NEEDED}: promtool: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(at("config.yml"), "global: { scrape_interval: 1h }\n").unwrap();
        Self { prometheus: Prometheus::start(folder.path(), arguments), _folder: folder }
    }

    /// Where that Prometheus is.
    pub(crate) fn url(&self) -> &str {
        &self.prometheus.url
    }
}
