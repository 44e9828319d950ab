//! TLS of the API and its like: the server's certificate, and whose client certificates are taken.

use std::sync::Arc;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, crypto::aws_lc_rs};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate in a text.
    #[error("there is no certificate in PEM form")]
    NoCertificate,
    /// No key.
    #[error("there is no private key in PEM form")]
    NoKey,
    /// They are of no use.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// Authorities for clients are of no use.
    #[error("the authorities for client certificates cannot be used")]
    Authorities(#[source] VerifierBuilderError),
}

/// For a certificate with its chain and its key, and authorities of clients, all in PEM form. Without
/// authorities no client is asked for a certificate.
pub fn server_config(
    certificates: &str,
    key: &str,
    authorities: &[&str],
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        for certificate in all(authority)? {
            roots.add(certificate).map_err(TlsError::Unusable)?;
        }
    }
    let verifier = if authorities.is_empty() {
        WebPkiClientVerifier::no_client_auth()
    } else {
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(TlsError::Authorities)?
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::NoKey)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(all(certificates)?, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn all(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|_| TlsError::NoCertificate)?;
    if found.is_empty() { Err(TlsError::NoCertificate) } else { Ok(found) }
}
