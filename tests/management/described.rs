//! The description, held against a running server by schemathesis: whatever it says may be sent is
//! sent, and whatever may not; and every answer is one that it describes.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::server::{ADMIN, OBJECTS, Server};
use crate::telemetry::Telemetry;

const PACKAGE: &str = "schemathesis==4.32.0";

/// The fewest cases.
const CASES: u64 = 2_000;

/// That weights sum to 100 and name the destinations of a route no schema can say, so bodies that a
/// schema takes are refused.
const CONFIG: &str = r#"
[[operations]]
include-operation-id = "setWeights"
checks.positive_data_acceptance.enabled = false
"#;

/// These are about creating and deleting things, of which there is none.
const LEFT_OUT: &str = "use_after_free,ensure_resource_availability,object_level_authorization";

#[tokio::test]
async fn everybody_may_read_it() {
    let server = Server::start(&[]);
    let document = server.anonymous().get("/openapi.json").await.good();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["paths"].as_object().unwrap().len(), 11);
    assert!(!document.to_string().contains("\"kubeconfig\""));
}

#[test]
fn a_property_testing_client_finds_nothing() {
    let telemetry = Telemetry::start();
    let url = format!("--prometheus-url={}", telemetry.url());
    let server = Server::start_stored(OBJECTS, &[&url]);
    fs::write(server.path("config.toml"), CONFIG).unwrap();
    let packages = fetched();
    let output = Command::new("python3")
        .current_dir(server.path(""))
        .arg(packages.join("bin/schemathesis"))
        .args(["--config-file=config.toml", "run"])
        .arg(format!("https://{}/api/v1/istio/openapi.json", server.management))
        .args(["--header", &format!("Authorization: Bearer {}", *ADMIN)])
        .args(["--tls-verify=ca.pem", "--phases=examples,coverage,fuzzing", "--mode=all"])
        .args(["--max-examples=220", "--seed=20261121", "--continue-on-failure", "--no-color"])
        .args(["--generation-database=none", "--report-json-path=report.json"])
        .arg(format!("--exclude-checks={LEFT_OUT}"))
        .env("PYTHONPATH", &packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("cannot run `python3`: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{problems}");
    let report = fs::read(server.path("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["complete"], true, "{said}");
    assert_eq!(report["operations"]["tested"], 10, "{said}");
    assert_eq!(report["test_cases"]["with_failures"], 0, "{said}");
    assert!(report["test_cases"]["generated"].as_u64().unwrap() >= CASES, "{said}");
}

/// The folder of the packages. One process fetches, the others wait for it.
fn fetched() -> PathBuf {
    // This program is in the target folder's `debug/deps`.
    let program = env::current_exe().unwrap();
    let folder = program.ancestors().nth(3).unwrap().join("schemathesis");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let (whole, unfinished) = (folder.join(PACKAGE.replace("==", "-")), folder.join("unfinished"));
    if whole.is_dir() {
        return whole;
    }
    // What an interrupted fetch left behind is not to be trusted.
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).unwrap();
    }
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&unfinished)
        .arg(PACKAGE)
        .output()
        .unwrap_or_else(|error| panic!("cannot run `python3` to fetch {PACKAGE}: {error}"));
    assert!(
        output.status.success(),
        "cannot fetch {PACKAGE} with pip, which asks the management API:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&unfinished, &whole).unwrap();
    whole
}
