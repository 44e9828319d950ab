//! `postern jwt decode`

use anyhow::Result;
use serde_json::{Map, Value as Json, json};

use crate::authn::{self, Inspection};
use crate::cli::check::Output;
use crate::cli::print;
use crate::manifest::time::format_timestamp;

use super::{claims, read_token, time};

/// Show what stands in a token; nothing of it is verified
///
/// Ends with 0 if Postern can read the token, 1 if its form alone is a reason to refuse it.
#[derive(Debug, clap::Args)]
pub(super) struct Decode {
    /// The token; `-` reads it from stdin, which keeps it out of the shell's history
    token: String,

    /// The time to tell times from, such as 2026-05-01T12:00:00Z [default: the present]
    #[arg(long, value_name = "TIME")]
    now: Option<String>,

    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Decode {
    pub(super) fn run(&self) -> Result<bool> {
        let now = time(self.now.as_deref())?;
        let found = authn::inspect(&read_token(&self.token)?, authn::DEFAULT_MAX_TOKEN_SIZE);
        match self.output {
            Output::Human => print(human(&found, now)),
            Output::Json => print(format_args!("{:#}", json(&found, now))),
        }
        Ok(found.error.is_none())
    }
}

fn human(found: &Inspection, now: u64) -> String {
    let mut lines = vec![
        "NOT VERIFIED  anyone can write such a token; `postern jwt verify` checks one".to_owned(),
    ];
    for (name, section) in [("header", &found.header), ("claims", &found.payload)] {
        lines.push(format!("\n{name}"));
        match (section, claims::members(section.as_deref())) {
            (_, Some(members)) => lines.extend(claims::lines(&members, now)),
            (Some(bytes), None) => {
                let text = String::from_utf8_lossy(bytes);
                lines.push(format!("  not a JSON object: {}", claims::plain(&text)));
            }
            (None, None) => lines.push("  not there, or not base64url".to_owned()),
        }
    }
    let form = match found.error {
        None => "form: good".to_owned(),
        Some(error) => format!("form: refused by every rule with {}: {error}", error.status()),
    };
    let signature = match &found.signature {
        Some(signature) => format!("signature ({} bytes)", signature.len()),
        None => "signature (none)".to_owned(),
    };
    lines.push(format!("\nchecked      {form}"));
    lines.push(format!("not checked  {signature}, issuer, audience, times"));
    lines.join("\n")
}

fn json(found: &Inspection, now: u64) -> Json {
    let header = claims::members(found.header.as_deref());
    let payload = claims::members(found.payload.as_deref());
    let times: Map<String, Json> = payload
        .iter()
        .flat_map(claims::times)
        .map(|(name, at)| {
            let from_now = i128::from(at) - i128::from(now);
            let from_now = i64::try_from(from_now).unwrap_or(i64::MAX);
            (name.to_owned(), json!({"at": format_timestamp(at), "secondsFromNow": from_now}))
        })
        .collect();
    json!({
        "version": 1,
        "verified": false,
        "notChecked": ["signature", "issuer", "audience", "times"],
        "formError": found.error.map(|error| error.to_string()),
        "header": header,
        "claims": payload,
        "times": times,
        "signatureBytes": found.signature.as_ref().map(Vec::len),
    })
}
