//! The two servers around Envoy and Postern: the service behind, and the issuer's keys.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Request;
use axum::routing::{any, get};
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Ends with its handle.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A service that answers any request with what it got.
pub(super) async fn echo() -> Result<Server> {
    serve(Router::new().fallback(any(async |request: Request| received(&request)))).await
}

/// Serves the key set at `/jwks.json`.
pub(super) async fn key_host(jwks: String) -> Result<Server> {
    let answer = async move || ([(CONTENT_TYPE, "application/json")], jwks);
    serve(Router::new().route("/jwks.json", get(answer))).await
}

async fn serve(router: Router) -> Result<Server> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen on loopback")?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a server of the demo ended");
        }
    });
    Ok(Server { address, task })
}

fn received(request: &Request) -> String {
    let mut text = format!("received: {} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("  {name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}
