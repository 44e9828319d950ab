//! One JSON Web Token (RFC 7519): its form, its claims, its time.
//!
//! As strict and as lenient as Envoy's parser, check by check in its order; signatures are
//! `key_set`'s job.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::json;
use crate::key_set::{Algorithm, KeySet};
use crate::model::{JwtError, Value};

/// How far clocks may differ: Envoy's default, which Istio does not change.
pub const CLOCK_SKEW_SECONDS: u64 = 60;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A token whose form is good. Nothing is verified yet.
#[derive(Debug)]
pub(super) struct Token {
    algorithm: Algorithm,
    /// Empty where the header has none.
    pub(super) key_id: String,
    payload: Value,
    /// Empty where the payload has none.
    pub(super) issuer: String,
    audiences: Vec<String>,
    /// 0 where the payload has none, which never expires.
    expires: u64,
    not_before: u64,
    /// What is signed: the first two sections with the dot between them.
    signing_input: String,
    /// Where the second one begins.
    payload_at: usize,
    signature: Vec<u8>,
}

impl Token {
    /// Parses the compact form; of a text over `max_size` bytes nothing is read.
    pub(super) fn parse(text: &str, max_size: usize) -> Result<Self, JwtError> {
        if text.len() > max_size {
            return Err(JwtError::TooLarge);
        }
        let mut sections = sections(text);
        let (Some(header_section), Some(payload_section), Some(signature_section), None) =
            (sections.next(), sections.next(), sections.next(), sections.next())
        else {
            return Err(JwtError::BadFormat);
        };

        let header = decode(header_section).ok_or(JwtError::HeaderBase64)?;
        let header = json::parse_object(&header).ok_or(JwtError::HeaderJson)?;
        let Some(Value::String(algorithm)) = header.get("alg") else {
            return Err(JwtError::HeaderAlg);
        };
        let algorithm = Algorithm::from_name(algorithm).ok_or(JwtError::AlgUnsupported)?;
        let key_id = string(&header, "kid", JwtError::HeaderKid)?.to_owned();
        // RFC 7515 section 4.1.11: what is named here must be understood, and nothing is.
        if header.get("crit").is_some() {
            return Err(JwtError::CritUnsupported);
        }
        // Both change what the payload is. Who says so without `crit` gets no other reading of it.
        if header.get("zip").is_some() {
            return Err(JwtError::ZipUnsupported);
        }
        if header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
            return Err(JwtError::B64Unsupported);
        }

        let payload = decode(payload_section).ok_or(JwtError::PayloadBase64)?;
        let payload = json::parse_object(&payload).ok_or(JwtError::PayloadJson)?;
        let issuer = string(&payload, "iss", JwtError::IssNotString)?.to_owned();
        string(&payload, "sub", JwtError::SubNotString)?;
        seconds(&payload, "iat", JwtError::IatNotInteger, JwtError::IatOutOfRange)?;
        let not_before =
            seconds(&payload, "nbf", JwtError::NbfNotInteger, JwtError::NbfOutOfRange)?;
        let expires = seconds(&payload, "exp", JwtError::ExpNotInteger, JwtError::ExpOutOfRange)?;
        string(&payload, "jti", JwtError::JtiNotString)?;
        let audiences = audiences(&payload)?;
        let signature = decode(signature_section).ok_or(JwtError::SignatureBase64)?;

