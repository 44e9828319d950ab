//! Requests and answers: who calls, what for, and what comes of it.
//!
//! Checks come in this order: 401, 404 for paths, 405, 403, 400, 404 for objects, 503. Whoever is nobody learns nothing, not even
//! which paths there are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::access::{Caller, Callers};
use super::answer::{self, Answer};
use super::failure::Failure;
use super::mesh::{Cluster, Destinations, MeshError, MeshKind, MeshObjects};
use super::metric::{Metric, Range};
use super::openapi;
use super::parameters::{self, KUBECONFIG, Parameters};
use super::prometheus::{Prometheus, PrometheusError};
use super::route::{Endpoint, Route};
use super::weights::{Asked, Change};
use super::{shown, topology};
use crate::api::access::User;
use crate::api::server::Answers;
use crate::authn::clock::Clock;
use crate::telemetry::metrics::ManagementMetrics;

/// The most bytes of a body. A kubeconfig in base64 may be in it.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many requests are answered at a time.
const MOST_REQUESTS: usize = 100;

/// The header with a kubeconfig.
const KUBECONFIG_HEADER: HeaderName = HeaderName::from_static("x-kubeconfig");

/// The management API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Management(Arc<Inner>);

/// What it is made of.
#[derive(Debug)]
pub struct Settings {
    /// Who may call.
    pub callers: Callers,
    /// Where the objects are.
    pub objects: MeshObjects,
    /// Where the numbers are; `None` is nowhere.
    pub prometheus: Option<Prometheus>,
    /// Where kubeconfigs of administrators may lead; `None` takes none.
    pub inline_kubeconfig: Option<Destinations>,
    /// What time it is.
    pub clock: Clock,
    /// Counts requests.
    pub metrics: ManagementMetrics,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    requests: Semaphore,
}

impl Answers for Management {
    const NAME: &'static str = "management";

    /// Client certificates say nothing here: only tokens have roles.
    async fn answer(&self, _: Option<&User>, request: Request<Body>) -> Answer {
        let begun = Instant::now();
        let route = Route::of(request.uri().path());
        let template = route.as_ref().map_or("", |route| route.template);
        let answer = self.handle(route, request).await.unwrap_or_else(|failure| failure.answer());
        self.0.settings.metrics.answered(template, answer.status().as_u16(), begun.elapsed());
        answer
    }
}

impl Management {
    /// Of these parts.
    pub fn new(settings: Settings) -> Self {
        let requests = Semaphore::new(MOST_REQUESTS);
        Self(Arc::new(Inner { settings, requests }))
    }

    async fn handle(
        &self,
        route: Option<Route>,
        request: Request<Body>,
    ) -> Result<Answer, Failure> {
        let (parts, body) = request.into_parts();
        let is_description = route.as_ref().is_some_and(|it| it.endpoint == Endpoint::Description);
        if is_description && parts.method == "GET" {
            let inline_kubeconfig = self.0.settings.inline_kubeconfig.is_some();
            return Ok(answer::bytes(StatusCode::OK, openapi::json(inline_kubeconfig)));
        }
        let Settings { callers, .. } = &self.0.settings;
        let caller = callers.caller(&parts.headers).await.ok_or(Failure::Unauthorized)?;
        let route = route.ok_or_else(|| Failure::NotFound("there is no such path".into()))?;
        if parts.method != route.method {
            return Err(Failure::MethodNotAllowed(route.method));
        }
        let call = Call { inner: &self.0, caller: &caller, parts: &parts, places: &route.places };
        call.check_roles(route.endpoint)?;
        let shown = match route.endpoint {
            Endpoint::Status => call.status().await?,
            Endpoint::VirtualServices => {
                call.list(MeshKind::VirtualService, shown::virtual_service).await?
            }
            Endpoint::VirtualService => call.virtual_service().await?,
            Endpoint::Weights => call.set_weights(body).await?,
            Endpoint::PeerAuthentications => {
                call.list(MeshKind::PeerAuthentication, shown::peer_authentication).await?
            }
            Endpoint::AuthorizationPolicies => {
                call.list(MeshKind::AuthorizationPolicy, shown::authorization_policy).await?
            }
            Endpoint::Metric(metric) => call.metric(metric).await?,
            Endpoint::Topology => call.topology().await?,
            Endpoint::Description => Value::Null,
        };
        Ok(answer::json(StatusCode::OK, &shown))
    }
}

