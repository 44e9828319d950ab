//! The names in a client certificate, as Envoy sends it: PEM, percent-encoded.

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::x509::X509Name;

/// The most bytes of certificates remembered. They have about 2 kB; a busy gateway sees a few
/// hundred.
const MAX_BYTES: u64 = 8 << 20;

// Of names in a subjectAltName (RFC 5280 section 4.2.1.6).
const DNS_NAME: Tag = Tag(2);
const URI: Tag = Tag(6);

/// Finds the names of certificates, each distinct one parsed once while it is remembered. Those
/// remembered are compared whole: no two are ever taken for each other. Cheap to clone.
#[derive(Clone)]
pub struct CertificateNames(Arc<Cache<Box<str>, Names, ByBytes>>);

/// `None` for what is no certificate.
type Names = Option<Arc<[String]>>;

impl Default for CertificateNames {
    fn default() -> Self {
        Self::of_bytes(MAX_BYTES)
    }
}

impl fmt::Debug for CertificateNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateNames").field("held", &self.0.len()).finish()
    }
}

impl CertificateNames {
    fn of_bytes(max_bytes: u64) -> Self {
        let typical = usize::try_from(max_bytes / 2_048).unwrap_or(usize::MAX);
        Self(Arc::new(Cache::with_weighter(typical, max_bytes, ByBytes)))
    }

    /// URI SANs, then DNS SANs, then the subject, none empty; `None` for what is no certificate.
    pub fn of(&self, encoded_pem: &str) -> Option<Arc<[String]>> {
        if let Some(known) = self.0.get(encoded_pem) {
            return known;
        }
        let names = names(encoded_pem);
        self.0.insert(encoded_pem.into(), names.clone());
        names
    }
}

/// What an entry takes in memory.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<str>, Names> for ByBytes {
    fn weight(&self, pem: &Box<str>, names: &Names) -> u64 {
        const BESIDE: usize = 128;
        let names = names.iter().flat_map(|names| names.iter());
        let names: usize = names.map(|name| size_of::<String>() + name.len()).sum();
        u64::try_from(BESIDE + pem.len() + names).unwrap_or(u64::MAX)
    }
}

fn names(encoded_pem: &str) -> Option<Arc<[String]>> {
    let pem: Vec<u8> = percent_decode_str(encoded_pem).collect();
    let (_, pem) = parse_x509_pem(&pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let (mut uris, mut dns) = (Vec::new(), Vec::new());
    if let Some(sans) = certificate.subject_alternative_name().ok()? {
        for san in &sans.value.general_names {
            if let GeneralName::URI(uri) = san {
                uris.push((*uri).to_owned());
            } else if let GeneralName::DNSName(name) = san {
                dns.push((*name).to_owned());
            } else if matches!(san, GeneralName::Invalid(DNS_NAME | URI, _)) {
                // Native filters match its bytes; without it a DENY rule could miss the peer.
                return None;
            }
        }
    }
    let subject = rfc2253(certificate.subject())?;
    let names: Vec<String> =
        uris.into_iter().chain(dns).chain([subject]).filter(|name| !name.is_empty()).collect();
    // A NUL in a name has fooled others (CVE-2025-66220); no such name is anybody's.
    (!names.iter().any(|name| name.contains('\0'))).then(|| names.into())
}

/// The subject as RFC 2253 writes it: last part first, special characters escaped.
fn rfc2253(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for rdn in name.iter() {
        let mut attributes = Vec::new();
        for attribute in rdn.iter() {
            let oid = attribute.attr_type();
            let key = x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry())
                .map_or_else(|_| oid.to_id_string(), str::to_owned);
            attributes.push(format!("{key}={}", escape(attribute.as_str().ok()?)));
        }
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let at_edge = c == ' ' && (i == 0 || i == last) || c == '#' && i == 0;
        if at_edge || ",+\"\\<>;".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(sans: Vec<SanType>, subject: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        utf8_percent_encode(&pem, NON_ALPHANUMERIC).to_string()
    }

    #[test]
    fn uris_first_then_dns_names_then_the_subject() {
        let pem = certificate(
            vec![
                SanType::DnsName("a.example.com".try_into().unwrap()),
                SanType::URI("spiffe://td/ns/a/sa/b".try_into().unwrap()),
                SanType::URI("https://two".try_into().unwrap()),
            ],
            &[
                (DnType::CountryName, "US"),
                (DnType::OrganizationName, "Acme, Inc"),
                (DnType::CommonName, "me"),
            ],
        );
        let names = CertificateNames::default();
        let expect =
            ["spiffe://td/ns/a/sa/b", "https://two", "a.example.com", "CN=me,O=Acme\\, Inc,C=US"];
        assert_eq!(*names.of(&pem).unwrap(), expect);
        assert_eq!(*names.of(&pem).unwrap(), expect, "and once more from the cache");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let names = CertificateNames::of_bytes(64 << 10);
        for i in 0..100 {
            assert_eq!(names.of(&format!("{i}{}", "a".repeat(4 << 10))), None);
            assert!(names.0.weight() <= 64 << 10);
        }
        assert!(names.0.len() > 3, "{names:?}");
    }

    #[test]
    fn no_names_at_all() {
        let names = CertificateNames::default();
        assert_eq!(names.of(&certificate(vec![], &[])).unwrap().len(), 0);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        let names = CertificateNames::default();
        assert_eq!(names.of("-----BEGIN%20CERTIFICATE-----%0Aabc"), None);
        assert_eq!(names.of("%ff"), None);
    }
}
