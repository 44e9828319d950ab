//! The endpoints for operators: liveness, readiness, metrics, dumps, the log level.
//!
//! Shows what others know; decides nothing. On loopback unless told otherwise; what kubelet and
//! Prometheus need can be shown elsewhere by itself.

mod dump;
mod explain;
mod host;
mod key_sources;
mod readiness;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, RawQuery, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::watch;

use crate::control::ControlStatus;
use crate::telemetry::logging::LogLevel;
use crate::telemetry::metrics::{self, Metrics};

pub(crate) use dump::diagnostic as diagnostic_json;
#[cfg(feature = "console")]
pub(crate) use dump::rejection as rejection_json;
pub use explain::{Explain, ExplainFormat, Explained, NotExplained, Question};
#[cfg(feature = "console")]
pub(crate) use key_sources::origin as key_origin;
pub use key_sources::{Freshness, KeySourceStatus};
pub use readiness::{Checks, Readiness};

const INDEX: &str = "\
Postern, an ext_authz server for Envoy

/livez            the process runs
/readyz           it can answer Envoy; ?verbose says what it waits for and what is refused
/metrics          OpenMetrics
/config_dump      configuration, resources in force, what is refused and why, key sources
/log-level        GET shows, PUT changes which events are logged
/explain          POST a request file or a CheckRequest: the decision about it by what is in force,
                  and what led to it; ?output=human for people; on loopback only
";

/// What the endpoints show and change. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    /// Whether requests can be answered.
    pub readiness: Readiness,
    /// What control did last.
    pub control: watch::Receiver<Arc<ControlStatus>>,
    /// How each remote key set stands.
    pub key_sources: Arc<dyn Fn() -> Vec<KeySourceStatus> + Send + Sync>,
    /// The registry.
    pub metrics: Arc<Metrics>,
    /// The effective configuration, without secrets.
    pub config: Arc<serde_json::Value>,
    /// Which events are logged.
    pub log_level: LogLevel,
    /// Explains requests by what is in force.
    pub explain: Explain,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// The endpoints. `local` says that they are bound to loopback, where only programs of this machine
/// may ask; a browser that was led here by a name of somebody else's is turned away. What is asked
/// about other requests is answered there only: it tells what policies say. `more` are endpoints of
/// others, without a fallback, beside these.
pub fn router(admin: Admin, local: bool, more: Router) -> Router {
    let explain = post(explain::explain).layer(DefaultBodyLimit::max(explain::MOST_BYTES));
    let router = if local { Router::new().route("/explain", explain) } else { Router::new() };
    let router = router
        .route("/", get(|| async { INDEX }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .route("/config_dump", get(config_dump))
        .route(
            "/log-level",
            get(log_level).put(set_log_level).layer(DefaultBodyLimit::max(4 * 1024)),
        )
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found; / lists what there is\n") })
        .layer(middleware::map_response(harden))
        .with_state(admin)
        .merge(more);
    if local { router.layer(middleware::from_fn(host::refuse_names)) } else { router }
}

/// What kubelet and Prometheus ask for, and nothing else: it may be reached from the network where
/// the other endpoints must not be.
pub fn probes_router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(async |State(admin): State<Admin>| briefly(admin.readiness.checks())))
        .route("/metrics", get(exposition))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(DefaultBodyLimit::max(4 * 1024))
        .layer(middleware::map_response(harden))
        .with_state(admin)
}

/// Whether requests can be answered, and what is missing if not.
fn briefly(checks: Checks) -> Response {
    match checks.waiting_for() {
        None => "ok\n".into_response(),
        Some(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let checks = admin.readiness.checks();
    let verbose = query.is_some_and(|query| {
        query.split('&').any(|word| word == "verbose" || word.starts_with("verbose="))
    });
    if !verbose {
        return briefly(checks);
    }
    let status = if checks.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = dump::verbose_readiness(checks, &admin.control.borrow(), &(admin.key_sources)());
    (status, text).into_response()
}

async fn exposition(State(admin): State<Admin>) -> Response {
    match admin.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn config_dump(State(admin): State<Admin>) -> Response {
    let status = admin.control.borrow().clone();
    let missing = admin.metrics.inputs().seen_missing();
    let dump = dump::config_dump(&admin.config, &status, &(admin.key_sources)(), &missing);
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], format!("{dump:#}\n")).into_response()
}

async fn log_level(State(admin): State<Admin>) -> String {
    format!("{}\n", admin.log_level.current())
}

async fn set_log_level(State(admin): State<Admin>, body: String) -> Response {
    let filter = match body.parse() {
        Ok(filter) => filter,
        Err(error) => {
            let error: crate::telemetry::logging::InvalidLogFilter = error;
            return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    };
    match admin.log_level.set(filter) {
        Ok(()) => {
            let level = admin.log_level.current();
            tracing::info!(%level, "log level changed");
            format!("{level}\n").into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// What is shown is of the moment, and never a page.
async fn harden(mut response: Response) -> Response {
    const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