/// One request of somebody who is known.
struct Call<'c> {
    inner: &'c Inner,
    caller: &'c Caller,
    parts: &'c Parts,
    places: &'c [String],
}

impl Call<'_> {
    /// What only administrators may do.
    fn check_roles(&self, endpoint: Endpoint) -> Result<(), Failure> {
        let by_header = self.parts.headers.contains_key(KUBECONFIG_HEADER);
        let sent = by_header || parameters::has(self.parts.uri.query(), KUBECONFIG);
        let is_off = self.inner.settings.inline_kubeconfig.is_none();
        let needs_admin = endpoint == Endpoint::Weights || (sent && !is_off);
        if needs_admin && !self.caller.is_admin {
            return Err(Failure::Forbidden);
        }
        match endpoint {
            _ if sent && is_off => Err(disabled()),
            Endpoint::Metric(_) if sent => {
                let message = "metrics are not read from a cluster: leave the kubeconfig out";
                Err(Failure::BadRequest(message.into()))
            }
            Endpoint::Status
            | Endpoint::VirtualServices
            | Endpoint::VirtualService
            | Endpoint::Weights
            | Endpoint::PeerAuthentications
            | Endpoint::AuthorizationPolicies
            | Endpoint::Metric(_)
            | Endpoint::Topology
            | Endpoint::Description => Ok(()),
        }
    }

    async fn status(&self) -> Result<Value, Failure> {
        let parameters = self.parameters(&[KUBECONFIG])?;
        let (objects, _place) = self.objects(&parameters, None)?;
        Ok(json!({ "istioEnabled": objects.istio_enabled().await? }))
    }

    async fn list(&self, kind: MeshKind, show: fn(&Value) -> Value) -> Result<Value, Failure> {
        let parameters = self.parameters(&["namespace", KUBECONFIG])?;
        let namespace = parameters.namespace()?;
        let (objects, _place) = self.objects(&parameters, None)?;
        let found = objects.list(kind, namespace).await?;
        Ok(found.iter().map(show).collect())
    }

    async fn virtual_service(&self) -> Result<Value, Failure> {
        let parameters = self.parameters(&[KUBECONFIG])?;
        let (namespace, name) = self.named()?;
        let (objects, _place) = self.objects(&parameters, None)?;
        let found = objects.get(MeshKind::VirtualService, namespace, name).await?;
        Ok(shown::virtual_service(&found.ok_or(MeshError::NotFound)?))
    }

    async fn topology(&self) -> Result<Value, Failure> {
        let parameters = self.parameters(&["namespace", KUBECONFIG])?;
        let namespace = parameters.namespace()?;
        let (objects, _place) = self.objects(&parameters, None)?;
        let found = objects.list(MeshKind::VirtualService, namespace).await?;
        Ok(json!(topology::edges(&found, namespace)))
    }

    async fn metric(&self, metric: Metric) -> Result<Value, Failure> {
        let parameters = self.parameters(&["service", "namespace", "range"])?;
        let (service, namespace) = (parameters.service()?, parameters.namespace()?);
        let range = match parameters.get("range") {
            Some(range) => {
                Range::parse(range).map_err(|error| Failure::BadRequest(error.to_string()))?
            }
            None => Range::default(),
        };
        let Settings { prometheus, clock, .. } = &self.inner.settings;
        let Some(prometheus) = prometheus else {
            let message = "there are no metrics: no Prometheus is configured (--prometheus-url)";
            return Err(Failure::Unavailable(message.into()));
        };
        let _place = self.place()?;
        let now = clock.unix_seconds();
        let asked = prometheus.timeseries(metric, service, namespace, range, now).await;
        let timeseries = asked.map_err(|error| {
            if matches!(error, PrometheusError::BadQuery) {
                let (metric, range) = (metric.as_str(), range.seconds());
                tracing::error!(%error, metric, range, "a defect: no metrics for a caller");
                return Failure::Internal("a defect of Postern: the query is wrong".into());
            }
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "no metrics for a caller of the management API");
            Failure::Unavailable(error.to_string())
        })?;
        Ok(json!({
            "metric": metric.as_str(),
            "service": service,
            "namespace": namespace,
            "timeseries": timeseries,
        }))
    }

    async fn set_weights(&self, body: Body) -> Result<Value, Failure> {
        let parameters = self.parameters(&[KUBECONFIG])?;
        let (namespace, name) = self.named()?;
        let asked = Asked::read(&read(&self.parts.headers, body).await?)
            .map_err(|error| Failure::BadRequest(error.to_string()))?;
        let (objects, _place) = self.objects(&parameters, asked.kubeconfig.as_deref())?;
        match self.change(&objects, namespace, name, &asked).await {
            // Once more, on what it is now.
            Err(Failure::Conflict(_)) => self.change(&objects, namespace, name, &asked).await,
            done => done,
        }
    }

    async fn change(
        &self,
        objects: &MeshObjects,
        namespace: &str,
        name: &str,
        asked: &Asked,
    ) -> Result<Value, Failure> {
        let object = objects.get(MeshKind::VirtualService, namespace, name).await?;
        let object = object.ok_or(MeshError::NotFound)?;
        let Change { patch, route, before, after } =
            Change::of(&object, asked).map_err(|error| Failure::BadRequest(error.to_string()))?;
        let user = &self.caller.name;
        let changed = objects.patch(namespace, name, &patch, user).await?;
        tracing::info!(
            target: "postern::management",
            user,
            kubeconfig_sha256 = objects.kubeconfig_sha256(),
            namespace,
            name,
            route,
            before,
            after,
            "traffic weights changed"
        );
        Ok(shown::virtual_service(&changed))
    }

    /// The namespace and the name in the path.
    fn named(&self) -> Result<(&str, &str), Failure> {
        let [namespace, name] = self.places else {
            return Err(Failure::NotFound("there is no such path".into()));
        };
        Ok((parameters::namespace(namespace)?, parameters::name("name", name)?))
    }

    fn parameters(&self, known: &[&str]) -> Result<Parameters, Failure> {
        Parameters::read(self.parts.uri.query(), known)
    }

    /// Where the objects are: as configured, or in the one cluster that the caller names.
    fn objects(
        &self,
        parameters: &Parameters,
        of_body: Option<&str>,
    ) -> Result<(MeshObjects, SemaphorePermit<'_>), Failure> {
        let mut headers = self.parts.headers.get_all(KUBECONFIG_HEADER).iter();
        let of_header = headers.next().map(|value| value.to_str().unwrap_or_default());
        let several = headers.next().is_some();
        let mut sent = [parameters.get(KUBECONFIG), of_header, of_body].into_iter().flatten();
        let Some(text) = sent.next() else {
            return Ok((self.inner.settings.objects.clone(), self.place()?));
        };
        let Some(allowed) = &self.inner.settings.inline_kubeconfig else { return Err(disabled()) };
        if several || sent.next().is_some() {
            return Err(Failure::BadRequest("there is more than one kubeconfig".into()));
        }
        let cluster = Cluster::inline(text, allowed);
        let cluster = cluster.map_err(|error| Failure::BadRequest(error.to_string()))?;
        let place = self.place()?;
        tracing::info!(
            target: "postern::management",
            user = self.caller.name,
            kubeconfig_sha256 = cluster.kubeconfig_sha256(),
            "a caller's kubeconfig is used"
        );
        Ok((MeshObjects::Cluster(cluster), place))
    }

    /// A place among those who are answered at a time. Last of all checks, as it is a 503.
    fn place(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let place = self.inner.requests.try_acquire();
        place.map_err(|_| Failure::Unavailable("too many requests at a time; try again".into()))
    }
}

fn disabled() -> Failure {
    Failure::BadRequest("inline kubeconfig is disabled".into())
}

/// Reads a body of JSON.
async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Failure::UnsupportedMediaType);
    }
    match timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(Failure::Timeout),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::TooLarge(MAX_BODY)),
        Ok(Err(_)) => Err(Failure::BadRequest("the body cannot be read".into())),
    }
}

#[cfg(test)]
mod tests;
