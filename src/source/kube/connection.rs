//! From a kubeconfig, or a pod's account, to a client that tells when its watches are answered.
//!
//! Asks the server nothing.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
};

use ::kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

use super::{Cluster, Pace, outages::Outages, trouble::words};

/// Why there is no way to the cluster. The texts of causes are part of its own: those of `kube` repeat
/// their causes, and some show lines of the kubeconfig, which holds secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotConnected {
    /// A kubeconfig that was named.
    #[error("the kubeconfig `{path}` cannot be used (--kubeconfig): {reason}")]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A context that was named.
    #[error("the context `{context}` cannot be used (--kube-context): {reason}")]
    Context {
        /// Which.
        context: String,
        /// Why.
        reason: String,
    },
    /// Nothing was named.
    #[error("no kubeconfig is named with --kubeconfig, this is no pod ({pod}), and {reason}")]
    Nowhere {
        /// Why the pod's account cannot be used.
        pod: String,
        /// Why what kubectl would use cannot.
        reason: String,
    },
    /// Such as a certificate that is none.
    #[error("no client can be made of the kubeconfig or the pod's account: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
}

fn reason(error: &KubeconfigError) -> String {
    if let KubeconfigError::Parse(error) = error {
        return match error.location() {
            Some(at) => {
                format!("line {}, column {} is not as it should be", at.line(), at.column())
            }
            None => "it is no kubeconfig".into(),
        };
    }
    error.to_string()
}

/// The client, and the namespace that is meant where none is named.
pub(super) async fn connect(
    cluster: &Cluster,
    pace: Pace,
    outages: Arc<Outages>,
) -> Result<(Client, String), NotConnected> {
    let mut config = config(cluster).await?;
    config.connect_timeout = Some(pace.connect_timeout);
    config.read_timeout = Some(pace.silence);
    config.reset_reader_on_write = true;
    // We wait and ask again ourselves, and say so.
    config.default_retry = false;
    let namespace = config.default_namespace.clone();
    let client = ClientBuilder::try_from(config)
        .map_err(|error| NotConnected::Client { reason: words(&error) })?
        .with_layer(&Observe(outages))
        .build();
    Ok((client, namespace))
}

/// A client for single questions.
#[cfg(feature = "management")]
pub(super) async fn client(
    cluster: &Cluster,
    connect_timeout: std::time::Duration,
) -> Result<Client, NotConnected> {
    let mut config = config(cluster).await?;
    config.connect_timeout = Some(connect_timeout);
    config.default_retry = false;
    Client::try_from(config).map_err(|error| NotConnected::Client { reason: words(&error) })
}

async fn config(cluster: &Cluster) -> Result<Config, NotConnected> {
    let options =
        KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &cluster.kubeconfig {
        let failed =
            |error| NotConnected::Kubeconfig { path: path.clone(), reason: reason(&error) };
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed);
    }
    if let Some(context) = &cluster.context {
        let failed =
            |error| NotConnected::Context { context: context.clone(), reason: reason(&error) };
        return Config::from_kubeconfig(&options).await.map_err(failed);
    }
    match Config::incluster() {
        Ok(config) => Ok(config),
        Err(pod) => Config::from_kubeconfig(&options).await.map_err(|error| {
            NotConnected::Nowhere { pod: pod.to_string(), reason: reason(&error) }
        }),
    }
}

/// From 0 to 1. Good enough for waiting times and names, and no more than that.
pub(super) fn random_share() -> f64 {
    f64::from(random_number()) / f64::from(u32::MAX)
}

/// Likewise.
pub(super) fn random_number() -> u32 {
    let bits = std::hash::RandomState::new().build_hasher().finish() >> 32;
    u32::try_from(bits).unwrap_or_default()
}

/// Tells [`Outages`] of each watch that is answered: the events of a watch do not, and none may come
/// for days.
struct Observe(Arc<Outages>);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, outages: self.0.clone() }
    }
}

struct Observed<S> {
    inner: S,
    outages: Arc<Outages>,
}

impl<S, B> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut parameters = request.uri().query().unwrap_or_default().split('&');
        let watched = parameters
            .any(|parameter| parameter == "watch=true")
            .then(|| request.uri().path().to_owned());
        let outages = self.outages.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(path) = watched
                && answer.status().is_success()
            {
                outages.followed(&path);
            }
            Ok(answer)
        })
    }
}
