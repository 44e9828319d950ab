//! `postern diff` as a user runs it.

#![expect(clippy::unwrap_used, reason = "test support functions")]

mod blackbox;
#[path = "blackbox/ran.rs"]
mod ran;

use blackbox::Folder;
use ran::{Ran, ran};
use rstest::rstest;
use serde_json::Value;

const SHOP: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], paths: [\"/orders*\"]}}]
  - to: [{operation: {paths: [/healthz]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [\"/orders/admin*\"]}}]
";

const TOKENS: &str = "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  jwtRules:
  - {issuer: \"https://issuer.example\", jwksUri: \"https://issuer.example/keys\", audiences: [shop]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: staff, namespace: shop}
spec:
  rules:
  - to: [{operation: {paths: [/staff]}}]
    when: [{key: \"request.auth.claims[group]\", values: [staff]}]
";

fn folder(old: &str, new: &str) -> Folder {
    let folder = Folder::new();
    folder.file("old.yaml", old);
    folder.file("new.yaml", new);
    folder
}

fn diff(folder: &Folder, line: &str) -> (i32, String, String) {
    let line = format!("old.yaml new.yaml --namespace shop {line}");
    let Ran { code, stdout, stderr } =
        ran(folder.postern().arg("diff").args(line.split_whitespace()));
    (code, stdout, stderr)
}

/// How many requests were asked is no promise.
fn without_count(text: &str) -> String {
    let (before, after) = text.split_once(" requests asked").unwrap();
    let start = before.trim_end_matches(|c: char| c.is_ascii_digit());
    format!("{start}some requests asked{after}")
}

#[test]
fn what_cannot_be_read_is_no_answer() {
    let broken = SHOP.replace("methods", "method");
    let (code, stdout, stderr) = diff(&folder(SHOP, &broken), "");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("new.yaml:7:") && stderr.contains("postern: new: "), "{stderr}");

    let (code, _, stderr) = diff(&folder(&broken, &broken), "");
    assert_eq!(code, 2);
    assert!(stderr.contains("old.yaml:7:") && stderr.contains("new.yaml:7:"), "{stderr}");

    let folder = folder(SHOP, SHOP);
    let Ran { code, stderr, .. } = ran(folder.postern().args(["diff", "old.yaml", "none.yaml"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("none.yaml"), "{stderr}");
    let (code, _, stderr) = diff(&folder, "--policies old.yaml");
    assert_eq!(code, 2);
    assert!(stderr.contains("OLD and NEW take the place of --policies"), "{stderr}");
}

#[test]
fn names_order_and_repetition_change_nothing() {
    let (first, second) = SHOP.split_once("---\n").unwrap();
    let new = format!("{second}---\n{first}").replace("readers", "renamed").replace(
        "  - to: [{operation: {paths: [/healthz]}}]\n",
        "  - to: [{operation: {paths: [/healthz, /healthz]}}]\n",
    );
    let (code, stdout, stderr) = diff(&folder(SHOP, &new), "");
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (0, "equal: the same canonical plan\n", "")
    );
}

#[test]
fn policies_of_others_are_told() {
    let folder = folder(SHOP, &SHOP.replace("GET", "PUT"));
    let Ran { code, stdout, stderr } = ran(folder.postern().args(["diff", "old.yaml", "new.yaml"]));
    assert_eq!((code, stdout.as_str()), (0, "equal: the same canonical plan\n"));
    assert!(stderr.contains("none holds for this workload"), "{stderr}");
}

/// Nothing proves it, and nothing speaks against it.
#[test]
fn what_says_the_same_in_other_words_has_no_difference() {
    let new = SHOP.replace("paths: [/healthz]", "paths: [/healthz], notPaths: [/orders]");
    let (code, stdout, _) = diff(&folder(SHOP, &new), "");
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.starts_with("no difference found among "), "{stdout}");
    assert!(stdout.contains("\ncovered: "), "{stdout}");
}

#[test]
fn each_change_has_a_request_that_shows_it() {
    let new = SHOP
        .replace("[GET]", "[GET, POST]")
        .replace("  - to: [{operation: {paths: [/healthz]}}]\n", "");
    let folder = folder(SHOP, &new);
    let (code, stdout, _) = diff(&folder, "");
    assert_eq!(code, 1);
    insta::assert_snapshot!(without_count(&stdout), @r#"
    access changes

    AuthorizationPolicy/shop/readers rules[0]
      gains access
        before  DENY  ALLOW policies hold, and none of their rules matches
        after   ALLOW  AuthorizationPolicy/shop/readers rules[0]  (new.yaml:6)
          method: POST
          path: /orders
          source: {principal: "spiffe://cluster.local/ns/shop/sa/web"}

    AuthorizationPolicy/shop/readers rules[1]
      loses access
        before  ALLOW  AuthorizationPolicy/shop/readers rules[1]  (old.yaml:8)
        after   DENY  ALLOW policies hold, and none of their rules matches
          path: /healthz

    gains access: 1, loses access: 1; some requests asked
    covered: requests and connections as Envoy sends them with every input turned on, one token at most, and its signature taken for good; not what upstreams see of them
    "#);

    // What is shown can be pasted.
    let (_, json, _) = diff(&folder, "--output json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["version"], &json["changed"]), (&Value::from(1), &Value::from(true)));
    let differences = json["access"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2, "{json:#}");
    for difference in differences {
        folder.file("request.yaml", difference["request"].as_str().unwrap());
        for (file, side) in [("old.yaml", "before"), ("new.yaml", "after")] {
            let line = ["check", "--namespace", "shop", "--output", "json", "--request"];
            let Ran { stdout, .. } =
                ran(folder.postern().args(line).args(["request.yaml", "--policies", file]));
            let decided: Value = serde_json::from_str(&stdout).unwrap();
            for field in ["decision", "reason", "policy", "rule"] {
                assert_eq!(decided[field], difference[side][field], "{field} {difference:#}");
            }
        }
    }
}

#[test]
fn tokens_are_said_in_claims() {
    let old = format!("{SHOP}{TOKENS}");
    let new = old.replace("values: [staff]", "values: [staff, boss]");
    let (code, stdout, _) = diff(&folder(&old, &new), "");
    assert_eq!(code, 1);
    let shown = r#"
      path: /staff
      # token claims: {"iss":"https://issuer.example","sub":"user","aud":"shop","group":"boss"}
      # token in: header authorization behind "Bearer "
      # token signed with keys of: https://issuer.example/keys
"#;
    assert!(stdout.contains(shown), "{stdout}");

    let new = old.replace("audiences: [shop]", "audiences: [store]");
    let (code, stdout, _) = diff(&folder(&old, &new), "");
    assert_eq!(code, 1);
    assert!(stdout.contains("the token is refused with 403: Audiences in Jwt are not allowed"));
    assert!(stdout.contains("loses access") && stdout.contains("gains access"), "{stdout}");
}

/// Rules see what tokens say in headers, and not what clients say there.
#[test]
fn headers_that_tokens_set_are_claims() {
    let old = format!("{SHOP}{TOKENS}")
        .replace(
            "audiences: [shop]",
            "outputClaimToHeaders: [{header: x-group, claim: group}, {header: x-user, claim: sub}]",
        )
        .replace("request.auth.claims[group]", "request.headers[x-group]");
    let new = old.replace("values: [staff]", "values: [staff, boss]");
    let (code, stdout, _) = diff(&folder(&old, &new), "");
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains(r#""group":"boss""#) && !stdout.contains("x-group"), "{stdout}");

    let old = old.replace("request.headers[x-group]", "request.headers[x-user]");
    let new = old.replace("values: [staff]", "values: [staff, boss]");
    let (code, stdout, _) = diff(&folder(&old, &new), "");
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains(r#""sub":"boss""#), "{stdout}");
}

#[test]
fn peers_connections_and_ports_count() {
    let strict = "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec:
  selector: {matchLabels: {app: shop}}
  portLevelMtls: {9000: {mode: STRICT}}
";
    let (code, stdout, _) = diff(&folder(SHOP, &format!("{SHOP}{strict}")), "--labels app=shop");
    assert_eq!(code, 1);
    assert!(stdout.contains("mutual TLS is STRICT"), "{stdout}");
    assert!(stdout.contains("destination: {port: 9000}"), "{stdout}");

    let l4 = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: db, namespace: shop}
spec:
  rules: [{to: [{operation: {ports: [\"5432\"]}}]}]
";
    let (code, stdout, _) = diff(&folder(l4, &l4.replace("5432", "5433")), "");
    assert_eq!(code, 1);
    assert!(stdout.contains("port: 5432") && stdout.contains("port: 5433"), "{stdout}");
}

#[test]
fn dry_runs_and_audits_are_told_apart() {
    let dry = SHOP.replace(
        "metadata: {name: no-admin, namespace: shop}",
        "metadata: {name: no-admin, namespace: shop, annotations: {istio.io/dry-run: \"true\"}}",
    );
    let (code, stdout, _) = diff(&folder(&dry, &dry.replace("/orders/admin*", "/orders/a*")), "");
    assert_eq!(code, 1);
    assert!(stdout.starts_with("shadow verdict changes"), "{stdout}");
    assert!(!stdout.contains("access changes"), "{stdout}");

    let audit = SHOP.replace("DENY", "AUDIT");
    let (code, stdout, _) = diff(&folder(&audit, &audit.replace("/orders/admin*", "/o*")), "");
    assert_eq!(code, 1);
    assert!(stdout.starts_with("audit changes"), "{stdout}");
    assert!(stdout.contains("is audited now"), "{stdout}");
}

#[test]
fn pull_requests_read_markdown() {
    let new = SHOP.replace("[GET]", "[GET, POST]");
    let (code, stdout, _) = diff(&folder(SHOP, &new), "--output markdown");
    assert_eq!(code, 1);
    insta::assert_snapshot!(without_count(&stdout), @r#"
    ## Policy changes

    **gains access: 1, loses access: 0; some requests asked**

    ### Access changes

    #### `AuthorizationPolicy/shop/readers rules[0]`

    **gains access**

    | | |
    |---|---|
    | before | DENY  ALLOW policies hold, and none of their rules matches |
    | after | ALLOW  AuthorizationPolicy/shop/readers rules[0]  (new.yaml:6) |

    ```yaml
    method: POST
    path: /orders
    source: {principal: "spiffe://cluster.local/ns/shop/sa/web"}
    ```

    Covered: requests and connections as Envoy sends them with every input turned on, one token at most, and its signature taken for good; not what upstreams see of them.
    "#);
}

#[test]
fn more_than_the_limit_is_counted() {
    let new = SHOP.replace("[GET]", "[PUT]").replace("/healthz", "/health");
    let (_, stdout, _) = diff(&folder(SHOP, &new), "--limit 1");
    assert!(stdout.contains("more: --limit shows them"), "{stdout}");
    assert_eq!(stdout.matches("before  ").count(), 1, "{stdout}");
}

const API_RULE: &str = "apiVersion: gateway.kyma-project.io/v1beta1
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
        authentications: [{issuer: \"https://issuer.example\", jwksUri: \"https://issuer.example/keys\"}]
        authorizations: [{requiredScopes: [read, list], audiences: [shop]}]
  - path: /(v1|v2)/open
    methods: [GET]
    accessStrategies: [{handler: anonymous}]
";

/// Each edit of an APIRule that changes who gets through is found, with a request that shows it.
#[rstest]
#[case::strategy("{handler: anonymous}", "{handler: allow}", "gains access", "authorization")]
#[case::method(
    "methods: [GET]\n    accessStrategies: [",
    "methods: [GET, PUT]\n    accessStrategies: [",
    "gains access",
    "method: PUT"
)]
#[case::branch("(v1|v2)", "(v1|v2|v3)", "gains access", "path: /v3/open")]
#[case::fewer("(v1|v2)", "(v1)", "loses access", "path: /v2/open")]
#[case::host("orders.example.com", "other.example.com", "loses access", "host: orders.example.com")]
#[case::scope(
    "requiredScopes: [read, list]",
    "requiredScopes: [read]",
    "gains access",
    "\"scope\":\"read\""
)]
#[case::audience(
    "audiences: [shop]",
    "audiences: [shop, web]",
    "loses access",
    "\"aud\":[\"shop\"]"
)]
#[case::issuer(
    "https://issuer.example\", jwks",
    "https://else.example\", jwks",
    "gains access",
    "https://else.example"
)]
#[case::order(
    "  - path: /(v1",
    "  - path: /.*\n    methods: [GET]\n    accessStrategies: [{handler: unauthorized}]\n  - path: /(v1",
    "loses access",
    "/open"
)]
#[case::gone("kind: APIRule", "kind: Nothing", "gains access", "host: orders.example.com")]
fn a_change_of_an_api_rule_is_found(
    #[case] from: &str,
    #[case] to: &str,
    #[case] direction: &str,
    #[case] shown: &str,
) {
    assert!(API_RULE.contains(from));
    let new = match to {
        "kind: Nothing" => "# none
"
        .to_owned(),
        to => API_RULE.replace(from, to),
    };
    let (code, stdout, stderr) = diff(&folder(API_RULE, &new), "");
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains(direction), "{stdout}");
    assert!(stdout.contains(shown), "{stdout}");
    assert!(stdout.contains("APIRule/shop/orders"), "{stdout}");
}

#[test]
fn api_rules_that_say_the_same_are_equal() {
    let moved = API_RULE.replace("spec:", "spec:\n  timeout: 10");
    assert_ne!(moved, API_RULE);
    let (code, stdout, _) = diff(&folder(API_RULE, &moved), "");
    assert_eq!((code, stdout.as_str()), (0, "equal: the same canonical plan\n"));
}

/// Nobody is asked here, so nothing is said of what they would say, but that nothing is.
#[test]
fn strategies_that_ask_others_are_named() {
    let with = |scope: &str| {
        let config = format!(
            "{{handler: oauth2_introspection, config: {{introspection_url: \"https://i.example\", \
             required_scope: [{scope}]}}}}"
        );
        API_RULE.replace("{handler: anonymous}", &config)
    };
    let (code, stdout, _) = diff(&folder(&with("a"), &with("b")), "");
    assert_eq!(code, 0, "{stdout}");
    let end = "; not asked about, for others would have to be: APIRule/shop/orders rules[1]\n";
    assert!(stdout.starts_with("no difference found") && stdout.contains(end), "{stdout}");
}

/// A policy is looked at with the requests that APIRules let through, too.
#[test]
fn policies_beside_api_rules_count() {
    let deny = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/v1/open]}}]}]}
";
    let (code, stdout, _) = diff(&folder(API_RULE, &format!("{API_RULE}{deny}")), "");
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("not every combination was tried"), "{stdout}");
}

