//! Connections: TLS, HTTP/1.1 and HTTP/2, and how long and how many.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::super::access::{User, user_of_certificate};
use super::{ApiServer, unread};
use crate::shutdown::Shutdown;

/// Who answers the requests of a connection.
pub trait Answers: Clone + Send + Sync + 'static {
    /// What its log lines call it.
    const NAME: &'static str;

    /// Answers one request. `certified` is who the caller's verified certificate says it is.
    fn answer(
        &self,
        certified: Option<&User>,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

impl Answers for ApiServer {
    const NAME: &'static str = "api";

    async fn answer(&self, certified: Option<&User>, request: Request<Body>) -> Response<Body> {
        Self::answer(self, certified, request).await
    }
}

/// The most connections at a time.
const MOST_CONNECTIONS: usize = 2_048;

/// How long a handshake or the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);

/// How long the other side may take nothing of what it is sent.
const STALLED: Duration = Duration::from_secs(60);

/// The most bytes of a request's head.
const MOST_HEADERS: u32 = 64 * 1024;

/// How the API is reached.
#[derive(Debug, Clone)]
pub enum Transport {
    /// With TLS. Clients may show certificates.
    Tls(Arc<ServerConfig>),
    /// Without, on loopback: whoever is on this machine may do everything.
    Plain,
}

/// Serves until the shutdown begins, then lets what is under way end, for this long at most.
pub async fn serve<S: Answers>(
    server: S,
    listener: TcpListener,
    transport: Transport,
    shutdown: Shutdown,
    grace: Duration,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let connection = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => connection,
                Err(error) => {
                    tracing::warn!(listener = S::NAME, %error, "cannot accept a connection");
                    // Without file descriptors it fails at once every time.
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = shutdown.begun() => break,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(
                listener = S::NAME,
                most = MOST_CONNECTIONS,
                "too many connections: one is refused"
            );
            continue;
        };
        let (server, transport, watcher) = (server.clone(), transport.clone(), graceful.watcher());
        tokio::spawn(async move {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(listener = S::NAME, %error, "a connection");
            }
            let connection = Patient::new(connection);
            match transport {
                Transport::Plain => answer(server, connection, None, false, watcher).await,
                Transport::Tls(config) => {
                    let accepted = TlsAcceptor::from(config).accept(connection);
                    match timeout(HEAD, accepted).await {
                        Ok(Ok(stream)) => {
                            let (_, session) = stream.get_ref();
                            let is_http2 = session.alpn_protocol() == Some(b"h2");
                            let certificates = session.peer_certificates().unwrap_or_default();
                            let user = certificates.first().and_then(|it| user_of_certificate(it));
                            answer(server, stream, user, is_http2, watcher).await;
                        }
                        Ok(Err(error)) => {
                            tracing::debug!(listener = S::NAME, %error, "no TLS with a caller");
                        }
                        Err(_) => {
                            tracing::debug!(listener = S::NAME, "a TLS handshake took too long");
                        }
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    if timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::debug!(listener = S::NAME, "connections were still open");
    }
}

async fn answer<S: Answers>(
    server: S,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    user: Option<User>,
    is_http2: bool,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(usize::try_from(MOST_HEADERS).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .max_header_list_size(MOST_HEADERS)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let user = user.map(Arc::new);
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, user) = (server.clone(), user.clone());
        async move {
            let (parts, body) = request.into_parts();
            let (body, unread) = unread::watched(body);
            let request = Request::from_parts(parts, Body::new(body));
            let response = server.answer(user.as_deref(), request).await;
            unread.read().await;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(listener = S::NAME, %error, "a connection ended");
    }
}

/// A connection that is closed when the other side takes nothing for too long.
#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    /// Runs while there is something that cannot be written.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream) -> Self {
        Self { stream, waiting: None }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.waiting = None;
            return wrote;
        }
        let sleep = self.waiting.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        if sleep.is_elapsed() {
            sleep.as_mut().reset(Instant::now() + STALLED);
        }
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
