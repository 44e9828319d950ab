//! What a provider says of how long its answer holds, and how to ask whether it still does.
//!
//! RFC 9110 sections 8.8 and 13.1, RFC 9111 section 5.2. What is made of it is `schedule`'s job.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::outbound::Target;

/// What identifies an answer, to ask for it only if it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// Who gave it: a redirect may lead elsewhere next time.
    target: Target,
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    /// Those of an answer, if it has any.
    pub(super) fn of(target: &Target, headers: &HeaderMap) -> Option<Self> {
        let etag = headers.get(header::ETAG).cloned();
        let last_modified = headers.get(header::LAST_MODIFIED).cloned();
        (etag.is_some() || last_modified.is_some()).then(|| Self {
            target: target.clone(),
            etag,
            last_modified,
        })
    }

    /// Makes a request conditional, if it goes to whom they come from. Whether it does.
    pub(super) fn apply(&self, target: &Target, headers: &mut HeaderMap) -> bool {
        if self.target != *target {
            return false;
        }
        // RFC 9110 section 13.1.3: the date does not count where there is a tag.
        match (&self.etag, &self.last_modified) {
            (Some(etag), _) => headers.insert(header::IF_NONE_MATCH, etag.clone()),
            (None, Some(date)) => headers.insert(header::IF_MODIFIED_SINCE, date.clone()),
            (None, None) => return false,
        };
        true
    }
}

/// How long an answer says it is fresh: `max-age` of `Cache-Control`, less its `Age`. `None` where
/// it says nothing that can be read.
pub(super) fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    let directives = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let max_age = directives.filter_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then_some(value)
    });
    let max_age = seconds(max_age.min_by_key(|value| seconds(value))?)?;
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()).and_then(seconds);
    Some(max_age.saturating_sub(age.unwrap_or_default()))
}

/// RFC 9111 section 1.2.2, also in quotes.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[("cache-control", "max-age=300")], Some(300))]
    #[case(&[("cache-control", "public, Max-Age=300, must-revalidate")], Some(300))]
    #[case(&[("cache-control", "max-age=\"300\"")], Some(300))]
    #[case(&[("cache-control", "max-age=300"), ("age", "100")], Some(200))]
    #[case(&[("cache-control", "max-age=300"), ("age", "900")], Some(0))]
    #[case(&[("cache-control", "max-age=300"), ("cache-control", "max-age=60")], Some(60))]
    #[case(&[("cache-control", "s-maxage=300")], None)]
    #[case(&[("cache-control", "no-store")], None)]
    #[case(&[("cache-control", "max-age=soon")], None)]
    #[case(&[("cache-control", "max-age=-1")], None)]
    #[case(&[("cache-control", "max-age")], None)]
    #[case(&[("age", "5")], None)]
    #[case(&[], None)]
    fn lifetimes(#[case] headers: &[(&'static str, &'static str)], #[case] expect: Option<u64>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(lifetime(&map), expect.map(Duration::from_secs));
    }
}
