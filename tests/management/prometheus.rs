//! A real Prometheus with an hour of Istio's telemetry in it, started on loopback.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use postern::authn::clock::Clock;
use tempfile::TempDir;

const NEEDED: &str = "the tests need Prometheus 2.42 or later with its promtool: install it (on \
                      Debian and Ubuntu the package `prometheus`)";

/// How often the generator's proxies were looked at, in seconds.
const EVERY: u64 = 15;

/// A running Prometheus. Killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    pub(crate) url: String,
    _folder: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What proxies count: a name with its labels, and how much it grows in a second.
const SERIES: [(&str, &str, f64); 13] = [
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

const SERVICES: [(&str, &str, &str); 4] = [
    ("SHOP", "payment-service", "payments"),
    ("ELSEWHERE", "payment-service", "elsewhere"),
    ("AMBIENT", "ambient", "payments"),
    ("IDLE", "idle", "payments"),
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
        let mut labels = labels.to_owned();
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

impl Prometheus {
    /// With telemetry.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

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
        for _ in 0..10 {
            // Somebody else may take the port in between.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            if let Some(child) = run(folder.path(), &port.to_string(), arguments) {
                return Self { child, url: format!("http://{port}"), _folder: folder };
            }
        }
        panic!("Prometheus never got a port");
    }
}

/// `None` where it ends.
fn run(folder: &Path, address: &str, arguments: &[&str]) -> Option<Child> {
    let mut child = Command::new("prometheus")
        .current_dir(folder)
        .args(["--config.file=config.yml", "--storage.tsdb.path=data"])
        .args(["--storage.tsdb.retention.time=1d", "--log.format=logfmt"])
        .arg(format!("--web.listen-address={address}"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{NEEDED}: prometheus: {error}"));
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while stderr.read_line(&mut line).unwrap() > 0 {
        if line.contains("Server is ready to receive web requests") {
            // A full pipe would stop it.
            thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
            return Some(child);
        }
    }
    child.wait().unwrap();
    assert!(line.contains("address already in use"), "{line}");
    None
}
