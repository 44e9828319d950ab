//! `postern jwt` as a user runs it: what it prints, and how it ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test support functions")]

mod blackbox;

use std::io::Write as _;
use std::process::{Command, Stdio};

use axum::http::StatusCode;
use axum::routing::get;
use blackbox::Folder;
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A token of alice for [`KEYS`], for ever.
const ALICE: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UifQ.t1lZAZaFxt1RN-m7W_pmiCd4Rgn5VN5s2f6hfs8qsW69xHofh3swXGeYj-6FFJ-1dXlKwonGAriFkHVlFNp1Ag";
/// The same, until June 2020.
const EXPIRED: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJleHAiOjE1OTA5Njk2MDB9.Ec8zhNDcyJ3wkAlBDqcB5ibXdf3cmRsamySrqaQAkYPX8gW0ADkaXgP0GUxt2E4CHrYXEgWQ04h0Qp2WqBQdBg";
/// For the audience `other`.
const OTHER: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJhdWQiOiJvdGhlciJ9.hh4I9RrCnoggPxrwi0-7C13Y0MSmj9Aq5FyU2hZYQW-_ACFReQVMXKcc3bNzNWRCLhpG2qy80FIyXynKp3pDCA";
/// From 2100 on.
const LATER: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJuYmYiOjQxMDI0NDQ4MDB9.F-vuT77JqbFkHZrlY6q15lniL_KOE0V3PNTu1dHj4xh1VpdrcH4r39XHLIf7jNqZS3L8OWj9gCXNk43bxdktDA";
/// Signed by another key that calls itself `k1`.
const FORGED: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UifQ.lwH51eE1LvBsDQjKyvxujM6N5jD2-cOZLdSWUttpms20040AamAaZNPzKcGjq9LeFUFK-0anXLCZ17hCOUY0Cg";
/// With `alg` `none`.
const UNSIGNED: &str = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UifQ.eA";

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"ImjHZ8WJ0g5JgEDtIZvtesx1ly4KZNLlyNnA409_mY8"}]}"#;
const NOW: [&str; 2] = ["--now", "2020-06-01T01:00:00Z"];

/// Two policies, three rules; the second is for alice.
fn policies(source_of_keys: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: shop}}
spec:
  jwtRules:
  - issuer: https://stranger.example
    jwks: '{KEYS}'
  - issuer: https://issuer.example
    {source_of_keys}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: carts, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: cart}}}}
  jwtRules:
  - issuer: https://issuer.example
    audiences: [carts, https://carts.example/]
    fromHeaders: [{{name: x-jwt}}]
    jwks: '{KEYS}'
"
    )
}

fn inline() -> String {
    policies(&format!("jwks: '{KEYS}'"))
}

