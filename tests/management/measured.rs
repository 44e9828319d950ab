//! Numbers of a real Prometheus, and what is said where there are none.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use postern::authn::clock::Clock;
use rstest::rstest;
use serde_json::{Value, json};

use crate::server::Server;
use crate::telemetry::Telemetry;

fn points(reply: &Value) -> Vec<(i64, f64)> {
    let points = reply["timeseries"].as_array().unwrap();
    let point = |it: &Value| (it["timestamp"].as_i64().unwrap(), it["value"].as_f64().unwrap());
    points.iter().map(point).collect()
}

#[track_caller]
fn all_are(reply: &Value, expected: f64) {
    let points = points(reply);
    assert!(!points.is_empty());
    for (_, value) in points {
        assert!((value - expected).abs() < 1e-6, "{value} is not {expected}: {reply:#}");
    }
}

const PAYMENTS: &str = "service=payment-service&namespace=payments";

#[tokio::test]
async fn numbers_of_a_real_prometheus() {
    let telemetry = Telemetry::start();
    let url = format!("--prometheus-url={}/", telemetry.url());
    let server = Server::start(&[&url]);
    let viewer = server.viewer();
    let ask = async |metric: &str, more: &str| {
        viewer.get(&format!("/metrics/{metric}?{PAYMENTS}{more}")).await.good()
    };
    // The document's shape.
    let rps = ask("rps", "").await;
    let members: Vec<_> = rps.as_object().unwrap().keys().collect();
    assert_eq!(members, ["metric", "service", "namespace", "timeseries"]);
    assert_eq!(rps["metric"], "rps");
    assert_eq!(rps["service"], "payment-service");
    assert_eq!(rps["namespace"], "payments");
    let point: Vec<_> = rps["timeseries"][0].as_object().unwrap().keys().collect();
    assert_eq!(point, ["timestamp", "value"]);
    // Each request once, and nothing of others.
    all_are(&rps, 15.0);
    all_are(&ask("error-rate", "").await, 0.2);
    all_are(&ask("latency", "").await, 150.0);
    // An hour by the minute, until now.
    let points = points(&rps);
    assert_eq!(points.len(), 61);
    assert!(points.windows(2).all(|pair| pair[1].0 - pair[0].0 == 60));
    let now = Clock::system().unix_seconds();
    assert!((0..60).contains(&(i64::try_from(now).unwrap() - points[60].0)));
    for (range, count) in [("1m", 5), ("5m", 21), ("30m", 31), ("60m", 61), ("2h", 25)] {
        let reply = ask("rps", &format!("&range={range}")).await;
        assert_eq!(self::points(&reply).len(), count, "{range}");
        all_are(&reply, 15.0);
    }
    // Longer than there are numbers.
    assert!(!self::points(&ask("rps", "&range=30d").await).is_empty());

    let ask = async |metric: &str, service: &str| {
        let path = format!("/metrics/{metric}?service={service}&namespace=payments&range=5m");
        viewer.get(&path).await.good()
    };
    all_are(&ask("rps", "ambient").await, 4.0);
    all_are(&ask("error-rate", "ambient").await, 0.0);
    assert_eq!(ask("latency", "ambient").await["timeseries"], json!([]));
    all_are(&ask("rps", "idle").await, 0.0);
    // No share of nothing.
    assert_eq!(ask("error-rate", "idle").await["timeseries"], json!([]));
    for metric in ["rps", "error-rate", "latency"] {
        assert_eq!(ask(metric, "unknown.example.com").await["timeseries"], json!([]));
    }
}

#[tokio::test]
async fn servers_report_otherwise() {
    let telemetry = Telemetry::start();
    let url = format!("--prometheus-url={}", telemetry.url());
    let server = Server::start(&[&url, "--prometheus-reporter=destination"]);
    let viewer = server.viewer();
    all_are(&viewer.get(&format!("/metrics/rps?{PAYMENTS}")).await.good(), 50.0);
    all_are(&viewer.get(&format!("/metrics/error-rate?{PAYMENTS}")).await.good(), 0.2);
    all_are(&viewer.get(&format!("/metrics/latency?{PAYMENTS}")).await.good(), 4.95);
}

