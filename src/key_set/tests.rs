//! Keys are generated here; the vectors are those of RFC 7515 appendix A and RFC 8037 appendix A.4.

use std::sync::LazyLock;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Algorithm, InvalidKeySet, KeySet, SkipReason};
use crate::model::JwtError;

const MESSAGE: &[u8] = b"header.payload";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

struct TestKeys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    p521: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

static KEYS: LazyLock<TestKeys> = LazyLock::new(|| TestKeys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    p521: EcdsaKeyPair::generate(&signature::ECDSA_P521_SHA512_FIXED_SIGNING).unwrap(),
    ed25519: Ed25519KeyPair::generate().unwrap(),
});

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk() -> Value {
    let RsaPublicKeyComponents { n, e } =
        RsaPublicKeyComponents::<Vec<u8>>::from(KEYS.rsa.public_key());
    json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
}

fn modulus() -> Vec<u8> {
    RsaPublicKeyComponents::<Vec<u8>>::from(KEYS.rsa.public_key()).n
}

fn ec_jwk(key: &EcdsaKeyPair, crv: &str) -> Value {
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "crv": crv, "x": encode(x), "y": encode(y)})
}

fn ed_jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": encode(KEYS.ed25519.public_key())})
}

fn oct_jwk() -> Value {
    json!({"kty": "oct", "k": encode(SECRET)})
}

fn jwk_for(algorithm: Algorithm) -> Value {
    match algorithm {
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => rsa_jwk(),
        Algorithm::Es256 => ec_jwk(&KEYS.p256, "P-256"),
        Algorithm::Es384 => ec_jwk(&KEYS.p384, "P-384"),
        Algorithm::Es512 => ec_jwk(&KEYS.p521, "P-521"),
        Algorithm::EdDsa => ed_jwk(),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => oct_jwk(),
    }
}

fn sign(algorithm: Algorithm) -> Vec<u8> {
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
        KEYS.rsa.sign(encoding, &SystemRandom::new(), MESSAGE, &mut signature).unwrap();
        signature
    };
    let ec =
        |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), MESSAGE).unwrap().as_ref().to_vec();
    let mac = |hash| hmac::sign(&hmac::Key::new(hash, SECRET), MESSAGE).as_ref().to_vec();
    match algorithm {
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
        Algorithm::Es256 => ec(&KEYS.p256),
        Algorithm::Es384 => ec(&KEYS.p384),
        Algorithm::Es512 => ec(&KEYS.p521),
        Algorithm::EdDsa => KEYS.ed25519.sign(MESSAGE).as_ref().to_vec(),
        Algorithm::Hs256 => mac(hmac::HMAC_SHA256),
        Algorithm::Hs384 => mac(hmac::HMAC_SHA384),
        Algorithm::Hs512 => mac(hmac::HMAC_SHA512),
    }
}

fn with(mut jwk: Value, mut members: Value) -> Value {
    jwk.as_object_mut().unwrap().append(members.as_object_mut().unwrap());
    jwk
}

fn without(mut jwk: Value, member: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(member);
    jwk
}

fn set(keys: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<_> = keys.into_iter().collect();
    KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap()
}

fn skip_reason(jwk: Value) -> Option<SkipReason> {
    let set = set([jwk]);
    assert_eq!(set.usable() + set.skipped().len(), 1);
    set.skipped().first().map(|skipped| skipped.reason)
}

#[test]
fn each_algorithm_verifies_its_own_signature_only() {
    let whole = set([
        rsa_jwk(),
        ec_jwk(&KEYS.p256, "P-256"),
        ec_jwk(&KEYS.p384, "P-384"),
        ec_jwk(&KEYS.p521, "P-521"),
        oct_jwk(),
        ed_jwk(),
    ]);
    assert_eq!(whole.usable(), 6);
    for signed in Algorithm::ALL {
        let signature = sign(signed);
        for claimed in Algorithm::ALL {
            let expect = match signature.len() {
                _ if signed == claimed => Ok(()),
                64 => Err(JwtError::VerificationFails),
                _ => Err(JwtError::Ed25519WrongLength),
            };
            assert_eq!(
                whole.verify(claimed, None, MESSAGE, &signature),
                expect,
                "{signed:?} as {claimed:?}"
            );
        }
    }
}

