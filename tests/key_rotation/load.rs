//! Requests without a pause: those of users, and those of somebody who means harm.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    http1::{self, Body},
    provider::Provider,
};

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) allowed: usize,
    /// Status and body of each.
    pub(crate) refused: Vec<String>,
}

/// A few connections that send one request after the other.
pub(crate) struct Load {
    ending: Arc<AtomicBool>,
    answered: watch::Receiver<u64>,
    connections: JoinSet<Answers>,
}

impl Load {
    /// Of users, with valid tokens.
    pub(crate) fn start(to: SocketAddr, provider: &Arc<Provider>) -> Self {
        let provider = provider.clone();
        Self::sending(to, 4, move || provider.token())
    }

    /// Of somebody with tokens of random keys.
    pub(crate) fn attack(to: SocketAddr, provider: &Arc<Provider>) -> Self {
        let (provider, number) = (provider.clone(), AtomicU64::new(0));
        Self::sending(to, 8, move || {
            provider.forged(&format!("random-{}", number.fetch_add(1, Ordering::SeqCst)))
        })
    }

    fn sending(
        to: SocketAddr,
        connections: usize,
        token: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let (count, answered) = watch::channel(0);
        let (count, token) = (Arc::new(count), Arc::new(token));
        let one = |_| {
            let (ending, count, token) = (ending.clone(), count.clone(), token.clone());
            async move {
                let mut connection = TcpStream::connect(to).await.unwrap();
                let mut answers = Answers::default();
                while !ending.load(Ordering::SeqCst) {
                    match exchange(&mut connection, &token()).await {
                        (200, _) => answers.allowed += 1,
                        (status, body) => answers.refused.push(format!("{status} {body}")),
                    }
                    count.send_modify(|count| *count += 1);
                }
                answers
            }
        };
        Self { connections: (0..connections).map(one).collect(), ending, answered }
    }

    /// Returns when so many more requests are answered.
    pub(crate) async fn answered_anew(&self, more: u64) {
        let mut answered = self.answered.clone();
        let goal = *answered.borrow() + more;
        answered.wait_for(|count| *count >= goal).await.expect("the load ended");
    }

    pub(crate) async fn end(self) -> Answers {
        self.ending.store(true, Ordering::SeqCst);
        self.connections.join_all().await.into_iter().fold(Answers::default(), |mut sum, one| {
            sum.allowed += one.allowed;
            sum.refused.extend(one.refused);
            sum
        })
    }
}

/// The status that this token gets.
pub(crate) async fn ask(to: SocketAddr, token: &str) -> u16 {
    exchange(&mut TcpStream::connect(to).await.unwrap(), token).await.0
}

/// What the admin port says: status and text.
pub(crate) async fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    send(&mut TcpStream::connect(admin).await.unwrap(), &head).await
}

async fn exchange(connection: &mut TcpStream, token: &str) -> (u16, String) {
    let head = format!("GET /a HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\n\r\n");
    send(connection, &head).await
}

async fn send(connection: &mut TcpStream, head: &str) -> (u16, String) {
    connection.write_all(head.as_bytes()).await.unwrap();
    let answer = http1::read(connection, Body::Response).await.unwrap().expect("an answer");
    let line = String::from_utf8_lossy(&answer.first_line).into_owned();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// The service behind Envoy. Ends with its handle.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(Some(_)) = http1::read(&mut stream, Body::Request).await {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