#[tokio::test]
async fn grpc_statuses_are_errors_on_request() {
    let telemetry = Telemetry::start();
    let url = format!("--prometheus-url={}", telemetry.url());
    for (more, ledger) in [(&[][..], 0.1), (&["--prometheus-grpc-errors"], 0.4)] {
        let server = Server::start(&[&[url.as_str()], more].concat());
        let viewer = server.viewer();
        let ask = async |what: &str, service: &str| {
            let path = format!("/metrics/{what}?service={service}&namespace=payments&range=5m");
            viewer.get(&path).await.good()
        };
        all_are(&ask("rps", "ledger").await, 10.0);
        all_are(&ask("error-rate", "ledger").await, ledger);
        // Those that know nothing of gRPC are as they were.
        all_are(&ask("error-rate", "payment-service").await, 0.2);
        all_are(&ask("error-rate", "ambient").await, 0.0);
        assert_eq!(ask("error-rate", "idle").await["timeseries"], json!([]));
    }
}

/// With a certificate of its own authority, below a path, and for those with a password.
#[tokio::test]
async fn over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    std::fs::write(at("cert.pem"), &certificate).unwrap();
    std::fs::write(at("key.pem"), key.serialize_pem()).unwrap();
    let web = json!({
        "tls_server_config": { "cert_file": at("cert.pem"), "key_file": at("key.pem") },
        // `secret`
        "basic_auth_users": {
            "postern": "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        },
    });
    std::fs::write(at("web.yml"), web.to_string()).unwrap();
    let web = format!("--web.config.file={}", at("web.yml"));
    let telemetry = Telemetry::start_with(&[&web, "--web.external-url=http://x/prefix"]);
    let port = telemetry.url().rsplit(':').next().unwrap();
    let url = |user: &str| format!("--prometheus-url=https://{user}localhost:{port}/prefix");
    let ca = format!("--prometheus-ca-certificates={}", at("cert.pem"));
    let path = format!("/metrics/rps?{PAYMENTS}");
    let known = Server::start(&[&url("postern:secret@"), &ca]);
    all_are(&known.viewer().get(&path).await.good(), 15.0);
    assert!(!known.end().contains("secret"));
    let stranger = Server::start(&[&url("postern:secret@")]);
    assert_eq!(stranger.viewer().get(&path).await.bad(503), "Prometheus cannot be asked");
    let unknown = Server::start(&[&url(""), &ca]);
    let message = unknown.viewer().get(&path).await.bad(503);
    assert_eq!(message, "Prometheus answers with 401 Unauthorized");
}