/// What a run that has ended left behind.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Runs to the end.
    fn of(command: &mut Command, stdin: &str) -> Self {
        let pipe = Stdio::piped;
        let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        // Who does not read it has ended already.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Self {
            code: output.status.code().expect("not ended by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// All of it as one text.
    fn shown(&self) -> String {
        let Self { code, stdout, stderr } = self;
        let mut shown = stdout.clone();
        if !stderr.is_empty() {
            shown.push_str("--- stderr\n");
            shown.push_str(stderr);
        }
        format!("{shown}--- {code}")
    }
}

fn jwt(folder: &Folder, arguments: &[&str]) -> Ran {
    Ran::of(folder.postern().arg("jwt").args(arguments), "")
}

/// `postern jwt verify` in the namespace `shop`.
fn verify(policies: &str, arguments: &[&str]) -> Ran {
    let folder = Folder::new();
    folder.file("shop.yaml", policies);
    let command = ["verify", "--policies", "shop.yaml", "--namespace", "shop"];
    jwt(&folder, &[&command, arguments].concat())
}

#[test]
fn decoding_says_that_nothing_is_verified() {
    let ran = jwt(&Folder::new(), &["decode", EXPIRED, "--now", "2020-06-02T01:02:03Z"]);
    assert_snapshot!(ran.shown(), @r#"
    NOT VERIFIED  anyone can write such a token; `postern jwt verify` checks one

    header
      alg  "EdDSA"
      kid  "k1"

    claims
      iss  "https://issuer.example"
      sub  "alice"
      exp  1590969600  2020-06-01T00:00:00Z, 1 d 1 h ago

    checked      form: good
    not checked  signature (64 bytes), issuer, audience, times
    --- 0
    "#);
}

#[test]
fn decoding_shows_what_it_can_of_a_bad_token() {
    let ran = jwt(&Folder::new(), &["decode", UNSIGNED]);
    assert_snapshot!(ran.shown(), @r#"
    NOT VERIFIED  anyone can write such a token; `postern jwt verify` checks one

    header
      alg  "none"
      kid  "k1"

    claims
      iss  "https://issuer.example"
      sub  "alice"

    checked      form: refused by every rule with 401: Jwt header [alg] is not supported
    not checked  signature (1 bytes), issuer, audience, times
    --- 1
    "#);
    let ran = jwt(&Folder::new(), &["decode", "bm8ganNvbhs.x"]);
    assert_snapshot!(ran.shown(), @r"
    NOT VERIFIED  anyone can write such a token; `postern jwt verify` checks one

    header
      not a JSON object: no json\u001b

    claims
      not there, or not base64url

    checked      form: refused by every rule with 401: Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections
    not checked  signature (none), issuer, audience, times
    --- 1
    ");
}

#[test]
fn decoding_for_programs() {
    let ran = jwt(&Folder::new(), &["decode", EXPIRED, NOW[0], NOW[1], "--output", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let decoded: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        decoded,
        json!({
            "version": 1,
            "verified": false,
            "notChecked": ["signature", "issuer", "audience", "times"],
            "formError": null,
            "header": {"alg": "EdDSA", "kid": "k1"},
            "claims": {"iss": "https://issuer.example", "sub": "alice", "exp": 1590969600},
            "times": {"exp": {"at": "2020-06-01T00:00:00Z", "secondsFromNow": -3600}},
            "signatureBytes": 64,
        })
    );
}

#[rstest]
#[case::alone(ALICE.to_owned())]
#[case::in_a_line(format!("  {ALICE}\n"))]
#[case::as_a_header(format!("Bearer {ALICE}"))]
fn a_token_comes_from_stdin_too(#[case] text: String) {
    let folder = Folder::new();
    let ran = Ran::of(folder.postern().args(["jwt", "decode", "-"]), &text);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    assert!(ran.stdout.contains("sub  \"alice\""));
}

#[test]
fn a_good_token_names_its_rule_and_key() {
    let ran = verify(&inline(), &[ALICE]);
    assert_snapshot!(ran.shown(), @r"
    VALID    RequestAuthentication/shop/tokens jwtRules[1]
             shop.yaml:8:5: issuer `https://issuer.example`, signed by the key `k1`
             there is no exp, so that it never expires
             request.auth.principal is `https://issuer.example/alice`
             looked for in the header `authorization`
             what it may do is up to the AuthorizationPolicies
    --- 0
    ");
    let ran = verify(&inline(), &[ALICE, "--output", "json"]);
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 0);
    assert_eq!(verdict["valid"], true);
    assert_eq!(verdict["policy"], "RequestAuthentication/shop/tokens");
    assert_eq!(verdict["rule"], 1);
    assert_eq!(verdict["kid"], "k1");
    assert_eq!(verdict["principal"], "https://issuer.example/alice");
    assert_eq!(verdict["place"], json!({"header": "authorization"}));
    assert_eq!(verdict["rules"][0]["part"], "iss");
}

#[test]
fn a_bad_token_is_told_what_each_rule_has_against_it() {
    let ran = verify(&inline(), &[EXPIRED, NOW[0], NOW[1], "--labels", "app=cart"]);
    assert_snapshot!(ran.shown(), @r"
    INVALID  401 Jwt is expired
             RequestAuthentication/shop/tokens jwtRules[0]
               shop.yaml:6:5: iss is `https://issuer.example`, the rule is for `https://stranger.example`
             RequestAuthentication/shop/tokens jwtRules[1]
               shop.yaml:8:5: exp is 2020-06-01T00:00:00Z, 1 h ago; clocks may differ by 60 s
             RequestAuthentication/shop/carts jwtRules[0]
               shop.yaml:17:5: exp is 2020-06-01T00:00:00Z, 1 h ago; clocks may differ by 60 s
    --- 1
    ");
    let ran = verify(&inline(), &[FORGED]);
    assert_snapshot!(ran.shown(), @r"
    INVALID  401 Jwt verification fails
             RequestAuthentication/shop/tokens jwtRules[0]
               shop.yaml:6:5: iss is `https://issuer.example`, the rule is for `https://stranger.example`
             RequestAuthentication/shop/tokens jwtRules[1]
               shop.yaml:8:5: signature is by none of them; the keys are `k1`
    --- 1
    ");
    let ran = verify(&inline(), &[UNSIGNED]);
    assert_snapshot!(ran.shown(), @r"
    INVALID  401 Jwt header [alg] is not supported
             form: Jwt header [alg] is not supported, whatever the policies
    --- 1
    ");
}

#[rstest]
#[case::nbf(LATER, "nbf", "Jwt not yet valid", 401)]
#[case::signature(FORGED, "signature", "Jwt verification fails", 401)]
#[case::form(UNSIGNED, "form", "Jwt header [alg] is not supported", 401)]
fn programs_are_told_which_part(
    #[case] token: &str,
    #[case] part: &str,
    #[case] error: &str,
    #[case] status: u16,
) {
    let ran = verify(&inline(), &[token, "--output", "json"]);
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 1);
    assert_eq!(verdict["valid"], false);
    assert_eq!(verdict["error"], error);
    assert_eq!(verdict["status"], status);
    assert_eq!(verdict["rules"][1]["part"], part);
}

/// Where one rule takes a token at its own place, others do not matter.
#[test]
fn a_rule_with_its_own_place_is_asked_there() {
    let only_carts = inline().split_once("---\n").unwrap().1.to_owned();
    let of_carts = |token: &str| verify(&only_carts, &[token, "--labels", "app=cart"]);
    assert_snapshot!(of_carts(OTHER).shown(), @r"
    INVALID  403 Audiences in Jwt are not allowed
             RequestAuthentication/shop/carts jwtRules[0]
               shop.yaml:7:5: aud is `other`, the rule wants `carts` or `https://carts.example/`
    --- 1
    ");
    assert_snapshot!(of_carts(ALICE).shown(), @r"
    INVALID  403 Audiences in Jwt are not allowed
             RequestAuthentication/shop/carts jwtRules[0]
               shop.yaml:7:5: aud is not there, the rule wants `carts` or `https://carts.example/`
    --- 1
    ");
    let anyone = only_carts.replace("    audiences: [carts, https://carts.example/]\n", "");
    let ran = verify(&anyone, &[ALICE, "--labels", "app=cart"]);
    assert!(ran.stdout.contains("looked for in the header `x-jwt`"), "{}", ran.shown());
}

#[test]
fn a_workload_without_rules_is_no_answer() {
    let ran = verify(&inline(), &[ALICE, "--namespace", "other"]);
    assert_eq!(ran.code, 2);
    let folder = Folder::new();
    folder.file("shop.yaml", &inline());
    let ran = jwt(&folder, &["verify", "-p", "shop.yaml", ALICE]);
    assert_snapshot!(ran.shown(), @r"
    --- stderr
    postern: no RequestAuthentication with rules holds for this workload, so that no token is looked at; --namespace and --labels say which workload it is
    --- 2
    ");
}

#[test]
fn keys_are_given_in_a_file() {
    let folder = Folder::new();
    // Nobody listens there, and nobody is asked.
    folder.file("shop.yaml", &policies("jwksUri: http://127.0.0.1:1/keys"));
    folder.file("keys.json", KEYS);
    folder.file("other.json", &KEYS.replace("k1", "k2"));
    folder.file("none.json", "{}");
    let verify = |keys: &str| {
        let arguments = ["verify", "-p", "shop.yaml", "--namespace", "shop", "--jwks", keys, ALICE];
        jwt(&folder, &arguments)
    };
    let ran = verify("keys.json");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.shown());
    assert_snapshot!(verify("other.json").shown(), @r"
    INVALID  401 Jwks doesn't have key to match kid or alg from Jwt
             RequestAuthentication/shop/tokens jwtRules[0]
               shop.yaml:6:5: iss is `https://issuer.example`, the rule is for `https://stranger.example`
             RequestAuthentication/shop/tokens jwtRules[1]
               shop.yaml:8:5: kid is `k1` with `alg` `EdDSA`; the keys are `k2`
    --- 1
    ");
    assert_snapshot!(verify("none.json").shown(), @r"
    --- stderr
    postern: `none.json` is no key set: `keys` is missing
    --- 2
    ");
    assert_snapshot!(verify("missing.json").shown(), @r"
    --- stderr
    postern: cannot read `missing.json`: No such file or directory (os error 2)
    --- 2
    ");
}

#[rstest]
#[case::good(StatusCode::OK, 0)]
#[case::failing(StatusCode::INTERNAL_SERVER_ERROR, 1)]
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched(#[case] status: StatusCode, #[case] code: i32) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/keys", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/keys", get(async move || (status, KEYS)));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let policies = policies(&format!("jwksUri: {uri}"));
    let ran = tokio::task::spawn_blocking(move || verify(&policies, &[ALICE])).await.unwrap();
    assert_eq!(ran.code, code, "{}", ran.shown());
    if code == 1 {
        assert!(ran.stderr.contains("no keys for issuer `https://issuer.example`"));
        assert!(ran.stdout.contains("signature cannot be checked: there are no keys"));
    }
}

#[test]
fn a_bad_policy_is_no_answer() {
    let ran = verify(&inline().replace("jwtRules", "jwtRulez"), &[ALICE]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("2 problems in the policies"), "{}", ran.shown());
    assert!(!ran.shown().contains(ALICE));
}

#[cfg(feature = "sign")]
mod signing {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A folder with `key.json`, `jwks.json` and policies for them.
    fn with_key(algorithm: &str, arguments: &[&str]) -> Folder {
        let folder = Folder::new();
        let uri = "jwksUri: http://127.0.0.1:1/keys";
        folder.file("shop.yaml", &policies(uri));
        let command =
            ["keygen", "--algorithm", algorithm, "--key", "key.json", "--jwks", "jwks.json"];
        let ran = jwt(&folder, &[&command, arguments].concat());
        assert_eq!(ran.shown(), "--- 0");
        folder
    }

    fn json_of(folder: &Folder, file: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(folder.path().join(file)).unwrap()).unwrap()
    }

    fn verdict(folder: &Folder, token: &str, arguments: &[&str]) -> Ran {
        let command = ["verify", "-p", "shop.yaml", "--namespace", "shop", "--jwks", "jwks.json"];
        jwt(folder, &[&command, arguments, &[token]].concat())
    }

    #[rstest]
    #[case("RS256", &["alg", "e", "kid", "kty", "n", "use"])]
    #[case("ES256", &["alg", "crv", "kid", "kty", "use", "x", "y"])]
    #[case("EdDSA", &["alg", "crv", "kid", "kty", "use", "x"])]
    fn what_a_key_signs_its_set_verifies(#[case] algorithm: &str, #[case] public: &[&str]) {
        let folder = with_key(algorithm, &["--kid", "mine"]);
        let set = json_of(&folder, "jwks.json");
        let mut members: Vec<_> = set["keys"][0].as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, public, "nothing private");
        assert_eq!(set["keys"][0]["kid"], "mine");
        assert_eq!(set["keys"][0]["alg"], algorithm);
        assert!(json_of(&folder, "key.json")["d"].is_string());
        let mode = |file| fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode("key.json") & 0o777, 0o600);

        let sign = |arguments: &[&str]| {
            let command = ["sign", "--key", "key.json", "--claim", "iss=https://issuer.example"];
            let ran = jwt(&folder, &[&command, arguments].concat());
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
            ran.stdout.trim().to_owned()
        };
        let token = sign(&["--claim", "sub=alice"]);
        let ran = verdict(&folder, &token, &[]);
        assert_eq!(ran.code, 0, "{}", ran.shown());
        assert!(ran.stdout.contains("signed by the key `mine`"), "{}", ran.shown());
        // Another key of the same name.
        let other = with_key(algorithm, &["--kid", "mine"]);
        assert_eq!(verdict(&other, &token, &[]).code, 1);
        let late = ["--now", "2100-01-01T00:00:00Z"];
        assert!(verdict(&folder, &token, &late).stdout.starts_with("INVALID  401 Jwt is expired"));
        assert_eq!(verdict(&folder, &sign(&["--expires-in", "never"]), &late).code, 0);
    }

    #[test]
    fn claims_are_json_or_text() {
        let folder = with_key("ES256", &[]);
        let claims = [
            "iss=a",
            "sub=123",
            "level=7",
            "admin=true",
            "name=Alice = me",
            r#"groups=["a","b"]"#,
            r#"quoted="7""#,
            "exp=5",
            "empty=",
        ];
        let mut arguments = vec!["sign", "--key", "key.json", NOW[0], NOW[1]];
        arguments.extend(claims.iter().flat_map(|claim| ["--claim", *claim]));
        let token = jwt(&folder, &arguments).stdout;
        let ran =
            Ran::of(folder.postern().args(["jwt", "decode", "-", "--output", "json"]), &token);
        let decoded: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            decoded["claims"],
            json!({
                "iss": "a", "sub": "123", "level": 7, "admin": true, "name": "Alice = me",
                "groups": ["a", "b"], "quoted": "7", "exp": 5, "empty": "", "iat": 1590973200,
            })
        );
        assert_eq!(decoded["header"]["kid"], json_of(&folder, "jwks.json")["keys"][0]["kid"]);
    }

    #[test]
    fn without_files_both_go_to_stdout() {
        let folder = Folder::new();
        let ran = jwt(&folder, &["keygen", "--algorithm", "eddsa"]);
        let lines: Vec<Value> =
            ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0]["d"].is_string());
        assert_eq!(lines[1]["keys"][0]["kid"], lines[0]["kid"]);
        assert!(lines[1]["keys"][0].get("d").is_none());
        let ran = jwt(&folder, &["keygen", "--key", "key.json"]);
        assert!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["keys"].is_array());
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        for file in ["key.json", "jwks.json"] {
            let folder = Folder::new();
            folder.file(file, "precious");
            let ran = jwt(&folder, &["keygen", "--key", "key.json", "--jwks", "jwks.json"]);
            let expect = format!("--- stderr\npostern: `{file}` exists already\n--- 2");
            assert_eq!(ran.shown(), expect);
            assert_eq!(fs::read_to_string(folder.path().join(file)).unwrap(), "precious");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is written");
        }
    }

    /// An error names the file and what is wrong, and nothing of what stands in it.
    #[rstest]
    #[case::no_json("SECRET", "not JSON")]
    #[case::set(
        r#"{"keys":[{"d":"SECRET"}]}"#,
        "a key set: the private key alone is needed, as `postern jwt keygen` writes it"
    )]
    #[case::public(
        r#"{"kty":"EC","crv":"P-256","x":"SECRET","y":"SECRET"}"#,
        "a public key, which signs nothing"
    )]
    #[case::broken(
        r#"{"kty":"EC","crv":"P-256","x":"SECRET","y":"SECRET","d":"SECRET"}"#,
        "not an RSA or P-256 key"
    )]
    #[case::other_curve(
        r#"{"kty":"EC","crv":"SECRET","x":"SECRET","y":"SECRET","d":"SECRET"}"#,
        "not an RSA or P-256 key"
    )]
    #[case::rsa(
        r#"{"kty":"RSA","n":"SECRET","e":"SECRET","d":"SECRET"}"#,
        "not an RSA or P-256 key"
    )]
    #[case::ed25519(
        r#"{"kty":"OKP","crv":"Ed25519","x":"SECRET","d":"SECRET"}"#,
        "without a base64url `d`"
    )]
    #[case::no_pair(
        r#"{"kty":"OKP","crv":"Ed25519","x":"SECR","d":"SECR"}"#,
        "`d` and `x` are no pair of Ed25519 keys"
    )]
    #[case::shared(
        r#"{"kty":"oct","k":"SECRET"}"#,
        "`kty` is not RSA, EC (P-256) or OKP (Ed25519)"
    )]
    #[case::odd(r#"{"kty":"SECRET"}"#, "`kty` is not RSA, EC (P-256) or OKP (Ed25519)")]
    fn errors_hold_no_secrets(#[case] key: &str, #[case] why: &str) {
        let folder = Folder::new();
        folder.file("key.json", key);
        let ran = jwt(&folder, &["sign", "--key", "key.json"]);
        let expect = format!("--- stderr\npostern: `key.json` is no private key: {why}\n--- 2");
        assert_eq!(ran.shown(), expect);
    }

    #[rstest]
    #[case::claim(&["--claim", "sub"], "--claim: `sub` is not a claim, such as `sub=alice`")]
    #[case::twice(&["--claim", "sub=a", "--claim", "sub=b"], "--claim: `sub` is there twice")]
    #[case::span(&["--expires-in", "1"], "--expires-in: `1` is not a time, such as `1h` or `90s`")]
    #[case::now(&["--now", "tomorrow"], "--now: `tomorrow` is not a time, such as `2026-05-01T12:00:00Z`")]
    fn mistakes_are_pointed_out(#[case] arguments: &[&str], #[case] why: &str) {
        let folder = with_key("ES256", &[]);
        let ran = jwt(&folder, &[&["sign", "--key", "key.json"], arguments].concat());
        assert_eq!(ran.shown(), format!("--- stderr\npostern: {why}\n--- 2"));
    }
}
