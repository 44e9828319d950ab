//! The API over HTTP: who calls, what for, and the answer.
//!
//! What objects are and become is said by the functions beside this module, keeping them is `store`'s
//! job. Putting it together with a certificate and a port is `app`'s.

mod answer;
mod body;
mod callers;
mod connections;
mod documents;
mod import;
mod moment;
mod namespaces;
mod patched;
mod reads;
mod resources;
mod route;
mod tls;
mod unread;
mod watches;
mod writes;

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;

use super::access::{JwtCallers, Roles, StaticTokens, User};
use super::status::ApiError;
use crate::authn::clock::Clock;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::ApiMetrics;

pub use connections::{Answers, Transport, serve};
pub use import::{ImportRefused, Imported, prepare_import};
pub use patched::{PatchRefused, patch_object};
pub use route::POLICIES;
pub use tls::{TlsError, server_config};

use answer::Answer;
use moment::Moment;
use route::Route;

/// How many requests are answered at a time, watches not counted.
const MOST_REQUESTS: usize = 400;

/// What is configured.
#[derive(Debug)]
pub struct Settings {
    /// Who may do what.
    pub roles: Roles,
    /// Who has which token.
    pub tokens: StaticTokens,
    /// Who is known by which other tokens.
    pub jwt: Option<JwtCallers>,
    /// Whether writing into a namespace makes it.
    pub create_namespaces: bool,
    /// Namespaces that are always there.
    pub permanent_namespaces: Vec<String>,
    /// How many watches there may be at a time.
    pub most_watches: usize,
    /// Whether whoever reaches the API may do everything. For loopback alone.
    pub open: bool,
}

/// The API. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

struct Inner {
    store: Store,
    settings: Settings,
    clock: Clock,
    shutdown: Shutdown,
    requests: Semaphore,
    watches: Arc<Semaphore>,
    metrics: Option<ApiMetrics>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl ApiServer {
    /// For a store. Makes the namespaces that are always there, which may wait for the disk. Watches
    /// end when the shutdown begins.
    pub fn new(
        store: Store,
        settings: Settings,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Self, ApiError> {
        namespaces::ensure(&store, &settings.permanent_namespaces, &Moment::now(clock))?;
        let watches = Arc::new(Semaphore::new(settings.most_watches));
        let requests = Semaphore::new(MOST_REQUESTS);
        Ok(Self(Arc::new(Inner {
            store,
            settings,
            clock,
            shutdown,
            requests,
            watches,
            metrics: None,
        })))
    }

    /// Has requests counted.
    #[must_use]
    pub fn with_metrics(mut self, metrics: ApiMetrics) -> Self {
        // Before it is shared.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.metrics = Some(metrics);
        }
        self
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        let free = self.0.watches.available_permits();
        self.0.settings.most_watches.saturating_sub(free)
    }

    /// Answers one request. `certified` is who the caller's verified certificate says it is.
    pub async fn answer(&self, certified: Option<&User>, request: Request<Body>) -> Response<Body> {
        let counted = self.0.metrics.as_ref().map(|metrics| {
            let resource = if let Route::Resource(resource) = Route::of(request.uri().path()) {
                resource.kind.plural
            } else {
                ""
            };
            (metrics, request.method().clone(), resource)
        });
        let mut answer = match self.handle(certified, request).await {
            Ok(answer) => answer,
            Err(error) => answer::error(&error),
        };
        answer::harden(&mut answer);
        if let Some((metrics, method, resource)) = counted {
            metrics.answered(&method, resource, answer.status().as_u16());
        }
        answer
    }

    async fn handle(
        &self,
        certified: Option<&User>,
        request: Request<Body>,
    ) -> Result<Answer, ApiError> {
        let route = Route::of(request.uri().path());
        if route == Route::Health {
            return documents::health(request.method());
        }
        let user = callers::caller(&self.0.settings, certified, request.headers()).await?;
        match route {
            Route::Resource(resource) => self.resource(&user, resource, request).await,
            Route::Review(kind, version) => {
                if request.method() != Method::POST {
                    return Err(ApiError::method_not_allowed_here());
                }
                self.review(&user, kind, &version, request).await
            }
            Route::Unknown => Err(ApiError::no_such_path()),
            Route::Health
            | Route::Version
            | Route::Api
            | Route::Apis
            | Route::Group(_)
            | Route::GroupVersion(..)
            | Route::OpenApiV2
            | Route::OpenApiV3
            | Route::OpenApiV3Group(_) => {
                if request.method() != Method::GET {
                    return Err(ApiError::method_not_allowed_here());
                }
                documents::answer(&route, request.headers())
            }
        }
    }
}

/// Now, as objects say it.
pub fn rfc3339_now(clock: Clock) -> String {
    Moment::now(clock).text
}

/// An error with what caused it.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What a blocking part came to.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The panic itself is on stderr.
        Err(_) => Err(ApiError::internal("a defect")),
    }
}

const OK: StatusCode = StatusCode::OK;
