//! Where gRPC comes in: a TCP port or a unix socket.
//!
//! A socket file that was left behind is replaced, one that somebody listens on is not.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::Address;
use crate::shutdown::Shutdown;

use super::workers::{Connection, Ended, MOST_CONNECTIONS, Workers};

/// A bound listener.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    pub(super) async fn bind(address: &Address, socket_mode: u32) -> Result<Self> {
        match address {
            Address::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Address::Unix(path) => {
                let (listener, file) = bind_unix(path, socket_mode).await?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Where it listens, with the port that was given for 0.
    pub(super) fn address(&self) -> Result<Address> {
        Ok(match self {
            Self::Tcp(listener) => Address::Tcp(listener.local_addr()?),
            Self::Unix(_, file) => Address::Unix(file.path.clone()),
        })
    }

    /// Gives its connections to the workers until drained, then waits until they have answered.
    pub(super) async fn serve(
        self,
        workers: Workers,
        mut ended: Ended,
        drain: Shutdown,
    ) -> Result<()> {
        tokio::select! {
            () = self.accept(&workers) => {}
            () = drain.begun() => {}
            ended = &mut ended => return ended,
        }
        // Nobody else can connect from here on, while those who have are answered.
        drop(self);
        ended.await
    }

    async fn connection(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => accept_tcp(listener).await,
            Self::Unix(listener, _) => accept_unix(listener).await,
        }
    }

    async fn accept(&self, workers: &Workers) {
        self.each(|connection| {
            // Closed at once, which Envoy takes for a failure at once; a connection that nobody
            // answers would cost each of its requests a timeout.
            if workers.are_full() {
                tracing::warn!(most = MOST_CONNECTIONS, "too many connections: one is refused");
            } else {
                workers.give(connection);
            }
        })
        .await;
    }

    /// Hands over each connection, without end.
    pub(super) async fn each(&self, hand_over: impl Fn(Connection)) {
        loop {
            match self.connection().await {
                Ok(connection) => hand_over(connection),
                Err(error) if is_of_the_peer(&error) => {}
                // Without file descriptors `accept` fails at once every time, so it is not asked
                // again at once.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<Connection> {
    let (connection, _) = listener.accept().await?;
    // An answer is one small frame; waiting to fill a packet only delays it.
    connection.set_nodelay(true)?;
    connection.into_std().map(Connection::Tcp)
}

async fn accept_unix(listener: &UnixListener) -> io::Result<Connection> {
    listener.accept().await?.0.into_std().map(Connection::Unix)
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    [K::ConnectionAborted, K::ConnectionReset, K::Interrupted, K::InvalidInput, K::NotConnected]
        .contains(&error.kind())
}

/// Removes its file when dropped, if that is still the one that was bound.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

async fn bind_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile)> {
    clear_stale(path).await?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    fs::set_permissions(path, Permissions::from_mode(mode)).context("set the socket's mode")?;
    Ok((listener, file))
}

async fn clear_stale(path: &Path) -> Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !metadata.file_type().is_socket() {
        bail!("there is a file that is not a socket");
    }
    match UnixStream::connect(path).await {
        Ok(_) => bail!("another process listens there"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing a socket file nobody listens on");
            fs::remove_file(path).context("remove the stale socket file")
        }
        Err(error) => Err(error).context("find out whether another process listens there"),
    }
}
