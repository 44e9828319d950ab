//! `postern test` as a user runs it.

#![expect(clippy::unwrap_used, reason = "test support functions")]

mod blackbox;
#[path = "blackbox/ran.rs"]
mod ran;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use blackbox::Folder;
use ran::{Ran, ran};
use rstest::rstest;
use serde_json::Value;

const POLICIES: &str = r#"apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  jwtRules:
  - issuer: https://id.example.com
    jwksUri: https://id.example.com/keys
    audiences: [shop]
    fromHeaders: [{name: authorization, prefix: "Bearer "}, {name: x-token}]
    fromParams: [token]
    fromCookies: [session]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: customers, namespace: shop}
spec:
  rules:
  - from: [{source: {requestPrincipals: ["https://id.example.com/*"]}}]
    to: [{operation: {methods: [GET], paths: ["/orders*"]}}]
  - to: [{operation: {paths: [/healthz]}}]
    when: [{key: source.ip, values: [10.0.0.0/8]}]
"#;

const CASES: &str = r#"workload: {namespace: shop}
policies: [policies/shop.yaml]
requests:
- name: a customer reads
  request: {path: /orders/1}
  token: {claims: {iss: https://id.example.com, sub: alice, aud: shop}}
  expect: {outcome: allow, reason: allow_rule, policy: AuthorizationPolicy/shop/customers, rule: 0}
- name: nobody else
  request: {path: /orders/1}
  expect: {outcome: deny, reason: no_allow_rule}
"#;

fn shop(cases: &str) -> Folder {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", POLICIES);
    folder.file("shop.cases.yaml", cases);
    folder
}

fn test(folder: &Folder, line: &str) -> Ran {
    ran(folder.postern().arg("test").args(line.split_whitespace()))
}

/// The one request of a file, with its answer.
fn one(request: &str) -> Ran {
    let cases = format!(
        "workload: {{namespace: shop}}\npolicies: [policies]\nrequests:\n- name: one\n  {request}\n"
    );
    test(&shop(&cases), "shop.cases.yaml")
}

#[rstest]
#[case::no_such_file("nowhere.yaml", "cannot read `nowhere.yaml`")]
#[case::no_cases("policies", "no requests")]
#[case::policies_are_no_cases("policies/shop.yaml", "a case file is one")]
#[case::report_nowhere("shop.cases.yaml --junit none/report.xml", "cannot write `none/report.xml`")]
#[case::bad_flag("shop.cases.yaml --trust-domain /", "--trust-domain")]
fn what_cannot_run_says_so(#[case] line: &str, #[case] message: &str) {
    let ran = test(&shop(CASES), line);
    assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
}

#[rstest]
#[case::misspelt(CASES.replace("requests:", "request:"), "shop.cases.yaml:3:1: error[PST0102]")]
#[case::no_policy(CASES.replace("policies: [policies/shop.yaml]\n", ""), "policies are missing")]
#[case::policy_nowhere(CASES.replace("shop.yaml", "none.yaml"), "cannot read `policies/none.yaml`")]
#[case::bad_setting(CASES.replace("{namespace: shop}", "{namespace: SHOP}"), "shop.cases.yaml: namespace")]
#[case::unknown_setting(format!("settings: {{listne: x}}\n{CASES}"), "`listne` is no setting")]
#[case::bad_inline_policy(
    CASES.replace("[policies/shop.yaml]", "\n- {apiVersion: security.istio.io/v1, kind: Authorization}"),
    "shop.cases.yaml:3:"
)]
#[case::bad_keys(format!("keys: {{https://id.example.com: {{keys: 1}}}}\n{CASES}"), "no key set")]
#[case::keys_nowhere(format!("keys: {{https://id.example.com: none.json}}\n{CASES}"), "cannot read `none.json`")]
fn what_is_wrong_with_a_case_file_says_so(#[case] cases: String, #[case] message: &str) {
    let ran = test(&shop(&cases), "shop.cases.yaml");
    assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn every_problem_of_every_file_shows() {
    let folder = shop(&CASES.replace("expect: {outcome: deny", "expect: {outcome: never"));
    folder.file("other.cases.yaml", "requests: 7");
    let ran = test(&folder, ".");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("other.cases.yaml:1:11: error[PST0103]"), "{}", ran.stderr);
    assert!(ran.stderr.contains("shop.cases.yaml:10:21: error[PST0104]"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("postern: 2 problems\n"), "{}", ran.stderr);
}

#[test]
fn expected_answers_pass() {
    let ran = test(&shop(CASES), "shop.cases.yaml");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    insta::assert_snapshot!(ran.stdout, @r"
    ok      shop.cases.yaml  2 requests
    2 passed, 0 failed
    ");
}

/// The cases of this project are case files.
#[test]
fn the_cases_of_this_project_pass() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let ran = ran(Folder::new().postern().args(["test", "--namespace", "foo", cases]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.lines().count() > 50, "{}", ran.stdout);
}

#[test]
fn another_answer_fails_and_is_explained() {
    let ran = test(
        &shop(&CASES.replace("path: /orders/1}\n  expect", "path: /}\n  expect: allow #")),
        ".",
    );
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @"
    FAILED  ./shop.cases.yaml  2 requests

      ./shop.cases.yaml:8:3: `nobody else`
        expected  allow
        answered  deny no_allow_rule
        DENY   ALLOW policies hold, and none of their rules matches
               nearest: AuthorizationPolicy/shop/customers rules[0]
               ./policies/shop.yaml:18:42: from.source.requestPrincipals: wants `https://id.example.com/*`; the request has none
               ./policies/shop.yaml:19:47: to.operation.paths: wants `/orders*`; the request has `/`
               would be allowed with token `https://id.example.com/x`, path `/ordersx`

    1 passed, 1 failed
    ");
}

/// With the policies that `--policies` names, and the workload of `--namespace`.
#[test]
fn flags_stand_in_for_what_a_file_leaves_out() {
    let cases = CASES.replace("policies: [policies/shop.yaml]\n", "");
    let cases = cases.replace("workload: {namespace: shop}\n", "");
    let folder = shop(&cases);
    let ran = test(&folder, "--policies policies --namespace shop shop.cases.yaml");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let ran = test(&folder, "--policies policies shop.cases.yaml");
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
}

const CLAIMS: &str = "{iss: https://id.example.com, sub: alice, aud: shop}";

/// No key is fetched: the token's is put in place of the issuer's.
#[rstest]
#[case::header("in: {header: X-Token}", "allow")]
#[case::param("in: {param: token}", "allow")]
#[case::cookie("in: {cookie: session}", "allow")]
#[case::elsewhere("in: {header: x-other}", "{outcome: deny, reason: no_allow_rule}")]
#[case::expired("expiresIn: -5m", "{outcome: deny, reason: jwt, error: Jwt is expired}")]
#[case::lasting("expiresIn: 400d", "allow")]
#[case::forged("signedBy: forger", "{outcome: deny, error: Jwt verification fails}")]
#[case::strange(
    "signedBy: stranger",
    "{outcome: deny, error: \"Jwks doesn't have key to match kid or alg from Jwt\"}"
)]
fn tokens_are_made_as_described(#[case] how: &str, #[case] expect: &str) {
    let ran = one(&format!(
        "request: {{path: '/orders?a=b'}}\n  token: {{claims: {CLAIMS}, {how}}}\n  expect: {expect}"
    ));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[rstest]
#[case::other_audience(
    "{iss: https://id.example.com, sub: a, aud: bank}",
    "Audiences in Jwt are not allowed"
)]
#[case::other_issuer(
    "{iss: https://else.example.com, sub: a, aud: shop}",
    "Jwt issuer is not configured"
)]
#[case::past("{iss: https://id.example.com, sub: a, aud: shop, exp: 7}", "Jwt is expired")]
fn claims_are_those_of_the_recipe(#[case] claims: &str, #[case] error: &str) {
    let ran =
        one(&format!("token: {{claims: {claims}}}\n  expect: {{outcome: deny, error: {error}}}"));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// Time is the request's, and its tokens are made for it.
#[test]
fn a_token_is_as_old_as_its_request() {
    let ran = one(&format!(
        "request: {{path: /orders, now: 2031-01-01T00:00:00Z}}\n  \
         token: {{claims: {CLAIMS}}}\n  expect: allow"
    ));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

/// A token that somebody else signed, and the set with its key.
#[test]
fn keys_of_an_issuer_are_given() {
    let folder = shop("");
    let key = ran(folder.postern().args(["jwt", "keygen", "--jwks", "keys.json"]));
    assert_eq!(key.code, 0, "{}", key.stderr);
    folder.file("key.json", &key.stdout);
    let claims = ["-c", "iss=https://id.example.com", "-c", "sub=alice", "-c", "aud=shop"];
    let token = ran(folder.postern().args(["jwt", "sign", "--key", "key.json"]).args(claims));
    assert_eq!(token.code, 0, "{}", token.stderr);
    let cases = format!(
        "workload: {{namespace: shop}}\npolicies: [policies]\nkeys: {{https://id.example.com: keys.json}}\n\
         requests:\n- name: one\n  request: {{path: /orders, token: {}}}\n  expect: allow\n",
        token.stdout.trim()
    );
    folder.file("shop.cases.yaml", &cases);
    let ran = test(&folder, "shop.cases.yaml");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn coverage_names_what_no_request_has_tested() {
    let ran = test(&shop(CASES), "shop.cases.yaml --coverage");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r"
    ok      shop.cases.yaml  2 requests

    1 of 2 rules matched, 1 of 5 conditions seen to hold and to refuse
      policies/shop.yaml:18:5: AuthorizationPolicy/shop/customers rules[0]
        to.operation.methods: never refused
        to.operation.paths: never refused
      policies/shop.yaml:20:5: AuthorizationPolicy/shop/customers rules[1]  never matched
        to.operation.paths: never held
        when[source.ip].values: never held

    2 passed, 0 failed
    ");
}

#[test]
fn programs_read_json() {
    let cases = CASES.replace("outcome: deny", "outcome: allow");
    let ran = test(&shop(&cases), "shop.cases.yaml --coverage --output json");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let result: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(result["version"], 1);
    assert_eq!((&result["passed"], &result["failed"]), (&1.into(), &1.into()));
    let requests = &result["files"][0]["requests"];
    assert_eq!(requests[0]["passed"], true);
    assert_eq!(requests[1]["answered"], "deny no_allow_rule");
    assert_eq!(requests[1]["line"], 8);
    assert_eq!(result["coverage"][0]["matched"], 1);
}

#[test]
fn ci_systems_read_junit() {
    let cases = CASES.replace("nobody else", "nobody <else> & \"more\"");
    let cases = cases.replace("outcome: deny", "outcome: allow");
    let folder = shop(&cases);
    let ran = test(&folder, "shop.cases.yaml --junit report.xml");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let report = std::fs::read_to_string(folder.path().join("report.xml")).unwrap();
    for part in [
        "tests=\"2\" failures=\"1\"",
        "<testsuite name=\"shop.cases.yaml\"",
        "nobody &lt;else&gt; &amp; &quot;more&quot;",
        "expected allow no_allow_rule, answered deny no_allow_rule",
    ] {
        assert!(report.contains(part), "{part}:\n{report}");
    }
}

#[test]
fn a_change_of_a_policy_is_tested_at_once() {
    let folder = shop(CASES);
    let mut child = folder
        .postern()
        .args(["test", "shop.cases.yaml", "--watch"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.find(|line| line.contains("passed")).unwrap(), "2 passed, 0 failed");
    // At once, too: what reads it half would count as another change.
    let save = |text: &str| {
        folder.file("shop.new", text);
        std::fs::rename(folder.path().join("shop.new"), folder.path().join("policies/shop.yaml"))
            .unwrap();
    };
    save(&POLICIES.replace("/orders*", "/other*"));
    assert_eq!(lines.find(|line| line.contains("passed")).unwrap(), "1 passed, 1 failed");
    save(POLICIES);
    assert_eq!(lines.find(|line| line.contains("passed")).unwrap(), "2 passed, 0 failed");
    child.kill().unwrap();
    child.wait().unwrap();
}

const API_RULE: &str = r#"apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {name: orders, namespace: shop}
spec:
  host: orders.example.com
  gateway: kyma-system/kyma-gateway
  service: {name: orders, port: 80}
  rules:
  - path: /orders/.*
    methods: [GET]
    accessStrategies:
    - handler: jwt
      config:
        authentications: [{issuer: 'https://id.example.com', jwksUri: 'https://id.example.com/keys'}]
        authorizations: [{requiredScopes: [read]}]
  - path: /old
    methods: [GET]
    accessStrategies: [{handler: allow}]
"#;

const OATHKEEPER: &str = "
    - handler: jwt
      config: {jwks_urls: ['https://id.example.com/keys'], required_scope: [read], allowed_algorithms: [ES256]}
";

const API_RULE_CASES: &str = r#"workload: {namespace: shop}
policies: [policies/rule.yaml]
requests:
- name: enough
  request: {path: /orders/1, host: orders.example.com}
  token: {claims: {iss: https://id.example.com, sub: alice, scope: read}}
  expect: {outcome: allow, reason: api_rule, policy: APIRule/shop/orders, rule: 0}
- name: not enough
  request: {path: /orders/1, host: orders.example.com}
  token: {claims: {iss: https://id.example.com, sub: alice, scope: write}}
  expect: {outcome: deny, reason: api_rule_refused, policy: APIRule/shop/orders, rule: 0, error: "REFUSED"}
- name: forged
  request: {path: /orders/1, host: orders.example.com}
  token: {claims: {iss: https://id.example.com, sub: alice, scope: read}, signedBy: forger}
  expect: deny
"#;

/// The keys that access strategies name are those of the run, in both forms of `jwt`.
#[test]
fn api_rules_are_tested_with_tokens() {
    let folder = Folder::new();
    folder.file("policies/rule.yaml", API_RULE);
    let refused = "jwt: none of its authorizations holds for the token";
    folder.file("rule.cases.yaml", &API_RULE_CASES.replace("REFUSED", refused));
    let ran = test(&folder, "rule.cases.yaml --coverage");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r"
    ok      rule.cases.yaml  3 requests

    1 of 2 rules matched, 0 of 4 conditions seen to hold and to refuse
      policies/rule.yaml:9:5: APIRule/shop/orders rules[0]
        methods: never refused
        path: never refused
      policies/rule.yaml:16:5: APIRule/shop/orders rules[1]  never matched
        methods: never refused
        path: never held

    3 passed, 0 failed
    ");

    let (before, after) = API_RULE.split_once("\n    - handler: jwt").unwrap();
    let (_, after) = after.split_once("\n  - path").unwrap();
    folder.file("policies/rule.yaml", &format!("{before}{OATHKEEPER}  - path{after}"));
    let refused = "jwt: the token does not have the scope";
    folder.file("rule.cases.yaml", &API_RULE_CASES.replace("REFUSED", refused));
    let ran = test(&folder, "rule.cases.yaml");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}
