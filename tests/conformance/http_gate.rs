//! Postern as proxies find it that ask over HTTP: the services of a [`Gate`], on a port for a flavour.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use postern::extauthz::{Flavour, HttpServer, HttpSettings};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::codegen::http;

use crate::envoy_config::{PATH_PREFIX, PROXY_HEADER};
use crate::gate::Gate;

/// Ends with its handle.
pub(crate) struct HttpGate {
    pub(crate) address: SocketAddr,
    was_asked: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl HttpGate {
    pub(crate) async fn start(gate: &Gate, flavour: Flavour) -> Self {
        let settings = HttpSettings {
            flavour,
            path_prefix: if flavour == Flavour::Envoy { PATH_PREFIX } else { "" }.into(),
            proxy_header: Some(http::HeaderName::from_static(PROXY_HEADER)),
            trusted_proxies: ["127.0.0.0/8".parse().unwrap()].into(),
            max_head_size: 1 << 20,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let was_asked = Arc::new(AtomicBool::new(false));
        let (services, asked) = (gate.services(), was_asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (services, asked, settings) =
                    (services.clone(), asked.clone(), settings.clone());
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    asked.store(true, Ordering::Relaxed);
                    let service = services.lock().unwrap().get("").cloned().expect("a set");
                    let server = HttpServer::new(service, settings.clone());
                    async move {
                        let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
                        let checked = server.answer(&request.into_parts().0, peer).await;
                        Ok::<_, Infallible>(checked.response)
                    }
                });
                tokio::spawn(async move {
                    let mut builder = Builder::new(TokioExecutor::new());
                    builder.http1().max_headers(1_024).max_buf_size(1 << 20);
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, was_asked, task }
    }

    /// Whether anything was asked since the last time.
    pub(crate) fn was_asked(&self) -> bool {
        self.was_asked.swap(false, Ordering::Relaxed)
    }
}

impl Drop for HttpGate {
    fn drop(&mut self) {
        self.task.abort();
    }
}
