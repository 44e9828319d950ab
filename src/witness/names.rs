//! Names of peers that several fields take at once: trust domain, namespace and service account are
//! all parts of one SPIFFE ID.

use super::test::{Entries, Meaning, Test};
use super::texts::{dedup, taken};

/// How many of each part are combined.
const PARTS: usize = 6;

/// Names that fields about the peer may take. `now` is the name that it has.
pub(super) fn names(tests: &[&Test], now: Option<&str>) -> Vec<String> {
    let mut whole = Vec::new();
    let mut parts = Parts::default();
    if let Some(now) = now.and_then(|now| now.strip_prefix("spiffe://")) {
        parts.learn(now);
    }
    for test in tests.iter().filter(|test| !test.negated) {
        let Entries::Texts(meaning, entries) = &test.entries else { continue };
        for entry in entries {
            match meaning {
                Meaning::Principal => {
                    for text in taken(entry) {
                        parts.learn(&text);
                        whole.push(format!("spiffe://{text}"));
                    }
                    // A suffix of a whole ID: what comes before it has to be there as well.
                    if let Some(suffix) = entry.strip_prefix('*') {
                        parts.learn(suffix.trim_start_matches('/'));
                        whole.push(format!("spiffe://cluster.local/ns/default/{suffix}"));
                        whole.push(format!("spiffe://cluster.local{suffix}"));
                    }
                }
                Meaning::Namespace => parts.namespaces.extend(filled(entry)),
                Meaning::ServiceAccount => match entry.split_once('/') {
                    Some((namespace, account)) => {
                        parts.namespaces.push(namespace.to_owned());
                        parts.accounts.push(account.to_owned());
                    }
                    None => {
                        parts.namespaces.push(test.namespace().to_owned());
                        parts.accounts.push(entry.clone());
                    }
                },
                Meaning::TrustDomain => parts.domains.extend(filled(entry)),
                Meaning::RequestPrincipal | Meaning::Path | Meaning::Metadata | Meaning::Text => {}
            }
        }
    }
    whole.extend(parts.combined());
    dedup(whole)
}

/// A part of a name has no slash.
fn filled(pattern: &str) -> Vec<String> {
    ["x", "y9", ""].map(|fill| pattern.replace('*', fill)).to_vec()
}

#[derive(Default)]
struct Parts {
    domains: Vec<String>,
    namespaces: Vec<String>,
    accounts: Vec<String>,
}

impl Parts {
    /// Notes what is where it would be in `td/ns/a/sa/b`.
    fn learn(&mut self, name: &str) {
        let mut words = name.split('/').peekable();
        if let Some(domain) = words.next_if(|first| !first.is_empty() && *first != "ns") {
            self.domains.push(domain.to_owned());
        }
        while let Some(word) = words.next() {
            let list = match word {
                "ns" => &mut self.namespaces,
                "sa" => &mut self.accounts,
                _ => continue,
            };
            list.extend(words.peek().filter(|value| !value.is_empty()).map(ToString::to_string));
        }
    }

    fn combined(self) -> Vec<String> {
        let with = |list: Vec<String>, usual: &[&str]| -> Vec<String> {
            let all = list.into_iter().chain(usual.iter().map(ToString::to_string)).collect();
            let mut all = dedup(all);
            all.truncate(PARTS);
            all
        };
        let domains = with(self.domains, &["cluster.local", "other"]);
        let namespaces = with(self.namespaces, &["default", "other"]);
        let accounts = with(self.accounts, &["default", "other"]);
        let mut names = Vec::new();
        for domain in &domains {
            for namespace in &namespaces {
                for account in &accounts {
                    names.push(format!("spiffe://{domain}/ns/{namespace}/sa/{account}"));
                }
            }
        }
        names
    }
}
