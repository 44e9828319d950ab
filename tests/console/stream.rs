//! Decisions as they are made.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::running::{PATIENCE, Running, request};
use crate::world::{self, DENIED, TRAFFIC};

/// How many may watch at once.
const MOST: usize = 16;

/// One who watches.
struct Events {
    body: Incoming,
    rest: String,
}

impl Events {
    /// From when it is said that they come.
    async fn of(running: &Running, query: &str) -> Self {
        let path = format!("/console/api/decisions{query}");
        let asked = request(running, Method::GET, &path, &[], "");
        let answer = running.request(asked).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let mut events = Self { body: answer.into_body(), rest: String::new() };
        assert_eq!(events.next().await.as_deref(), Some(": here"));
        events
    }

    /// The next event or remark; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(event);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.unwrap()?;
            let data = frame.unwrap().into_data().unwrap();
            self.rest.push_str(str::from_utf8(&data).unwrap());
        }
    }

    async fn decision(&mut self) -> Value {
        let event = self.next().await.unwrap();
        let data = event.strip_prefix("event: decision\ndata: ");
        serde_json::from_str(data.unwrap_or_else(|| panic!("{event}"))).unwrap()
    }
}

fn start() -> (TempDir, Running) {
    let folder = world::folder("https://login.shop.example/keys");
    let running = Running::start(folder.path(), &["--config", "config.yaml"]);
    (folder, running)
}

async fn traffic(running: &Running) {
    for (workload, request) in TRAFFIC {
        running.decide(Some(workload), request).await;
    }
    running.decide(Some(DENIED.0), DENIED.1).await;
}