#[test]
fn a_changed_message_or_signature_fails() {
    for algorithm in Algorithm::ALL {
        let keys = set([jwk_for(algorithm)]);
        let signature = sign(algorithm);
        let fails = Err(JwtError::VerificationFails);
        let is_ed25519 = algorithm == Algorithm::EdDsa;
        let has_wrong_length = if is_ed25519 { Err(JwtError::Ed25519WrongLength) } else { fails };
        assert_eq!(keys.verify(algorithm, None, MESSAGE, &signature), Ok(()), "{algorithm:?}");
        assert_eq!(keys.verify(algorithm, None, b"header.payloae", &signature), fails);
        for signature in [
            &[][..],
            &signature[1..],
            &[&signature[..], &[0]].concat(),
            &[&[0], &signature[..]].concat(),
        ] {
            assert_eq!(keys.verify(algorithm, None, MESSAGE, signature), has_wrong_length);
        }
        for flipped in [0, signature.len() / 2, signature.len() - 1] {
            let mut signature = signature.clone();
            signature[flipped] ^= 1;
            assert_eq!(keys.verify(algorithm, None, MESSAGE, &signature), fails);
        }
        assert_eq!(keys.verify(algorithm, None, MESSAGE, &vec![0; signature.len()]), fails);
    }
}

const RFC_7515_PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[rstest]
#[case::a1(Algorithm::Hs256,
    json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
    &format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC_7515_PAYLOAD}"),
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")]
#[case::a2(Algorithm::Rs256,
    json!({"kty": "RSA", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ", "e": "AQAB"}),
    &format!("eyJhbGciOiJSUzI1NiJ9.{RFC_7515_PAYLOAD}"),
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw")]
#[case::a3(Algorithm::Es256,
    json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
    &format!("eyJhbGciOiJFUzI1NiJ9.{RFC_7515_PAYLOAD}"),
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")]
#[case::a4(Algorithm::Es512,
    json!({"kty": "EC", "crv": "P-521", "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk", "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}),
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
    "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn")]
#[case::rfc_8037(Algorithm::EdDsa,
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")]
fn vectors_of_the_standards(
    #[case] algorithm: Algorithm,
    #[case] jwk: Value,
    #[case] signing_input: &str,
    #[case] signature: &str,
) {
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(set([jwk]).verify(algorithm, None, signing_input.as_bytes(), &signature), Ok(()));
}

const MISMATCH: Result<(), JwtError> = Err(JwtError::KidAlgMismatch);
const FAILS: Result<(), JwtError> = Err(JwtError::VerificationFails);

#[rstest]
#[case::same_kid(json!({"kid": "a"}), Some("a"), Ok(()))]
#[case::other_kid(json!({"kid": "a"}), Some("b"), MISMATCH)]
#[case::kid_is_case_sensitive(json!({"kid": "Key"}), Some("key"), MISMATCH)]
#[case::token_without_kid(json!({"kid": "a"}), None, Ok(()))]
#[case::token_with_empty_kid(json!({"kid": "a"}), Some(""), Ok(()))]
#[case::key_without_kid(json!({}), Some("a"), Ok(()))]
#[case::key_with_empty_kid(json!({"kid": ""}), Some("a"), Ok(()))]
#[case::key_with_odd_kid(json!({"kid": 5}), Some("a"), Ok(()))]
#[case::same_alg(json!({"alg": "RS256"}), None, Ok(()))]
#[case::other_alg(json!({"alg": "RS512"}), None, MISMATCH)]
#[case::empty_alg(json!({"alg": ""}), None, Ok(()))]
#[case::odd_alg(json!({"alg": 5}), None, Ok(()))]
#[case::same_kid_other_alg(json!({"kid": "a", "alg": "PS256"}), Some("a"), MISMATCH)]
#[case::encryption_alg(json!({"alg": "RSA-OAEP"}), None, MISMATCH)]
#[case::use_is_not_looked_at(json!({"use": "enc", "key_ops": ["encrypt"]}), None, Ok(()))]
fn kid_and_alg_pick_keys(
    #[case] members: Value,
    #[case] kid: Option<&str>,
    #[case] expect: Result<(), JwtError>,
) {
    let keys = set([with(rsa_jwk(), members)]);
    assert_eq!(keys.usable(), 1);
    assert_eq!(keys.verify(Algorithm::Rs256, kid, MESSAGE, &sign(Algorithm::Rs256)), expect);
}

#[test]
fn the_key_that_signed_is_named() {
    let named = |kid: &str| with(rsa_jwk(), json!({ "kid": kid }));
    let signature = sign(Algorithm::Rs256);
    let signer = |keys: &KeySet| {
        keys.signer(Algorithm::Rs256, None, MESSAGE, &signature).map(|kid| kid.map(str::to_owned))
    };
    let keys = set([with(p256_jwk(), json!({"kid": "a"})), named("b"), named("c")]);
    assert_eq!(signer(&keys), Ok(Some("b".to_owned())));
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), [Some("a"), Some("b"), Some("c")]);
    assert_eq!(signer(&set([rsa_jwk()])), Ok(None));
    assert_eq!(KeySet::unavailable().key_ids().count(), 0);
}

