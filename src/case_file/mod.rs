//! Policies, requests, and the answers that they must get: what `postern test` runs, and what the
//! project's own tests of meaning are written in. docs/testing.md describes the format.
//!
//! Reads the file and says whether an answer is the one that was expected. Asking is for others.

mod answer;
mod expected;
mod read;
mod token;

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::diagnostic::Diagnostic;
use crate::manifest::node::Node;
use crate::model::Position;
use crate::request_file::RequestFile;

pub use answer::Answer;
pub use expected::Expected;

/// One set of policies, and requests to it.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseFile {
    /// `settings`, as a `--config` file has them, with `workload` as `namespace` and `labels`.
    pub settings: Map<String, Json>,
    /// `policies`; `None` where the file leaves them to whoever runs it.
    pub policies: Option<Vec<PolicySource>>,
    /// `keys`: the key sets of issuers, in place of those that the policies name.
    pub keys: Vec<IssuerKeys>,
    /// `requests`
    pub requests: Vec<Case>,
}

/// One entry of `policies`.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicySource {
    /// A file or directory, seen from the case file.
    Path(String),
    /// A resource, written where it is needed.
    Inline(Node),
}

/// One entry of `keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerKeys {
    /// Whose.
    pub issuer: String,
    /// The key set.
    pub source: KeysText,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysText {
    /// In a file, seen from the case file.
    Path(String),
    /// Here.
    Inline(String),
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// `name`
    pub name: String,
    /// Where it stands.
    pub position: Position,
    /// `request`, as `postern check` takes it; by default a plain `GET /`.
    pub request: RequestFile,
    /// `token`: made for the request when it is sent.
    pub token: Option<TokenRecipe>,
    /// `expect`
    pub expect: Expected,
}

/// A token that is signed when the case runs, with a key made for the run.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRecipe {
    /// `claims`, with `iss`.
    pub claims: Map<String, Json>,
    /// `expiresIn`: seconds from the time of the request to `exp`; an hour by default, `None` where
    /// the claims say it themselves.
    pub expires_in: Option<i64>,
    /// `signedBy`
    pub signed_by: Signer,
    /// `in`
    pub place: TokenPlace,
}

impl TokenRecipe {
    /// How long tokens last that do not say it.
    pub const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

    /// Its `iss`.
    pub fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Json::as_str).unwrap_or_default()
    }
}

/// Whose key signs a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signer {
    /// The issuer's.
    #[default]
    Issuer,
    /// One that claims to be the issuer's and is not.
    Forger,
    /// One that the issuer has never heard of.
    Stranger,
}

/// Where a token stands in the request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TokenPlace {
    /// `authorization: Bearer <token>`
    #[default]
    Authorization,
    /// A header, its name in lower case, with the token alone.
    Header(String),
    /// A parameter of the query.
    Param(String),
    /// A cookie.
    Cookie(String),
}

impl CaseFile {
    /// Reads a file, or says everything that is wrong with it.
    pub fn read(text: &str, file: Option<&str>) -> Result<Self, Vec<Diagnostic>> {
        read::case_file(text, file)
    }
}

#[cfg(test)]
mod tests;
