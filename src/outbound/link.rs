//! Connections to one place, for clients that keep them: checked each time one is made.
//!
//! What is spoken is the business of those clients.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::codegen::Service;

use super::dial::{DialGuard, Resolver, dial};
use super::error::OutboundError;
use super::tls::{self, Trust};

/// Where connections lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A name or an address, and a port.
    Host(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// TLS with the servers of one place.
#[derive(Debug, Clone)]
pub struct LinkTls {
    /// Whom to trust, and who to say it is.
    pub trust: Trust,
    /// The name that certificates must have.
    pub server_name: String,
    /// What is spoken, as ALPN says it.
    pub protocol: &'static [u8],
}

/// Makes connections to one place. Cheap to clone; knows nothing of the URLs it is asked for.
#[derive(Clone)]
pub struct Linker {
    place: Place,
    guard: Arc<DialGuard>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    within: Duration,
}

impl std::fmt::Debug for Linker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linker")
            .field("place", &self.place)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Linker {
    /// To this place, each connection within this time. Fails where nothing that is trusted can be
    /// used, or the server's name is none.
    pub fn new(
        place: Place,
        guard: DialGuard,
        tls: Option<LinkTls>,
        within: Duration,
    ) -> Result<Self, OutboundError> {
        let tls = match tls {
            None => None,
            Some(LinkTls { trust, server_name, protocol }) => {
                let unusable = |error| OutboundError::Tls {
                    host: server_name.clone(),
                    error: io::Error::other(error),
                };
                let connector = tls::connector_for(trust, protocol).map_err(unusable)?;
                let name =
                    ServerName::try_from(server_name.clone()).map_err(|_| OutboundError::Url)?;
                Some((connector.ok_or(OutboundError::NoRoots)?, name))
            }
        };
        Ok(Self { place, guard: Arc::new(guard), tls, within })
    }

    async fn connect(self) -> Result<Link, OutboundError> {
        let Self { place, guard, tls, within } = self;
        let made = timeout(within, async {
            let (host, plain) = match place {
                Place::Host(host, port) => {
                    let stream = dial(&Resolver::System, &guard, &host, port, within).await?;
                    stream.set_nodelay(true).ok();
                    (host, Plain::Tcp(stream))
                }
                Place::Unix(path) => {
                    let shown = path.display().to_string();
                    let failed = |error| OutboundError::ConnectUnix { path: shown.clone(), error };
                    let stream = UnixStream::connect(&path).await.map_err(failed)?;
                    (shown, Plain::Unix(stream))
                }
            };
            match tls {
                None => Ok(Link::Plain(plain)),
                Some((connector, name)) => match connector.connect(name, plain).await {
                    Ok(stream) => Ok(Link::Tls(Box::new(stream))),
                    Err(error) => Err(OutboundError::Tls { host, error }),
                },
            }
        });
        made.await.unwrap_or(Err(OutboundError::Timeout(within)))
    }
}

impl Service<Uri> for Linker {
    type Response = TokioIo<Link>;
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Link>, OutboundError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.clone().connect();
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}

/// A connection.
#[derive(Debug)]
pub enum Link {
    /// As it is.
    Plain(Plain),
    /// In TLS.
    Tls(Box<TlsStream<Plain>>),
}

/// A connection without TLS.
#[derive(Debug)]
pub enum Plain {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Every method of reading and writing, by that of what is inside.
macro_rules! io_by_variant {
    ($type:ty { $($variant:path),+ }) => {
        impl AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match &mut *self { $($variant(stream) => Pin::new(stream).poll_read(context, buffer)),+ }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match &mut *self { $($variant(stream) => Pin::new(stream).poll_write(context, bytes)),+ }
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match &mut *self {
                    $($variant(stream) => Pin::new(stream).poll_write_vectored(context, slices)),+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self { $($variant(stream) => stream.is_write_vectored()),+ }
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match &mut *self { $($variant(stream) => Pin::new(stream).poll_flush(context)),+ }
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match &mut *self { $($variant(stream) => Pin::new(stream).poll_shutdown(context)),+ }
            }
        }
    };
}

io_by_variant!(Link { Self::Plain, Self::Tls });
io_by_variant!(Plain { Self::Tcp, Self::Unix });
