//! Several tokens and several rules, as native Envoy answered (facts of `jwt_authn`, table C-4).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rstest::rstest;

use super::*;
use crate::compile::{Settings, compile};
use crate::model::{
    Attachment, ClaimToHeader, Headers, JwtError, JwtHeader, JwtRule, Mesh, Metadata,
    RequestAuthentication, Resource, Value, Workload,
};

const NOW: u64 = 1_700_000_000;

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token of `issuer`, signed with the secret that is named like the issuer.
fn token(issuer: &str, more: &str) -> String {
    let header = b64(r#"{"alg":"HS256"}"#);
    let input =
        format!("{header}.{}", b64(format!(r#"{{"iss":"{issuer}","sub":"{issuer}-sub"{more}}}"#)));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret(issuer).as_bytes());
    format!("{input}.{}", b64(hmac::sign(&key, input.as_bytes())))
}

fn bad(issuer: &str) -> String {
    let token = token(issuer, "");
    let (rest, _) = token.rsplit_once('.').unwrap();
    format!("{rest}.{}", b64("x".repeat(32)))
}

fn secret(issuer: &str) -> String {
    issuer.repeat(32).chars().take(32).collect()
}

fn rule(issuer: &str) -> JwtRule {
    JwtRule {
        issuer: issuer.into(),
        audiences: vec![],
        jwks: Some(format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, b64(secret(issuer)))),
        jwks_uri: None,
        from_headers: vec![],
        from_params: vec![],
        from_cookies: vec![],
        output_payload_to_header: None,
        output_claim_to_headers: vec![ClaimToHeader {
            header: format!("x-{issuer}-sub"),
            claim: "sub".into(),
        }],
        forward_original_token: false,
        timeout: JwtRule::DEFAULT_TIMEOUT,
        space_delimited_claims: vec![],
        position: Default::default(),
    }
}

fn at_header(mut rule: JwtRule, header: &str) -> JwtRule {
    rule.from_headers.push(JwtHeader { name: header.into(), prefix: String::new() });
    rule
}

fn run(rules: Vec<JwtRule>, http: &mut Http<'_>) -> Authentication {
    let policy = RequestAuthentication {
        metadata: Metadata { namespace: "foo".into(), name: "r".into(), ..Metadata::default() },
        attachment: Attachment::default(),
        jwt_rules: rules,
    };
    let settings = Settings {
        mesh: Mesh::default(),
        workloads: vec![Workload {
            namespace: "foo".into(),
            labels: [].into(),
            ..Workload::default()
        }],
    };
    let resource = Arc::new(Resource::RequestAuthentication(policy));
    let snapshot = compile(1, &[resource], &[], &settings);
    let verifier =
        Verifier { keys: &NoKeys, cache: None, now: NOW, max_token_size: DEFAULT_MAX_TOKEN_SIZE };
    authenticate(&snapshot.workloads[0].jwt, http, &verifier)
}

fn http(path: impl Into<String>, lines: &[(&'static str, String)]) -> Http<'static> {
    let lines = lines.iter().map(|(n, v)| ((*n).into(), v.clone().into_bytes().into())).collect();
    Http {
        method: "GET".into(),
        path: path.into().into(),
        host: "h".into(),
        scheme: "http".into(),
        headers: Headers::new(lines, false),
    }
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

fn issuer_of(result: &Authentication) -> Option<&str> {
    result.claims.as_ref().and_then(|c| c.get("iss")).and_then(Value::as_str)
}

#[test]
fn shared_places_take_both_tokens_and_the_header_counts() {
    for (header, param) in [("a", "b"), ("b", "a")] {
        let mut http = http(
            format!("/p?access_token={}&x=1", token(param, "")),
            &[bearer(&token(header, ""))],
        );
        let result = run(vec![rule("a"), rule("b")], &mut http);
        assert_eq!(result.error, None);
        assert_eq!(issuer_of(&result), Some(header));
        assert_eq!(http.path, "/p?x=1");
        assert_eq!(http.headers.values("authorization").count(), 0);
    }
}

#[test]
fn shared_places_with_forwarding_refuse_what_the_other_rule_would_have_taken() {
    let forwarding = |issuer| JwtRule { forward_original_token: true, ..rule(issuer) };
    let mut http = http(format!("/?access_token={}", token("b", "")), &[bearer(&token("a", ""))]);
    let result = run(vec![forwarding("a"), forwarding("b")], &mut http);
    assert_eq!(result.error, Some(JwtError::UnknownIssuer));
}

#[test]
fn a_good_rule_is_enough_and_the_bad_token_stays() {
    let mut http = http("/", &[("x-a", token("a", "")), ("x-b", bad("b"))]);
    let rules = vec![at_header(rule("a"), "x-a"), at_header(rule("b"), "x-b")];
    let result = run(rules, &mut http);
    assert_eq!((result.error, issuer_of(&result)), (None, Some("a")));
    assert_eq!(http.headers.values("x-a").count(), 0);
    assert_eq!(http.headers.values("x-b").count(), 1);
    assert_eq!(http.headers.values("x-a-sub").next(), Some(&b"a-sub"[..]));
}

#[rstest]
#[case::other_place("x-a", token("b", ""), JwtError::UnknownIssuer)]
#[case::bad_beats_unknown("x-b", bad("b"), JwtError::VerificationFails)]
#[case::not_a_token("x-b", "abc".into(), JwtError::BadFormat)]
#[case::expired("x-a", token("a", r#","exp":1"#), JwtError::Expired)]
#[case::leeway_is_over("x-a", token("a", &format!(r#","exp":{}"#, NOW - 61)), JwtError::Expired)]
#[case::not_yet("x-a", token("a", &format!(r#","nbf":{}"#, NOW + 61)), JwtError::NotYetValid)]
#[case::crit("x-a", crit(), JwtError::CritUnsupported)]
fn errors(#[case] header: &'static str, #[case] token: String, #[case] expect: JwtError) {
    let rules = vec![at_header(rule("a"), "x-a"), at_header(rule("b"), "x-b")];
    let result = run(rules, &mut http("/", &[(header, token)]));
    assert_eq!(result.error, Some(expect));
}

fn crit() -> String {
    format!("{}.{}.AA", b64(r#"{"alg":"HS256","crit":["x"],"x":1}"#), b64(r#"{"iss":"a"}"#))
}

#[rstest]
#[case(&format!(r#","exp":{}"#, NOW - 60))]
#[case(&format!(r#","nbf":{}"#, NOW + 60))]
#[case(r#","exp":0"#)]
#[case(r#","exp":4102444800.5"#)]
fn times_that_pass(#[case] claims: &str) {
    let result = run(vec![rule("a")], &mut http("/", &[bearer(&token("a", claims))]));
    assert_eq!(result.error, None);
}

#[test]
fn no_token_passes_but_forged_output_goes() {
    let mut http = http("/", &[("x-a-sub", "forged".into()), ("x-b-sub", "forged".into())]);
    let result = run(vec![rule("a"), rule("b")], &mut http);
    assert_eq!((result.error, &result.claims), (None, &None));
    assert_eq!(http.headers.iter().count(), 0);
    assert_eq!(result.changes.headers().count(), 2);
}

#[test]
fn a_preflight_is_not_looked_at() {
    let lines = [
        ("origin", "http://x".to_owned()),
        ("access-control-request-method", "GET".to_owned()),
        bearer("bad"),
        ("x-a-sub", "forged".to_owned()),
    ];
    let mut http = http("/", &lines);
    http.method = "OPTIONS".into();
    assert_eq!(run(vec![rule("a")], &mut http).error, None);
    // But for what the client may not set.
    assert_eq!(http.headers.iter().count(), 3);
    assert_eq!(http.headers.values("x-a-sub").count(), 0);
}

/// Native Envoy's upstream saw these headers, line by line.
#[rstest]
#[case::header_a("a", "b", &["x-a-sub: a-sub"])]
#[case::header_b("b", "a", &["x-a-sub: a-sub", "x-b-sub: b-sub"])]
fn a_rule_that_fails_in_the_end_may_leave_its_headers(
    #[case] header: &str,
    #[case] param: &str,
    #[case] expect: &[&str],
) {
    let mut http =
        http(format!("/?access_token={}", token(param, "")), &[bearer(&token(header, ""))]);
    let _ = run(vec![rule("a"), rule("b")], &mut http);
    let lines: Vec<_> =
        http.headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v))).collect();
    assert_eq!(lines, expect);
}

#[test]
fn places_are_tried_by_name_whatever_the_order_in_the_rule() {
    let rule = at_header(at_header(rule("a"), "x-2"), "x-1");
    let lines = [("x-1", token("a", r#","n":"one""#)), ("x-2", token("a", r#","n":"two""#))];
    let result = run(vec![rule], &mut http("/", &lines));
    let name = result.claims.as_ref().and_then(|c| c.get("n")).and_then(Value::as_str);
    assert_eq!(name, Some("one"));
}

#[test]
fn an_output_header_is_no_place_for_a_token() {
    let mut rule = rule("a");
    rule.output_claim_to_headers[0].header = "authorization".into();
    let result = run(vec![rule], &mut http("/", &[bearer(&token("a", ""))]));
    assert_eq!((result.error, &result.claims), (None, &None));
}

#[test]
fn a_wrong_audience_is_answered_with_403() {
    let rules = vec![JwtRule { audiences: vec!["https://svc/".into()], ..rule("a") }];
    let result =
        run(rules.clone(), &mut http("/", &[bearer(&token("a", r#","aud":"http://svc""#))]));
    assert_eq!(result.error, None);
    let error = run(rules, &mut http("/", &[bearer(&token("a", r#","aud":["SVC"]"#))])).error;
    assert_eq!(error.map(JwtError::status), Some(403));
}

proptest::proptest! {
    #[test]
    fn no_token_makes_it_panic(value in ".{0,60}", path in "/.{0,40}") {
        let mut request = http(path, &[("authorization", value.clone()), ("cookie", value)]);
        let mut rule = at_header(rule("a"), "authorization");
        rule.from_params.push("a".into());
        rule.from_cookies.push("b".into());
        let _ = run(vec![rule], &mut request).error;
    }
}
