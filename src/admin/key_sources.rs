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
    /// Time since an attempt failed last; `None` where none did.
    pub last_failure: Option<Duration>,
    /// How many attempts failed in a row.
    pub failures: u32,
}

/// How fresh the keys of a remote key set are, as operators are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The newest attempt got them.
    Fresh,
    /// The newest attempt failed; those of an older one are in use.
    Stale,
    /// There were keys, and they became too old: tokens of the issuer are refused.
    Expired,
    /// No attempt has got any: tokens of the issuer are refused.
    Missing,
    /// The first attempt has not ended.
    Awaited,
}

impl Freshness {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Missing => "missing",
            Self::Awaited => "awaited",
        }
    }
}

impl KeySourceStatus {
    /// How fresh its keys are.
    pub fn freshness(&self) -> Freshness {
        match (self.keys, self.age, &self.error) {
            (_, None, None) => Freshness::Awaited,
            (_, None, Some(_)) => Freshness::Missing,
            (0, Some(_), Some(_)) => Freshness::Expired,
            (_, Some(_), Some(_)) => Freshness::Stale,
            (0, Some(_), None) => Freshness::Missing,
            (_, Some(_), None) => Freshness::Fresh,
        }
    }

    /// Where it comes from, without what may be a credential in it.
    pub fn origin(&self) -> String {
        origin(self.uri.as_deref())
    }
}

/// Where keys with this URI come from, without what may be a credential in it.
pub(crate) fn origin(uri: Option<&str>) -> String {
    let Some(uri) = uri else { return "OIDC discovery".into() };
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn status(
        uri: Option<Arc<str>>,
        keys: usize,
        age: Option<u64>,
        error: Option<&str>,
    ) -> KeySourceStatus {
        KeySourceStatus {
            issuer: "i".into(),
            uri,
            keys,
            age: age.map(Duration::from_secs),
            error: error.map(str::to_owned),
            last_failure: error.map(|_| Duration::from_secs(1)),
            failures: u32::from(error.is_some()),
        }
    }

    #[rstest]
    #[case(0, None, None, Freshness::Awaited)]
    #[case(0, None, Some("cannot connect"), Freshness::Missing)]
    #[case(2, Some(3), None, Freshness::Fresh)]
    #[case(2, Some(3), Some("cannot connect"), Freshness::Stale)]
    #[case(0, Some(99), Some("cannot connect"), Freshness::Expired)]
    #[case::no_usable_key(0, Some(3), None, Freshness::Missing)]
    fn keys_are_as_fresh_as_they_are(
        #[case] keys: usize,
        #[case] age: Option<u64>,
        #[case] error: Option<&str>,
        #[case] expect: Freshness,
    ) {
        assert_eq!(status(None, keys, age, error).freshness(), expect);
    }

    #[test]
    fn an_origin_shows_no_credential() {
        let origin = |uri: Option<&str>| {
            let uri = uri.map(Arc::from);
            status(uri, 0, None, None).origin()
        };
        assert_eq!(origin(None), "OIDC discovery");
        assert_eq!(origin(Some("https://id.example/keys")), "https://id.example/keys");
        assert_eq!(
            origin(Some("https://me:secret@id.example:8443/keys?token=x#y")),
            "https://id.example:8443/keys"
        );
    }
}
