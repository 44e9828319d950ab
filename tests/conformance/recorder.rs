//! An ext_authz server that lets everything pass and remembers what it was asked.

use std::{
    net::SocketAddr,
    path::Path,
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
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinHandle,
};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::{
    Request, Response, Status,
    transport::{self, server::Router},
};

/// A running recorder. Ends with its handle.
pub(crate) struct Recorder {
    asked: Asked,
    task: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<CheckRequest>>>);

impl Recorder {
    /// On a free port.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let server = asked.clone().server();
        let task = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        (Self { asked, task }, address)
    }

    /// On a unix socket.
    pub(crate) fn start_at(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Asked::default();
        let server = asked.clone().server();
        let task = tokio::spawn(async move {
            server.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
        });
        Self { asked, task }
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<CheckRequest> {
        std::mem::take(&mut *self.asked.0.lock().unwrap())
    }
}

impl Recorder {
    /// Ends it: the port is closed, and so is every connection.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        let ended = (&mut self.task).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
    }
}

impl Asked {
    fn server(self) -> Router {
        transport::Server::builder().add_service(AuthorizationServer::new(self))
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
