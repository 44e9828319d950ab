//! An identity provider: keys over HTTPS, as certain as its authority, and tokens.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::UNIX_EPOCH,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
    serve::Listener,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use postern::authn::clock::Clock;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::tls_listener::{Authority, TlsListener};

/// A key that signs tokens.
pub(crate) struct SigningKey {
    name: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub(crate) fn new(name: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { name: name.to_owned(), pair }
    }

    fn jwk(&self) -> Value {
        // Uncompressed: 4, x, y.
        let point = self.pair.public_key().as_ref();
        let coordinate = |range: std::ops::Range<usize>| BASE64URL.encode(&point[range]);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.name,
            "x": coordinate(1..33), "y": coordinate(33..65),
        })
    }
}

/// The provider. Newest key first, which is the one that signs.
pub(crate) struct Provider {
    authority: Authority,
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Mutex<Option<JoinHandle<()>>>,
    tokens: AtomicU64,
}

#[derive(Default)]
struct Shared {
    keys: Mutex<VecDeque<SigningKey>>,
    fetches: AtomicUsize,
}

impl Provider {
    pub(crate) async fn start(key: SigningKey) -> Arc<Self> {
        let authority = Authority::new();
        let listener = TlsListener::bind(&authority).await;
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.keys.lock().unwrap().push_front(key);
        let keys = shared.clone();
        let router = Router::new()
            .route("/keys", get(async move |headers: HeaderMap| keys.answer(&headers)));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        let server = Mutex::new(Some(server));
        Arc::new(Self { authority, address, shared, server, tokens: AtomicU64::default() })
    }

    pub(crate) fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    pub(crate) fn issuer(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// How often it was asked for its keys.
    pub(crate) fn fetches(&self) -> u128 {
        self.shared.fetches.load(Ordering::SeqCst).try_into().unwrap()
    }

    /// A key that signs from now on; those before stay published.
    pub(crate) fn publish(&self, key: SigningKey) {
        self.shared.keys.lock().unwrap().push_front(key);
    }

    /// Publishes the newest key only.
    pub(crate) fn withdraw_old(&self) {
        self.shared.keys.lock().unwrap().truncate(1);
    }

    /// Nobody answers at its address any more.
    pub(crate) async fn stop(&self) {
        let server = self.server.lock().unwrap().take().unwrap();
        server.abort();
        drop(server.await);
    }

    /// A valid token; every second one is new, the others are the one before.
    pub(crate) fn token(&self) -> String {
        let number = self.tokens.fetch_add(1, Ordering::SeqCst) / 2;
        let keys = self.shared.keys.lock().unwrap();
        let key = keys.front().unwrap();
        self.sign(&key.pair, &key.name, &number.to_string())
    }

    /// A token that looks right, of a key that was never published.
    pub(crate) fn forged(&self, kid: &str) -> String {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        self.sign(&pair, kid, kid)
    }

    fn sign(&self, pair: &EcdsaKeyPair, kid: &str, id: &str) -> String {
        let now = Clock::system().now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = json!({"alg": "ES256", "kid": kid, "typ": "JWT"});
        let payload = json!({"iss": self.issuer(), "sub": "alice", "jti": id, "exp": now + 600});
        let section = |value: &Value| BASE64URL.encode(value.to_string());
        let input = format!("{}.{}", section(&header), section(&payload));
        let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL.encode(signature))
    }
}

impl Shared {
    /// The keys, or that they are still those of the tag.
    fn answer(&self, request: &HeaderMap) -> Response {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap();
        let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
        let tag = format!("\"{}\"", names.join("-"));
        if request.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str()) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let keys: Vec<_> = keys.iter().map(SigningKey::jwk).collect();
        ([(header::ETAG, tag)], json!({ "keys": keys }).to_string()).into_response()
    }
}
