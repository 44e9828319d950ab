//! An ext_authz server that lets everything pass and remembers what it was asked.

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

/// A running recorder. Ends with its handle.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    asked: Asked,
    task: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<CheckRequest>>>);

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let service = AuthorizationServer::new(asked.clone());
        let task = tokio::spawn(async move {
            let server = transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, asked, task }
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<CheckRequest> {
        std::mem::take(&mut *self.asked.0.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tonic::async_trait]
impl Authorization for Asked {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}
