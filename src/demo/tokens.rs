//! The issuer of one run: a key, its key set, and tokens good and bad.

use std::{
    fs,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use jsonwebkey::{JsonWebKey, Key};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::story::Token;
use crate::authn::clock::Clock;

/// The issuer that the policies name.
const ISSUER: &str = "https://login.bookinfo.example";
const KEY_ID: &str = "demo";
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The key set and the tokens.
pub(super) struct Tokens {
    jwks: String,
    tokens: Vec<(Token, String)>,
}

impl Tokens {
    pub(super) fn generate() -> Result<Self> {
        let mut key = JsonWebKey::new(Key::generate_p256());
        key.set_algorithm(jsonwebkey::Algorithm::ES256)?;
        key.key_id = Some(KEY_ID.to_owned());
        let public = key.key.to_public().context("a P-256 key has a public part")?.into_owned();
        let public = JsonWebKey { key: Box::new(public), ..key.clone() };
        let jwks = json!({ "keys": [public] }).to_string();

        let now = Clock::system().now().duration_since(UNIX_EPOCH)?;
        let another_key = Key::generate_p256();
        let mut tokens = Vec::new();
        for token in Token::ALL {
            let key = if token == Token::Forged { &another_key } else { &*key.key };
            tokens.push((token, sign(&claims(token, now), key)?));
        }
        Ok(Self { jwks, tokens })
    }

    /// The issuer's public keys.
    pub(super) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// The value of an `authorization` header.
    pub(super) fn bearer(&self, token: Token) -> String {
        let text = self.tokens.iter().find(|(other, _)| *other == token).map(|(_, text)| text);
        format!("Bearer {}", text.map_or("", String::as_str))
    }

    /// Writes a `.jwt` for each token, and the key set.
    pub(super) fn write_to(&self, folder: &Path) -> Result<()> {
        let tokens = self.tokens.iter().map(|(token, text)| (token.file(), text));
        for (name, text) in tokens.chain([("jwks.json", &self.jwks)]) {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        }
        Ok(())
    }
}

fn claims(token: Token, now: Duration) -> Value {
    let expires = match token {
        Token::Expired => now.saturating_sub(HOUR),
        Token::Moderator | Token::Reader | Token::Forged | Token::WrongAudience => now + HOUR,
    };
    let mut claims = json!({
        "iss": ISSUER,
        "sub": if token == Token::Reader { "tom" } else { "maria" },
        "aud": if token == Token::WrongAudience { "bookshop" } else { "bookinfo" },
        "iat": now.saturating_sub(2 * HOUR).as_secs(),
        "exp": expires.as_secs(),
    });
    if let Some(members) = claims.as_object_mut()
        && token != Token::Reader
    {
        members.insert("groups".into(), json!(["moderators"]));
    }
    claims
}

fn sign(claims: &Value, key: &Key) -> Result<String> {
    let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
    let key = EncodingKey::from_ec_der(&key.try_to_der()?);
    Ok(jsonwebtoken::encode(&header, claims, &key)?)
}
