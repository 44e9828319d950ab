//! `postern serve` from outside: the built binary, its exit codes, ports, signals and words.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

/// Longer than anything takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const GOOD: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-admin
  namespace: default
spec:
  action: DENY
  rules:
  - to:
    - operation:
        paths: ["/admin*"]
"#;

fn bad(field: &str) -> String {
    GOOD.replace("paths", field)
}

/// A running binary. Killed when dropped.
struct Postern {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Drop for Postern {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Postern {
    fn serve(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(["serve", "--admin", "127.0.0.1:0", "--http-listen", "off"])
            .args(arguments)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Self { child, lines, seen: Vec::new() }
    }

    fn serve_any_port(policies: &Path, more: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0", "--policies", policies.to_str().unwrap()];
        Self::serve(&[&listen, more].concat())
    }

    /// The first line from now on that contains this.
    fn line(&mut self, part: &str) -> String {
        let latest = Instant::now() + PATIENCE;
        while let Ok(line) =
            self.lines.recv_timeout(latest.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
        panic!("never said {part:?}:\n{}", self.seen.join("\n"));
    }

    fn address(&mut self, listener: &str) -> String {
        let line = self.line(&format!(r#""listening on","listener":"{listener}""#));
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        event.get("address").unwrap().as_str().unwrap().to_owned()
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Waits for the end; everything that was said, and the exit code.
    fn end(&mut self) -> (String, Option<i32>) {
        let latest = Instant::now() + PATIENCE;
        while let Ok(line) =
            self.lines.recv_timeout(latest.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line);
        }
        let status: ExitStatus = self.child.wait().unwrap();
        (self.seen.join("\n"), status.code())
    }
}

fn scratch(files: &[(&str, &str)]) -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(scratch.path().join(name), text).unwrap();
    }
    scratch
}

/// Status and body of a GET.
fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, "GET", path, "")
}

fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Asks until the answer satisfies.
fn get_until(address: &str, path: &str, satisfies: impl Fn(u16, &str) -> bool) -> String {
    let latest = Instant::now() + PATIENCE;
    loop {
        let (status, body) = get(address, path);
        if satisfies(status, &body) {
            return body;
        }
        assert!(Instant::now() < latest, "{path} stays {status}: {body}");
        thread::yield_now();
    }
}

#[test]
fn bad_policies_are_all_named_and_nothing_is_bound() {
    let policies = scratch(&[
        ("a.yaml", &bad("path")),
        ("b.yaml", &format!("{}---\nkind: [", bad("hots").replace("no-admin", "other"))),
    ]);
    symlink("nowhere", policies.path().join("c.yaml")).unwrap();
    let (said, code) = Postern::serve_any_port(policies.path(), &[]).end();
    assert_eq!(code, Some(2), "{said}");
    for expected in ["a.yaml:12:9: error", "b.yaml:12:9: error", "b.yaml:14:8: error", "c.yaml`"] {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
    assert!(said.ends_with("postern: the policies have 4 problems"), "{said}");
    assert!(!said.contains("listening on"), "{said}");
}

#[test]
fn a_port_in_use_is_said() {
    let policies = scratch(&[("a.yaml", GOOD)]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let path = policies.path().to_str().unwrap();
    let (said, code) = Postern::serve(&["--policies", path, "--listen", &address]).end();
    assert_eq!(code, Some(2));
    let expected =
        format!("postern: cannot listen on {address} (--listen): Address already in use");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    let (said, code) = Postern::serve_any_port(Path::new("/nonexistent/policies"), &[]).end();
    assert_eq!(code, Some(2));
    assert!(
        said.contains("cannot read `/nonexistent/policies`: no such file or directory"),
        "{said}"
    );
}

#[test]
fn a_bad_configuration_is_said_at_once_and_whole() {
    let (said, code) =
        Postern::serve(&["--listen", "localhost", "--labels", "app", "--shutdown-grace", "5"])
            .end();
    assert_eq!(code, Some(2));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.first(), Some(&"postern: invalid configuration"));
    assert_eq!(lines.len(), 5, "{said}");
}

#[test]
fn a_mistyped_flag_is_a_usage_error() {
    let (said, code) = Postern::serve(&["--policy-files", "x"]).end();
    assert_eq!(code, Some(2));
    assert!(said.contains("unexpected argument"), "{said}");
}

#[test]
fn an_empty_policy_set_is_served_with_a_warning() {
    let policies = scratch(&[]);
    let mut postern = Postern::serve_any_port(policies.path(), &[]);
    postern.line(r#""level":"WARN","message":"the policy set is empty: every request is allowed""#);
    let admin = postern.address("admin");
    get_until(&admin, "/readyz", |status, _| status == 200);
}

#[test]
fn a_broken_edit_shows_everywhere_and_a_mended_one_nowhere() {
    let policies = scratch(&[("a.yaml", GOOD)]);
    let mut postern = Postern::serve_any_port(policies.path(), &[]);
    let admin = postern.address("admin");
    get_until(&admin, "/readyz", |status, _| status == 200);

    fs::write(policies.path().join("a.yaml"), bad("path")).unwrap();
    let verbose = get_until(&admin, "/readyz?verbose", |_, body| body.contains("refused"));
    assert!(verbose.contains("AuthorizationPolicy/default/no-admin; its last accepted form stays"));
    assert!(verbose.contains("a.yaml:12:9: error"), "{verbose}");
    assert_eq!(get(&admin, "/readyz").0, 200, "what is in force still answers");
    let (_, dump) = get(&admin, "/config_dump");
    let dump: serde_json::Value = serde_json::from_str(&dump).unwrap();
    assert_eq!(dump["snapshot"]["revision"], 1);
    assert_eq!(dump["rejected"][0]["problems"][0]["line"], 12);
    assert!(get(&admin, "/metrics").1.contains("postern_snapshot_rejected_resources 1\n"));
    let logged = postern.line(r#""message":"refused""#);
    assert!(logged.contains("a.yaml:12:9"), "{logged}");

    fs::write(policies.path().join("a.yaml"), GOOD.replace("/admin*", "/internal*")).unwrap();
    get_until(&admin, "/readyz?verbose", |_, body| body.contains("revision 2"));
    assert!(get(&admin, "/metrics").1.contains("postern_snapshot_rejected_resources 0\n"));
}

/// By what is in force now, not by what was at the start.
#[test]
fn a_running_server_explains() {
    let policies = scratch(&[("no-admin.yaml", GOOD)]);
    let mut postern = Postern::serve_any_port(policies.path(), &[]);
    let admin = postern.address("admin");
    let explain = |body: &str| ask(&admin, "POST", "/explain?output=human", body);
    let (status, text) = explain("{path: /admin/x}");
    assert_eq!(status, 200, "{text}");
    let file = policies.path().join("no-admin.yaml");
    let expected = "DENY   AuthorizationPolicy/default/no-admin rules[0]\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains(&format!("{}:12:17", file.display())), "{text}");
    assert_eq!(explain("{paths: /}").0, 400);
    fs::write(file, GOOD.replace("/admin*", "/other")).unwrap();
    get_until(&admin, "/config_dump", |_, dump| dump.contains(r#""revision": 2"#));
    assert!(explain("{path: /admin/x}").1.starts_with("ALLOW"));
    let (status, json) = ask(&admin, "POST", "/explain", "path: /other");
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["decision"], &json["revision"]), (&"deny".into(), &2.into()));
}

#[test]
fn sigterm_ends_with_0_and_takes_the_socket_file_along() {
    let policies = scratch(&[("a.yaml", GOOD)]);
    let socket = policies.path().join("postern.sock");
    let listen = format!("unix:{}", socket.display());
    let path = policies.path().join("a.yaml");
    let mut postern = Postern::serve(&["--policies", path.to_str().unwrap(), "--listen", &listen]);
    assert_eq!(postern.address("grpc"), listen);
    assert!(socket.exists());
    postern.address("admin");
    postern.signal("TERM");
    let (said, code) = postern.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!socket.exists());
}

/// A Postern with a call under way that never ends.
async fn with_endless_call(more: &[&str]) -> (Postern, String, TempDir, impl Sized + use<>) {
    let policies = scratch(&[("a.yaml", GOOD)]);
    let mut postern = Postern::serve_any_port(policies.path(), more);
    let (grpc, admin) = (postern.address("grpc"), postern.address("admin"));
    let channel = Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect().await.unwrap();
    let endless = tokio_stream::pending();
    let call = ServerReflectionClient::new(channel).server_reflection_info(endless).await.unwrap();
    (postern, admin, policies, call)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_draining_it_is_not_ready_and_a_second_signal_ends_it() {
    let (mut postern, admin, _policies, _call) =
        with_endless_call(&["--shutdown-grace", "1h"]).await;
    get_until(&admin, "/readyz", |status, _| status == 200);
    postern.signal("TERM");
    postern.line("shutting down");
    assert_eq!(get(&admin, "/readyz"), (503, "not ready: shutting down\n".to_owned()));
    postern.signal("INT");
    let (said, code) = postern.end();
    assert_eq!(code, Some(1), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_bounds_the_drain() {
    let (mut postern, _admin, _policies, _call) =
        with_endless_call(&["--shutdown-grace", "50ms"]).await;
    postern.signal("TERM");
    let (said, code) = postern.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("requests were still under way"), "{said}");
}
