//! `postern jwt sign`

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value as Json};

use crate::cli::print;
use crate::manifest::time::parse_duration;

use super::key::PrivateKey;
use super::time;

/// Claims that are texts, whatever they look like.
const TEXTS: [&str; 3] = ["iss", "sub", "jti"];

/// Sign a token for tests
///
/// It has `iat` and `exp` unless told otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// The private JWK, as `postern jwt keygen` writes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// A claim, such as sub=alice, level=7 or groups=["a","b"]: JSON, or else a text
    #[arg(long = "claim", short, value_name = "NAME=VALUE")]
    claims: Vec<String>,

    /// How long it is good, such as 1h or 90s; `never` leaves `exp` out
    #[arg(long, value_name = "TIME", default_value = "1h")]
    expires_in: String,

    /// The time to sign at, such as 2026-05-01T12:00:00Z [default: the present]
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
}

impl Sign {
    pub(super) fn run(&self) -> Result<bool> {
        let claims = self.claims()?;
        let name = self.key.display();
        let text =
            fs::read_to_string(&self.key).with_context(|| format!("cannot read `{name}`"))?;
        let key =
            PrivateKey::parse(&text).with_context(|| format!("`{name}` is no private key"))?;
        print(key.sign(&Json::Object(claims))?);
        Ok(true)
    }

    fn claims(&self) -> Result<Map<String, Json>> {
        let now = time(self.now.as_deref())?;
        let mut claims = Map::new();
        for claim in &self.claims {
            let Some((name, value)) = claim.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                bail!("--claim: `{claim}` is not a claim, such as `sub=alice`");
            };
            let json = serde_json::from_str(value).ok().filter(|_| !TEXTS.contains(&name));
            let value = json.unwrap_or_else(|| Json::String(value.to_owned()));
            if claims.insert(name.to_owned(), value).is_some() {
                bail!("--claim: `{name}` is there twice");
            }
        }
        claims.entry("iat").or_insert_with(|| now.into());
        if self.expires_in != "never" && !claims.contains_key("exp") {
            let span = parse_duration(&self.expires_in);
            let span = span.with_context(|| {
                format!("--expires-in: `{}` is not a time, such as `1h` or `90s`", self.expires_in)
            })?;
            claims.insert("exp".to_owned(), now.saturating_add(span.as_secs()).into());
        }
        Ok(claims)
    }
}
