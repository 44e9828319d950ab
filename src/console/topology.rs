//! Who calls whom in a namespace, for the picture of the page.
//!
//! What is an edge is said by the management API.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{Console, Query, problem};
use crate::management::mesh::MeshKind;
use crate::management::topology::edges;

/// More edges are counted and not shown.
const MOST: usize = 500;

/// No name of a namespace is longer.
const LONGEST: usize = 63;

pub(super) async fn show(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let snapshot = console.snapshots.load_full();
    let default = snapshot.workloads.first().map_or("default", |plan| &plan.workload.namespace);
    let query = Query::of(query);
    let namespace = query.value("namespace").unwrap_or(default);
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if namespace.len() > LONGEST || !namespace.chars().all(is_name) {
        return problem(StatusCode::BAD_REQUEST, "that is no name of a namespace");
    }
    let Some(objects) = &console.objects else {
        let text =
            "the routes of a cluster are read for the management API only: set up --management";
        return problem(StatusCode::NOT_FOUND, text);
    };
    match objects.list(MeshKind::VirtualService, namespace).await {
        Ok(objects) => {
            let mut edges = edges(&objects, namespace);
            let total = edges.len();
            edges.truncate(MOST);
            let json = json!({ "namespace": namespace, "total": total, "edges": edges });
            Json(json).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}
