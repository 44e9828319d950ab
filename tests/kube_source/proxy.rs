//! A TCP proxy between a client and a server that comes and goes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the proxy does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Weather {
    /// Answers are held back.
    held: bool,
    /// Connections from before are gone.
    cuts: u64,
}

/// Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    upstream: Arc<Mutex<Option<SocketAddr>>>,
    weather: Arc<watch::Sender<Weather>>,
    /// How many more bytes of answers get through before a connection breaks; `usize::MAX` is all.
    budget: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            upstream: Arc::default(),
            weather: Arc::new(watch::Sender::new(Weather::default())),
            budget: Arc::new(AtomicUsize::new(usize::MAX)),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = accepting.clone();
                tokio::spawn(async move { proxy.connect(client).await });
            }
        });
        proxy
    }

    /// Where new connections go; nowhere is a server that is down.
    pub(crate) fn lead_to(&self, upstream: Option<SocketAddr>) {
        *self.upstream.lock().unwrap() = upstream;
    }

    /// Ends all connections without a word.
    pub(crate) fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Holds answers back, or no more.
    pub(crate) fn hold(&self, held: bool) {
        self.weather.send_modify(|weather| weather.held = held);
    }

    /// Breaks the connection that says the byte after so many.
    pub(crate) fn break_after(&self, bytes: usize) {
        self.budget.store(bytes, Ordering::SeqCst);
    }

    async fn connect(&self, client: TcpStream) {
        let upstream = *self.upstream.lock().unwrap();
        let Some(upstream) = upstream else { return };
        let mut weather = self.weather.subscribe();
        let cuts = weather.borrow_and_update().cuts;
        let Ok(server) = TcpStream::connect(upstream).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = copy(from_client, to_server) => {}
            () = self.answers(from_server, to_client) => {}
            _ = weather.wait_for(|weather| weather.cuts != cuts) => {}
        }
    }

    async fn answers(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut weather = self.weather.subscribe();
        let mut buffer = [0; 4096];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            if weather.wait_for(|weather| !weather.held).await.is_err() {
                return;
            }
            let mut allowed = count;
            let spent = self.budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                if left == usize::MAX {
                    return None;
                }
                allowed = left.min(count);
                // Once it broke, all is well again.
                Some(if left < count { usize::MAX } else { left - count })
            });
            if to.write_all(&buffer[..allowed]).await.is_err() {
                return;
            }
            if spent.is_ok() && allowed < count {
                return;
            }
        }
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    drop(tokio::io::copy(&mut from, &mut to).await);
}