/// An APIRule with these rules: path, then strategies as a flow sequence.
fn with_rules(rules: &[(&str, &str)]) -> String {
    let (head, _) = API_RULE.split_once("  rules:\n").unwrap();
    let rules = rules.iter().map(|(path, strategies)| {
        format!("  - path: {path:?}\n    methods: [GET]\n    accessStrategies: [{strategies}]\n")
    });
    format!("{head}  rules:\n{}", rules.collect::<String>())
}

/// Whatever a path gains is found, however near it is to what it had.
#[rstest]
#[case::slash("/[^/]+", "/.+")]
#[case::digits("/[a-z]+", "/[a-z0-9]+")]
#[case::gap("/[a-cx-z]", "/[a-z]")]
#[case::bound("/a{3,4}", "/a{3,5}")]
#[case::long("/a{70}", "/a{71}")]
#[case::percent("/x[^%]*", "/x.*")]
#[case::alternatives(
    "/(w00|w01|w02|w03|w04|w05|w06|w07|w08|w09|w10|w11|w12|w13|w14|w15|w16|w17|w18|w19)",
    "/(w00|w01|w02|w03|w04|w05|w06|w07|w08|w09|w10|w11|w12|w13|w14|w15|w16|w17|w18|w19|w20)"
)]
#[case::named(
    "/(ant|bee|cat|dog|elk|fox|gnu|hen|ibis|jay|kite|lion|mole|newt|owl|pig)/info",
    "/(ant|bee|cat|dog|elk|fox|gnu|hen|ibis|jay|kite|lion|mole|newt|owl|pig|admin)/info"
)]
#[case::dot("/a\\.png", "/a.png")]
#[case::optional("/a/b", "/a(/b)?")]
fn a_wider_path_is_found(#[case] narrow: &str, #[case] wide: &str) {
    let [narrow, wide] = [narrow, wide].map(|path| with_rules(&[(path, "{handler: allow}")]));
    for (old, new, direction) in
        [(&narrow, &wide, "gains access"), (&wide, &narrow, "loses access")]
    {
        let (code, stdout, stderr) = diff(&folder(old, new), "");
        assert_eq!(code, 1, "{stdout}{stderr}");
        assert!(stdout.contains(direction), "{stdout}");
    }
}

