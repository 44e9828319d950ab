//! Named signing keys: made when first asked for, kept for the run; RSA keys, which are slow to
//! make, are kept in the target folder between runs.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    digest,
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL},
};
use num_bigint::BigUint;
use serde_json::{Value, json};

use crate::envoy_process::target_folder;

/// The keys of a run, by name.
#[derive(Default)]
pub(crate) struct Keys(Mutex<BTreeMap<String, Arc<Key>>>);

/// One key, private half included.
pub(crate) enum Key {
    Rsa(RsaKeyPair),
    /// Under 2048 bits, which aws-lc-rs neither makes nor signs with.
    ShortRsa(ShortRsaKey),
    Ec {
        pair: EcdsaKeyPair,
        curve: &'static str,
        algorithm: &'static str,
    },
    Ed(Ed25519KeyPair),
    Oct(Vec<u8>),
}

impl Keys {
    /// The key of that name: its letters say the type, `rsa` or `ec` with a size beside it.
    pub(crate) fn get(&self, name: &str) -> Arc<Key> {
        let mut keys = self.0.lock().unwrap();
        keys.entry(name.to_owned()).or_insert_with(|| Arc::new(make(name))).clone()
    }

    /// The key set that a list such as `rsa1/kid=k,ec256a/nokid` describes.
    pub(crate) fn jwks(&self, list: &str) -> String {
        let keys: Vec<Value> =
            list.split(',').filter(|k| !k.is_empty()).map(|k| self.jwk(k)).collect();
        json!({ "keys": keys }).to_string()
    }

    /// The public JWK that `name/kid=k/alg=A/use=U` or `name/nokid` describes.
    pub(crate) fn jwk(&self, spec: &str) -> Value {
        let mut parts = spec.split('/');
        let name = parts.next().unwrap();
        let mut jwk = self.get(name).public_jwk();
        let fields = jwk.as_object_mut().unwrap();
        fields.insert("kid".into(), name.into());
        for part in parts {
            match part.split_once('=') {
                None if part == "nokid" => drop(fields.shift_remove("kid")),
                Some((field @ ("kid" | "alg" | "use"), value)) => {
                    fields.insert(field.into(), value.into());
                }
                _ => panic!("`{part}` in key `{spec}`"),
            }
        }
        jwk
    }
}

fn make(name: &str) -> Key {
    let ec = |algorithm, curve, jws| Key::Ec {
        pair: EcdsaKeyPair::generate(algorithm).unwrap(),
        curve,
        algorithm: jws,
    };
    if let Some(rest) = name.strip_prefix("rsa") {
        let size = if rest.starts_with("1024") {
            return Key::ShortRsa(ShortRsaKey::fixed());
        } else if rest.starts_with("3072") {
            KeySize::Rsa3072
        } else if rest.starts_with("4096") {
            KeySize::Rsa4096
        } else {
            KeySize::Rsa2048
        };
        Key::Rsa(kept_rsa(name, size))
    } else if name.starts_with("ec256") {
        ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", "ES256")
    } else if name.starts_with("ec384") {
        ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", "ES384")
    } else if name.starts_with("ec521") {
        ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521", "ES512")
    } else if name.starts_with("ed") {
        Key::Ed(Ed25519KeyPair::generate().unwrap())
    } else if name.starts_with("oct") {
        Key::Oct(digest::digest(&digest::SHA256, name.as_bytes()).as_ref().to_vec())
    } else {
        panic!("key `{name}`")
    }
}

fn kept_rsa(name: &str, size: KeySize) -> RsaKeyPair {
    let folder = target_folder().join("tmp/conformance-keys");
    let file = folder.join(format!("{name}.pkcs8"));
    if let Some(pair) = fs::read(&file).ok().and_then(|der| RsaKeyPair::from_pkcs8(&der).ok()) {
        return pair;
    }
    let pair = RsaKeyPair::generate(size).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    // Several test processes may get here at once: the last rename wins, all of them are whole.
    fs::create_dir_all(&folder).unwrap();
    let mut part = tempfile::NamedTempFile::new_in(&folder).unwrap();
    std::io::Write::write_all(&mut part, der.as_ref()).unwrap();
    part.persist(&file).unwrap();
    pair
}

