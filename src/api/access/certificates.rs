//! Users by their client certificate, as with Kubernetes: the common name is the user, each
//! organisation a group.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::User;

/// The user of a certificate (DER) that was verified; `None` where it names nobody.
pub fn user_of_certificate(der: &[u8]) -> Option<User> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let subject = certificate.subject();
    let mut names = subject.iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    let name = name.as_str().ok().filter(|name| !name.is_empty())?;
    let groups: Result<_, _> =
        subject.iter_organization().map(|group| group.as_str().map(str::to_owned)).collect();
    Some(User { name: name.to_owned(), uid: String::new(), groups: groups.ok()? })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[&str], groups: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_groups() {
        let user = user_of_certificate(&certificate(&["ann"], &["staff"])).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("ann", vec!["staff".to_owned()]));
    }

    #[test]
    fn who_has_no_name_is_nobody() {
        assert_eq!(user_of_certificate(&certificate(&[], &["staff"])), None);
        assert_eq!(user_of_certificate(&certificate(&[""], &[])), None);
        assert_eq!(user_of_certificate(b"no certificate"), None);
        let mut trailing = certificate(&["ann"], &[]);
        trailing.push(0);
        assert_eq!(user_of_certificate(&trailing), None);
    }
}
