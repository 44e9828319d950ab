//! Tokens that fooled others, keys from where none should come, and results kept for too much.

use std::fs;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use crate::provider::Provider;
use crate::scene::{Scene, soon};
use crate::tokens::{
    ALICE, HEADER, ISSUER, authentication, b64, bearer, jwk, jwks, signed, token, trusting_issuer,
    with_mac,
};

const MISSED: &str = "allow no_allow_policy";
const UNVERIFIED: &str = "deny jwt Jwt verification fails";
const FORM: &str =
    "deny jwt Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";

/// Lets in whom a verified token names.
const MEMBERS: &str = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: members, namespace: foo}
spec: {rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}
";
const MEMBER: &str = "allow allow_rule foo/members rule 0";
const STRANGER: &str = "deny no_allow_rule";

/// The rule of [`trusting_issuer`] with these keys in place of the issuer's.
fn trusting(keys: &Json) -> String {
    authentication(&format!("jwks: '{}'", json!({ "keys": keys })))
}

async fn refused(scene: &Scene, token: &str, expect: &str) {
    scene.says(&[(&bearer(token), expect)]).await;
}

/// Where no keys could be had, a built-in key with a published private half was used. Without keys no
/// token is good, whichever way they are missing.
#[tokio::test]
async fn cve_2026_31837_without_keys_no_token_is_good() {
    let policies = authentication(r#"jwks: '{"keys":[]}'"#) + MEMBERS;
    let scene = Scene::of(&policies).await;
    refused(&scene, &token(ALICE), "deny jwt Jwks doesn't have any valid public key").await;
    scene.says(&[("{}", STRANGER)]).await;

    let fails = (StatusCode::INTERNAL_SERVER_ERROR, jwks());
    let garbage = (StatusCode::OK, "<html>".to_owned());
    let empty = (StatusCode::OK, r#"{"keys":[]}"#.to_owned());
    let none = "deny jwt Jwks doesn't have any valid public key";
    for (answer, expect) in [(fails, UNVERIFIED), (garbage, UNVERIFIED), (empty, none)] {
        let provider = Provider::start(Some(answer)).await;
        let scene = Scene::of(&(fetching(&provider.uri()) + MEMBERS)).await;
        scene.until_ready().await;
        assert!(provider.asked() > 0);
        for token in [token(ALICE), with_mac(r#"{"alg":"HS256"}"#, ALICE, b"")] {
            assert_eq!(scene.serves(scene.check_request(&bearer(&token))).await, expect);
        }
    }
}

/// The same advisory: nothing in the binary is a private key.
#[test]
fn cve_2026_31837_no_private_key_is_built_in() {
    let binary = fs::read(env!("CARGO_BIN_EXE_postern")).unwrap();
    assert_eq!(private_keys(&binary), Vec::<String>::new());
    for secret in [
        &br#"{"kty":"RSA","d": "0123456789abcdefABCDEF_-"}"#[..],
        br#"\"k\":\"0123456789abcdefABCDEF_-\""#,
        b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIGlMHcCAQEEIIGl",
    ] {
        let hidden = [&b"before \" - "[..], secret, b"\" - after"].concat();
        assert_eq!(private_keys(&hidden).len(), 1, "the scan does not see {secret:?}");
    }
}

/// What looks like a private member of a JWK, or like a PEM private key.
fn private_keys(bytes: &[u8]) -> Vec<String> {
    const SHORTEST: usize = 20;
    let bare = |piece: &[u8]| {
        let piece = String::from_utf8_lossy(piece).into_owned();
        piece.trim_matches([' ', '\\', '\n']).to_owned()
    };
    // Of `"d":"..."`, its quotes escaped or not, the quotes leave `d`, `:` and the value.
    let quoted: Vec<_> = bytes.split(|byte| *byte == b'"').collect();
    let members = quoted.windows(3).filter(|pieces| {
        let [name, colon, value] = pieces else { return false };
        name.len() <= 2
            && colon.len() <= 4
            && ["d", "k"].contains(&bare(name).as_str())
            && bare(colon) == ":"
            && value.len() >= SHORTEST
            && bare(value).bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    });
    let dashed: Vec<_> = bytes.split(|byte| *byte == b'-').collect();
    let pems = dashed.windows(6).filter(|pieces| {
        let [label, .., body] = pieces else { return false };
        let base64 = |b: &&u8| b.is_ascii_alphanumeric() || b"+/=\n\r\\".contains(*b);
        label.ends_with(b"PRIVATE KEY") && body.iter().take_while(base64).count() >= SHORTEST
    });
    let shown = |pieces: &[&[u8]]| String::from_utf8_lossy(&pieces.concat()).into_owned();
    members.map(shown).chain(pems.map(shown)).collect()
}

fn fetching(uri: &str) -> String {
    authentication(&format!("jwksUri: \"{uri}\""))
}

/// `jwksUri` led to metadata services, also by a redirect or a discovery document. Nothing there is
/// ever asked, in whatever form its address is written.
#[tokio::test]
async fn cve_2026_41413_key_sources_never_lead_inside() {
    // Linux connects 0.0.0.0 to the loopback: whoever dials it is seen here.
    let canary = Provider::of_keys(jwks()).await;
    let port = canary.address.port();
    let forbidden = [
        format!("http://0.0.0.0:{port}/"),
        format!("http://0:{port}/"),
        format!("http://0x0:{port}/"),
        format!("http://00.00.00.00:{port}/"),
        format!("http://[::]:{port}/"),
        format!("http://[::ffff:0.0.0.0]:{port}/"),
        format!("http://[::ffff:0:0]:{port}/"),
        "http://169.254.169.254/".to_owned(),
        "http://2852039166/".to_owned(),
        "http://0251.0376.0251.0376/".to_owned(),
        "http://0xa9fea9fe/".to_owned(),
        "http://169.16689662/".to_owned(),
        "http://[::ffff:169.254.169.254]/".to_owned(),
        "http://[::ffff:a9fe:a9fe]/".to_owned(),
        "http://[64:ff9b::a9fe:a9fe]/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://100.100.100.200/".to_owned(),
        "https://169.254.169.254/".to_owned(),
    ];
    for uri in forbidden {
        refuses_to_fetch(&fetching(&uri)).await;
        for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT] {
            let redirecting = Provider::start(Some((status, uri.clone()))).await;
            refuses_to_fetch(&fetching(&redirecting.uri())).await;
            assert!(redirecting.asked() > 0);
        }
        let document = json!({ "jwks_uri": uri }).to_string();
        let discovered = Provider::of_keys(document).await;
        let issuer = format!("http://{}", discovered.address);
        refuses_to_fetch(&authentication("").replace(ISSUER, &issuer)).await;
        assert!(discovered.asked() > 0);
    }
    assert_eq!(canary.asked(), 0);
}

/// The one source of these policies is not fetched from, because of where it is.
async fn refuses_to_fetch(policies: &str) {
    let scene = Scene::of(policies).await;
    scene.until_ready().await;
    let (_, metrics) = scene.get("/metrics").await;
    let count = |result: &str| {
        let name = format!("postern_jwks_refreshes_total{{result=\"{result}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        value.parse::<u32>().unwrap()
    };
    assert!(count("blocked") > 0, "{policies}\n{metrics}");
    assert_eq!(count("ok"), 0, "{policies}");
    let answer = scene.serves(scene.check_request(&bearer(&token(ALICE)))).await;
    assert!(answer.starts_with("deny jwt "), "{answer}");
}

/// A token of an unknown issuer counted as none where tokens were optional. It is refused.
#[tokio::test]
async fn cve_2021_21378_an_unknown_issuer_is_not_a_missing_token() {
    let scene = Scene::of(&trusting_issuer()).await;
    scene.says(&[("{}", MISSED), (&bearer(&token(ALICE)), MISSED)]).await;
    for issuer in [
        "https://stranger.example",
        "",
        "https://issuer.example/",
        "HTTPS://issuer.example",
        "https://issuer.example\u{0}",
    ] {
        let token = token(&json!({"iss": issuer, "sub": "alice"}).to_string());
        refused(&scene, &token, "deny jwt Jwt issuer is not configured").await;
    }
    refused(&scene, &token(r#"{"sub":"alice"}"#), "deny jwt Jwt issuer is not configured").await;
}

/// Two tokens in one request, while their keys could not be fetched, crashed the filter. All are
/// answered and refused, as many as come, and the next request too.
#[tokio::test]
async fn cve_2025_64527_two_tokens_while_keys_cannot_be_fetched() {
    let failing = Provider::start(Some((StatusCode::BAD_GATEWAY, String::new()))).await;
    let rule = |issuer: &str, header: &str| {
        format!(
            "  - {{issuer: {issuer}, jwksUri: '{}{issuer}', fromHeaders: [{{name: {header}}}]}}\n",
            failing.uri()
        )
    };
    let policies = format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: foo}}
spec:
  jwtRules:
{}{}",
        rule("one", "x-one"),
        rule("two", "x-two")
    );
    let scene = Scene::of(&policies).await;
    let request = json!({"headers": {
        "x-one": token(r#"{"iss":"one"}"#),
        "x-two": token(r#"{"iss":"two"}"#),
    }});
    let check = scene.check_request(&request.to_string());
    // From before the first answer of the provider until after several.
    while failing.asked() < 4 {
        let answers = join_all((0..50).map(|_| scene.serves(check.clone()))).await;
        assert!(answers.iter().all(|answer| *answer == UNVERIFIED), "{answers:?}");
    }
    assert_eq!(scene.serves(scene.check_request("{}")).await, MISSED);
}

/// A route cache cleared while keys were fetched crashed the filter. Policies come and go during a
/// fetch; every request is answered, and the keys are used once they are there.
#[tokio::test]
async fn cve_2024_45809_policies_change_while_keys_are_fetched() {
    let provider = Provider::start(None).await;
    let with_tokens = fetching(&provider.uri());
    let scene = Scene::of(&(with_tokens.clone() + MEMBERS)).await;
    let request = bearer(&token(ALICE));
    assert_eq!(scene.serves(scene.check_request(&request)).await, UNVERIFIED);
    soon(async {
        while provider.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..3 {
        scene.rewrite(MEMBERS);
        scene.until_serves(&request, STRANGER).await;
        scene.rewrite(&(with_tokens.clone() + MEMBERS));
        scene.until_serves(&request, UNVERIFIED).await;
    }
    provider.answer.send(Some((StatusCode::OK, jwks()))).unwrap();
    scene.until_serves(&request, MEMBER).await;
}

/// `"nbf":"9999999999"` counted as no `nbf`. A time of another type is an error, never absent.
#[tokio::test]
async fn cve_2026_25537_a_time_of_another_type_is_not_absent() {
    let scene = Scene::of(&trusting_issuer()).await;
    let types = [r#""9999999999""#, r#""0""#, "null", "true", "[9999999999]", "{}"];
    let ranges = ["-1", "-0.5", "9e99", "18446744073709551615"];
    for claim in ["exp", "nbf", "iat"] {
        let with = |value: &str| token(&format!(r#"{{"iss":"{ISSUER}","{claim}":{value}}}"#));
        for value in types {
            let expect = format!("deny jwt Jwt payload [{claim}] field is not an integer");
            refused(&scene, &with(value), &expect).await;
        }
        for value in ranges {
            let expect =
                format!("deny jwt Jwt payload [{claim}] field is not a positive 64 bit integer");
            refused(&scene, &with(value), &expect).await;
        }
        refused(&scene, &with("1e400"), "deny jwt Jwt payload is an invalid JSON").await;
    }
    let fraction = |claim: &str, value: &str| format!(r#"{{"iss":"{ISSUER}","{claim}":{value}}}"#);
    refused(&scene, &token(&fraction("exp", "1.5")), "deny jwt Jwt is expired").await;
    refused(&scene, &token(&fraction("nbf", "4102444800.5")), "deny jwt Jwt not yet valid").await;
}

/// An RSA key without `alg` verified HS256, with an empty secret. No public key is ever a secret, in
/// any form that an attacker has it, and an empty secret is no key.
#[tokio::test]
async fn cve_2026_44699_a_public_key_is_no_secret() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(rsa.public_key());
    let rsa_jwk = json!({"kty": "RSA", "n": b64(&n), "e": b64(&e)});
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = ec.public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    let ec_jwk = json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)});
    let rsa_der = rsa.public_key().as_ref();
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        BASE64_STANDARD.encode(rsa_der)
    );
    let secrets: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        n.clone(),
        e,
        b64(&n).into_bytes(),
        rsa_der.to_vec(),
        pem.trim_end().into(),
        pem.into_bytes(),
        rsa_jwk.to_string().into_bytes(),
        ec_jwk.to_string().into_bytes(),
        point.to_vec(),
        x.to_vec(),
    ];
    let scene = Scene::of(&trusting(&json!([rsa_jwk, ec_jwk]))).await;
    for secret in &secrets {
        for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":""}"#, r#"{"alg":"RS256"}"#] {
            refused(&scene, &with_mac(header, ALICE, secret), UNVERIFIED).await;
        }
    }
    let declared = |jwk: &Json, alg: &str| {
        let mut jwk = jwk.clone();
        jwk["alg"] = alg.into();
        jwk
    };
    // Nor does a key become one by what it says of itself.
    let none = "deny jwt Jwks doesn't have any valid public key";
    for jwk in [
        declared(&rsa_jwk, "HS256"),
        declared(&ec_jwk, "HS256"),
        json!({"kty": "oct", "k": ""}),
        json!({"kty": "oct", "alg": "RS256", "k": b64("secret")}),
    ] {
        let scene = Scene::of(&trusting(&json!([jwk]))).await;
        refused(&scene, &with_mac(r#"{"alg":"HS256"}"#, ALICE, b""), none).await;
    }
    // The scene does take what is properly signed.
    let input = format!("{}.{}", b64(r#"{"alg":"RS256"}"#), b64(ALICE));
    let mut signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    scene.says(&[(&bearer(&format!("{input}.{}", b64(signature))), MISSED)]).await;
}

/// `none` in other letters, another algorithm than the key's, and a `kid` that is a path or a query
/// fooled many. An algorithm is exactly one of those known, and a `kid` is compared, nothing else.
#[tokio::test]
async fn dsa_3293_algorithms_are_known_and_key_ids_are_compared() {
    let scene = Scene::of(&trusting_issuer()).await;
    let unsupported = "deny jwt Jwt header [alg] is not supported";
    for alg in ["none", "None", "NONE", "nOnE", "none ", " none", "n\u{6f}ne", "", "null", "eddsa"]
    {
        let header = json!({"alg": alg, "kid": "k1"}).to_string();
        refused(&scene, &signed(&header, ALICE), unsupported).await;
        let unsigned = format!("{}.{}.", b64(&header), b64(ALICE));
        refused(&scene, &unsigned, FORM).await;
        refused(&scene, &format!("{unsigned}eA"), unsupported).await;
    }
    for alg in ["RS256", "PS512", "ES256", "ES512", "HS256", "HS512"] {
        let header = json!({"alg": alg, "kid": "k1"}).to_string();
        refused(&scene, &signed(&header, ALICE), UNVERIFIED).await;
    }
    let long = "k1".repeat(16 << 10);
    for kid in [
        "../../../dev/null",
        "/dev/null",
        "k1\u{0}",
        "k1/../k1",
        "K1",
        " k1",
        "' OR '1'='1",
        "k1' UNION SELECT 'x",
        "http://127.0.0.1:1/",
        "*",
        ".*",
        &long,
    ] {
        let token = signed(&json!({"alg": "EdDSA", "kid": kid}).to_string(), ALICE);
        let expect = "deny jwt Jwks doesn't have key to match kid or alg from Jwt";
        refused(&scene, &token, expect).await;
    }
    // 64 KiB of it are not even read.
    let header = json!({"alg": "EdDSA", "kid": "k".repeat(64 << 10)}).to_string();
    refused(&scene, &signed(&header, ALICE), "deny jwt Jwt is too large").await;
}

/// Extensions that `crit` named and nobody knew were ignored. Whatever is critical is refused, and so
/// is a payload that is not encoded.
#[tokio::test]
async fn cve_2025_59420_what_is_critical_is_refused() {
    let scene = Scene::of(&trusting_issuer()).await;
    for crit in [json!(["x"]), json!(["exp"]), json!(["b64"]), json!([]), json!("x"), json!(null)] {
        let header = json!({"alg": "EdDSA", "kid": "k1", "crit": crit, "x": 1, "b64": false});
        let token = signed(&header.to_string(), ALICE);
        refused(&scene, &token, "deny jwt Jwt header [crit] is not supported").await;
    }
    for b64 in [json!(false), json!("false"), json!(0), json!(null)] {
        let header = json!({"alg": "EdDSA", "kid": "k1", "b64": b64}).to_string();
        refused(&scene, &signed(&header, ALICE), "deny jwt Jwt header [b64] is not supported")
            .await;
    }
    scene.says(&[(&bearer(&signed(r#"{"alg":"EdDSA","b64":true}"#, ALICE)), MISSED)]).await;
}

/// A token of nothing but dots was split into as many strings. It takes no memory, and beyond the
/// limit it is not looked at.
#[tokio::test]
async fn cve_2025_27144_a_million_dots_are_not_split() {
    let settings = json!({"maxHeadersSize": "4MiB", "maxMessageSize": "8MiB"});
    let scene = Scene::with(settings, &trusting_issuer()).await;
    refused(&scene, &".".repeat(60_000), FORM).await;
    refused(&scene, &"a.".repeat(30_000), FORM).await;
    refused(&scene, &".".repeat(1_000_000), "deny jwt Jwt is too large").await;
    // And by default no such header is read at all.
    let scene = Scene::of(&trusting_issuer()).await;
    refused(&scene, &".".repeat(1_000_000), "deny malformed_request").await;
}

/// Encrypted tokens were inflated without a limit. Nothing is decrypted or inflated: five sections are
/// no token, and `zip` is refused.
#[tokio::test]
async fn cve_2024_28180_and_cve_2024_29371_nothing_is_decrypted_or_inflated() {
    let scene = Scene::of(&trusting_issuer()).await;
    let encrypted = b64(r#"{"alg":"dir","enc":"A128GCM","zip":"DEF"}"#);
    refused(&scene, "a.b.c.d.e", FORM).await;
    refused(&scene, &format!("{encrypted}.AA.AA.AA.AA"), FORM).await;
    refused(&scene, &format!("{encrypted}..AA.AA.AA"), FORM).await;
    let unsupported = "deny jwt Jwt header [alg] is not supported";
    refused(&scene, &format!("{encrypted}..AA..AA"), unsupported).await;
    refused(&scene, &signed(r#"{"alg":"RSA-OAEP","enc":"A128GCM"}"#, ALICE), unsupported).await;
    for zip in [json!("DEF"), json!(""), json!(null)] {
        let header = json!({"alg": "EdDSA", "kid": "k1", "zip": zip}).to_string();
        refused(&scene, &signed(&header, ALICE), "deny jwt Jwt header [zip] is not supported")
            .await;
    }
}

/// The key in a token's header, or one fetched from where the header said, verified the token. Neither
/// is looked at, and nobody is asked.
#[tokio::test]
async fn cve_2018_0114_keys_in_a_header_are_never_consulted() {
    let canary = Provider::of_keys(jwks()).await;
    let other = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": b64([7; 32])});
    let scene = Scene::of(&trusting(&json!([other]))).await;
    let certificate = BASE64_STANDARD.encode("certificate");
    for (name, value) in [
        ("jwk", jwk()),
        ("jku", canary.uri().into()),
        ("x5u", canary.uri().into()),
        ("x5c", json!([certificate])),
        ("x5t", json!("AA")),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "k1", name: value}).to_string();
        refused(&scene, &signed(&header, ALICE), UNVERIFIED).await;
    }
    // Where the key is known, they do no harm.
    let scene = Scene::of(&trusting_issuer()).await;
    let header = json!({"alg": "EdDSA", "kid": "k1", "jku": canary.uri(), "jwk": other});
    scene.says(&[(&bearer(&signed(&header.to_string(), ALICE)), MISSED)]).await;
    assert_eq!(canary.asked(), 0);
}

/// Results of one server were used for another. What one key set verified says nothing about another
/// one, also where issuer and token are the same.
#[tokio::test]
async fn ghsa_4mq7_pvjg_xp2r_what_one_key_set_verified_another_has_not() {
    let good = Provider::of_keys(jwks()).await;
    let other = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": b64([7; 32])});
    let bad = Provider::of_keys(json!({"keys": [other]}).to_string()).await;
    let scene =
        two_workloads(&format!("jwksUri: '{}'", good.uri()), &format!("jwksUri: '{}'", bad.uri()))
            .await;
    scene.until_ready().await;
    for _ in 0..3 {
        assert_eq!(served_by(&scene, "foo", &token(ALICE)).await, MISSED);
        assert_eq!(served_by(&scene, "bar", &token(ALICE)).await, UNVERIFIED);
    }
}

/// A token checked for one scope was good for another one. Audiences are asked for by each rule, each
/// time, whatever was said of the token before.
#[tokio::test]
async fn cve_2021_32701_what_one_audience_may_another_may_not() {
    let keys = format!("jwks: '{}'\n    audiences", jwks());
    let scene = two_workloads(&format!("{keys}: [web]"), &format!("{keys}: [api]")).await;
    let web = token(&json!({"iss": ISSUER, "aud": "web"}).to_string());
    let both = token(&json!({"iss": ISSUER, "aud": ["web", "api"]}).to_string());
    for _ in 0..3 {
        assert_eq!(served_by(&scene, "foo", &web).await, MISSED);
        let refused = "deny jwt Audiences in Jwt are not allowed";
        assert_eq!(served_by(&scene, "bar", &web).await, refused);
        assert_eq!(served_by(&scene, "foo", &both).await, MISSED);
        assert_eq!(served_by(&scene, "bar", &both).await, MISSED);
    }
}

/// Workloads in `foo` and `bar`, with one rule each for the same issuer.
async fn two_workloads(of_foo: &str, of_bar: &str) -> Scene {
    let settings = json!({"workloads": [{"namespace": "bar"}]});
    let in_bar = authentication(of_bar).replace("namespace: foo", "namespace: bar");
    Scene::with(settings, &(authentication(of_foo) + &in_bar)).await
}

async fn served_by(scene: &Scene, namespace: &str, token: &str) -> String {
    let mut check = scene.check_request(&bearer(token));
    let extensions = [("postern.namespace".to_owned(), namespace.to_owned())];
    check.attributes.as_mut().unwrap().context_extensions = extensions.into();
    scene.serves(check).await
}

/// Any token at all counted as a valid one. One that nobody verified names nobody, be it in a header
/// or in the metadata of another filter.
#[tokio::test]
async fn cve_2022_29226_presence_is_no_identity() {
    let metadata = json!({"metadata": {
        "envoy.filters.http.jwt_authn": {"payload": {"iss": ISSUER, "sub": "alice"}},
        "istio_authn": {"request.auth.principal": format!("{ISSUER}/alice")},
    }})
    .to_string();
    let unverified = Scene::of(MEMBERS).await;
    unverified.says(&[(&bearer(&token(ALICE)), STRANGER), (&metadata, STRANGER)]).await;
    let verified = Scene::of(&(trusting_issuer() + MEMBERS)).await;
    verified
        .says(&[
            (&bearer(&token(ALICE)), MEMBER),
            (&metadata, STRANGER),
            ("{headers: {authorization: Basic YTpi}}", STRANGER),
            ("{headers: {authorization: Bearer}}", STRANGER),
            (r#"{headers: {x-jwt-payload: "eyJpc3MiOiJhIn0"}}"#, STRANGER),
        ])
        .await;
}

/// Lists of audiences were matched wrongly. One text or a list of them, empty or absent: each means
/// what it says, to the rule's `audiences` and to `request.auth.audiences`.
#[tokio::test]
async fn istio_note_49913_audiences_of_every_form() {
    let condition = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: foo}
spec: {rules: [{when: [{key: 'request.auth.audiences', values: [web]}]}]}
";
    let rule =
        Scene::of(&authentication(&format!("jwks: '{}'\n    audiences: [web]", jwks()))).await;
    let when = Scene::of(&(trusting_issuer() + condition)).await;
    let with = |audience: &str| bearer(&token(&format!(r#"{{"iss":"{ISSUER}"{audience}}}"#)));
    let matched = "allow allow_rule foo/web rule 0";
    for audience in [r#","aud":"web""#, r#","aud":["web"]"#, r#","aud":["api","web"]"#] {
        rule.says(&[(&with(audience), MISSED)]).await;
        when.says(&[(&with(audience), matched)]).await;
    }
    for audience in [
        "",
        r#","aud":"""#,
        r#","aud":[]"#,
        r#","aud":[""]"#,
        r#","aud":"api,web""#,
        r#","aud":"web api""#,
    ] {
        rule.says(&[(&with(audience), "deny jwt Audiences in Jwt are not allowed")]).await;
        when.says(&[(&with(audience), STRANGER)]).await;
    }
    for audience in [r#","aud":null"#, r#","aud":5"#, r#","aud":["web",5]"#, r#","aud":{"web":1}"#]
    {
        let expect = "deny jwt Jwt payload [aud] field is not a string or string list";
        rule.says(&[(&with(audience), expect)]).await;
        when.says(&[(&with(audience), expect)]).await;
    }
}

/// A subject with `/*` in it was read as a pattern. A star is one only in a policy; in a value it is a
/// character, and so is a slash.
#[tokio::test]
async fn istio_52217_stars_in_values_are_characters() {
    let policy = format!(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: alice, namespace: foo}}
spec:
  rules:
  - from: [{{source: {{requestPrincipals: ['{ISSUER}/alice']}}}}]
  - to: [{{operation: {{paths: [/a], hosts: [a]}}}}]
"
    );
    let scene = Scene::of(&(trusting_issuer() + &policy)).await;
    let of = |sub: &str| bearer(&token(&json!({"iss": ISSUER, "sub": sub}).to_string()));
    scene.says(&[(&of("alice"), "allow allow_rule foo/alice rule 0")]).await;
    for sub in ["*", "/*", "alice/*", "ali*", "*alice", "x/alice", "/alice", "alice/", ""] {
        scene.says(&[(&of(sub), STRANGER)]).await;
    }
    scene.says(&[("{path: '/*', host: a}", STRANGER), ("{path: /a, host: '*'}", STRANGER)]).await;
}

/// A scan that finds no good token among bad ones proves nothing.
#[tokio::test]
async fn a_good_token_is_good() {
    let scene = Scene::of(&(trusting_issuer() + MEMBERS)).await;
    scene.says(&[(&bearer(&signed(HEADER, ALICE)), MEMBER)]).await;
}