#[test]
fn several_keys_of_one_kid_are_tried_in_turn() {
    let other = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let RsaPublicKeyComponents { n, e } =
        RsaPublicKeyComponents::<Vec<u8>>::from(other.public_key());
    let other = json!({"kty": "RSA", "kid": "a", "n": encode(n), "e": encode(e)});
    let keys = set([other.clone(), with(rsa_jwk(), json!({"kid": "a"}))]);
    let signature = sign(Algorithm::Rs256);
    assert_eq!(keys.verify(Algorithm::Rs256, Some("a"), MESSAGE, &signature), Ok(()));
    assert_eq!(set([other]).verify(Algorithm::Rs256, Some("a"), MESSAGE, &signature), FAILS);
}

#[test]
fn an_ed25519_key_ends_the_search_for_longer_signatures() {
    let signature = sign(Algorithm::Rs256);
    let wrong = Err(JwtError::Ed25519WrongLength);
    let in_front = set([ed_jwk(), rsa_jwk()]);
    assert_eq!(in_front.verify(Algorithm::Rs256, None, MESSAGE, &signature), wrong);
    let behind = set([rsa_jwk(), ed_jwk()]);
    assert_eq!(behind.verify(Algorithm::Rs256, None, MESSAGE, &signature), Ok(()));
}

/// The public key, in any form an attacker has it, is no HMAC secret.
#[test]
fn a_public_key_is_no_secret() {
    let keys = set([rsa_jwk(), ec_jwk(&KEYS.p256, "P-256"), ed_jwk()]);
    let n = modulus();
    let encoded_n = encode(&n);
    let jwk = rsa_jwk().to_string();
    let ed = KEYS.ed25519.public_key().as_ref();
    let known: [&[u8]; 7] = [
        &n,
        encoded_n.as_bytes(),
        jwk.as_bytes(),
        KEYS.rsa.public_key().as_ref(),
        KEYS.p256.public_key().as_ref(),
        ed,
        b"",
    ];
    for secret in known {
        for (algorithm, hash) in [
            (Algorithm::Hs256, hmac::HMAC_SHA256),
            (Algorithm::Hs384, hmac::HMAC_SHA384),
            (Algorithm::Hs512, hmac::HMAC_SHA512),
        ] {
            let tag = hmac::sign(&hmac::Key::new(hash, secret), MESSAGE);
            let refused = keys.verify(algorithm, None, MESSAGE, tag.as_ref());
            let by_length = Err(JwtError::Ed25519WrongLength);
            assert!(refused == FAILS || refused == by_length, "{refused:?}");
        }
    }
}

/// Envoy takes the hash alone from the token's `alg` and would verify each of these.
#[test]
fn a_key_serves_its_own_type_and_curve_only() {
    let tag = sign(Algorithm::Hs256);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256] {
        assert_eq!(set([oct_jwk()]).verify(algorithm, None, MESSAGE, &tag), FAILS);
    }
    let p521_with_sha256 = EcdsaKeyPair::from_pkcs8(
        &signature::ECDSA_P521_SHA256_FIXED_SIGNING,
        KEYS.p521.to_pkcs8v1().unwrap().as_ref(),
    )
    .unwrap();
    let signature = p521_with_sha256.sign(&SystemRandom::new(), MESSAGE).unwrap();
    let keys = set([ec_jwk(&KEYS.p521, "P-521")]);
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        assert_eq!(keys.verify(algorithm, None, MESSAGE, signature.as_ref()), FAILS);
    }
}

