//! Against real servers on the loopback.

mod conditional;
mod fetching;
mod https;
mod keeping;
mod seeking;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_lc_rs::hmac;
use axum::{Router, http::StatusCode};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::rustls::{self, pki_types::CertificateDer};

use super::*;
use crate::authn::clock::Clock;
use crate::key_set::Algorithm;
use crate::outbound::{BODY_LIMIT, ClientSettings, DialGuard, Resolver};

/// Longer than any of these takes, shorter than a person waits.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// A key set with one secret, made from its name.
fn key_set(name: &str) -> String {
    let k = BASE64_URL_SAFE_NO_PAD.encode(name);
    json!({"keys": [{"kty": "oct", "kid": name, "k": k}, {"kty": "XYZ"}]}).to_string()
}

fn verifies(keys: &KeySet, name: &str) -> bool {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, name.as_bytes()), b"h.p");
    keys.verify(Algorithm::Hs256, None, b"h.p", tag.as_ref()).is_ok()
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Answers everything with what the test last said, and counts.
#[derive(Clone)]
struct Provider {
    address: SocketAddr,
    answer: Arc<Mutex<(StatusCode, String)>>,
    hits: Arc<AtomicUsize>,
}

impl Provider {
    async fn start(body: String) -> Self {
        let answer = Arc::new(Mutex::new((StatusCode::OK, body)));
        let hits = Arc::new(AtomicUsize::new(0));
        let (answers, counter) = (answer.clone(), hits.clone());
        let router = Router::new().fallback(async move || {
            counter.fetch_add(1, Ordering::SeqCst);
            answers.lock().unwrap().clone()
        });
        Self { address: serve(router).await, answer, hits }
    }

    fn says(&self, status: StatusCode, body: String) {
        *self.answer.lock().unwrap() = (status, body);
    }

    fn source(&self, issuer: &str) -> KeySource {
        source(issuer, &format!("http://{}/keys", self.address))
    }
}

fn source(issuer: &str, uri: &str) -> KeySource {
    let id = KeySourceId { issuer: issuer.into(), uri: Some(uri.into()) };
    KeySource { id, timeout: Duration::from_secs(10) }
}

fn discovered(issuer: &str) -> KeySource {
    let id = KeySourceId { issuer: issuer.into(), uri: None };
    KeySource { id, timeout: Duration::from_secs(10) }
}

/// A source that takes connections and never says anything.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/keys", listener.local_addr().unwrap());
    (listener, uri)
}

struct Harness {
    sets: KeySets,
    attempts: mpsc::UnboundedReceiver<(KeySourceId, AttemptResult)>,
}

fn one_attempt() -> Schedule {
    let hour = Duration::from_hours(1);
    Schedule {
        refresh: hour,
        fast_retry: hour,
        fast_retries: 1,
        back_off: hour,
        back_off_limit: hour,
        jitter_percent: 0,
        ..Schedule::default()
    }
}

fn rapid() -> Schedule {
    let moment = Duration::from_millis(2);
    Schedule {
        refresh: moment,
        least_refresh: moment,
        fast_retry: moment,
        fast_retries: 1,
        back_off: moment,
        back_off_limit: moment,
        ..Schedule::default()
    }
}

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// What differs from one test to the other.
#[derive(Default)]
struct Settings {
    schedule: Schedule,
    guard: DialGuard,
    also_trusted: Vec<CertificateDer<'static>>,
    clients: Vec<ClientSettings>,
}

fn harness(settings: Settings) -> Harness {
    harness_with(settings, Resolver::System)
}

fn harness_with(settings: Settings, resolver: Resolver) -> Harness {
    let (sender, attempts) = mpsc::unbounded_channel();
    let observer: Observer = Arc::new(move |attempt: &Attempt<'_>| {
        sender.send((attempt.source.clone(), attempt.result)).unwrap_or_default();
    });
    let Settings { schedule, guard, also_trusted, clients } = settings;
    let client = Client::with_resolver(guard, &also_trusted, clients, resolver).unwrap();
    let clock = Clock::from_fn(|| NOW);
    let sets = KeySets::new(client, schedule, clock, observer, Handle::current());
    Harness { sets, attempts }
}

fn once() -> Harness {
    harness(Settings { schedule: one_attempt(), ..Settings::default() })
}

fn repeatedly() -> Harness {
    harness(Settings { schedule: rapid(), ..Settings::default() })
}

impl Harness {
    /// The state of the only source after its first attempt.
    async fn try_once(&mut self, source: &KeySource) -> SourceStatus {
        self.sets.sync(std::slice::from_ref(source));
        soon(self.sets.wait_settled()).await;
        self.sets.status().remove(0)
    }

    /// The label and text of the only source's first failure.
    async fn fails(&mut self, source: &KeySource) -> (AttemptResult, String) {
        let status = self.try_once(source).await;
        assert!(self.sets.keys(&source.id).is_none());
        let error = status.last_error.expect("the attempt failed");
        let (id, result) = soon(self.attempts.recv()).await.unwrap();
        assert_eq!((id, result), (source.id.clone(), error.result()));
        (result, error.describe())
    }

    /// Waits for an attempt that began after the call and ended so.
    async fn after_new_attempt(&mut self, expect: AttemptResult) {
        while self.attempts.try_recv().is_ok() {}
        // One may have been under way.
        soon(self.attempts.recv()).await.unwrap();
        let (_, result) = soon(self.attempts.recv()).await.unwrap();
        assert_eq!(result, expect);
    }
}

fn test_names(host: &str) -> Vec<IpAddr> {
    let addresses: &[&str] = match host {
        "metadata.test" => &["169.254.169.254"],
        "both.test" => &["169.254.169.254", "127.0.0.1"],
        "refused-first.test" => &["127.1.2.3", "127.0.0.1"],
        "good.test" => &["127.0.0.1"],
        _ => &[],
    };
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn named() -> Harness {
    let settings = Settings { schedule: one_attempt(), ..Settings::default() };
    harness_with(settings, Resolver::Fixed(test_names))
}
