//! How the remote key sets stand, as operators see it.

use std::{sync::Arc, time::Duration};

/// One remote key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySourceStatus {
    /// The issuer whose tokens it verifies.
    pub issuer: Arc<str>,
    /// Where it comes from; `None` asks the issuer by OIDC discovery.
    pub uri: Option<Arc<str>>,
    /// How many keys of the set in use can verify; 0 without one.
    pub keys: usize,
    /// Time since the set in use was fetched; `None` without one.
    pub age: Option<Duration>,
    /// Why the newest attempt failed; `None` once one succeeds.
    pub error: Option<String>,
}

impl KeySourceStatus {
    /// Where it comes from, without what may be a credential in it.
    pub fn origin(&self) -> String {
        let Some(uri) = &self.uri else { return "OIDC discovery".into() };
        let bare = uri.split(['?', '#']).next().unwrap_or_default();
        match bare.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}/{path}")
            }
            None => bare.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_shows_no_credential() {
        let origin = |uri: Option<&str>| {
            let uri = uri.map(Arc::from);
            KeySourceStatus { issuer: "i".into(), uri, keys: 0, age: None, error: None }.origin()
        };
        assert_eq!(origin(None), "OIDC discovery");
        assert_eq!(origin(Some("https://id.example/keys")), "https://id.example/keys");
        assert_eq!(
            origin(Some("https://me:secret@id.example:8443/keys?token=x#y")),
            "https://id.example:8443/keys"
        );
    }
}
