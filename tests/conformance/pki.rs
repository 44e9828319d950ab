//! Certificates of one run: an authority, a server and any number of clients.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SanType,
};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};

/// The server's SPIFFE id.
pub(crate) const SERVER_URI: &str = "spiffe://cluster.local/ns/foo/sa/httpbin";

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Uri(String),
    Dns(String),
    /// The subject's common name.
    Subject(String),
    /// Another part of the subject.
    Unit(String),
    /// A name that nobody looks at.
    Email(String),
}

/// The authority, and what it has signed.
pub(crate) struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    server: Leaf,
    clients: Mutex<BTreeMap<Vec<Name>, Arc<Leaf>>>,
    configs: Mutex<BTreeMap<Option<Vec<Name>>, Arc<ClientConfig>>>,
}

/// A certificate with its key.
pub(crate) struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Leaf {
    pub(crate) fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn certificate_der(&self) -> &[u8] {
        self.certificate.der()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "conformance CA");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names = [Name::Uri(SERVER_URI.into()), Name::Dns("httpbin.foo".into())];
        let server = issue(&authority, &names);
        Self { authority, server, clients: Mutex::default(), configs: Mutex::default() }
    }

    pub(crate) fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    pub(crate) fn server(&self) -> &Leaf {
        &self.server
    }

    /// The client certificate of these names, the same one each time.
    pub(crate) fn client(&self, names: &[Name]) -> Arc<Leaf> {
        let mut clients = self.clients.lock().unwrap();
        let issued = || Arc::new(issue(&self.authority, names));
        clients.entry(names.to_vec()).or_insert_with(issued).clone()
    }

    /// TLS as a client: nothing of the server is checked, no session is resumed (a resumed one
    /// would bring an earlier identity along).
    pub(crate) fn tls(&self, names: Option<&[Name]>) -> Arc<ClientConfig> {
        let mut configs = self.configs.lock().unwrap();
        let made = || Arc::new(self.client_config(names));
        configs.entry(names.map(<[Name]>::to_vec)).or_insert_with(made).clone()
    }

    fn client_config(&self, names: Option<&[Name]>) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
        let mut config = match names {
            None => builder.with_no_client_auth(),
            Some(names) => {
                let leaf = self.client(names);
                let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![leaf.certificate.der().clone()], key).unwrap()
            }
        };
        config.resumption = Resumption::disabled();
        config
    }
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, names: &[Name]) -> Leaf {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in names {
        match name {
            Name::Uri(uri) => {
                params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
            }
            Name::Dns(dns) => {
                params.subject_alt_names.push(SanType::DnsName(dns.as_str().try_into().unwrap()));
            }
            Name::Subject(cn) => {
                params.distinguished_name.push(DnType::CommonName, cn.as_str());
            }
            Name::Unit(unit) => {
                params.distinguished_name.push(DnType::OrganizationalUnitName, unit.as_str());
            }
            Name::Email(email) => {
                let email = email.as_str().try_into().unwrap();
                params.subject_alt_names.push(SanType::Rfc822Name(email));
            }
        }
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Leaf { certificate, key }
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
