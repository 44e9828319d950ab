//! Postern as these tests see it: one gRPC server whose policies are replaced for each set.
//!
//! Everything here that is not plain gRPC is Postern's API.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use envoy_types::pb::{
    envoy::service::auth::v3::{
        CheckRequest, CheckResponse, OkHttpResponse,
        authorization_server::{Authorization, AuthorizationServer},
        check_response::HttpResponse,
    },
    google::rpc,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport};

use crate::cases::Set;

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
        let service = AuthorizationServer::new(current.clone());
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
        let _ = set;
        *self.current.0.lock().unwrap() = Some(Arc::new(Service));
        Ok(())
    }

    /// One decision without a network.
    pub(crate) async fn check(&self, request: CheckRequest) -> CheckResponse {
        self.current.check(Request::new(request)).await.unwrap().into_inner()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The service of the set at hand.
#[derive(Clone, Default)]
struct Current(Arc<Mutex<Option<Arc<Service>>>>);

#[tonic::async_trait]
impl Authorization for Current {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let service = self.0.lock().unwrap().clone().expect("a set is loaded");
        service.check(request).await
    }
}

struct Service;

#[tonic::async_trait]
impl Authorization for Service {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let _ = request;
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}