const OATHKEEPER: &str = "{handler: jwt, config: {jwks_urls: [\"https://o.example/keys\"]}}";
const INTROSPECTION: &str =
    "{handler: oauth2_introspection, config: {introspection_url: \"https://i.example\"}}";

fn istio_jwt(keys: &str, scope: &str) -> String {
    format!(
        "{{handler: jwt, config: {{authentications: [{{issuer: \"https://issuer.example\", \
         jwksUri: \"https://issuer.example/{keys}\"}}], \
         authorizations: [{{requiredScopes: [{scope}]}}]}}}}"
    )
}

/// A rule that is as it was decides what another did before, and nobody knows what it says.
#[rstest]
#[case::unauthorized("{handler: unauthorized}".to_owned(), OATHKEEPER)]
#[case::istio(istio_jwt("keys", "admin"), INTROSPECTION)]
fn what_falls_to_a_rule_that_asks_others_is_named(#[case] first: String, #[case] second: &str) {
    let [old, new] =
        ["/adm.*", "/adm"].map(|path| with_rules(&[(path, first.as_str()), ("/.*", second)]));
    let (_, stdout, stderr) = diff(&folder(&old, &new), "");
    let named = "not asked about, for others would have to be: APIRule/shop/orders rules[0], \
                 APIRule/shop/orders rules[1]";
    assert!(stdout.contains(named), "{stdout}{stderr}");
}

