//! What keeps a kind from being followed, in words that say what to do about it.
//!
//! When to try again is `watching`'s job.

use std::error::Error;

use ::kube::{Error as ClientError, client::AuthError, core::Status, runtime::watcher};

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
        if let ClientError::Api(status) = error {
            return Self::of_status(status, verb, resource);
        }
        let message = words(error);
        if matches!(error, ClientError::SerdeError(_) | ClientError::FromUtf8(_)) {
            return Self::Unreadable { message };
        }
        if auth_error(error).is_some() {
            return Self::Unauthorized { message };
        }
        Self::Unreachable { message }
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
pub(crate) fn words(error: &ClientError) -> String {
    if let Some(error) = auth_error(error) {
        return auth_words(error);
    }
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

/// The error of the credentials behind an error, if there is one.
fn auth_error(error: &ClientError) -> Option<&AuthError> {
    let mut cause = Some(error as &dyn Error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Most texts of these show what a file or a program said, or how it was called: it may be a token.
fn auth_words(error: &AuthError) -> String {
    if let AuthError::AuthExecRun { out, .. } = error {
        return format!("the kubeconfig's program for credentials failed: {}", out.status);
    }
    if let AuthError::AuthExecStart(error) | AuthError::ReadTokenFile(error, _) = error {
        return format!("the program or file that has them cannot be read: {error}");
    }
    "what the kubeconfig or its program says is not understood".into()
}

/// A proxy may answer with a page.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(500).collect()
}
