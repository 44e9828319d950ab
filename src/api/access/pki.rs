//! An authority of the server's own, for where there is no other.
//!
//! It is made once and kept beside the store. What it signs is made anew at each start: the server's
//! certificate, and that of the kubeconfig which the operator finds there.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use super::MASTERS;

/// How long the authority is good for.
const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);

/// How long what it signs is good for.
const LEAF_LIFE: Duration = Duration::from_hours(365 * 24);

/// For clocks that are not quite right.
const BEFORE: Duration = Duration::from_hours(1);

/// Why there is no authority, or nothing that it signed.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use `{file}`")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What is there is no authority.
    #[error("`{file}` is no certificate or key that this server wrote; remove both to begin anew")]
    NoAuthority {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        error: rcgen::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// The authority.
#[derive(Debug)]
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Pki {
    /// The authority in this folder; a new one, if there is none.
    pub fn open(folder: &Path, now: SystemTime) -> Result<Self, PkiError> {
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        if certificate.exists() || key.exists() {
            return Self::read(&certificate, &key);
        }
        let (pair, pem) = authority(now)?;
        // The key first: without it the certificate would be taken for an authority that lost it.
        write_private(&key, &pair.serialize_pem())?;
        write_private(&certificate, &pem)?;
        Self::read(&certificate, &key)
    }

    /// An authority that nobody keeps: what it signs is good for as long as this process lives.
    pub fn ephemeral(now: SystemTime) -> Result<Self, PkiError> {
        let (pair, pem) = authority(now)?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&pem, pair)?, pem })
    }

    fn read(certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        let text = |file: &Path| {
            fs::read_to_string(file).map_err(|error| PkiError::File { file: file.into(), error })
        };
        let (pem, key_pem) = (text(certificate)?, text(key)?);
        let refused = |file: &Path| {
            let file = file.to_owned();
            move |error| PkiError::NoAuthority { file, error }
        };
        let pair = KeyPair::from_pem(&key_pem).map_err(refused(key))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, pair).map_err(refused(certificate))?;
        Ok(Self { issuer, pem })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// For a server at these names and addresses.
    pub fn server(&self, hosts: &[String], now: SystemTime) -> Result<Leaf, PkiError> {
        // Another name than the authority's: OpenSSL takes a certificate that names itself as its
        // issuer for self-signed.
        let mut params = params(&[("postern-api", DnType::CommonName)], now, LEAF_LIFE);
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into()?),
            });
        }
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client of this name, in this group.
    pub fn client(&self, name: &str, group: &str, now: SystemTime) -> Result<Leaf, PkiError> {
        let names = [(name, DnType::CommonName), (group, DnType::OrganizationName)];
        self.sign(params(&names, now, LEAF_LIFE), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Leaf, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Writes a kubeconfig for the operator: for the server at this URL, as one who may do everything.
    /// Only the owner of the file can read it.
    pub fn write_kubeconfig(
        &self,
        file: &Path,
        server: &str,
        now: SystemTime,
    ) -> Result<(), PkiError> {
        self.write_kubeconfig_for(file, server, &self.pem, now)
    }

    /// The same for a server whose certificate somebody else has signed.
    pub fn write_kubeconfig_for(
        &self,
        file: &Path,
        server: &str,
        authority: &str,
        now: SystemTime,
    ) -> Result<(), PkiError> {
        let client = self.client("postern-admin", MASTERS, now)?;
        write_private(file, &kubeconfig(server, authority, &client))
    }
}

/// A new authority: its key, and its certificate in PEM form.
fn authority(now: SystemTime) -> Result<(KeyPair, String), rcgen::Error> {
    let mut params = params(&[("postern", DnType::CommonName)], now, AUTHORITY_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let pair = KeyPair::generate()?;
    let pem = params.self_signed(&pair)?.pem();
    Ok((pair, pem))
}

/// A kubeconfig for one server, one authority and one client.
pub fn kubeconfig(server: &str, authority: &str, client: &Leaf) -> String {
    let encode = |text: &str| STANDARD.encode(text);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: postern
  cluster:
    server: {server}
    certificate-authority-data: {}
users:
- name: postern-admin
  user:
    client-certificate-data: {}
    client-key-data: {}
contexts:
- name: postern
  context:
    cluster: postern
    user: postern-admin
current-context: postern
",
        encode(authority),
        encode(&client.certificate),
        encode(&client.key),
    )
}

fn params(names: &[(&str, DnType)], now: SystemTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (name, kind) in names {
        params.distinguished_name.push(kind.clone(), *name);
    }
    let begin = now.checked_sub(BEFORE).unwrap_or(now);
    params.not_before = begin.into();
    params.not_after = now.checked_add(life).unwrap_or(now).into();
    params
}

/// All of it or nothing, for nobody else to read.
fn write_private(file: &Path, text: &str) -> Result<(), PkiError> {
    let write = || {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = file.with_file_name(name);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut opened = options.open(&new)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        fs::rename(&new, file)
    };
    write().map_err(|error| PkiError::File { file: file.into(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
    use tokio_rustls::rustls::{
        RootCertStore, client::WebPkiServerVerifier, client::danger::ServerCertVerifier as _,
        crypto::aws_lc_rs, server::WebPkiClientVerifier,
    };

    use super::*;
    use crate::api::access::user_of_certificate;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn at(time: SystemTime) -> UnixTime {
        UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn roots(pki: &Pki) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(der(pki.pem())).unwrap();
        Arc::new(roots)
    }

    #[test]
    fn the_authority_is_made_once_and_signs_servers_and_clients() {
        let folder = tempfile::tempdir().unwrap();
        let first = Pki::open(folder.path(), now()).unwrap();
        let pki = Pki::open(folder.path(), now()).unwrap();
        assert_eq!(first.pem(), pki.pem());
        let provider = Arc::new(aws_lc_rs::default_provider());

        let server = pki.server(&["127.0.0.1".into(), "postern.svc".into()], now()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(&first), provider.clone());
        let verifier = verifier.build().unwrap();
        let verify = |name: &'static str, time| {
            let name = name.try_into().unwrap();
            verifier.verify_server_cert(&der(&server.certificate), &[], &name, &[], at(time))
        };
        assert!(verify("127.0.0.1", now()).is_ok() && verify("postern.svc", now()).is_ok());
        assert!(verify("other.svc", now()).is_err());
        assert!(verify("127.0.0.1", now() + LEAF_LIFE + BEFORE).is_err());

        let client = pki.client("ann", "staff", now()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&first), provider);
        let certificate = der(&client.certificate);
        verifier.build().unwrap().verify_client_cert(&certificate, &[], at(now())).unwrap();
        let user = user_of_certificate(&certificate).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("ann", vec!["staff".to_owned()]));
    }

    #[test]
    fn private_files_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path(), now()).unwrap();
        let file = folder.path().join("kubeconfig");
        for _ in 0..2 {
            pki.write_kubeconfig(&file, "https://127.0.0.1:8443", now()).unwrap();
        }
        for name in ["ca.key", "kubeconfig"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(fs::read_to_string(file).unwrap().contains("server: https://127.0.0.1:8443\n"));
    }

    #[test]
    fn half_an_authority_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), "not PEM").unwrap();
        assert!(matches!(Pki::open(folder.path(), now()), Err(PkiError::File { .. })));
        fs::write(folder.path().join("ca.key"), "not PEM").unwrap();
        assert!(matches!(Pki::open(folder.path(), now()), Err(PkiError::NoAuthority { .. })));
        assert_eq!(fs::read(folder.path().join("ca.crt")).unwrap(), b"not PEM");
    }
}