        Ok(Self {
            algorithm,
            key_id,
            issuer,
            audiences,
            expires,
            not_before,
            signing_input: [header_section, payload_section].join("."),
            payload_at: header_section.len() + 1,
            signature,
            payload,
        })
    }

    /// `nbf` and `exp` at `now`, with the clock skew on both sides.
    pub(super) fn check_time(&self, now: u64) -> Result<(), JwtError> {
        if now.saturating_add(CLOCK_SKEW_SECONDS) < self.not_before {
            return Err(JwtError::NotYetValid);
        }
        if self.expires > 0 && now > self.expires.saturating_add(CLOCK_SKEW_SECONDS) {
            return Err(JwtError::Expired);
        }
        Ok(())
    }

    /// The last second in which [`Token::check_time`] says that still; `None` where it always will.
    pub(super) fn unchanged_through(&self, said: Result<(), JwtError>) -> Option<u64> {
        match said {
            Ok(()) if self.expires > 0 => Some(self.expires.saturating_add(CLOCK_SKEW_SECONDS)),
            // It is before that.
            Err(JwtError::NotYetValid) => {
                Some(self.not_before.saturating_sub(CLOCK_SKEW_SECONDS + 1))
            }
            Ok(()) | Err(_) => None,
        }
    }

    /// The `kid` of that of the keys that it is signed with, if it has one.
    pub(super) fn signer<'k>(&self, keys: &'k KeySet) -> Result<Option<&'k str>, JwtError> {
        let input = self.signing_input.as_bytes();
        keys.signer(self.algorithm, Some(&self.key_id), input, &self.signature)
    }

    /// `alg`
    pub(super) fn algorithm_name(&self) -> &'static str {
        self.algorithm.name()
    }

    /// What the middle section holds; can be had once.
    pub(super) fn take_payload(&mut self) -> Value {
        std::mem::replace(&mut self.payload, Value::Null)
    }

    /// The middle section as it came.
    pub(super) fn payload_section(&self) -> &str {
        self.signing_input.get(self.payload_at..).unwrap_or_default()
    }

    /// When it ceases to be good, whoever asks, in seconds since 1970.
    pub(super) fn ends(&self) -> u64 {
        match self.expires {
            0 => u64::MAX,
            // It is still good in the last second.
            expires => expires.saturating_add(CLOCK_SKEW_SECONDS).saturating_add(1),
        }
    }

    /// Whether one of the token's audiences is one of `allowed` (normalised); none allowed is all.
    pub(super) fn check_audience(
        &self,
        allowed: &[Box<str>],
        normalize: impl Fn(&str) -> &str,
    ) -> Result<(), JwtError> {
        let fits = |audience: &String| allowed.iter().any(|a| **a == *normalize(audience));
        if allowed.is_empty() || self.audiences.iter().any(fits) {
            Ok(())
        } else {
            Err(JwtError::AudienceNotAllowed)
        }
    }
}

/// What stands between the dots. Nothing does no harm, so extra dots do none.
pub(super) fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').filter(|section| !section.is_empty())
}

/// base64url with or without padding; white space is skipped, as Envoy's decoder does.
pub(super) fn decode(section: &str) -> Option<Vec<u8>> {
    // White space never decodes: only where this fails is there any need to look for it.
    decode_as_it_is(section).or_else(|| {
        let text: String = section.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        decode_as_it_is(&text)
    })
}

fn decode_as_it_is(text: &str) -> Option<Vec<u8>> {
    // Padding that is there is whole. Elsewhere than at the end, `=` does not decode.
    if text.ends_with('=') && !text.len().is_multiple_of(4) {
        return None;
    }
    BASE64URL.decode(text).ok()
}

/// A string claim; empty where absent.
fn string<'v>(object: &'v Value, name: &str, wrong: JwtError) -> Result<&'v str, JwtError> {
    match object.get(name) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(wrong),
    }
}

/// A time claim in whole seconds, fractions cut off; 0 where absent.
fn seconds(
    object: &Value,
    name: &str,
    wrong: JwtError,
    out_of_range: JwtError,
) -> Result<u64, JwtError> {
    match object.get(name) {
        None => Ok(0),
        Some(Value::Number(n)) if *n < 0.0 || *n >= u64::MAX as f64 => Err(out_of_range),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range, and the fraction is meant to go"
        )]
        Some(Value::Number(n)) => Ok(*n as u64),
        Some(_) => Err(wrong),
    }
}

fn audiences(payload: &Value) -> Result<Vec<String>, JwtError> {
    match payload.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(audience)) => Ok(vec![audience.clone()]),
        Some(Value::List(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or(JwtError::AudNotStrings))
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Err(JwtError::AudNotStrings)
        }
    }
}

#[cfg(test)]
mod tests;