/// Lists of no consequence name nobody.
#[test]
fn rules_that_decide_what_they_did_are_not_named() {
    let old = with_rules(&[("/a|/b", OATHKEEPER), ("/c", "{handler: allow}")]);
    let new = with_rules(&[("/a", OATHKEEPER), ("/b", OATHKEEPER), ("/c", "{handler: allow}")]);
    let (code, stdout, _) = diff(&folder(&old, &new), "");
    assert_eq!(code, 0, "{stdout}");
    assert!(!stdout.contains("not asked about") && !stdout.contains("not every"), "{stdout}");
}

/// The key sets of one issuer are good at all paths of a host.
#[test]
fn keys_of_another_rule_count() {
    let with =
        |keys| with_rules(&[("/a", &istio_jwt("j1", "read")), ("/b", &istio_jwt(keys, "read"))]);
    let (code, stdout, _) = diff(&folder(&with("j1"), &with("j2")), "--output json");
    assert_eq!(code, 1, "{stdout}");
    let json: Value = serde_json::from_str(&stdout).unwrap();
    let text = json.to_string();
    for path in ["path: /a\\n", "path: /b\\n"] {
        assert!(text.contains(path), "{path} {json:#}");
    }
    assert!(text.contains("https://issuer.example/j2"), "{json:#}");
}

