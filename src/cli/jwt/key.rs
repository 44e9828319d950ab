//! Private keys of test set-ups: made, written as JWK, read back, signed with.
//!
//! An error never shows what stands in a key.

use anyhow::{Context as _, Result, anyhow, bail};
use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebkey::{JsonWebKey, Key as Jwk, KeyUse, PublicExponent, RsaPrivate, RsaPublic};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value as Json, json};
use x509_parser::asn1_rs::{Any, FromDer as _, Integer, Sequence, Tag};

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Algorithm {
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
}

/// A private key and its name.
pub(in crate::cli) struct PrivateKey {
    secret: Secret,
    kid: Option<String>,
}

enum Secret {
    /// RSA or P-256.
    Jwk(Box<Jwk>),
    Ed25519 {
        seed: Vec<u8>,
        public: Vec<u8>,
    },
}

impl PrivateKey {
    /// A new key; without a name it gets its thumbprint (RFC 7638).
    pub(in crate::cli) fn generate(algorithm: Algorithm, kid: Option<&str>) -> Result<Self> {
        let secret = match algorithm {
            Algorithm::Rs256 => Secret::Jwk(Box::new(generate_rsa()?)),
            Algorithm::Es256 => Secret::Jwk(Box::new(Jwk::generate_p256())),
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().map_err(|_| anyhow!("no random numbers"))?;
                let seed = pair.seed().map_err(|_| anyhow!("the key has no seed"))?;
                let seed = seed.as_be_bytes().map_err(|_| anyhow!("the key has no seed"))?;
                let public = pair.public_key().as_ref().to_vec();
                Secret::Ed25519 { seed: seed.as_ref().to_vec(), public }
            }
        };
        let mut key = Self { secret, kid: None };
        key.kid = Some(match kid {
            Some(kid) => kid.to_owned(),
            None => thumbprint(&key.to_public()?),
        });
        Ok(key)
    }

    /// Reads a private JWK.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let jwk: Json = serde_json::from_str(text).map_err(|_| anyhow!("not JSON"))?;
        let member = |name: &str| jwk.get(name).and_then(Json::as_str);
        if jwk.get("keys").is_some() {
            bail!("a key set: the private key alone is needed, as `postern jwt keygen` writes it");
        }
        let kid = member("kid").map(str::to_owned);
        let bytes = |name: &str| {
            let decoded = member(name).and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
            decoded.with_context(|| format!("without a base64url `{name}`"))
        };
        let secret = match (member("kty"), member("crv")) {
            (Some("OKP"), Some("Ed25519")) => {
                let (seed, public) = (bytes("d")?, bytes("x")?);
                Ed25519KeyPair::from_seed_and_public_key(&seed, &public)
                    .map_err(|_| anyhow!("`d` and `x` are no pair of Ed25519 keys"))?;
                Secret::Ed25519 { seed, public }
            }
            (Some("RSA" | "EC"), _) => {
                if member("d").is_none() {
                    bail!("a public key, which signs nothing");
                }
                let parsed: Result<JsonWebKey, _> = text.parse();
                let parsed = parsed.map_err(|_| anyhow!("not an RSA or P-256 key"))?;
                Secret::Jwk(parsed.key)
            }
            _ => bail!("`kty` is not RSA, EC (P-256) or OKP (Ed25519)"),
        };
        Ok(Self { secret, kid })
    }

    /// Its private JWK.
    pub(super) fn to_private(&self) -> Result<Json> {
        let jwk = match &self.secret {
            Secret::Jwk(key) => serde_json::to_value(&**key)?,
            Secret::Ed25519 { seed, public } => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": b64(public), "d": b64(seed)})
            }
        };
        self.named(jwk)
    }

    /// The set with its public JWK.
    pub(in crate::cli) fn to_jwks(&self) -> Result<Json> {
        Ok(json!({ "keys": [self.named(self.to_public()?)?] }))
    }

    /// A token with these claims.
    pub(in crate::cli) fn sign(&self, claims: &Json) -> Result<String> {
        let (algorithm, key) = match &self.secret {
            Secret::Jwk(key) => {
                let pkcs8 = key.try_to_der().map_err(|_| {
                    anyhow!("the key lacks `p`, `q`, `dp`, `dq` or `qi`, and cannot sign without")
                })?;
                match **key {
                    Jwk::RSA { .. } => (
                        jsonwebtoken::Algorithm::RS256,
                        EncodingKey::from_rsa_der(pkcs1_of(&pkcs8)?),
                    ),
                    Jwk::EC { .. } => {
                        (jsonwebtoken::Algorithm::ES256, EncodingKey::from_ec_der(&pkcs8))
                    }
                    Jwk::Symmetric { .. } => bail!("a shared secret"),
                }
            }
            Secret::Ed25519 { seed, .. } => {
                // RFC 8410 section 7: version, algorithm, and the seed in two octet strings.
                const PKCS8: [u8; 16] =
                    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
                let der = [&PKCS8[..], seed].concat();
                (jsonwebtoken::Algorithm::EdDSA, EncodingKey::from_ed_der(&der))
            }
        };
        let header = Header { kid: self.kid.clone(), ..Header::new(algorithm) };
        // The error may tell about the key.
        jsonwebtoken::encode(&header, claims, &key).map_err(|_| anyhow!("the key cannot sign"))
    }

    fn to_public(&self) -> Result<Json> {
        Ok(match &self.secret {
            Secret::Jwk(key) => {
                serde_json::to_value(&*key.to_public().context("a key without a public half")?)?
            }
            Secret::Ed25519 { public, .. } => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": b64(public)})
            }
        })
    }

    fn named(&self, mut jwk: Json) -> Result<Json> {
        let members = jwk.as_object_mut().context("a JWK is an object")?;
        members.insert("use".to_owned(), serde_json::to_value(KeyUse::Signing)?);
        members.insert("alg".to_owned(), json!(self.algorithm()));
        if let Some(kid) = &self.kid {
            members.insert("kid".to_owned(), json!(kid));
        }
        Ok(jwk)
    }

    fn algorithm(&self) -> &'static str {
        match &self.secret {
            Secret::Jwk(key) => match **key {
                Jwk::RSA { .. } => "RS256",
                Jwk::EC { .. } => "ES256",
                Jwk::Symmetric { .. } => "HS256",
            },
            Secret::Ed25519 { .. } => "EdDSA",
        }
    }
}

