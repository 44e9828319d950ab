//! Whom the client trusts, and who it is, on https.

use axum::{response::Redirect, routing::get, serve::Listener};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

use super::*;

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

/// Serves on https with a certificate for `good.test`; also the authority to trust.
async fn serve_https(router: Router) -> (u16, CertificateDer<'static>) {
    let https = Authority::new();
    let port = https.serve(router, None).await;
    (port, https.certificate)
}

/// An authority of its own.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = ca.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: rcgen::Issuer::new(ca, key) }
    }

    /// A certificate for this name, and its key.
    fn certify(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (leaf.der().clone(), key)
    }

    /// Serves on https as `good.test`, to clients that show a certificate of `clients` if there is
    /// one to be shown.
    async fn serve(&self, router: Router, clients: Option<&Self>) -> u16 {
        let (leaf, key) = self.certify("good.test");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.certificate.clone()).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = config.with_single_cert(vec![leaf], key).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }
}

fn trusting(authority: &CertificateDer<'static>) -> Harness {
    let also_trusted = vec![authority.clone()];
    let settings = Settings { schedule: one_attempt(), also_trusted, ..Settings::default() };
    harness_with(settings, Resolver::Fixed(test_names))
}

#[tokio::test]
async fn https_needs_a_trusted_certificate_of_that_name() {
    let (port, authority) = serve_https(Router::new().fallback(async || key_set("a"))).await;
    let good = source("i", &format!("https://good.test:{port}/keys"));
    assert_eq!(trusting(&authority).try_once(&good).await.keys, 1);
    let (result, text) = named().fails(&good).await;
    assert_eq!(result, AttemptResult::Connect);
    assert!(text.starts_with("no TLS session with `good.test`"), "{text}");
    let other_name = source("i", &format!("https://both.test:{port}/keys"));
    let (result, text) = trusting(&authority).fails(&other_name).await;
    assert_eq!(result, AttemptResult::Connect);
    assert!(text.starts_with("no TLS session with `both.test`"), "{text}");
}

#[tokio::test]
async fn redirects_never_leave_https() {
    let plain = Provider::start(key_set("a")).await;
    let target = format!("http://good.test:{}/keys", plain.address.port());
    let router = Router::new()
        .route("/down", get(async move || Redirect::to(&target)))
        .route("/stay", get(async || Redirect::to("keys")))
        .route("/keys", get(async || key_set("a")));
    let (port, authority) = serve_https(router).await;
    let down = source("i", &format!("https://good.test:{port}/down"));
    let (result, text) = trusting(&authority).fails(&down).await;
    assert_eq!(result, AttemptResult::Blocked);
    assert_eq!(text, format!("`https://good.test:{port}/down` redirects from https to http"));
    assert_eq!(plain.hits.load(Ordering::SeqCst), 0);
    let stay = source("i", &format!("https://good.test:{port}/stay"));
    assert_eq!(trusting(&authority).try_once(&stay).await.keys, 1);
}

#[test]
fn a_bad_authority_is_an_error() {
    let authority = CertificateDer::from(vec![1, 2, 3]);
    assert!(Client::new(DialGuard::default(), &[authority], Vec::new()).is_err());
}

/// A client of `issuer` that differs from all others.
fn with_client(client: ClientSettings) -> Harness {
    let settings =
        Settings { schedule: one_attempt(), clients: vec![client], ..Settings::default() };
    harness_with(settings, Resolver::Fixed(test_names))
}

#[tokio::test]
async fn an_issuer_may_have_its_own_authority() {
    let (port, authority) = serve_https(Router::new().fallback(async || key_set("a"))).await;
    let uri = format!("https://good.test:{port}/keys");
    let client = ClientSettings { issuer: "mine".into(), trusted: vec![authority], identity: None };
    assert_eq!(with_client(client.clone()).try_once(&source("mine", &uri)).await.keys, 1);
    // Nobody else trusts it, and its issuer trusts nobody else.
    let (result, _) = with_client(client.clone()).fails(&source("other", &uri)).await;
    assert_eq!(result, AttemptResult::Connect);
    let (port, _) = serve_https(Router::new().fallback(async || key_set("a"))).await;
    let elsewhere = source("mine", &format!("https://good.test:{port}/keys"));
    assert_eq!(with_client(client).fails(&elsewhere).await.0, AttemptResult::Connect);
}

#[tokio::test]
async fn an_issuer_may_want_to_know_its_client() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let port = servers.serve(Router::new().fallback(async || key_set("a")), Some(&clients)).await;
    let source = source("mine", &format!("https://good.test:{port}/keys"));
    let (certificate, key) = clients.certify("postern.test");
    let known = ClientSettings {
        issuer: "mine".into(),
        trusted: vec![servers.certificate.clone()],
        identity: Some((vec![certificate], key)),
    };
    let unknown = ClientSettings { identity: None, ..known.clone() };
    assert!(!format!("{known:?}").contains("Pkcs8"));
    assert_eq!(with_client(known).try_once(&source).await.keys, 1);
    let (result, text) = with_client(unknown).fails(&source).await;
    assert_eq!(result, AttemptResult::Http, "{text}");
}
