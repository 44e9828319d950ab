//! Certificates for one run: an authority, the services' server certificate, a client for each
//! service account. They are worth nothing outside it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use super::story::Caller;

/// The SPIFFE id of the server certificate. One for all services: a client of the demo checks the
/// address only.
pub(super) const SERVER_ID: &str = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo";

/// The authority and what it has signed.
pub(super) struct Identities {
    authority: CertifiedIssuer<'static, KeyPair>,
    server: Leaf,
    clients: Vec<(Caller, Leaf)>,
}

struct Leaf {
    certificate: Certificate,
    key: KeyPair,
}

impl Identities {
    pub(super) fn generate() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "postern demo");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let address = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let server = vec![SanType::URI(SERVER_ID.try_into()?), address];
        let server = issue(&authority, server, ExtendedKeyUsagePurpose::ServerAuth)?;
        let mut clients = Vec::new();
        for caller in Caller::CERTIFIED {
            let Some(id) = caller.spiffe_id() else { continue };
            let names = vec![SanType::URI(id.try_into()?)];
            clients.push((caller, issue(&authority, names, ExtendedKeyUsagePurpose::ClientAuth)?));
        }
        Ok(Self { authority, server, clients })
    }

    /// Writes `ca.crt`, and a `.crt` and a `.key` for each client.
    pub(super) fn write_to(&self, folder: &Path) -> Result<()> {
        let write = |name: String, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))
        };
        write("ca.crt".into(), self.authority_pem())?;
        for (caller, leaf) in &self.clients {
            write(format!("{caller}.crt"), leaf.certificate.pem())?;
            write(format!("{caller}.key"), leaf.key.serialize_pem())?;
        }
        Ok(())
    }

    pub(super) fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    /// Certificate and key.
    pub(super) fn server_pem(&self) -> (String, String) {
        (self.server.certificate.pem(), self.server.key.serialize_pem())
    }

    /// The caller's certificate as Envoy hands it on: PEM, percent-encoded.
    pub(super) fn encoded_certificate(&self, caller: Caller) -> Option<String> {
        const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        let leaf = self.client(caller)?;
        Some(utf8_percent_encode(&leaf.certificate.pem(), &KEPT).to_string())
    }

    /// TLS as this caller speaks it; the server has to be of our authority.
    pub(super) fn tls(&self, caller: Caller) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.authority.der().to_vec()))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match self.client(caller) {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = PrivateKeyDer::Pkcs8(leaf.key.serialize_der().into());
                builder.with_client_auth_cert(vec![leaf.certificate.der().clone()], key)?
            }
        };
        // A resumed session would bring an earlier identity along.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn client(&self, caller: Caller) -> Option<&Leaf> {
        self.clients.iter().find(|(other, _)| *other == caller).map(|(_, leaf)| leaf)
    }
}

fn issue(
    authority: &CertifiedIssuer<'static, KeyPair>,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
) -> Result<Leaf> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(Leaf { certificate, key })
}