#[rstest]
#[case::number(json!(5), SkipReason::NotAnObject)]
#[case::null(json!(null), SkipReason::NotAnObject)]
#[case::no_kty(without(rsa_jwk(), "kty"), SkipReason::Missing("kty"))]
#[case::odd_kty(with(rsa_jwk(), json!({"kty": 5})), SkipReason::NotAString("kty"))]
#[case::unknown_kty(json!({"kty": "XYZ"}), SkipReason::KeyType)]
#[case::kty_is_case_sensitive(with(rsa_jwk(), json!({"kty": "rsa"})), SkipReason::KeyType)]
#[case::rsa_no_n(without(rsa_jwk(), "n"), SkipReason::Missing("n"))]
#[case::rsa_no_e(without(rsa_jwk(), "e"), SkipReason::Missing("e"))]
#[case::rsa_odd_n(with(rsa_jwk(), json!({"n": [1]})), SkipReason::NotAString("n"))]
#[case::rsa_n_not_base64(with(rsa_jwk(), json!({"n": "!!"})), SkipReason::Base64("n"))]
#[case::rsa_n_standard_alphabet(with(rsa_jwk(), json!({"n": "a+/a"})), SkipReason::Base64("n"))]
#[case::rsa_n_empty(with(rsa_jwk(), json!({"n": ""})), SkipReason::ModulusTooShort)]
#[case::rsa_e_empty(with(rsa_jwk(), json!({"e": ""})), SkipReason::Exponent)]
#[case::rsa_e_one(with(rsa_jwk(), json!({"e": "AQ"})), SkipReason::Exponent)]
#[case::rsa_e_17(with(rsa_jwk(), json!({"e": "EQ"})), SkipReason::Exponent)]
#[case::rsa_even(with(rsa_jwk(), json!({"n": encode(even_modulus())})), SkipReason::EvenModulus)]
#[case::rsa_2047(with(rsa_jwk(), json!({"n": encode(short_modulus())})), SkipReason::ModulusTooShort)]
#[case::rsa_1024(with(rsa_jwk(), json!({"n": encode([0xff; 128])})), SkipReason::ModulusTooShort)]
#[case::rsa_8200(with(rsa_jwk(), json!({"n": encode([0xff; 1025])})), SkipReason::ModulusTooLong)]
#[case::rsa_alg_of_ec(with(rsa_jwk(), json!({"alg": "ES256"})), SkipReason::AlgorithmOfOtherType)]
#[case::rsa_alg_hmac(with(rsa_jwk(), json!({"alg": "HS256"})), SkipReason::AlgorithmOfOtherType)]
#[case::rsa_alg_none(with(rsa_jwk(), json!({"alg": "none"})), SkipReason::AlgorithmOfOtherType)]
#[case::ec_no_x(without(p256_jwk(), "x"), SkipReason::Missing("x"))]
#[case::ec_no_y(without(p256_jwk(), "y"), SkipReason::Missing("y"))]
#[case::ec_odd_crv(with(p256_jwk(), json!({"crv": 5})), SkipReason::NotAString("crv"))]
#[case::ec_unknown_curve(with(p256_jwk(), json!({"crv": "secp256k1"})), SkipReason::Curve)]
#[case::ec_no_curve_of_alg(without(with(p256_jwk(), json!({"alg": "ES999"})), "crv"), SkipReason::Curve)]
#[case::ec_alg_of_other_curve(with(p256_jwk(), json!({"alg": "ES384"})), SkipReason::AlgorithmOfOtherCurve)]
#[case::ec_alg_unknown(with(p256_jwk(), json!({"alg": "ES256K"})), SkipReason::AlgorithmOfOtherCurve)]
#[case::ec_alg_of_rsa(with(p256_jwk(), json!({"alg": "RS256"})), SkipReason::AlgorithmOfOtherType)]
#[case::ec_zero(with(p256_jwk(), json!({"x": "AA", "y": "AA"})), SkipReason::Point)]
#[case::ec_empty(with(p256_jwk(), json!({"x": "", "y": ""})), SkipReason::Point)]
#[case::ec_off_the_curve(with(p256_jwk(), json!({"y": encode([1; 32])})), SkipReason::Point)]
#[case::ec_too_long(with(p256_jwk(), json!({"x": encode([1; 33])})), SkipReason::Point)]
#[case::ec_x_not_base64(with(p256_jwk(), json!({"x": "!"})), SkipReason::Base64("x"))]
#[case::ec_of_other_curve(with(p256_jwk(), json!({"crv": "P-384"})), SkipReason::Point)]
#[case::okp_no_crv(without(ed_jwk(), "crv"), SkipReason::Missing("crv"))]
#[case::okp_x25519(with(ed_jwk(), json!({"crv": "X25519"})), SkipReason::Curve)]
#[case::okp_no_x(without(ed_jwk(), "x"), SkipReason::Missing("x"))]
#[case::okp_short(with(ed_jwk(), json!({"x": encode([1; 31])})), SkipReason::Point)]
#[case::okp_long(with(ed_jwk(), json!({"x": encode([1; 44])})), SkipReason::Point)]
#[case::okp_alg(with(ed_jwk(), json!({"alg": "ES256"})), SkipReason::AlgorithmOfOtherType)]
#[case::oct_no_k(without(oct_jwk(), "k"), SkipReason::Missing("k"))]
#[case::oct_empty(with(oct_jwk(), json!({"k": ""})), SkipReason::EmptySecret)]
#[case::oct_blank(with(oct_jwk(), json!({"k": " "})), SkipReason::EmptySecret)]
#[case::oct_alg(with(oct_jwk(), json!({"alg": "RS256"})), SkipReason::AlgorithmOfOtherType)]
#[case::oct_unknown_alg(with(oct_jwk(), json!({"alg": "HS1"})), SkipReason::AlgorithmOfOtherType)]
fn unusable_keys_are_skipped_and_the_rest_verifies(#[case] jwk: Value, #[case] reason: SkipReason) {
    assert_eq!(skip_reason(jwk.clone()), Some(reason));
    let keys = set([with_kid(jwk), p256_jwk()]);
    assert_eq!((keys.usable(), keys.skipped().len()), (1, 1));
    assert_eq!(keys.verify(Algorithm::Es256, None, MESSAGE, &sign(Algorithm::Es256)), Ok(()));
}