/// All of a request for numbers.
fn read_query(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    // Its last member.
    while !(text.contains("&timeout=") && text.ends_with("ms")) {
        let count = stream.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

/// Answers one request with this, or never, and gives what it was asked.
fn answering(answer: Option<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        sender.send(read_query(&mut stream)).unwrap();
        match answer {
            Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
            None => drop(stream.read_to_end(&mut Vec::new())),
        }
    });
    (format!("--prometheus-url=http://{address}"), asked)
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

#[rstest]
#[case::html(ok("<html>secret</html>"), "what answers is no Prometheus")]
#[case::empty(ok(""), "what answers is no Prometheus")]
#[case::error(
    ok(r#"{"status":"error","errorType":"bad_data","error":"secret"}"#),
    "what answers is no Prometheus"
)]
#[case::refused(
    Some("HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 6\r\n\r\nsecret".into()),
    "Prometheus answers with 422 Unprocessable Entity"
)]
#[case::redirect(
    Some("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/secret\r\ncontent-length: 0\r\n\r\n".into()),
    "Prometheus answers with 302 Found"
)]
#[case::no_http(Some("secret\r\n\r\n".into()), "Prometheus cannot be asked")]
#[case::cut(
    Some("HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\nsecret".into()),
    "Prometheus cannot be asked"
)]
#[case::large(ok(&"secret".repeat(1 << 18)), "Prometheus cannot be asked")]
#[case::slow(None, "Prometheus cannot be asked")]
#[tokio::test]
async fn an_odd_prometheus(#[case] answer: Option<String>, #[case] expected: &str) {
    let (url, _asked) = answering(answer);
    let server = Server::start(&[&url, "--prometheus-timeout=500ms"]);
    let path = format!("/metrics/rps?{PAYMENTS}");
    assert_eq!(server.viewer().get(&path).await.bad(503), expected);
    let log = server.end();
    assert!(log.contains("no metrics for a caller of the management API"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

const BAD_DATA: &str = r#"{"status":"error","errorType":"bad_data","error":"secret"}"#;

fn bad_request(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// A query that Prometheus does not understand is a defect; nothing else is.
#[rstest]
#[case::bad_data(bad_request(BAD_DATA), 500, "a defect of Postern: the query is wrong")]
#[case::execution(
    bad_request(&BAD_DATA.replace("bad_data", "execution")), 503,
    "Prometheus answers with 400 Bad Request"
)]
#[case::success(
    bad_request(&BAD_DATA.replace(r#""error","errorT"#, r#""success","errorT"#)), 503,
    "Prometheus answers with 400 Bad Request"
)]
#[case::of_a_proxy(
    bad_request("<html>bad_data, secret</html>"),
    503,
    "Prometheus answers with 400 Bad Request"
)]
#[case::empty(bad_request(""), 503, "Prometheus answers with 400 Bad Request")]
#[case::large(bad_request(&"secret".repeat(1 << 18)), 503, "Prometheus cannot be asked")]
#[case::another_status(
    bad_request(BAD_DATA).map(|it| it.replace("400 Bad Request", "422 Unprocessable Entity")), 503,
    "Prometheus answers with 422 Unprocessable Entity"
)]
#[tokio::test]
async fn a_defect_of_our_own(
    #[case] answer: Option<String>,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let (url, _asked) = answering(answer);
    let server = Server::start(&[&url]);
    let path = format!("/metrics/rps?{PAYMENTS}");
    assert_eq!(server.viewer().get(&path).await.bad(status), expected);
    let log = server.end();
    let level = if status == 500 { "ERROR" } else { "WARN" };
    let line = log.lines().find(|line| line.contains("for a caller")).unwrap();
    assert!(line.contains(level), "{line}");
    assert!(!log.contains("secret"), "{log}");
}

/// The real Prometheus says it so, where a query is spoilt on its way.
#[tokio::test]
async fn a_query_that_prometheus_does_not_understand() {
    let telemetry = Telemetry::start();
    let prometheus = telemetry.url().trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("--prometheus-url=http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        let asked = read_query(&mut caller);
        let spoilt = asked.replace("query=sum%28", "query=sum%29");
        assert_ne!(asked, spoilt);
        let mut prometheus = TcpStream::connect(prometheus).unwrap();
        prometheus.write_all(spoilt.as_bytes()).unwrap();
        std::io::copy(&mut prometheus, &mut caller).unwrap();
    });
    let server = Server::start(&[&url]);
    let message = server.viewer().get(&format!("/metrics/rps?{PAYMENTS}")).await.bad(500);
    assert_eq!(message, "a defect of Postern: the query is wrong");
}

#[tokio::test]
async fn no_prometheus() {
    let path = format!("/metrics/latency?{PAYMENTS}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(&[&format!("--prometheus-url=http://{free}")]);
    assert_eq!(server.viewer().get(&path).await.bad(503), "Prometheus cannot be asked");
    let server = Server::start(&[]);
    assert_eq!(
        server.viewer().get(&path).await.bad(503),
        "there are no metrics: no Prometheus is configured (--prometheus-url)"
    );
}

#[tokio::test]
async fn a_token_is_sent_and_never_the_callers() {
    let empty = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    let (url, asked) = answering(ok(empty));
    let folder = crate::server::scratch(crate::server::OBJECTS);
    std::fs::write(folder.path().join("token"), "of-postern\n").unwrap();
    let server = Server::start_in(folder, &[&url, "--prometheus-token-file=token"]);
    server.viewer().get(&format!("/metrics/rps?{PAYMENTS}")).await.good();
    let asked = asked.recv().unwrap();
    assert!(asked.starts_with("POST /api/v1/query_range HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nauthorization: Bearer of-postern\r\n"), "{asked}");
    assert_eq!(asked.matches("Bearer").count(), 1);
    assert!(!server.end().contains("of-postern"));
}
