//! Who calls whom in a namespace, for the picture of the page.
//!
//! Where that is known from is somebody else's business.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;

use super::{Console, Query, problem};

/// More edges are counted and not shown.
const MOST: usize = 500;

/// One way that traffic takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// Who calls.
    pub source: String,
    /// Who is called.
    pub destination: String,
    /// The share of the traffic, of 100.
    pub weight: i64,
}

/// Why there is no picture: whoever knows does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EdgesUnavailable(pub String);

/// Knows the edges of a namespace.
#[derive(Clone)]
pub struct Topology(Arc<Function>);

type Function = dyn Fn(String) -> Answer + Send + Sync;
type Answer = Pin<Box<dyn Future<Output = Result<Vec<Edge>, EdgesUnavailable>> + Send>>;

impl Topology {
    /// By this function of a namespace.
    pub fn new<F>(of_namespace: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<Edge>, EdgesUnavailable>> + Send + 'static,
    {
        Self(Arc::new(move |namespace| Box::pin(of_namespace(namespace))))
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topology")
    }
}

pub(super) async fn show(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let Some(Topology(of_namespace)) = &console.topology else {
        let text = "this Postern has no routes to draw";
        return problem(StatusCode::NOT_FOUND, text);
    };
    let snapshot = console.snapshots.load_full();
    let default = snapshot.workloads.first().map_or("default", |plan| &plan.workload.namespace);
    let query = Query::of(query);
    let namespace = query.value("namespace").unwrap_or(default).to_owned();
    match of_namespace(namespace.clone()).await {
        Ok(mut edges) => {
            let total = edges.len();
            edges.truncate(MOST);
            let json = json!({ "namespace": namespace, "total": total, "edges": edges });
            Json(json).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}
