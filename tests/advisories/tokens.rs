//! Tokens for every test, good and forged, and the policies that take them.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};

pub(crate) const ISSUER: &str = "https://issuer.example";
/// The header that goes with the key of [`jwks`].
pub(crate) const HEADER: &str = r#"{"alg":"EdDSA","kid":"k1"}"#;
pub(crate) const ALICE: &str = r#"{"iss":"https://issuer.example","sub":"alice"}"#;

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The public key, as JWK.
pub(crate) fn jwk() -> Json {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": b64(KEY.public_key())})
}

/// The issuer's key set.
pub(crate) fn jwks() -> String {
    json!({"keys": [jwk()]}).to_string()
}

/// A token with this payload, properly signed.
pub(crate) fn token(payload: &str) -> String {
    signed(HEADER, payload)
}

/// Signed by the issuer's key, whatever the header says.
pub(crate) fn signed(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", b64(header), b64(payload));
    let signature = KEY.sign(input.as_bytes());
    format!("{input}.{}", b64(signature))
}

/// With an HMAC in the place of the signature.
pub(crate) fn with_mac(header: &str, payload: &str, secret: &[u8]) -> String {
    let input = format!("{}.{}", b64(header), b64(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{input}.{}", b64(hmac::sign(&key, input.as_bytes())))
}

/// A RequestAuthentication for the issuer, with further fields of its rule.
pub(crate) fn authentication(fields: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: foo}}
spec:
  jwtRules:
  - issuer: {ISSUER}
    {fields}
"
    )
}

/// The same, with the issuer's keys in it.
pub(crate) fn trusting_issuer() -> String {
    authentication(&format!("jwks: '{}'", jwks()))
}

/// A request with this token.
pub(crate) fn bearer(token: &str) -> String {
    format!("{{token: \"{token}\"}}")
}
