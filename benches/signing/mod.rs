//! Keys of some algorithms, and tokens signed by them, that benches and the allocation test share.
//!
//! Measures nothing. Beside each token is what its library alone needs to verify it, to compare with.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
    Hs256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 4] = [Self::Rs256, Self::Es256, Self::EdDsa, Self::Hs256];

    /// As tokens say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// A token signed so. The same each time: an RSA key takes a while.
    pub(crate) fn signed(self) -> &'static Signed {
        static SIGNED: OnceLock<[Signed; 4]> = OnceLock::new();
        let all = SIGNED.get_or_init(|| Self::ALL.map(Signed::new));
        all.iter().find(|signed| signed.algorithm == self).unwrap()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A token as `authorization` has it, and its key.
pub(crate) struct Signed {
    algorithm: Algorithm,
    /// With `Bearer` before it.
    pub(crate) header: String,
    key: VerifyingKey,
    jwk: String,
}

enum VerifyingKey {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Signed {
    fn new(algorithm: Algorithm) -> Self {
        let kid = algorithm.name();
        let header = format!(r#"{{"alg":"{kid}","kid":"{kid}","typ":"JWT"}}"#);
        let claims = r#"{"iss":"issuer","sub":"alice","aud":["shop","api"],"exp":4102444800,
            "iat":1700000000,"scope":"read write","groups":["admins","staff"],
            "email":"a@example.com"}"#;
        let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
        let (signature, key, jwk) = sign(algorithm, input.as_bytes());
        let token = format!("{input}.{}", BASE64URL.encode(signature));
        let jwk = format!(r#"{{"kid":"{kid}",{jwk}}}"#);
        Self { algorithm, header: format!("Bearer {token}"), key, jwk }
    }

    /// What the library verifies, taken apart beforehand.
    pub(crate) fn parts(&self) -> (&[u8], Vec<u8>) {
        let (input, signature) = self.header["Bearer ".len()..].rsplit_once('.').unwrap();
        (input.as_bytes(), BASE64URL.decode(signature).unwrap())
    }

    /// The library's bare verification, its key parsed beforehand.
    pub(crate) fn verify_barely(&self, input: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            VerifyingKey::Public(key) => key.verify_sig(input, signature).is_ok(),
            VerifyingKey::Secret(key) => hmac::verify(key, input, signature).is_ok(),
        }
    }
}

/// A signature, what verifies it, and that as members of a JWK.
fn sign(algorithm: Algorithm, input: &[u8]) -> (Vec<u8>, VerifyingKey, String) {
    let random = SystemRandom::new();
    let encoded = |bytes: &[u8]| BASE64URL.encode(bytes);
    match algorithm {
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).unwrap();
            let public = pair.public_key();
            let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref()).unwrap();
            let n = encoded(public.modulus().big_endian_without_leading_zero());
            let jwk = format!(r#""kty":"RSA","e":"AQAB","n":"{n}""#);
            (signature, VerifyingKey::Public(key), jwk)
        }
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let signature = pair.sign(&random, input).unwrap().as_ref().to_vec();
            let public = pair.public_key().as_ref();
            let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).unwrap();
            // Uncompressed point: 4, x, y.
            let (x, y) = public[1..].split_at(32);
            let (x, y) = (encoded(x), encoded(y));
            let jwk = format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#);
            (signature, VerifyingKey::Public(key), jwk)
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().unwrap();
            let signature = pair.sign(input).as_ref().to_vec();
            let public = pair.public_key().as_ref();
            let key = ParsedPublicKey::new(&ED25519, public).unwrap();
            let jwk = format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encoded(public));
            (signature, VerifyingKey::Public(key), jwk)
        }
        Algorithm::Hs256 => {
            let secret = [7; 32];
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let signature = hmac::sign(&key, input).as_ref().to_vec();
            let jwk = format!(r#""kty":"oct","k":"{}""#, encoded(&secret));
            (signature, VerifyingKey::Secret(key.into()), jwk)
        }
    }
}

/// A RequestAuthentication that takes the tokens of all algorithms; `members` are further ones of
/// its rule.
pub(crate) fn manifest(members: &str) -> String {
    let keys: Vec<_> =
        Algorithm::ALL.iter().map(|algorithm| algorithm.signed().jwk.as_str()).collect();
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
         metadata: {{name: jwt, namespace: shop}}\nspec:\n  jwtRules:\n  - issuer: issuer\n    \
         audiences: [shop]\n    jwks: '{{\"keys\":[{}]}}'\n{members}",
        keys.join(",")
    )
}
