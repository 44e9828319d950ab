//! Postern as these tests see it: one gRPC server whose policies are replaced for each set.
//!
//! Everything here that is not plain gRPC is Postern's API.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use postern::authn::{
    KeyLookup, TokenCache,
    clock::Clock,
    jwks::{KeySets, Schedule},
};
use postern::compile::{Settings, compile};
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, BytesCodec, ClientAddress, RequestSettings};
use postern::key_set::KeySet;
use postern::manifest::{Options, decode};
use postern::model::{Mesh, Verdict, Workload};
use postern::normalize::PathNormalization;
use postern::outbound::{Client, DialGuard};
use postern::plan::KeySourceId;
use prost::Message as _;
use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status, transport};

use crate::{
    cases::{self, Set, WorkloadSettings},
    envoy_config::LISTENER_METADATA,
};

/// Sets that Istio's webhook would refuse, and Postern does. They were recorded as istiod takes
/// them with its webhook off; what they say then is asked here too.
const NOT_ADMITTED: [&str; 3] = ["dry-run-spellings", "issuer-empty", "jwks-before-jwks-uri"];

/// A running server. Ends with its handle.
pub(crate) struct Gate {
    address: SocketAddr,
    current: Current,
    task: JoinHandle<()>,
}

impl Gate {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let current = Current::default();
        let service = Server(current.clone());
        let task = tokio::spawn(async move {
            let server = transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, current, task }
    }

    /// Where Envoy finds it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the policies and settings; later requests are decided by them.
    pub(crate) async fn load(&self, set: &Set) -> Result<(), String> {
        self.load_as("", set).await
    }

    /// The same for requests of the listener of that name.
    pub(crate) async fn load_as(&self, listener: &str, set: &Set) -> Result<(), String> {
        let service = service(set).await?;
        self.current.services.lock().unwrap().insert(listener.to_owned(), service);
        Ok(())
    }

    /// What was decided last for a listener since [`Gate::forget`].
    pub(crate) fn last_verdict(&self, listener: &str) -> Option<Verdict> {
        self.current.verdicts.lock().unwrap().get(listener).copied()
    }

    pub(crate) fn forget(&self, listener: &str) {
        self.current.verdicts.lock().unwrap().remove(listener);
    }

    /// One decision without a network.
    pub(crate) async fn check(&self, request: CheckRequest) -> CheckResponse {
        let request = Request::new(request.encode_to_vec().into());
        CheckResponse::decode(&*self.current.answer(&request)).unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn service(set: &Set) -> Result<AuthorizationService, String> {
    // Every JSON text is YAML, and one stream holds any number of documents.
    let documents: Vec<_> = set.policies.iter().map(|p| format!("---\n{p}\n")).collect();
    let options =
        Options { default_namespace: set.workload.namespace.as_str().into(), ..Options::default() };
    let decoded = decode(&documents.concat(), Some("policies.yaml"), &options);
    let refused = decoded.has_errors();
    if refused != NOT_ADMITTED.contains(&set.name.as_str()) {
        let found: Vec<_> = decoded.diagnostics.iter().map(ToString::to_string).collect();
        return Err(format!("refused: {refused}\n{}", found.join("\n")));
    }
    let resources: Option<Vec<_>> =
        decoded.documents.into_iter().map(|d| d.resource.map(Arc::new)).collect();
    let resources = resources.ok_or("a resource cannot be read")?;
    let snapshot = compile(1, &resources, &[], &settings(&set.workload));

    let keys: Arc<dyn KeyLookup + Send + Sync> = if snapshot.key_sources.is_empty() {
        Arc::new(NoKeys)
    } else {
        let client = Client::new(DialGuard::default(), &[], Vec::new());
        let client = client.map_err(|error| error.to_string())?;
        let (schedule, clock) = (Schedule::default(), Clock::system());
        let keys = KeySets::new(client, schedule, clock, Arc::new(|_| {}), Handle::current());
        keys.sync(&snapshot.key_sources);
        keys.wait_settled().await;
        Arc::new(Keys(keys))
    };

    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(snapshot)));
    let listener = &set.workload.listener;
    let request_settings = RequestSettings {
        client_address: ClientAddress {
            use_remote_address: listener.use_remote_address,
            trusted_hops: listener.xff_num_trusted_hops.try_into().unwrap(),
        },
        client_address_header: listener.client_address_header.as_deref().map(Into::into),
        path_normalization: match listener.path_normalization {
            // The listener has done it.
            _ if !listener.postern_normalizes => PathNormalization::None,
            cases::PathNormalization::None => PathNormalization::None,
            cases::PathNormalization::Base => PathNormalization::Base,
            cases::PathNormalization::MergeSlashes => PathNormalization::MergeSlashes,
            cases::PathNormalization::DecodeAndMergeSlashes => {
                PathNormalization::DecodeAndMergeSlashes
            }
        },
        ..RequestSettings::default()
    };
    let service = AuthorizationService::new(cell, keys, request_settings, Clock::system());
    Ok(service.with_token_cache(Arc::new(TokenCache::new(1 << 20))))
}

fn settings(workload: &WorkloadSettings) -> Settings {
    Settings {
        mesh: Mesh {
            root_namespace: workload.root_namespace.clone(),
            trust_domain: workload.trust_domain.clone(),
            trust_domain_aliases: workload.trust_domain_aliases.clone(),
        },
        workloads: vec![Workload {
            namespace: workload.namespace.clone(),
            labels: workload.labels.clone(),
            ..Workload::default()
        }],
    }
}

/// The keys of one set's sources.
struct Keys(KeySets);

impl KeyLookup for Keys {
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>> {
        self.0.keys(source)
    }
}

/// Where no source is named.
struct NoKeys;

impl KeyLookup for NoKeys {
    fn keys(&self, _: &KeySourceId) -> Option<Arc<KeySet>> {
        None
    }
}

/// The services of the sets at hand, by the names of their listeners.
#[derive(Clone, Default)]
struct Current {
    services: Arc<Mutex<BTreeMap<String, AuthorizationService>>>,
    verdicts: Arc<Mutex<BTreeMap<String, Verdict>>>,
}

impl Current {
    /// Answers from bytes to bytes, as the server does, and sees that the slow twin agrees.
    fn answer(&self, request: &Request<Bytes>) -> Vec<u8> {
        let listener = request.metadata().get(LISTENER_METADATA);
        let listener = listener.map_or("", |name| name.to_str().unwrap()).to_owned();
        let service = self.services.lock().unwrap().get(&listener).cloned();
        let service = service.expect("a set is loaded");
        let checked = service.answer_bytes(request.get_ref()).unwrap();
        let twin = service.answer(&CheckRequest::decode(request.get_ref().clone()).unwrap());
        assert_eq!(twin.verdict, checked.verdict);
        assert_eq!(twin.response, CheckResponse::decode(&*checked.response).unwrap());
        self.verdicts.lock().unwrap().insert(listener, checked.verdict);
        checked.response
    }
}

#[derive(Clone)]
struct Server(Current);

impl NamedService for Server {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let current = self.0.clone();
        Box::pin(async move { Ok(Grpc::new(BytesCodec).unary(Check(current), request).await) })
    }
}

struct Check(Current);

impl UnaryService<Bytes> for Check {
    type Response = Vec<u8>;
    type Future = Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(self.0.answer(&request))))
    }
}
