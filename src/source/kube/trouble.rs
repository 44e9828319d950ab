//! What keeps a kind from being followed, in words that say what to do about it.
//!
//! When to try again is `watching`'s job.

use std::error::Error as _;

use ::kube::{Error as ClientError, core::Status, runtime::watcher};

/// Why a kind is not followed at the moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No right to.
    #[error(
        "no right to {verb} {resource} ({message}): bind a ClusterRole such as that in deploy/ to who \
         Postern is there (docs/kubernetes.md)"
    )]
    Forbidden {
        /// `list` or `watch`.
        verb: &'static str,
        /// Such as `authorizationpolicies.security.istio.io in namespace shop`.
        resource: String,
        /// The server's words.
        message: String,
    },
    /// The cluster does not know the kind.
    #[error(
        "the cluster has no {resource}: install Istio's CRDs, or ours with `postern crds | kubectl \
         apply -f -`"
    )]
    NoSuchKind {
        /// Which.
        resource: String,
    },
    /// The credentials are not accepted.
    #[error("the API server does not accept the credentials: {message}")]
    Unauthorized {
        /// The server's words.
        message: String,
    },
    /// The server has forgotten what came after what was last seen; everything is listed anew.
    #[error("the server has forgotten where the watch was")]
    Expired,
    /// No answer, or its end is missing.
    #[error("the API server cannot be reached: {message}")]
    Unreachable {
        /// Why.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("the API server's answer cannot be read: {message}")]
    Unreadable {
        /// Why.
        message: String,
    },
    /// Any other answer.
    #[error("the API server says {code}: {message}")]
    Refused {
        /// HTTP's.
        code: u16,
        /// The server's words.
        message: String,
    },
}

impl Trouble {
    /// What `error` means for who follows `resource`.
    pub(super) fn of(error: &watcher::Error, resource: &str) -> Self {
        match error {
            watcher::Error::InitialListFailed(error) => Self::of_client(error, "list", resource),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Self::of_client(error, "watch", resource)
            }
            watcher::Error::WatchError(status) => Self::of_status(status, "watch", resource),
            watcher::Error::NoResourceVersion => {
                Self::Unreadable { message: "a list without a version".into() }
            }
        }
    }

    /// What `error` means for who wants to `verb`.
    pub(super) fn of_client(error: &ClientError, verb: &'static str, resource: &str) -> Self {
        match error {
            ClientError::Api(status) => Self::of_status(status, verb, resource),
            ClientError::SerdeError(_) | ClientError::FromUtf8(_) => {
                Self::Unreadable { message: chain(error) }
            }
            other => Self::Unreachable { message: chain(other) },
        }
    }

    fn of_status(status: &Status, verb: &'static str, resource: &str) -> Self {
        let message = shortened(&status.message);
        let resource = resource.to_owned();
        match status.code {
            401 => Self::Unauthorized { message },
            403 => Self::Forbidden { verb, resource, message },
            404 => Self::NoSuchKind { resource },
            410 => Self::Expired,
            // What the client makes of a line that is neither an event nor a status.
            0 => Self::Unreadable { message: "neither an event nor an error".into() },
            code => Self::Refused { code, message },
        }
    }

    /// In one word, for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "forbidden",
            Self::NoSuchKind { .. } => "no_such_kind",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Expired => "expired",
            Self::Unreachable { .. } => "unreachable",
            Self::Unreadable { .. } => "unreadable",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether the watch can go on where it was. If not, everything has to be listed anew: the server
    /// has said that it cannot, or something may have been missed.
    pub(super) fn can_go_on(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unauthorized { .. } | Self::Forbidden { .. } => true,
            Self::Refused { code, .. } => matches!(code, 429 | 500 | 502 | 503),
            // A kind that was gone may be another when it is back.
            Self::NoSuchKind { .. } | Self::Expired | Self::Unreadable { .. } => false,
        }
    }
}

/// The message with all its causes; each says only its own part.
fn chain(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    shortened(&text)
}

/// A proxy may answer with a page.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(500).collect()
}
