//! `postern replay`: records, CheckRequests, and what is neither, decided by other policies.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

mod blackbox;

use std::io::Write as _;
use std::process::{Output, Stdio};

use blackbox::Folder;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::google::protobuf::Timestamp;
use postern::extauthz::{ClientAddress, DESCRIPTORS};
use postern::request_file::RequestFile;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use rstest::rstest;
use serde_json::{Value as Json, json};

const OLD: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to: [{operation: {methods: [GET], paths: ["/orders*"]}}]
"#;

const NEW: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to: [{operation: {methods: [PUT], paths: ["/orders*"]}}]
"#;

fn record(method: &str, outcome: &str) -> String {
    let cause = match outcome {
        "allow" => {
            r#""postern.reason":"allow_rule","postern.policy":"shop/readers","postern.rule":0"#
        }
        _ => r#""postern.reason":"no_allow_rule""#,
    };
    format!(
        r#"{{"postern.schema":"decision/1","time":"2026-11-21T12:00:00Z","postern.outcome":"{outcome}",{cause},"postern.workload":{{"namespace":"shop","labels":{{}}}},"network.peer.address":"10.1.2.3","http.request.method":"{method}","server.address":"shop.example.com","url.path":"/orders/7","http.request.header":{{}},"postern.authentication":{{"result":"none","rules":"0000000000000000"}}}}"#
    ) + "\n"
}

/// Three requests as Envoy asks, one of them at another time.
fn check_requests() -> Vec<CheckRequest> {
    let check = |request: &str| {
        let request = RequestFile::read(request, None).unwrap_or_else(|found| panic!("{found:?}"));
        request.check_request(ClientAddress::default())
    };
    let mut late = check("{method: PUT, path: '/orders/1?a=b', host: h}");
    let request = late.attributes.as_mut().unwrap().request.as_mut().unwrap();
    request.time = Some(Timestamp { seconds: 1_800_000_000, nanos: 0 });
    vec![check("{path: /orders/2, headers: {x-a: [b, c]}}"), late, check("{path: /admin}")]
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("old.yaml", OLD);
    folder.file("new.yaml", NEW);
    folder
}