fn p256_jwk() -> Value {
    ec_jwk(&KEYS.p256, "P-256")
}

fn with_kid(jwk: Value) -> Value {
    if jwk.is_object() { with(jwk, json!({"kid": "broken"})) } else { jwk }
}

fn even_modulus() -> Vec<u8> {
    let mut n = modulus();
    *n.last_mut().unwrap() &= 0xfe;
    n
}

fn short_modulus() -> Vec<u8> {
    let mut n = modulus();
    n[0] &= 0x7f;
    n
}

#[rstest]
#[case::ec_alg_without_curve(without(with(ec_jwk(&KEYS.p521, "P-521"), json!({"alg": "ES512"})), "crv"), Algorithm::Es512)]
#[case::ec_without_curve_is_p256(without(p256_jwk(), "crv"), Algorithm::Es256)]
#[case::ec_empty_curve(with(p256_jwk(), json!({"crv": ""})), Algorithm::Es256)]
#[case::ec_padded_coordinates(with(p256_jwk(), json!({"x": padded(&p256_jwk()["x"])})), Algorithm::Es256)]
#[case::rsa_leading_zero(with(rsa_jwk(), json!({"n": padded(&rsa_jwk()["n"]), "e": "AAEAAQ"})), Algorithm::Rs256)]
#[case::base64_padding(with(rsa_jwk(), json!({"n": format!("{}==", rsa_jwk()["n"].as_str().unwrap())})), Algorithm::Ps384)]
#[case::base64_dots(with(rsa_jwk(), json!({"n": format!("{}..", rsa_jwk()["n"].as_str().unwrap())})), Algorithm::Ps384)]
#[case::base64_white_space(with(rsa_jwk(), json!({"e": " AQ\nAB\t"})), Algorithm::Rs512)]
#[case::private_members(with(ed_jwk(), json!({"d": "AAAA", "x5c": 5})), Algorithm::EdDsa)]
fn odd_keys_that_envoy_takes(#[case] jwk: Value, #[case] algorithm: Algorithm) {
    assert_eq!(set([jwk]).verify(algorithm, None, MESSAGE, &sign(algorithm)), Ok(()));
}

fn padded(number: &Value) -> String {
    let number = BASE64_URL_SAFE_NO_PAD.decode(number.as_str().unwrap()).unwrap();
    encode([&[0, 0], &number[..]].concat())
}

#[test]
fn incomplete_padding_is_no_base64() {
    let n = format!("{}=", rsa_jwk()["n"].as_str().unwrap());
    assert_eq!(skip_reason(with(rsa_jwk(), json!({ "n": n }))), Some(SkipReason::Base64("n")));
}

#[test]
fn sets_without_keys_differ_from_no_set() {
    let signature = sign(Algorithm::Rs256);
    let verify = |keys: &KeySet| keys.verify(Algorithm::Rs256, None, MESSAGE, &signature);
    let no_valid_keys = Err(JwtError::NoValidKeys);
    assert_eq!(verify(&set([])), no_valid_keys);
    assert_eq!(verify(&set([json!({"kty": "XYZ"})])), no_valid_keys);
    assert_eq!(verify(&KeySet::unavailable()), FAILS);
    assert_eq!(KeySet::unavailable().usable(), 0);
}

