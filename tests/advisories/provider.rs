//! An identity provider on the loopback that answers as told, and one that must not be asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What is answered; `None` keeps the asker waiting.
pub(crate) type Answer = Option<(StatusCode, String)>;

pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) answer: watch::Sender<Answer>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    /// Answers every request with this; a redirect leads to what stands in place of a body.
    pub(crate) async fn start(answer: Answer) -> Self {
        let (answer, answers) = watch::channel(answer);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let router = Router::new().fallback(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            let mut answers = answers.clone();
            let answer = answers.wait_for(Option::is_some).await.unwrap().clone();
            let (status, text) = answer.unwrap();
            if status.is_redirection() {
                return (status, [(header::LOCATION, text)]).into_response();
            }
            Response::builder().status(status).body(text.into()).unwrap()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, answer, asked }
    }

    /// Serves these keys.
    pub(crate) async fn of_keys(keys: String) -> Self {
        Self::start(Some((StatusCode::OK, keys))).await
    }

    /// How often anything was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}/keys", self.address)
    }
}