impl Key {
    /// The JWS algorithm a recipe means when it names none.
    pub(crate) fn default_algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) | Self::ShortRsa(_) => "RS256",
            Self::Ec { algorithm, .. } => algorithm,
            Self::Ed(_) => "EdDSA",
            Self::Oct(_) => "HS256",
        }
    }

    /// Signs as the algorithm says.
    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match (self, algorithm) {
            (Self::Rsa(pair), _) => {
                let padding: &'static dyn signature::RsaEncoding = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => panic!("{algorithm} with an RSA key"),
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut out).unwrap();
                out
            }
            (Self::ShortRsa(key), "RS256") => key.sign(message),
            (Self::Ec { pair, algorithm: own, .. }, _) if algorithm == *own => {
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            (Self::Ed(pair), "EdDSA") => pair.sign(message).as_ref().to_vec(),
            (Self::Oct(secret), _) => hmac_sign(algorithm, secret, message),
            _ => panic!("{algorithm} with this key"),
        }
    }

    /// The public key as PEM, as an attacker would know it.
    pub(crate) fn public_pem(&self) -> String {
        let Self::Rsa(pair) = self else { panic!("PEM of an RSA key only") };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in BASE64_STANDARD.encode(der.as_ref()).as_bytes().chunks(64) {
            writeln!(pem, "{}", str::from_utf8(line).unwrap()).unwrap();
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }

    fn public_jwk(&self) -> Value {
        match self {
            Self::Rsa(pair) => json!({
                "kty": "RSA",
                "n": BASE64URL.encode(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": BASE64URL.encode(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
            Self::ShortRsa(key) => json!({
                "kty": "RSA",
                "n": BASE64URL.encode(key.modulus.to_bytes_be()),
                "e": "AQAB",
            }),
            Self::Ec { pair, curve, .. } => {
                // Uncompressed point: 4, x, y.
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)})
            }
            Self::Ed(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(pair.public_key().as_ref()),
            }),
            Self::Oct(secret) => json!({"kty": "oct", "k": BASE64URL.encode(secret)}),
        }
    }
}

/// HS256, HS384 or HS512.
pub(crate) fn hmac_sign(algorithm: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => panic!("{algorithm} with a secret"),
    };
    hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
}

/// A 1024-bit key: two numbers, and exponent 65537.
pub(crate) struct ShortRsaKey {
    modulus: BigUint,
    private_exponent: BigUint,
}

impl ShortRsaKey {
    /// Made for these tests once; it signs nothing else.
    fn fixed() -> Self {
        let number = |hex: &str| BigUint::parse_bytes(hex.as_bytes(), 16).unwrap();
        Self {
            modulus: number(
                "f44e5ad6faaa1d04f3e5a98842b39a82964af1b5ff6e08a0166dc1a1c1f46b8eac932902c5dbcb06\
                 269bf5f27b6810ebc6061b2d81b27755b3b3a8c4f23c6de70cfeffd60454bce4be64646115740310\
                 8e48f93961d64767144fa371cb9bccec9cd392efd4aec8659dc96978232fc4edd5731340e10869d2\
                 35b867443d15441f",
            ),
            private_exponent: number(
                "f2cdc4fe9015edcd74513692d4280851ece9031d6c85815109b97f8e3263a75a1f2e0abe54c2c31e\
                 93d4c135836cc4146fb4b5e21e5aaebba063d84214b5f64a90c76d2fc72dcb7b1c165ef03667f884\
                 fe3b66807d476a6e3d1b3d612c467b941f4a2381b9efa90ebe851058c017ac1954456742a10307c3\
                 9f0accb28bbac131",
            ),
        }
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2.1).
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        const SHA256_DIGEST_INFO: [u8; 19] = [
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ];
        let length = 128;
        let hash = digest::digest(&digest::SHA256, message);
        let mut block = vec![0x00, 0x01];
        block.resize(length - 1 - SHA256_DIGEST_INFO.len() - hash.as_ref().len(), 0xff);
        block.push(0x00);
        block.extend(SHA256_DIGEST_INFO);
        block.extend(hash.as_ref());
        let signed = BigUint::from_bytes_be(&block).modpow(&self.private_exponent, &self.modulus);
        let bytes = signed.to_bytes_be();
        let mut out = vec![0; length - bytes.len()];
        out.extend(bytes);
        out
    }
}
