//! `postern jwt`: tokens, for people.
//!
//! What a token is worth says `authn`, as it does for requests.

mod claims;
mod decode;
#[cfg(feature = "sign")]
mod key;
#[cfg(feature = "sign")]
mod keygen;
#[cfg(feature = "sign")]
mod sign;
mod verdict;
mod verify;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::authn::clock::Clock;
use crate::manifest::time::parse_timestamp;

#[cfg(feature = "test")]
pub(super) use key::{Algorithm, PrivateKey};

use super::could_not_run;

/// Read, check and make tokens
#[derive(Debug, clap::Args)]
pub(super) struct Jwt {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Decode(decode::Decode),
    Verify(Box<verify::Verify>),
    #[cfg(feature = "sign")]
    Keygen(keygen::Keygen),
    #[cfg(feature = "sign")]
    Sign(sign::Sign),
}

impl Jwt {
    pub(super) fn run(&self) -> ExitCode {
        let done = match &self.command {
            Command::Decode(decode) => decode.run(),
            Command::Verify(verify) => verify.run(),
            #[cfg(feature = "sign")]
            Command::Keygen(keygen) => keygen.run(),
            #[cfg(feature = "sign")]
            Command::Sign(sign) => sign.run(),
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }
}

/// The token that an argument says, or stdin.
fn read_token(argument: &str) -> Result<String> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("cannot read the token from stdin")?;
    }
    let text = text.trim();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) | None => text,
    };
    if token.is_empty() {
        bail!("the token is empty");
    }
    Ok(token.to_owned())
}

/// The time that a flag says, or the present one, in seconds since 1970.
fn time(flag: Option<&str>) -> Result<u64> {
    let Some(text) = flag else {
        return Ok(Clock::system().unix_seconds());
    };
    let seconds = parse_timestamp(text).and_then(|seconds| u64::try_from(seconds).ok());
    seconds
        .with_context(|| format!("--now: `{text}` is not a time, such as `2026-05-01T12:00:00Z`"))
}
