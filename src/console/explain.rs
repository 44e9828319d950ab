//! Why a request would be answered as it would, for the form of the page.
//!
//! The explaining itself is what `POST /explain` of the admin port does. Nothing of a request is kept
//! or logged.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;

use super::{Console, problem, workloads};
use crate::admin::{ExplainFormat, Explained, NotExplained, Question};

/// The largest request that is explained.
pub(super) const MOST_BYTES: usize = 1024 * 1024;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    /// A request file or CheckRequest: as an object, or as its text.
    request: Value,
    /// The workload that it is for, as it is called here; without, as the request says.
    #[serde(default)]
    workload: Option<String>,
}

pub(super) async fn explain(State(console): State<Console>, body: Bytes) -> Response {
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => {
            // What serde shows of the text may be a token.
            let text = format!("no question at line {}: {:?}", error.line(), error.classify());
            return problem(StatusCode::BAD_REQUEST, text);
        }
    };
    let content = asked.request.as_str().map_or_else(|| asked.request.to_string(), str::to_owned);
    let mut extensions = Vec::new();
    if let Some(wanted) = asked.workload.as_deref().filter(|wanted| !wanted.is_empty()) {
        let snapshot = console.snapshots.load_full();
        let Some((_, plan)) = workloads::find(&snapshot, wanted) else {
            let text = format!("there is no workload `{wanted}`");
            return problem(StatusCode::BAD_REQUEST, text);
        };
        extensions = workloads::extensions(&plan.workload);
    }
    let explain = console.admin.explain.clone();
    // Every rule is looked at, of thousands maybe: not where others wait for the thread.
    let explained = tokio::task::spawn_blocking(move || {
        explain.run(&Question {
            content: content.as_bytes(),
            format: ExplainFormat::JsonWithText,
            extensions: &extensions,
        })
    });
    match explained.await {
        Ok(Ok(Explained::Json(json))) => Json(json).into_response(),
        Ok(Ok(Explained::Text(text))) => Json(Value::String(text)).into_response(),
        Ok(Err(NotExplained(text))) => problem(StatusCode::BAD_REQUEST, text),
        // The panic itself is on stderr.
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be explained"),
    }
}