/// RFC 7638: the hash of the required members, in the order of their names.
fn thumbprint(public: &Json) -> String {
    let required = ["crv", "e", "kty", "n", "x", "y"];
    let members = required.into_iter().filter_map(|name| Some((name, public.get(name)?)));
    let text: Vec<_> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let text = format!("{{{}}}", text.join(","));
    b64(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// jsonwebkey makes no RSA keys, aws-lc-rs makes no JWK.
fn generate_rsa() -> Result<Jwk> {
    let pair =
        RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key can be made"))?;
    let pkcs8 = pair.as_der().map_err(|_| anyhow!("the RSA key cannot be written"))?;
    let numbers = numbers_of(pkcs1_of(pkcs8.as_ref())?)?;
    // RFC 8017 section A.1.2, after the version.
    let [n, _, d, p, q, dp, dq, qi] = numbers;
    Ok(Jwk::RSA {
        public: RsaPublic { e: PublicExponent, n: n.into() },
        private: Some(RsaPrivate {
            d: d.into(),
            p: Some(p.into()),
            q: Some(q.into()),
            dp: Some(dp.into()),
            dq: Some(dq.into()),
            qi: Some(qi.into()),
        }),
    })
}

/// The RSAPrivateKey in a PKCS#8 document (RFC 5208 section 5).
fn pkcs1_of(pkcs8: &[u8]) -> Result<&[u8]> {
    let key = || -> Option<&[u8]> {
        let (_, outer) = Any::from_der(pkcs8).ok()?;
        let (rest, _version) = Integer::from_der(outer.data).ok()?;
        let (rest, _algorithm) = Sequence::from_der(rest).ok()?;
        let (_, key) = Any::from_der(rest).ok()?;
        (key.tag() == Tag::OctetString).then_some(key.data)
    };
    key().context("the RSA key cannot be written")
}

fn numbers_of(pkcs1: &[u8]) -> Result<[Vec<u8>; 8]> {
    let numbers = || -> Option<[Vec<u8>; 8]> {
        let (_, outer) = Any::from_der(pkcs1).ok()?;
        let (mut rest, _version) = Integer::from_der(outer.data).ok()?;
        let mut numbers = Vec::new();
        while let Ok((after, number)) = Integer::from_der(rest) {
            let bytes = number.as_ref();
            numbers.push(bytes.strip_prefix(&[0]).unwrap_or(bytes).to_vec());
            rest = after;
        }
        numbers.try_into().ok()
    };
    numbers().context("the RSA key cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.3.
    #[test]
    fn thumbprints() {
        let jwk = json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "not a part of it",
        });
        assert_eq!(thumbprint(&jwk), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            let key = PrivateKey::generate(algorithm, None).unwrap();
            let text = key.to_private().unwrap().to_string();
            let read = PrivateKey::parse(&text).unwrap();
            assert_eq!(read.to_private().unwrap().to_string(), text);
            assert_eq!(read.kid, Some(thumbprint(&read.to_public().unwrap())));
        }
    }
}
