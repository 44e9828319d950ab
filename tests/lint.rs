//! `postern lint` as a user runs it.

#![expect(clippy::unwrap_used, reason = "test support functions")]

mod blackbox;
#[path = "blackbox/ran.rs"]
mod ran;

use blackbox::Folder;
use ran::{Ran, ran};
use serde_json::Value;

const SHOP: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - from: [{source: {ipBlocks: [10.0.0.0/8]}}]
    to: [{operation: {methods: [GET], paths: [\"/orders*\"]}}]
  - to: [{operation: {paths: [/healthz]}}]
";

fn lint(policies: &str, line: &str) -> (i32, String, String) {
    let folder = Folder::new();
    folder.file("shop.yaml", policies);
    let Ran { code, stdout, stderr } =
        ran(folder.postern().arg("lint").args(line.split_whitespace()));
    (code, stdout, stderr)
}

#[test]
fn what_cannot_be_read_is_no_finding() {
    let (code, stdout, stderr) = lint(SHOP, "--policies shop.yaml none.yaml");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("cannot read `none.yaml`"), "{stderr}");
    assert_eq!(lint(SHOP, "").0, 2);
}

#[test]
fn errors_and_warnings_are_found_with_their_places() {
    let policies = SHOP.replace("10.0.0.0/8", "10.0.0.1/8, 10.0.0.0/33");
    let (code, stdout, _) = lint(&policies, "--policies shop.yaml");
    assert_eq!(code, 1);
    assert!(stdout.contains("shop.yaml:6:33: warning[PST0302]"), "{stdout}");
    assert!(stdout.contains("shop.yaml:6:45: error[PST0107]"), "{stdout}");
    assert!(stdout.ends_with("1 error, 1 warning\n"), "{stdout}");
}

#[test]
fn sound_policies_have_a_size() {
    let (code, stdout, stderr) = lint(SHOP, "--policies shop.yaml --namespace shop --stats");
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.starts_with("0 errors, 0 warnings\n"), "{stdout}");
    assert!(stdout.contains("\nrules for the workload   2\n"), "{stdout}");
    assert!(stdout.contains("\ncompiled bytes a rule    "), "{stdout}");
}

#[test]
fn programs_read_json() {
    let policies = SHOP.replace("10.0.0.0/8", "10.0.0.1/8");
    let (code, stdout, _) =
        lint(&policies, "--policies shop.yaml --namespace shop --stats --output json");
    assert_eq!(code, 1);
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found["version"], 1);
    assert_eq!(found["findings"][0]["code"], "PST0302");
    assert_eq!(found["findings"][0]["line"], 6);
    assert_eq!(found["stats"]["resources"]["AuthorizationPolicy"], 1);
    let (bytes, each) = (&found["stats"]["compiledBytes"], &found["stats"]["bytesPerRule"]);
    assert_eq!(bytes.as_u64().unwrap().div_ceil(2), each.as_u64().unwrap());
}