#[rstest]
#[case::empty("")]
#[case::cut(r#"{"keys":["#)]
#[case::trailing(r#"{"keys":[]} x"#)]
#[case::twice(r#"{"keys":[],"keys":[]}"#)]
#[case::twice_inside(r#"{"keys":[{"kty":"oct","k":"AA","k":"AAAA"}]}"#)]
#[case::twice_by_escape(r#"{"keys":[{"kty":"oct","k":"AA","\u006b":"AAAA"}]}"#)]
#[case::huge_number(r#"{"keys":[],"x":1e999}"#)]
fn not_json(#[case] text: &str) {
    assert!(matches!(KeySet::parse(text), Err(InvalidKeySet::Json(_))));
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("{{\"keys\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(KeySet::parse(&text), Err(InvalidKeySet::Json(_))));
}

#[test]
fn more_keys_than_the_cap_are_refused() {
    let of = |count| json!({ "keys": vec![oct_jwk(); count] }).to_string();
    assert!(KeySet::parse(&of(super::MAX_KEYS)).is_ok());
    let count = super::MAX_KEYS + 1;
    let found = KeySet::parse(&of(count));
    assert!(matches!(found, Err(InvalidKeySet::TooManyKeys { count: c }) if c == count));
}

#[test]
fn json_that_is_no_key_set() {
    assert!(matches!(KeySet::parse("[]"), Err(InvalidKeySet::NotAnObject)));
    assert!(matches!(KeySet::parse("{}"), Err(InvalidKeySet::NoKeys)));
    assert!(matches!(KeySet::parse(r#"{"keys":{}}"#), Err(InvalidKeySet::KeysNotAList)));
    assert!(matches!(KeySet::parse(r#"{"Keys":[]}"#), Err(InvalidKeySet::NoKeys)));
    let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    let certificates = json!({ "kid": certificate }).to_string();
    assert!(matches!(KeySet::parse(&certificates), Err(InvalidKeySet::NoKeys)));
}

#[test]
fn skipped_keys_are_named() {
    let keys = set([rsa_jwk(), json!({"kty": "XYZ", "kid": "q"}), json!("z")]);
    insta::assert_debug_snapshot!(keys, @r#"
    KeySet {
        usable: 1,
        skipped: [
            Skipped {
                index: 1,
                kid: Some(
                    "q",
                ),
                reason: KeyType,
            },
            Skipped {
                index: 2,
                kid: None,
                reason: NotAnObject,
            },
        ],
    }
    "#);
}

#[test]
fn debug_shows_no_secret() {
    assert!(!format!("{:?}", set([oct_jwk()])).contains(&encode(SECRET)));
}

#[rstest]
#[case("RS256", Some(Algorithm::Rs256))]
#[case("EdDSA", Some(Algorithm::EdDsa))]
#[case("rs256", None)]
#[case("none", None)]
#[case("None", None)]
#[case("", None)]
#[case("RS256 ", None)]
#[case("ES256K", None)]
fn names_are_exact(#[case] name: &str, #[case] expect: Option<Algorithm>) {
    assert_eq!(Algorithm::from_name(name), expect);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[A-Za-z0-9_=. -]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "RSA", "EC", "OKP", "oct", "RS256", "ES384", "EdDSA", "HS256", "P-256", "P-521",
            "Ed25519", "AQAB", "Aw",
        ])
        .prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| encode(bytes).into()),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let name =
            prop::sample::select(vec!["keys", "kty", "alg", "kid", "crv", "n", "e", "x", "y", "k"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.prop_map(String::from), inner, 0..10)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_a_set_or_an_error(text in any::<String>()) {
        prop_assert!(KeySet::parse(&text).is_err());
    }

    /// Whatever the keys are, nothing that nobody signed verifies.
    #[test]
    fn any_keys_are_used_or_skipped(
        keys in prop::collection::vec(json_value(), 0..4),
        signature in prop::collection::vec(any::<u8>(), 0..140),
        kid in prop::option::of("[a-z]{0,2}"),
    ) {
        let count = keys.len();
        let keys = KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap();
        prop_assert_eq!(keys.usable() + keys.skipped().len(), count);
        for algorithm in Algorithm::ALL {
            let verdict = keys.verify(algorithm, kid.as_deref(), MESSAGE, &signature);
            prop_assert!(verdict.is_err());
        }
    }
}
