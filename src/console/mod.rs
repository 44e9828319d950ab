//! The console: a page of the admin port that shows what is in force, why, and what is decided now.
//!
//! Shows what others know and changes nothing. The page itself is in `assets`, as files; what it asks
//! for is answered here.

mod access;
mod assets;
mod explain;
mod overview;
mod policies;
mod stream;
mod topology;
mod words;
mod workloads;

use std::fmt;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::authn::clock::Clock;
use crate::control::publish::SnapshotCell;
use crate::management::mesh::MeshObjects;
use crate::model::Mesh;
use crate::shutdown::Shutdown;
use crate::telemetry::decision_log::Tap;

pub use access::Access;

/// How many entries of a list are shown at once.
const PAGE: usize = 50;

/// What the console shows. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    /// What the other admin endpoints show, too.
    pub admin: Admin,
    /// What requests are decided by.
    pub snapshots: SnapshotCell,
    /// What gives policies their meaning.
    pub mesh: Arc<Mesh>,
    /// Decisions as they are made.
    pub tap: Tap,
    /// Whose routes are drawn; `None` where nobody is to ask for them.
    pub objects: Option<MeshObjects>,
    /// When things happened.
    pub clock: Clock,
    /// Ends what is being streamed.
    pub drain: Shutdown,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("tap", &self.tap).finish_non_exhaustive()
    }
}

/// What is below `/console`, without a fallback: to be merged with other endpoints.
pub fn router(console: Console, access: Access) -> Router {
    let about_access = Arc::new(access);
    if let Access::Nowhere(reason) = *about_access {
        let refused = move || async move { (StatusCode::NOT_FOUND, format!("{reason}\n")) };
        return Router::new()
            .route("/console", get(refused))
            .route("/console/", get(refused))
            .route("/console/{*path}", get(refused).post(refused))
            .layer(middleware::map_response(headers));
    }
    let explain = post(explain::explain).layer(DefaultBodyLimit::max(explain::MOST_BYTES));
    let data = Router::new()
        .route("/overview", get(overview))
        .route("/workloads", get(workload_list))
        .route("/workload", get(workload))
        .route("/policies", get(policy_list))
        .route("/policy", get(policy))
        .route("/explain", explain)
        .route("/decisions", get(stream::decisions))
        .route("/topology", get(topology::show))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is no such thing to ask for") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "not by this method")
        })
        .with_state(console)
        .layer(middleware::from_fn_with_state(about_access, access::check));
    Router::new()
        .route("/console", get(|| async { Redirect::permanent("/console/") }))
        .route("/console/", get(async |request: Request| assets::serve("", request.headers())))
        .route("/console/{file}", get(assets::by_name))
        .nest("/console/api", data)
        .layer(middleware::map_response(headers))
}

/// Scripts, styles and data come from here alone; nothing is written into the page as markup; nobody
/// frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

async fn headers(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 7] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ];
    let all = response.headers_mut();
    for (name, value) in HEADERS {
        all.insert(name, HeaderValue::from_static(value));
    }
    all.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// An answer that is none.
fn problem(status: StatusCode, text: impl fmt::Display) -> Response {
    (status, Json(json!({ "error": text.to_string() }))).into_response()
}

/// What takes longer the more policies there are is not made where others wait for the thread.
async fn made(make: impl FnOnce() -> Option<Value> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(make).await {
        Ok(Some(value)) => Json(value).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "it is not in force, or no longer"),
        // The panic itself is on stderr.
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be shown"),
    }
}

async fn overview(State(console): State<Console>) -> Response {
    made(move || Some(overview::overview(&console))).await
}

async fn workload_list(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let query = Query::of(query);
    made(move || Some(workloads::list(&console, &query))).await
}

async fn workload(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let query = Query::of(query);
    made(move || workloads::one(&console, query.value("id")?)).await
}

async fn policy_list(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let query = Query::of(query);
    made(move || Some(policies::list(&console, &query))).await
}

async fn policy(State(console): State<Console>, RawQuery(query): RawQuery) -> Response {
    let query = Query::of(query);
    made(move || policies::one(&console, query.value("id")?)).await
}

/// The parameters of a query, decoded.
#[derive(Debug, Default)]
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: Option<String>) -> Self {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let query = query.unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    /// The value of a parameter that is there and not empty.
    fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// The words that are looked for, in lower case.
    fn words(&self) -> Vec<String> {
        let filter = self.value("filter").unwrap_or_default();
        filter.split_whitespace().map(str::to_lowercase).collect()
    }

    fn page(&self) -> usize {
        self.value("page").and_then(|page| page.parse().ok()).unwrap_or_default()
    }
}

/// One page of what matches, and how much there is.
fn page<T>(query: &Query, total: usize, matching: &[T], show: impl Fn(&T) -> Value) -> Value {
    let pages = matching.len().div_ceil(PAGE).max(1);
    let page = query.page().min(pages - 1);
    let items: Vec<_> = matching.iter().skip(page * PAGE).take(PAGE).map(show).collect();
    json!({
        "total": total,
        "matching": matching.len(),
        "page": page,
        "pages": pages,
        "items": items,
    })
}

/// Whether all of these words, which are in lower case, are in a text.
fn has_words(text: &str, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word.as_str()))
}

/// Adds members to an object.
fn extended(mut object: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut object, more) {
        members.extend(more);
    }
    object
}
