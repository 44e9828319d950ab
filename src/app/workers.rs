//! The threads that answer: one for each core, each with connections and a runtime of its own.
//!
//! A call is read, decided and answered on one thread, so nothing of it crosses to another core and
//! nobody waits for a lock; docs/adr/0004 has the figures. Accepting is `listener`'s job.

use std::{
    io,
    num::NonZeroUsize,
    os::unix::net::UnixStream as StdUnixStream,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures_util::{future::try_join_all, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::service::Routes;
use tonic::transport::{Server, server::Connected};

use super::http;
use crate::extauthz::HttpServer;
use crate::shutdown::Shutdown;

/// Also how load tests find these threads; Linux keeps 15 bytes.
pub(crate) const THREAD_NAME: &str = "postern-worker";

/// An Envoy has a connection for each of its threads; many more than of all Envoys that one Postern
/// can answer are a mistake or an attack, which shall not take all memory and file descriptors.
pub(super) const MOST_CONNECTIONS: usize = 4_096;

/// Calls on one connection at a time. Envoy makes a second connection for more, which another worker
/// gets; a hundred calls keep a core busy.
const MOST_STREAMS: u32 = 128;

/// Of one call. The largest CheckRequest with headers of the default limits and a client
/// certificate is not held up for an update of the window.
const STREAM_WINDOW: u32 = 256 << 10;

/// Of one connection: what a client that is not answered can make us keep.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A CheckRequest with large headers arrives in one piece where the client makes use of it.
const FRAME_SIZE: u32 = 64 << 10;

/// A connection as the listener hands it over: tied to no runtime yet.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(std::net::TcpStream),
    Unix(StdUnixStream),
}

/// The threads. Dropping this ends them, calls or not.
#[derive(Debug)]
pub(super) struct Workers {
    desks: Vec<Desk>,
    _abandon: watch::Sender<()>,
}

/// How all workers end: well, or the first that had to.
pub(super) type Ended = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Where a worker gets its connections.
#[derive(Debug)]
struct Desk {
    to: mpsc::UnboundedSender<Connection>,
    /// How many it has.
    held: Arc<AtomicUsize>,
    /// And those of proxies that ask over HTTP.
    http: http::Desk,
}

impl Workers {
    /// Starts so many threads that answer `routes`, until drained.
    pub(super) fn start(
        number: NonZeroUsize,
        routes: &Routes,
        http: Option<&HttpServer>,
        drain: &Shutdown,
    ) -> Result<(Self, Ended)> {
        let (abandon, abandoned) = watch::channel(());
        let (mut desks, mut endings) = (Vec::new(), Vec::new());
        for _ in 0..number.get() {
            let (to, connections) = mpsc::unbounded_channel();
            let held = Arc::new(AtomicUsize::new(0));
            let (http_desk, http_work) = http::Desk::new(http.cloned(), drain.clone());
            desks.push(Desk { to, held: held.clone(), http: http_desk });
            let (end, ending) = oneshot::channel();
            endings.push(ending);
            let (routes, drain, mut abandoned) = (routes.clone(), drain.clone(), abandoned.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("make the runtime of a worker")?;
            let work = move || {
                let served = runtime.block_on(async {
                    tokio::select! {
                        (served, ()) = async {
                            tokio::join!(serve(routes, connections, held, drain), http_work)
                        } => served,
                        _ = abandoned.changed() => Ok(()),
                    }
                });
                // Nobody listens to one that was abandoned.
                drop(end.send(served));
                runtime.shutdown_background();
            };
            let thread = thread::Builder::new().name(THREAD_NAME.into());
            thread.spawn(work).context("start a worker")?;
        }
        let endings = endings.into_iter().map(async |ending| match ending.await {
            Ok(served) => served,
            Err(_) => bail!("a worker has ended early"),
        });
        let ended = try_join_all(endings.collect::<Vec<_>>());
        let ended = Box::pin(async move { ended.await.map(drop) });
        Ok((Self { desks, _abandon: abandon }, ended))
    }

    /// Whether there are as many connections as there may be.
    pub(super) fn are_full(&self) -> bool {
        let held = self.desks.iter().map(|desk| desk.held.load(Ordering::Relaxed));
        held.sum::<usize>() >= MOST_CONNECTIONS
    }

    /// Where they get connections of proxies that ask over HTTP.
    pub(super) fn http_desks(&self) -> Vec<http::Desk> {
        self.desks.iter().map(|desk| desk.http.clone()).collect()
    }

    /// To the worker with the fewest connections.
    pub(super) fn give(&self, connection: Connection) {
        let idlest = self.desks.iter().min_by_key(|desk| desk.held.load(Ordering::Relaxed));
        if let Some(desk) = idlest {
            desk.held.fetch_add(1, Ordering::Relaxed);
            // A worker that is gone ends the server.
            drop(desk.to.send(connection));
        }
    }
}

async fn serve(
    routes: Routes,
    connections: mpsc::UnboundedReceiver<Connection>,
    held: Arc<AtomicUsize>,
    drain: Shutdown,
) -> Result<()> {
    let incoming = stream::unfold(connections, move |mut connections| {
        let held = held.clone();
        async move {
            loop {
                let connection = connections.recv().await?;
                let counted = Counted(held.clone());
                match Socket::here(connection) {
                    Ok(socket) => {
                        let connection = Held { socket, _counted: counted };
                        return Some((Ok::<_, io::Error>(connection), connections));
                    }
                    Err(error) => tracing::warn!(%error, "cannot take a connection over"),
                }
            }
        }
    });
    Server::builder()
        .max_concurrent_streams(MOST_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        // Envoy resets calls that took too long, in bursts where a machine is overloaded. No more
        // can be under way than there are streams, so as many are no attack.
        .http2_max_pending_accept_reset_streams(usize::try_from(MOST_STREAMS).ok())
        // An Envoy that is gone without a word is noticed.
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async move { drain.begun().await })
        .await
        .context("serve gRPC")
}

/// A connection of this worker, counted as long as it is there.
struct Held {
    socket: Socket,
    _counted: Counted,
}

/// One connection of those that a worker has, as long as it is there.
pub(super) struct Counted(pub(super) Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on the runtime of the thread that has it.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// On the runtime of this thread.
    pub(super) fn here(connection: Connection) -> io::Result<Self> {
        match connection {
            Connection::Tcp(stream) => TcpStream::from_std(stream).map(Self::Tcp),
            Connection::Unix(stream) => UnixStream::from_std(stream).map(Self::Unix),
        }
    }
}

impl Connected for Held {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream as StdUnixStream;

    use super::*;

    fn start(number: usize) -> (Workers, Ended, Shutdown) {
        let drain = Shutdown::default();
        let number = NonZeroUsize::new(number).unwrap();
        let (workers, ended) = Workers::start(number, &Routes::default(), None, &drain).unwrap();
        (workers, ended, drain)
    }

    fn connect(workers: &Workers) -> StdUnixStream {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        workers.give(Connection::Unix(theirs));
        ours
    }

    fn held(workers: &Workers) -> Vec<usize> {
        workers.desks.iter().map(|desk| desk.held.load(Ordering::Relaxed)).collect()
    }

    #[tokio::test]
    async fn the_one_with_the_fewest_connections_gets_the_next() {
        let (workers, ended, drain) = start(2);
        let mut connections: Vec<_> = (0..5).map(|_| connect(&workers)).collect();
        assert_eq!(held(&workers), [3, 2]);
        // Both of the second.
        drop((connections.remove(3), connections.remove(1)));
        while held(&workers) != [3, 0] {
            tokio::task::yield_now().await;
        }
        connections.extend((0..2).map(|_| connect(&workers)));
        assert_eq!(held(&workers), [3, 2]);
        drop(connections);
        drain.begin();
        ended.await.unwrap();
    }

    /// Who wants to end at once, does.
    #[tokio::test]
    async fn without_workers_their_connections_end() {
        let (workers, ended, _drain) = start(1);
        let mut connection = connect(&workers);
        drop(workers);
        ended.await.unwrap();
        let mut bytes = Vec::new();
        // The server's part of the preface may have come first.
        drop(connection.read_to_end(&mut bytes));
    }
}
