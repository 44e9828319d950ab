//! `postern lint`: as a user runs it, its pages, and what it finds in whole files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

#[path = "../blackbox/mod.rs"]
mod blackbox;
mod found;
mod pages;
#[path = "../blackbox/ran.rs"]
mod ran;
mod sarif;

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

const WIDE: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: wide, namespace: shop}
spec:
  rules:
  - to: [{operation: {paths: [\"/*\"]}}]
";

#[test]
fn policies_of_several_files_are_held_against_each_other() {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    folder.file("policies/wide.yaml", WIDE);
    let Ran { code, stdout, .. } = ran(folder.postern().args(["lint", "--policies", "policies"]));
    assert_eq!(code, 1);
    insta::assert_snapshot!(stdout, @"
    policies/shop.yaml:6:5: warning[PST0510]: this rule changes nothing: rules[0] of `shop/wide` (policies/wide.yaml:6) allows all it takes
       |
     6 |   - from: [{source: {ipBlocks: [10.0.0.0/8]}}]
       |     ^^^^^
       = in AuthorizationPolicy/shop/readers at spec.rules[0]
       = help: remove it, or narrow the other

    policies/shop.yaml:8:5: warning[PST0510]: this rule changes nothing: rules[0] of `shop/wide` (policies/wide.yaml:6) allows all it takes
       |
     8 |   - to: [{operation: {paths: [/healthz]}}]
       |     ^^^
       = in AuthorizationPolicy/shop/readers at spec.rules[1]
       = help: remove it, or narrow the other

    0 errors, 2 warnings
    ");
}

#[test]
fn the_exit_code_is_for_what_is_asked() {
    let notes = SHOP.replace("[GET]", "[GET, GET]");
    for (flags, expected) in [("", 0), ("--fail-on note", 1), ("--fail-on error", 0)] {
        let (code, stdout, _) = lint(&notes, &format!("--policies shop.yaml {flags}"));
        assert_eq!(code, expected, "{flags}");
        assert!(stdout.ends_with("0 errors, 0 warnings, 1 note\n"), "{stdout}");
    }
    let (code, ..) = lint(&SHOP.replace("[GET]", "[get]"), "--policies shop.yaml --fail-on error");
    assert_eq!(code, 0);
    assert_eq!(lint(SHOP, "--policies shop.yaml --fail-on nothing").0, 2);
}

/// Where something is refused nobody knows what is missing.
#[test]
fn nothing_is_said_to_be_missing_beside_an_error() {
    let policies = SHOP.replace("ipBlocks: [10.0.0.0/8]", "requestPrincipals: [\"*\"]");
    let (_, stdout, _) = lint(&policies, "--policies shop.yaml");
    assert!(stdout.contains("PST0502"), "{stdout}");
    let broken = policies
        + "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
                             metadata: {name: a, namespace: shop}\nspec: {jwtRules: [{}]}\n";
    let (_, stdout, _) = lint(&broken, "--policies shop.yaml");
    assert!(!stdout.contains("PST0502") && stdout.contains("PST0217"), "{stdout}");
}

#[test]
fn what_is_ignored_is_counted() {
    let policies = SHOP.replace("10.0.0.0/8", "10.0.0.1/8").replace(
        "namespace: shop",
        "namespace: shop, annotations: {postern.dev/lint-ignore: PST0302}",
    );
    let (code, stdout, _) = lint(&policies, "--policies shop.yaml --output human");
    assert_eq!((code, stdout.as_str()), (0, "0 errors, 0 warnings, 1 ignored\n"));
    let (_, stdout, _) = lint(&policies, "--policies shop.yaml --output json");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found["findings"], serde_json::json!([]));
    assert_eq!(found["ignored"][0]["code"], "PST0302");
}

/// What is found in APIRules, with a Service beside them.
#[test]
fn rules_of_apirules_that_are_not_in_force_are_found() {
    let policies = "apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {name: httpbin, namespace: shop}
spec:
  gateway: kyma-system/kyma-gateway
  host: httpbin.example.com
  service: {name: httpbinn, port: 8000}
  rules:
  - {path: headers, methods: [GET], accessStrategies: [{handler: unauthorized}]}
  - {path: '/a\\?b=c', methods: [GET], accessStrategies: [{handler: unauthorized}]}
  - {path: /.*, methods: [GET], accessStrategies: [{handler: allow}]}
";
    let service = "---
apiVersion: v1
kind: Service
metadata: {name: httpbin, namespace: shop}
spec: {selector: {app: httpbin}}
";
    let folder = Folder::new();
    folder.file("policies/api.yaml", policies);
    folder.file("config.yaml", "workloads: [{namespace: shop, services: [gateway]}]");
    let found = |more: &[&str]| {
        let Ran { code, stdout, .. } =
            ran(folder.postern().args(["lint", "--policies", "policies"]).args(more));
        let lines = stdout.lines().filter(|line| line.contains("[PST05"));
        let text = lines.fold(String::new(), |text, line| text + line + "\n");
        (code, text)
    };
    let (code, text) = found(&[]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @"
    policies/api.yaml:9:12: warning[PST0531]: no request has such a path: paths begin with `/`
    policies/api.yaml:10:12: warning[PST0531]: no request has such a path: neither query nor fragment is part of it
    ");
    let (_, configured) = found(&["--config", "config.yaml"]);
    assert!(configured.contains("PST0532"), "{configured}");
    folder.file("policies/service.yaml", service);
    let (_, text) = found(&[]);
    assert!(text.contains("PST0532") && text.contains("`shop/httpbinn` is not among"), "{text}");
    folder.file("policies/api.yaml", &policies.replace("httpbinn", "httpbin"));
    assert!(!found(&[]).1.contains("PST0532"));
}
