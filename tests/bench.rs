//! `postern bench` as a user runs it: what it counts, and how it ends. How fast it was is not asked.

#![expect(clippy::unwrap_used, reason = "test support functions")]

mod blackbox;
#[path = "blackbox/ran.rs"]
mod ran;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use blackbox::Folder;
use ran::{Ran, ran};
use rstest::rstest;
use serde_json::{Value, json};

const SHOP: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to: [{operation: {methods: [GET], paths: [\"/orders*\"]}}]
";

/// A folder with policies and requests.
fn shop() -> Folder {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    folder.file("read.yaml", "path: /orders/1");
    folder.file("write.yaml", "{method: POST, path: /orders}");
    folder
}

fn bench(folder: &Folder, line: &str) -> Ran {
    let short = ["--warmup", "0s", "--connections", "2", "--streams", "3"];
    ran(folder.postern().arg("bench").args(line.split_whitespace()).args(short))
}

#[test]
fn asks_a_server_of_its_own_in_the_proportions_of_the_mix() {
    let line = "--policies policies --namespace shop --requests read.yaml=3 write.yaml \
                --count 400 --output json";
    let ran = bench(&shop(), line);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let figures: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(figures["answered"], 400);
    assert_eq!(figures["errors"], json!({}));
    let answers = |number: usize, answer| figures["requests"][number]["answers"][answer].as_u64();
    let (allowed, denied) = (answers(0, "ALLOW").unwrap(), answers(1, "DENY 403").unwrap());
    assert_eq!(allowed + denied, 400);
    // Streams may be in the middle of a round at the end.
    assert!((280..=320).contains(&allowed), "{allowed}");
    assert_eq!((answers(0, "DENY 403"), answers(1, "ALLOW")), (None, None));
    let stages = figures["server"]["stageSeconds"].as_object().unwrap();
    assert!(stages["decide"].as_f64().unwrap() > 0.0, "{stages:?}");
}

#[test]
fn shows_people_what_was_asked_and_answered() {
    let line = "--policies policies --namespace shop --requests read.yaml --count 100 --workers 1";
    let ran = bench(&shop(), line);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "server     our own, 1 worker");
    assert_eq!(lines[1], "load       2 connections x 3 streams, 100 requests after 0 s of warm-up");
    assert!(lines[2].starts_with("answered   100 in "), "{}", lines[2]);
    assert!(lines[3].starts_with("latency    p50 "), "{}", lines[3]);
    assert_eq!(lines[4..7], ["answers", "  read.yaml  weight 1   ALLOW 100", "errors     none"]);
    assert!(lines[7].starts_with("the server's time for a request"), "{}", lines[7]);
}

#[test]
fn asks_a_server_that_runs_already() {
    let folder = shop();
    let socket = format!("unix:{}", folder.path().join("postern.sock").display());
    let server = Server::start(&folder, &socket);
    let ran = bench(&folder, &format!("--target {socket} --requests write.yaml --count 50"));
    drop(server);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with(&format!("server     {socket}\n")), "{}", ran.stdout);
    assert!(ran.stdout.contains("write.yaml  weight 1   DENY 403 50\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("decide"), "{}", ran.stdout);
}

#[test]
fn a_time_ends_it_too() {
    let line = "--policies policies --namespace shop --requests read.yaml --duration 50ms";
    let ran = bench(&shop(), line);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains(" streams, 0.05 s after "), "{}", ran.stdout);
}

/// It ends, and says that it did not get what it asked for.
#[test]
fn a_server_that_is_no_grpc_server_is_no_success() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Takes connections and closes them.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let ran = bench(&shop(), &format!("--target {address} --requests read.yaml --count 5"));
    assert_ne!(ran.code, 0, "{}", ran.stdout);
}

#[rstest]
#[case::nobody_there(
    "--target 127.0.0.1:1 --requests read.yaml",
    "cannot connect to `127.0.0.1:1`: Connection refused"
)]
#[case::nobody_there_remedy("--target 127.0.0.1:1 --requests read.yaml", "without --target one is")]
#[case::no_policies(
    "--requests read.yaml",
    "--policies: a file or directory of policies is needed"
)]
#[case::two_servers(
    "--target 127.0.0.1:1 --policies policies --requests read.yaml",
    "leave one of them out"
)]
#[case::no_request("--policies policies", "--requests")]
#[case::no_such_request(
    "--policies policies --requests x.yaml",
    "cannot read the request `x.yaml`"
)]
#[case::bad_request("--policies policies --requests bad.yaml", "bad.yaml:1:8: error")]
#[case::bad_policy("--policies bad.yaml --requests read.yaml", "bad.yaml:1:")]
#[case::heavy("--policies policies --requests read.yaml=70000", "the weight of `read.yaml=70000`")]
#[case::weightless("--policies policies --requests read.yaml=0", "give one of them another")]
#[case::no_unit("--policies policies --requests read.yaml --duration 5", "`5` needs a unit")]
#[case::no_port("--target localhost --requests read.yaml", "needs a port, such as")]
#[case::both_ends("--policies p --requests read.yaml --duration 5s --count 5", "--count")]
fn says_what_is_wrong_and_what_to_do(#[case] line: &str, #[case] expected: &str) {
    let folder = shop();
    folder.file("bad.yaml", "kind: [");
    let ran = ran(folder.postern().arg("bench").args(line.split_whitespace()));
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

/// `postern serve`, ended with its handle.
struct Server(Child);

impl Server {
    /// Returns when it listens.
    fn start(folder: &Folder, listen: &str) -> Self {
        let mut child = folder
            .postern()
            .args(["serve", "--policies", "policies", "--namespace", "shop"])
            .args([
                "--admin",
                "127.0.0.1:0",
                "--http-listen",
                "off",
                "--log-format",
                "human",
                "--listen",
                listen,
            ])
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !(line.contains("listening on") && line.contains("grpc")) {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        }
        // Nobody reads on: it says nothing that would fill the pipe.
        std::mem::forget(log);
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