/// Peers without names are refused before APIRules are looked at.
#[test]
fn strict_peers_hide_nothing() {
    let strict = "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
";
    let [old, new] = ["unauthorized", "allow"].map(|handler| {
        format!("{}{strict}", with_rules(&[("/a", &format!("{{handler: {handler}}}"))]))
    });
    let (code, stdout, _) = diff(&folder(&old, &new), "");
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("gains access"), "{stdout}");
}

/// What is too large to be looked at whole is said to be.
#[test]
fn what_is_left_out_is_said() {
    let [old, new] = ["/.*a[ab]{14}", "/.*a[ab]{15}"].map(|path| {
        with_rules(&[("/.*b.{14}", "{handler: unauthorized}"), (path, "{handler: allow}")])
    });
    let (_, stdout, _) = diff(&folder(&old, &new), "");
    assert!(stdout.contains("not every combination was tried"), "{stdout}");
}

/// Two hundred APIRules that all change are compared in a bounded number of requests.
#[test]
fn many_api_rules_are_compared() {
    let with = |handler: &str, scope: &str| -> String {
        let one = |number: usize| {
            with_rules(&[
                ("/orders/[0-9]+", &istio_jwt("keys", scope)),
                ("/(health|ready)", &format!("{{handler: {handler}}}")),
                ("/.*", "{handler: unauthorized}"),
            ])
            .replace("orders.example.com", &format!("h{number}.example.com"))
            .replace("name: orders, namespace", &format!("name: orders{number}, namespace"))
        };
        (0..200).map(one).collect::<Vec<_>>().join("---\n")
    };
    let (code, stdout, _) = diff(&folder(&with("noop", "read"), &with("unauthorized", "list")), "");
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("gains access: 200, loses access: 400"), "{stdout}");
    assert!(!stdout.contains("not every"), "{stdout}");
}
