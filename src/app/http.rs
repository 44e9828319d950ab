//! Proxies that ask over HTTP: their listener, and their connections on the workers' threads.
//!
//! How one is answered is `extauthz`'s job.

use std::{
    net::IpAddr,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::mpsc;

use super::listener::Listener;
use super::workers::{Connection, Counted, Socket};
use crate::config::{Address, Config, HttpConfig};
use crate::extauthz::{AuthorizationService, HttpServer, HttpSettings};
use crate::shutdown::Shutdown;

/// Beside those of gRPC, so that whoever fills one port leaves the other alone.
const MOST_CONNECTIONS: usize = 2_048;

/// The most bytes of the line and of what proxies add, beside the headers that are configured.
const BESIDE_HEADERS: usize = 16 << 10;

/// Binds what is configured, if anything is.
pub(super) async fn bind(config: &Config) -> Result<Option<Listener>> {
    let Some(HttpConfig { listen, .. }) = &config.http else { return Ok(None) };
    let listener = Listener::bind(listen, config.socket_mode).await.with_context(|| {
        format!("cannot listen on {listen} (--http-listen, which `off` turns off)")
    })?;
    Ok(Some(listener))
}

/// What answers, as configured.
pub(super) fn server(config: &Config, service: &AuthorizationService) -> Option<HttpServer> {
    let http = config.http.as_ref()?;
    let settings = HttpSettings {
        flavour: http.flavour,
        path_prefix: http.path_prefix.clone(),
        proxy_header: http.proxy_header.clone(),
        trusted_proxies: http.trusted_proxies.clone(),
        max_head_size: config.max_headers_size.saturating_add(BESIDE_HEADERS),
    };
    Some(HttpServer::new(service.clone(), settings))
}

/// Where one worker gets its connections.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    to: mpsc::UnboundedSender<Connection>,
    held: Arc<AtomicUsize>,
}

impl Desk {
    /// And what that worker is to do.
    pub(super) fn new(
        server: Option<HttpServer>,
        drain: Shutdown,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (to, connections) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicUsize::new(0));
        let work = {
            let held = held.clone();
            async move {
                if let Some(server) = server {
                    serve(server, connections, held, drain).await;
                }
            }
        };
        (Self { to, held }, work)
    }
}

async fn serve(
    server: HttpServer,
    mut connections: mpsc::UnboundedReceiver<Connection>,
    held: Arc<AtomicUsize>,
    drain: Shutdown,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let connection = tokio::select! {
            connection = connections.recv() => connection,
            () = drain.begun() => None,
        };
        let Some(connection) = connection else { break };
        let counted = Counted(held.clone());
        let (server, watcher) = (server.clone(), graceful.watcher());
        match Socket::here(connection) {
            Ok(Socket::Tcp(stream)) => {
                let Ok(peer) = stream.peer_addr() else { continue };
                tokio::spawn(async move {
                    server.serve(stream, Some(peer.ip()), watcher).await;
                    drop(counted);
                });
            }
            Ok(Socket::Unix(stream)) => {
                tokio::spawn(async move {
                    server.serve(stream, None::<IpAddr>, watcher).await;
                    drop(counted);
                });
            }
            Err(error) => tracing::warn!(%error, "cannot take a connection over"),
        }
    }
    graceful.shutdown().await;
}

/// A listener that gives its connections to workers.
#[derive(Debug)]
pub(super) struct HttpListener {
    listener: Listener,
    desks: Vec<Desk>,
}

impl HttpListener {
    pub(super) fn new(listener: Listener, desks: Vec<Desk>) -> Self {
        Self { listener, desks }
    }

    /// Where it listens, with the port that was given for 0.
    pub(super) fn address(&self) -> Result<Address> {
        self.listener.address()
    }

    /// Accepts until drained.
    pub(super) async fn accept(self, drain: Shutdown) {
        let Self { listener, desks } = &self;
        tokio::select! {
            () = listener.each(|connection| give(desks, connection)) => {}
            () = drain.begun() => {}
        }
    }
}

/// To the worker with the fewest connections.
fn give(desks: &[Desk], connection: Connection) {
    let held = |desk: &Desk| desk.held.load(Ordering::Relaxed);
    if desks.iter().map(held).sum::<usize>() >= MOST_CONNECTIONS {
        tracing::warn!(most = MOST_CONNECTIONS, "too many connections over HTTP: one is refused");
        return;
    }
    if let Some(desk) = desks.iter().min_by_key(|desk| held(desk)) {
        desk.held.fetch_add(1, Ordering::Relaxed);
        // A worker that is gone ends the server.
        drop(desk.to.send(connection));
    }
}