#[rstest]
#[case::all("", &["/cart", "/cart/items", "/pay", "/list", "/list", "/admin/users"])]
#[case::outcome("?outcome=deny", &["/pay", "/list", "/admin/users"])]
#[case::reason("?reason=jwt", &["/list"])]
#[case::policy("?policy=shop/cart-callers", &["/cart", "/cart/items"])]
#[case::part_of_a_policy("?policy=no-admin", &["/admin/users"])]
#[case::workload("?workload=shop/catalogue", &["/list", "/list"])]
#[case::part_of_a_workload("?workload=catal", &["/list", "/list"])]
#[case::path("?pathPrefix=%2Fcart", &["/cart", "/cart/items"])]
#[case::several("?outcome=allow&workload=shop%2Fcart&pathPrefix=/cart/", &["/cart/items"])]
#[case::empty("?outcome=&reason=&policy=", &["/cart", "/cart/items", "/pay", "/list", "/list", "/admin/users"])]
#[tokio::test(flavor = "multi_thread")]
async fn filters_let_through_what_they_say(#[case] query: &str, #[case] expected: &[&str]) {
    let (_folder, running) = start();
    let mut events = Events::of(&running, query).await;
    traffic(&running).await;
    // What comes behind them is what is left out, if that is let through.
    let mut seen = Vec::new();
    for _ in expected {
        seen.push(events.decision().await["url.path"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, expected);
    running.terminate();
    assert_eq!(events.next().await.as_deref(), Some("event: end\ndata: shutting down"));
    assert_eq!(events.next().await, None);
}

#[rstest]
#[case("?outcome=maybe", "allow or deny")]
#[case("?reason=because", "is one of no_allow_policy")]
#[case("?paths=/", "`paths` is no filter")]
#[case("?policy=LONG", "longer than 256 bytes")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_filter_is_refused(#[case] query: &str, #[case] expected: &str) {
    let (_folder, running) = start();
    let query = query.replace("LONG", &"x".repeat(257));
    let answer = running.get(&format!("/console/api/decisions{query}")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains(expected), "{}", answer.text);
}

/// As the decision log has them, which is what its settings say.
#[tokio::test(flavor = "multi_thread")]
async fn events_show_no_more_than_the_log() {
    let folder = world::folder("https://login.shop.example/keys");
    let log = [
        "--decision-log",
        "file:log",
        "--decision-log-redact",
        "x-team",
        "--decision-log-sample",
        "allow=0,deny=1,audit=0",
    ];
    let arguments = [&["--config", "config.yaml"][..], &log].concat();
    let running = Running::start(folder.path(), &arguments);
    let mut events = Events::of(&running, "?workload=shop").await;
    traffic(&running).await;
    let mut shown = Vec::new();
    for _ in 0..=TRAFFIC.len() {
        shown.push(events.decision().await);
    }
    let denied = shown.last().unwrap();
    assert_eq!(denied["postern.policy"], "shop/no-admin");
    assert_eq!(denied["postern.rule"], 1);
    assert_eq!(
        denied["postern.redacted"],
        serde_json::json!(["url.query", "http.request.header.x-team"])
    );
    let text = serde_json::to_string(&shown).unwrap();
    for secret in ["hunter2", "not-a-token", "blue"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    running.terminate();
    running.ended_within(PATIENCE).await;
    let logged = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let logged: Vec<Value> =
        logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Sampling is the log's: it left the allowed ones out, and has the others word for word.
    let denied: Vec<_> =
        shown.iter().filter(|event| event["postern.outcome"] == "deny").cloned().collect();
    assert_eq!(logged, denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_watch_and_no_more() {
    let (_folder, running) = start();
    let mut all = Vec::new();
    for _ in 0..MOST {
        all.push(Events::of(&running, "").await);
    }
    let answer = running.get("/console/api/decisions").await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (503, "10"));
    assert!(answer.text.contains("16 watch already"), "{}", answer.text);
    let stream = |json: &Value| json["stream"]["watchers"].as_u64();
    let full = running.get("/console/api/overview").await.json();
    assert_eq!(stream(&full), Some(16));
    // Who goes makes room, even if nothing is decided that would show it.
    all.pop();
    running.get_until("/console/api/overview", |json| stream(json) == Some(15)).await;
    Events::of(&running, "").await;
    all.clear();
    running.get_until("/console/api/overview", |json| stream(json) == Some(0)).await;
}

/// Requests are answered all the same, and what was lost is counted.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_loses_events_and_is_told_how_many() {
    const SENT: usize = 2_000;
    let (_folder, running) = start();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(running.admin).await.unwrap();
    let head = format!("GET /console/api/decisions HTTP/1.1\r\nhost: {}\r\n\r\n", running.admin);
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, ": here").await;

    let client = running.envoy().await;
    let path = format!("/{}", "x".repeat(12 << 10));
    let file = postern::request_file::RequestFile { path, ..Default::default() };
    let check = file.check_request(postern::extauthz::ClientAddress::default());
    let tasks = (0..4).map(|_| {
        let (mut client, check) = (client.clone(), check.clone());
        tokio::spawn(async move {
            for _ in 0..SENT / 4 {
                client.check(check.clone()).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    // From here on it reads, and sooner or later the last one gets through.
    let reading = tokio::spawn(async move { read_until(&mut stream, "\"/last\"").await });
    let mut last = 0;
    while !reading.is_finished() {
        running.decide(None, "{path: /last}").await;
        last += 1;
    }
    let text = reading.await.unwrap();
    let got = text.matches("xxx\",").count();
    let lost = text.rsplit("event: dropped\ndata: ").next().unwrap();
    let lost: usize = lost.split('\n').next().unwrap().parse().unwrap();
    assert!(lost > 0 && got > 0, "got {got}, lost {lost}");
    // Of those that were sent while it read some may be lost, too.
    assert!((SENT..=SENT + last).contains(&(got + lost)), "got {got}, lost {lost}, {last}");
}

/// What comes until this does; it is short, and looked for in what is new.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "it ends without `{end}`");
        let new = text.len().saturating_sub(end.len());
        text.extend_from_slice(&buffer[..read]);
        if text[new..].windows(end.len()).any(|part| part == end.as_bytes()) {
            return String::from_utf8(text).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_watches_keeps_the_server() {
    let (_folder, running) = start();
    let mut events = Events::of(&running, "").await;
    let idle = Events::of(&running, "?reason=jwt").await;
    running.decide(None, "{}").await;
    assert_eq!(events.decision().await["postern.outcome"], "allow");
    running.terminate();
    assert_eq!(events.next().await.as_deref(), Some("event: end\ndata: shutting down"));
    assert_eq!(events.next().await, None);
    // The grace is 10 seconds, and none of it is for them.
    running.ended_within(Duration::from_secs(9)).await;
    drop(idle);
}
