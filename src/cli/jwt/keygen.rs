//! `postern jwt keygen`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use crate::cli::print;

use super::key::{Algorithm, PrivateKey};

/// Make a key for tests: the private JWK, and the JWKS that verifies what it signs
///
/// What gets no file goes to stdout, the key before the set, one line each. A file that exists is
/// left alone.
#[derive(Debug, clap::Args)]
pub(super) struct Keygen {
    /// What the key signs
    #[arg(long, value_enum, default_value = "ES256", ignore_case = true)]
    algorithm: Algorithm,

    /// Name of the key [default: its thumbprint]
    #[arg(long, value_name = "KID")]
    kid: Option<String>,

    /// File for the private key, which nobody else may read
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// File for the key set
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

impl Keygen {
    pub(super) fn run(&self) -> Result<bool> {
        // Before the first of two files is written.
        for file in [&self.key, &self.jwks].into_iter().flatten() {
            if file.exists() {
                bail!("`{}` exists already", file.display());
            }
        }
        let key = PrivateKey::generate(self.algorithm, self.kid.as_deref())?;
        write(self.key.as_deref(), &key.to_private()?, 0o600)?;
        write(self.jwks.as_deref(), &key.to_jwks()?, 0o644)?;
        Ok(true)
    }
}

fn write(file: Option<&Path>, jwk: &Json, mode: u32) -> Result<()> {
    let Some(path) = file else {
        print(jwk);
        return Ok(());
    };
    let name = path.display();
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("`{name}` exists already"),
        Err(error) => return Err(error).with_context(|| format!("cannot write `{name}`")),
    };
    writeln!(file, "{jwk:#}").with_context(|| format!("cannot write `{name}`"))
}