fn replay(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = folder.postern();
    command.arg("replay").args(arguments).args(["--namespace", "shop"]).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn said(output: &Output) -> String {
    let code = output.status.code().unwrap();
    format!("{}{}exit {code}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_changes_is_shown_by_cause() {
    let folder = folder();
    let log = [record("GET", "allow"), record("GET", "allow"), record("PUT", "deny")].concat();
    folder.file("log", &log);
    insta::assert_snapshot!(
        said(&replay(&folder, &["log", "--policies", "new.yaml", "--limit", "2"])),
        @r#"
        records      3 of log
        before       2 allowed, 1 denied
        after        1 allowed, 2 denied
        changed      2 lose access, 1 gain access

        loses access
          2          allow_rule shop/readers rules[0] -> no_allow_rule
                     line 1  2026-11-21T12:00:00Z  GET shop.example.com/orders/7  from 10.1.2.3
                     line 2  2026-11-21T12:00:00Z  GET shop.example.com/orders/7  from 10.1.2.3

        gains access
          1          no_allow_rule -> allow_rule shop/readers rules[0]
        exit 1
        "#
    );
}

#[test]
fn a_program_gets_json() {
    let folder = folder();
    folder.file("log", &record("GET", "allow"));
    let output = replay(&folder, &["log", "--policies", "new.yaml", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stdout), @r#"
    {
      "version": 1,
      "records": 1,
      "before": {
        "allow": 1,
        "deny": 0
      },
      "after": {
        "allow": 0,
        "deny": 1
      },
      "losesAccess": 1,
      "gainsAccess": 0,
      "otherCause": 0,
      "unaffected": 0,
      "noOutcome": 0,
      "cannotTell": 0,
      "lacking": {},
      "malformed": 0,
      "assumedOneLine": 0,
      "changes": [
        {
          "change": "loses_access",
          "before": {
            "reason": "allow_rule",
            "policy": "shop/readers",
            "rule": 0
          },
          "after": {
            "reason": "no_allow_rule",
            "policy": null,
            "rule": null
          },
          "count": 1,
          "examples": [
            {
              "line": 1,
              "time": "2026-11-21T12:00:00Z",
              "method": "GET",
              "host": "shop.example.com",
              "path": "/orders/7",
              "port": null,
              "peer": null,
              "address": "10.1.2.3"
            }
          ]
        }
      ],
      "furtherChanges": 0
    }
    "#);
}

#[test]
fn no_line_is_skipped_in_silence() {
    let folder = folder();
    let lines =
        [&record("GET", "allow"), "\n", "{\"a\":1}\n", "nonsense\n", "{\"postern.schema\":"];
    folder.file("log", &lines.concat());
    insta::assert_snapshot!(said(&replay(&folder, &["log", "--policies", "old.yaml"])), @r#"
    records      1 of log
    before       1 allowed, 0 denied
    after        1 allowed, 0 denied
    changed      0 lose access, 0 gain access
    malformed    3 lines that are no records
    log:3: not a record: `postern.schema` is missing (docs/decision-log.md says what access logs need)
    log:4: not JSON at column 2
    log:5: ends in the middle at column 18
    postern: 3 records of the log cannot be used: --skip-malformed goes on without them
    exit 2
    "#);
    let arguments = ["log", "--policies", "old.yaml", "--skip-malformed"];
    let output = replay(&folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let many = "nonsense\n".repeat(12);
    folder.file("log", &many);
    let output = replay(&folder, &["log", "--policies", "old.yaml"]);
    assert!(said(&output).contains("log:10: not JSON at column 2\n... and 2 more\n"));
}

#[test]
fn stdin_is_a_log_too() {
    let folder = folder();
    let mut command = folder.postern();
    command.args(["replay", "--policies", "old.yaml", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(record("GET", "allow").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(text(&output.stdout).starts_with("records      1 of -\n"));
}

#[rstest]
#[case::bytes(false)]
#[case::json(true)]
fn check_requests_are_asked_again(#[case] in_json: bool) {
    let folder = folder();
    let mut log = Vec::new();
    for check in check_requests() {
        if in_json {
            let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
            let descriptor =
                pool.get_message_by_name("envoy.service.auth.v3.CheckRequest").unwrap();
            let message = DynamicMessage::decode(descriptor, &*check.encode_to_vec()).unwrap();
            let mut json = serde_json::to_value(&message).unwrap();
            // Envoy may send what we have no name for.
            json["attributes"]["later"] = json!({"x": 1});
            writeln!(log, "{json}").unwrap();
        } else {
            check.encode_length_delimited(&mut log).unwrap();
        }
    }
    std::fs::write(folder.path().join("log"), &log).unwrap();
    let json = |arguments: &[&str]| -> (Json, i32) {
        let output = replay(&folder, &[&["log", "--output", "json"], arguments].concat());
        assert!(output.stderr.is_empty(), "{}", said(&output));
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code().unwrap())
    };
    let (alone, code) = json(&["--policies", "new.yaml"]);
    assert_eq!((&alone["noOutcome"], code), (&json!(3), 0), "{alone:#}");
    assert_eq!(alone["after"], json!({"allow": 1, "deny": 2}));
    let (both, code) = json(&["--policies", "new.yaml", "--against", "old.yaml"]);
    assert_eq!((&both["losesAccess"], &both["gainsAccess"], code), (&json!(1), &json!(1), 1));
    assert_eq!(both["changes"][0]["examples"][0]["path"], "/orders/1");
}

#[test]
fn messages_that_are_cut_are_an_error() {
    let folder = folder();
    let mut log = Vec::new();
    for check in check_requests() {
        check.encode_length_delimited(&mut log).unwrap();
    }
    log.truncate(log.len() - 1);
    std::fs::write(folder.path().join("log"), &log).unwrap();
    let output = replay(&folder, &["log", "--policies", "new.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("log:3: ends in the middle of a message\n"));
    std::fs::write(folder.path().join("log"), [0xff; 64]).unwrap();
    let output = replay(&folder, &["log", "--policies", "new.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no message has such a length"));
}

#[test]
fn records_are_compared_with_old_policies_where_asked_for() {
    let folder = folder();
    // What it says was decided is not what these policies say.
    folder.file("log", &record("GET", "deny"));
    let arguments = ["log", "--policies", "old.yaml", "--against", "old.yaml"];
    let output = replay(&folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(replay(&folder, &["log", "--policies", "old.yaml"]).status.code(), Some(1));
}

#[rstest]
#[case::no_log(&["nowhere", "--policies", "old.yaml"], "cannot read the log `nowhere`")]
#[case::folder(&[".", "--policies", "old.yaml"], "cannot read `.`")]
#[case::no_policies(&["log"], "--policies: a file or directory of policies is needed")]
#[case::bad_policies(&["log", "--policies", "bad.yaml"], "1 problem in the policies")]
fn what_cannot_be_read_is_an_error(#[case] arguments: &[&str], #[case] expected: &str) {
    let folder = folder();
    folder.file("log", "");
    folder.file("bad.yaml", &OLD.replace("rules:", "rulez:"));
    let output = replay(&folder, arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(expected), "{}", said(&output));
}
