//! `POST /explain`: why a request would be answered as it would.

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::Admin;

/// The largest request that is explained: one with all the headers and tokens that Envoy takes.
pub(super) const MOST_BYTES: usize = 1024 * 1024;

/// For whom an explanation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainFormat {
    /// People: `?output=human`.
    Human,
    /// Programs.
    Json,
    /// Programs that show it to people, too: with what they would be told as `text`.
    JsonWithText,
}

/// What is to be explained.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// A request file, or a CheckRequest in JSON or bytes.
    pub content: &'a [u8],
    /// For whom.
    pub format: ExplainFormat,
    /// What the proxy adds to `context_extensions`, which name the workload.
    pub extensions: &'a [(String, String)],
}

/// An explanation.
#[derive(Debug, Clone, PartialEq)]
pub enum Explained {
    /// For people.
    Text(String),
    /// For programs.
    Json(Value),
}

/// Why something is not explained: it is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotExplained(pub String);

/// Explains requests: a request file, or a CheckRequest in JSON or bytes. Takes a while.
#[derive(Clone)]
pub struct Explain(Arc<Function>);

type Function = dyn Fn(&Question<'_>) -> Result<Explained, NotExplained> + Send + Sync;

impl Explain {
    /// By this function.
    pub fn new(
        explain: impl Fn(&Question<'_>) -> Result<Explained, NotExplained> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(explain))
    }

    /// Explains one. Every rule is looked at, of thousands maybe.
    ///
    /// # Errors
    /// It is no request.
    pub fn run(&self, question: &Question<'_>) -> Result<Explained, NotExplained> {
        (self.0)(question)
    }
}

impl fmt::Debug for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Explain")
    }
}

pub(super) async fn explain(
    State(admin): State<Admin>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let format = match query.as_deref() {
        None | Some("" | "output=json") => ExplainFormat::Json,
        Some("output=human") => ExplainFormat::Human,
        Some(_) => {
            let text = "?output=human and ?output=json are all that can be asked for\n";
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    // Every rule is looked at, of thousands maybe: not where Envoy is answered.
    let explain = admin.explain.clone();
    let explained = tokio::task::spawn_blocking(move || {
        explain.run(&Question { content: &body, format, extensions: &[] })
    });
    match explained.await {
        Ok(Ok(Explained::Text(text))) => format!("{text}\n").into_response(),
        Ok(Ok(Explained::Json(json))) => {
            let kind = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, kind)], format!("{json:#}\n")).into_response()
        }
        Ok(Err(problem)) => (StatusCode::BAD_REQUEST, format!("{problem}\n")).into_response(),
        // The panic itself is on stderr.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
