//! An ext_authz server that lets everything pass and remembers what it was asked.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
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
struct Asked {
    requests: Arc<Mutex<Vec<CheckRequest>>>,
    unavailable: Arc<AtomicBool>,
}

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

    /// From now on there is no answer but an error.
    pub(crate) fn fail(&self) {
        self.asked.unavailable.store(true, Ordering::SeqCst);
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<CheckRequest> {
        std::mem::take(&mut *self.asked.requests.lock().unwrap())
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
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(Status::unavailable("gone"));
        }
        self.requests.lock().unwrap().push(request.into_inner());
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}
