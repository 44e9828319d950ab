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
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto, pki_types::PrivateKeyDer},
    server::TlsStream,
};

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
    authority: CertifiedIssuer<'static, KeyPair>,
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
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = TlsListener { tcp, acceptor: acceptor(&authority) };
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

fn acceptor(authority: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, authority).unwrap();
    let config = ServerConfig::builder_with_provider(crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
