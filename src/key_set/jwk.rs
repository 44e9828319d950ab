//! One JWK to the verifiers it may serve.
//!
//! Takes and leaves keys where Envoy does; which key a token asks for is `KeySet`'s job.

use aws_lc_rs::{
    hmac,
    signature::{
        self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents,
    },
};
use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use super::Algorithm;

/// Why a key of a set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SkipReason {
    /// An entry of `keys` that is not an object.
    #[error("not an object")]
    NotAnObject,
    /// The member is required for this key type.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// The member must be a string.
    #[error("`{0}` is not a string")]
    NotAString(&'static str),
    /// The member must be base64url.
    #[error("`{0}` is not base64url")]
    Base64(&'static str),
    /// Not `RSA`, `EC`, `OKP` or `oct`.
    #[error("`kty` is none of RSA, EC, OKP, oct")]
    KeyType,
    /// `alg` belongs to another key type.
    #[error("`alg` is not an algorithm of this key type")]
    AlgorithmOfOtherType,
    /// `alg` demands another curve than `crv`.
    #[error("`alg` and `crv` do not go together")]
    AlgorithmOfOtherCurve,
    /// Not P-256, P-384, P-521, or Ed25519.
    #[error("the curve is not supported")]
    Curve,
    /// `x` and `y` are no point of the curve, or `x` is no Ed25519 key.
    #[error("not a public key of its curve")]
    Point,
    /// Envoy takes 3 and 65537.
    #[error("the public exponent is neither 3 nor 65537")]
    Exponent,
    /// An even modulus is no product of two primes.
    #[error("the modulus is even")]
    EvenModulus,
    /// RFC 7518 section 3.3; Envoy takes shorter ones.
    #[error("the modulus has fewer than 2048 bits")]
    ModulusTooShort,
    /// What the library verifies with.
    #[error("the modulus has more than 8192 bits")]
    ModulusTooLong,
    /// An HMAC key that everyone knows.
    #[error("the secret is empty")]
    EmptySecret,
}

/// One usable key.
pub(super) struct Key {
    /// `None` where absent or empty: fits any token.
    kid: Option<Box<str>>,
    alg: DeclaredAlgorithm,
    /// Only algorithms of the key's own type: what is not here cannot be confused.
    verifiers: Box<[(Algorithm, Verifier)]>,
}

/// `alg` of a key.
enum DeclaredAlgorithm {
    Absent,
    Exactly(Algorithm),
    /// Of the key's family by its first letters, such as `RSA-OAEP`: Envoy takes the key, and no
    /// token can ask for it.
    NotForTokens,
}

enum Verifier {
    PublicKey(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Key {
    /// Reads one entry of `keys`.
    pub(super) fn parse(jwk: &Value) -> Result<Self, SkipReason> {
        let members = Members(jwk.as_object().ok_or(SkipReason::NotAnObject)?);
        let kty = members.required("kty")?;
        let alg = members.lenient("alg");
        let verifiers = match kty {
            "RSA" => rsa(&members, alg),
            "EC" => ec(&members, alg),
            "OKP" => okp(&members, alg),
            "oct" => oct(&members, alg),
            _ => Err(SkipReason::KeyType),
        }?;
        let declared = match alg.map(Algorithm::from_name) {
            None => DeclaredAlgorithm::Absent,
            Some(Some(algorithm)) => DeclaredAlgorithm::Exactly(algorithm),
            Some(None) => DeclaredAlgorithm::NotForTokens,
        };
        Ok(Self { kid: kid(jwk).map(Into::into), alg: declared, verifiers: verifiers.into() })
    }

    /// Its `kid`, where it has one.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether a token with this `kid` and `alg` asks for this key, be it of the right type or not:
    /// Envoy compares names first, and the error it answers with depends on that.
    pub(super) fn is_asked_for(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        let kid_fits = match (kid, self.kid.as_deref()) {
            (Some(asked), Some(own)) => asked == own,
            (None, _) | (_, None) => true,
        };
        let alg_fits = match self.alg {
            DeclaredAlgorithm::Absent => true,
            DeclaredAlgorithm::Exactly(own) => own == algorithm,
            DeclaredAlgorithm::NotForTokens => false,
        };
        kid_fits && alg_fits
    }

    /// Whether it is one of Ed25519.
    pub(super) fn is_ed25519(&self) -> bool {
        self.verifiers.iter().any(|(algorithm, _)| *algorithm == Algorithm::EdDsa)
    }

    /// Whether the signature is this key's.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verifier = self.verifiers.iter().find(|(own, _)| *own == algorithm);
        verifier.is_some_and(|(_, verifier)| match verifier {
            Verifier::PublicKey(key) => key.verify_sig(message, signature).is_ok(),
            Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        })
    }
}

/// `kid` of an entry of `keys`, as far as it has one.
pub(super) fn kid(jwk: &Value) -> Option<&str> {
    Members(jwk.as_object()?).lenient("kid")
}

type Verifiers = Vec<(Algorithm, Verifier)>;

fn rsa(members: &Members<'_>, alg: Option<&str>) -> Result<Verifiers, SkipReason> {
    if alg.is_some_and(|alg| !alg.starts_with("RS") && !alg.starts_with("PS")) {
        return Err(SkipReason::AlgorithmOfOtherType);
    }
    let n = members.required("n")?;
    let e = members.required("e")?;
    let n = without_leading_zeros(&base64url(n).ok_or(SkipReason::Base64("n"))?).to_vec();
    let e = without_leading_zeros(&base64url(e).ok_or(SkipReason::Base64("e"))?).to_vec();
    if e != [3] && e != [1, 0, 1] {
        return Err(SkipReason::Exponent);
    }
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if bits < 2048 {
        return Err(SkipReason::ModulusTooShort);
    }
    if bits > 8192 {
        return Err(SkipReason::ModulusTooLong);
    }
    if n.last().is_some_and(|byte| byte % 2 == 0) {
        return Err(SkipReason::EvenModulus);
    }
    let components = RsaPublicKeyComponents { n, e };
    let parameters: [(Algorithm, &'static RsaParameters); 6] = [
        (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
        (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
        (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
    ];
    let parse = |parameters| {
        components.to_parsed_public_key(parameters).map_err(|_| SkipReason::Base64("n"))
    };
    parameters
        .into_iter()
        .filter(|(algorithm, _)| serves(alg, *algorithm))
        .map(|(algorithm, parameters)| Ok((algorithm, Verifier::PublicKey(parse(parameters)?))))
        .collect()
}

fn ec(members: &Members<'_>, alg: Option<&str>) -> Result<Verifiers, SkipReason> {
    if alg.is_some_and(|alg| !alg.starts_with("ES")) {
        return Err(SkipReason::AlgorithmOfOtherType);
    }
    let crv = members.optional("crv")?.filter(|crv| !crv.is_empty());
    let (algorithm, field_len, verification): (_, _, &'static EcdsaVerificationAlgorithm) =
        match (alg, crv) {
            (None, None | Some("P-256")) | (Some("ES256"), None | Some("P-256")) => {
                (Algorithm::Es256, 32, &signature::ECDSA_P256_SHA256_FIXED)
            }
            (None, Some("P-384")) | (Some("ES384"), None | Some("P-384")) => {
                (Algorithm::Es384, 48, &signature::ECDSA_P384_SHA384_FIXED)
            }
            (None, Some("P-521")) | (Some("ES512"), None | Some("P-521")) => {
                (Algorithm::Es512, 66, &signature::ECDSA_P521_SHA512_FIXED)
            }
            (Some(_), Some(_)) => return Err(SkipReason::AlgorithmOfOtherCurve),
            (Some(_), None) | (None, Some(_)) => return Err(SkipReason::Curve),
        };
    let x = members.required("x")?;
    let y = members.required("y")?;
    let x = base64url(x).ok_or(SkipReason::Base64("x"))?;
    let y = base64url(y).ok_or(SkipReason::Base64("y"))?;
    // SEC 1: 4, then both coordinates at the field's full length.
    let mut point = vec![4];
    for coordinate in [x, y] {
        let coordinate = without_leading_zeros(&coordinate);
        let padding = field_len_minus(field_len, coordinate.len())?;
        point.resize(point.len() + padding, 0);
        point.extend_from_slice(coordinate);
    }
    let key = ParsedPublicKey::new(verification, point).map_err(|_| SkipReason::Point)?;
    Ok(vec![(algorithm, Verifier::PublicKey(key))])
}

fn field_len_minus(field_len: usize, len: usize) -> Result<usize, SkipReason> {
    field_len.checked_sub(len).ok_or(SkipReason::Point)
}

/// RFC 8037.
fn okp(members: &Members<'_>, alg: Option<&str>) -> Result<Verifiers, SkipReason> {
    if alg.is_some_and(|alg| alg != Algorithm::EdDsa.name()) {
        return Err(SkipReason::AlgorithmOfOtherType);
    }
    if members.required("crv")? != "Ed25519" {
        return Err(SkipReason::Curve);
    }
    let x = base64url(members.required("x")?).ok_or(SkipReason::Base64("x"))?;
    // The library would take a longer X.509 form as well.
    if x.len() != signature::ED25519_PUBLIC_KEY_LEN {
        return Err(SkipReason::Point);
    }
    let key = ParsedPublicKey::new(&signature::ED25519, x).map_err(|_| SkipReason::Point)?;
    Ok(vec![(Algorithm::EdDsa, Verifier::PublicKey(key))])
}

fn oct(members: &Members<'_>, alg: Option<&str>) -> Result<Verifiers, SkipReason> {
    let hashes = [
        (Algorithm::Hs256, hmac::HMAC_SHA256),
        (Algorithm::Hs384, hmac::HMAC_SHA384),
        (Algorithm::Hs512, hmac::HMAC_SHA512),
    ];
    if alg.is_some() && !hashes.iter().any(|(algorithm, _)| serves(alg, *algorithm)) {
        return Err(SkipReason::AlgorithmOfOtherType);
    }
    let secret = base64url(members.required("k")?).ok_or(SkipReason::Base64("k"))?;
    if secret.is_empty() {
        return Err(SkipReason::EmptySecret);
    }
    Ok(hashes
        .into_iter()
        .filter(|(algorithm, _)| serves(alg, *algorithm))
        .map(|(algorithm, hash)| {
            (algorithm, Verifier::Secret(Box::new(hmac::Key::new(hash, &secret))))
        })
        .collect())
}

fn serves(alg: Option<&str>, algorithm: Algorithm) -> bool {
    alg.is_none_or(|alg| alg == algorithm.name())
}

/// The members of a JWK, read as Envoy reads them.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    fn optional(&self, name: &'static str) -> Result<Option<&'a str>, SkipReason> {
        self.0.get(name).map(|value| value.as_str().ok_or(SkipReason::NotAString(name))).transpose()
    }

    fn required(&self, name: &'static str) -> Result<&'a str, SkipReason> {
        self.optional(name)?.ok_or(SkipReason::Missing(name))
    }

    /// `kid` and `alg`: a value that is no string, or empty, counts as absent.
    fn lenient(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str).filter(|value| !value.is_empty())
    }
}

fn without_leading_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Base64url as Envoy's library reads it: white space is skipped, the padding is absent or
/// complete (a dot also pads), and bits beyond the last whole byte are ignored.
fn base64url(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new()
            .with_encode_padding(false)
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
    );
    let is_space = |c: &char| matches!(c, '\t'..='\r' | ' ');
    let dense: String = text.chars().filter(|c| !is_space(c)).collect();
    let digits = dense.trim_end_matches(['=', '.']);
    let padding = dense.len() - digits.len();
    let complete = (4 - digits.len() % 4) % 4;
    if padding != 0 && padding != complete {
        return None;
    }
    LENIENT.decode(digits).ok()
}
