//! What can go wrong with a key fetch.
//!
//! Messages name hosts and paths, never the credentials or the query of a URL, and nothing of an
//! answer's body.

use std::{error::Error, fmt::Write};

use crate::key_set::InvalidKeySet;
use crate::outbound::OutboundError;

/// Why a source gave no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The step before the fetch, finding out where the keys are.
    #[error("OIDC discovery failed")]
    Discovery(#[source] Box<Self>),
    /// Nothing says where the keys are.
    #[error("neither a `jwksUri` nor an issuer to discover it from")]
    NoIssuer,
    /// No answer at all, or too much of one.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// Not 2xx.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// Asked.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// A redirect without a place to go to.
    #[error("`{url}` redirects to nowhere usable")]
    Redirect {
        /// Asked.
        url: String,
    },
    /// From https to http.
    #[error("`{url}` redirects from https to http")]
    Downgrade {
        /// Asked.
        url: String,
    },
    /// A loop, most likely.
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
    /// The discovery document has no string `jwks_uri`.
    #[error("`{url}` is no discovery document with a `jwks_uri`")]
    NotADiscoveryDocument {
        /// Asked.
        url: String,
    },
    /// The body is no key set.
    #[error("the answer of `{url}` is no key set")]
    NotAKeySet {
        /// Asked.
        url: String,
        /// Why not.
        #[source]
        error: InvalidKeySet,
    },
    /// The body is not text.
    #[error("the answer of `{url}` is not UTF-8")]
    NotText {
        /// Asked.
        url: String,
    },
    /// Postern is stopping.
    #[error("stopped")]
    Stopped,
}

impl FetchError {
    /// The message and those of its causes, in one line.
    pub fn describe(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            write!(line, ": {error}").unwrap_or_default();
            cause = error.source();
        }
        line
    }

    /// The metric label this error counts under.
    pub fn result(&self) -> AttemptResult {
        match self {
            Self::Discovery(error) => error.result(),
            Self::Outbound(error) => match error {
                OutboundError::Resolve { .. }
                | OutboundError::Connect { .. }
                | OutboundError::ConnectUnix { .. }
                | OutboundError::Tls { .. }
                | OutboundError::NoRoots => AttemptResult::Connect,
                OutboundError::Blocked { .. } => AttemptResult::Blocked,
                OutboundError::Timeout(_) => AttemptResult::Timeout,
                OutboundError::Http { .. } => AttemptResult::Http,
                OutboundError::Url | OutboundError::TooLarge { .. } => AttemptResult::Parse,
            },
            Self::Stopped => AttemptResult::Connect,
            Self::Downgrade { .. } => AttemptResult::Blocked,
            Self::Status { .. } | Self::Redirect { .. } | Self::TooManyRedirects(_) => {
                AttemptResult::Http
            }
            Self::NoIssuer
            | Self::NotADiscoveryDocument { .. }
            | Self::NotAKeySet { .. }
            | Self::NotText { .. } => AttemptResult::Parse,
        }
    }
}

/// How an attempt ended, as a closed set of metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// Keys.
    Ok,
    /// Not done in time.
    Timeout,
    /// No HTTP, another status than 2xx, redirects that lead nowhere.
    Http,
    /// No key set, or no URL.
    Parse,
    /// An address that no keys are fetched from, or a redirect from https to http.
    Blocked,
    /// No name, no connection, no TLS session.
    Connect,
}

impl AttemptResult {
    /// Every result, so that metrics can list them from the start.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Timeout, Self::Http, Self::Parse, Self::Blocked, Self::Connect];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Http => "http",
            Self::Parse => "parse",
            Self::Blocked => "blocked",
            Self::Connect => "connect",
        }
    }
}
