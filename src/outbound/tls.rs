//! Whom the client trusts, and who it says it is: to everyone, and for some issuers.
//!
//! What is spoken over TLS is `Client`'s job.

use std::{collections::HashMap, fmt, sync::Arc};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

const HTTP_1: &[u8] = b"http/1.1";

/// How the servers of one issuer are asked.
pub struct ClientSettings {
    /// Whose.
    pub issuer: Arc<str>,
    /// Trusted instead of the system's authorities and those for everyone; empty trusts those.
    pub trusted: Vec<CertificateDer<'static>>,
    /// The client certificate with its chain, and its key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Clone for ClientSettings {
    fn clone(&self) -> Self {
        let identity = self.identity.as_ref();
        Self {
            issuer: self.issuer.clone(),
            trusted: self.trusted.clone(),
            identity: identity.map(|(chain, key)| (chain.clone(), key.clone_key())),
        }
    }
}

/// Never the key.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("issuer", &self.issuer)
            .field("trusted", &self.trusted.len())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// Whom to trust, and who to say it is.
#[derive(Default)]
pub struct Trust {
    /// These authorities; empty trusts the system's.
    pub trusted: Vec<CertificateDer<'static>>,
    /// The client certificate with its chain, and its key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Clone for Trust {
    fn clone(&self) -> Self {
        let identity = self.identity.as_ref();
        Self {
            trusted: self.trusted.clone(),
            identity: identity.map(|(chain, key)| (chain.clone(), key.clone_key())),
        }
    }
}

/// Never the key.
impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("trusted", &self.trusted.len())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// For one place, speaking this protocol; `None` where nobody could be trusted.
pub(super) fn connector_for(
    trust: Trust,
    protocol: &[u8],
) -> Result<Option<TlsConnector>, rustls::Error> {
    let Trust { trusted, identity } = trust;
    let roots = if trusted.is_empty() {
        all_roots(&[])?
    } else {
        let mut roots = RootCertStore::empty();
        trusted.into_iter().try_for_each(|root| roots.add(root))?;
        roots
    };
    if roots.is_empty() {
        return Ok(None);
    }
    connector(Arc::new(roots), identity, protocol).map(Some)
}

/// TLS for each issuer.
pub(super) struct Connectors {
    /// `None` where nothing is trusted.
    default: Option<TlsConnector>,
    by_issuer: HashMap<Arc<str>, TlsConnector>,
}

impl Connectors {
    /// Trusts the system's roots and `also_trusted`, but for the issuers of `settings` what those
    /// say.
    pub(super) fn new(
        also_trusted: &[CertificateDer<'static>],
        settings: Vec<ClientSettings>,
    ) -> Result<Self, rustls::Error> {
        let roots = Arc::new(all_roots(also_trusted)?);
        let trusting = !roots.is_empty();
        let default = trusting.then(|| connector(roots.clone(), None, HTTP_1)).transpose()?;
        let by_issuer = settings
            .into_iter()
            .map(|client| {
                let roots = match &*client.trusted {
                    [] => roots.clone(),
                    trusted => {
                        let mut roots = RootCertStore::empty();
                        trusted.iter().try_for_each(|root| roots.add(root.clone()))?;
                        Arc::new(roots)
                    }
                };
                Ok((client.issuer, connector(roots, client.identity, HTTP_1)?))
            })
            .collect::<Result<_, rustls::Error>>()?;
        Ok(Self { default, by_issuer })
    }

    /// Trusts this everywhere.
    pub(super) fn everywhere(trust: Trust) -> Result<Self, rustls::Error> {
        Ok(Self { default: connector_for(trust, HTTP_1)?, by_issuer: HashMap::new() })
    }

    /// For the servers of this issuer; `None` where no server could be trusted.
    pub(super) fn of(&self, issuer: &str) -> Option<&TlsConnector> {
        self.by_issuer.get(issuer).or(self.default.as_ref())
    }
}

fn all_roots(also_trusted: &[CertificateDer<'static>]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    // Stores hold certificates that rustls cannot read; they only narrow what is trusted.
    let (_, unreadable) = roots.add_parsable_certificates(system.certs);
    for certificate in also_trusted {
        roots.add(certificate.clone())?;
    }
    if roots.is_empty() {
        tracing::warn!(
            unreadable,
            errors = ?system.errors,
            "no trusted root certificates; https servers cannot be asked"
        );
    }
    Ok(roots)
}

fn connector(
    roots: Arc<RootCertStore>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    protocol: &[u8],
) -> Result<TlsConnector, rustls::Error> {
    let config = ClientConfig::builder_with_provider(crypto::aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
