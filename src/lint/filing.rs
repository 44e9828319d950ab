//! Rules by the values they ask for, so that thousands of them need not all be held against all.
//!
//! Finds at least every rule that may cover another; whether it does is for `cover` to prove.

use std::collections::HashMap;

use ipnet::IpNet;

use super::meaning::{Entry, Meaning, Test};
use super::pattern::{Pattern, Text};
use crate::plan::vocabulary::Attribute;

/// Rules by their keys.
#[derive(Debug)]
pub(super) struct Files {
    by_key: HashMap<Key, Vec<usize>>,
    /// Those that have none.
    others: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(Attribute, Kind);

/// What an entry is filed under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Exact(String),
    Prefix(String),
    Suffix(String),
    /// What a path template begins with.
    Template(String),
    Pair(String, String),
    Issuer(String),
    Block(IpNet),
}

/// Longer texts are not filed.
const LONGEST: usize = 256;
/// Rules with more ways to match are not filed.
const MOST_WAYS: usize = 64;

impl Files {
    /// Of rules by their numbers. Each is filed under one list of each of its ways to match: what is
    /// within that way is within that list.
    pub(super) fn of<'m>(meanings: impl Iterator<Item = &'m Meaning>) -> Self {
        let mut files = Self { by_key: HashMap::new(), others: Vec::new() };
        for (number, meaning) in meanings.enumerate() {
            let lists: Option<Vec<Vec<Key>>> = meaning
                .ways()
                .take(MOST_WAYS + 1)
                .map(|way| way.tests().filter_map(keys).min_by_key(Vec::len))
                .collect();
            match lists {
                Some(lists) if lists.len() <= MOST_WAYS => {
                    for key in lists.into_iter().flatten() {
                        files.by_key.entry(key).or_default().push(number);
                    }
                }
                Some(_) | None => files.others.push(number),
            }
        }
        files
    }

    /// At least the rules that cover this one, ascending.
    pub(super) fn that_may_cover(&self, meaning: &Meaning) -> Vec<usize> {
        let mut found = self.others.clone();
        // Each way of a rule is within a way of what covers it, so it is enough to ask for one; and a
        // list is within another if all of its entries are, so again for one.
        let first = meaning.ways().next();
        let lists = first.iter().flat_map(|way| way.tests()).filter(|test| !test.negated);
        for (test, entry) in lists.filter_map(|test| Some((test, test.entries.first()?))) {
            for key in keys_of_wider(&test.attribute, &entry.pattern) {
                found.extend(self.by_key.get(&key).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What a list is filed under; `None` where some entry of it has no key.
fn keys(test: &Test) -> Option<Vec<Key>> {
    if test.negated {
        return None;
    }
    let of = |entry: &Entry| Some(Key(test.attribute.clone(), key(&entry.pattern)?));
    test.entries.iter().map(of).collect()
}

fn key(pattern: &Pattern) -> Option<Kind> {
    let short = |text: &str| (text.len() <= LONGEST).then(|| text.to_owned());
    let plain = |text: &str| short(text).filter(|text| !text.contains(['*', '/']));
    match pattern {
        Pattern::Text(text) | Pattern::Path(text) | Pattern::Principal(text) => match text {
            Text::Exact(text) => Some(Kind::Exact(short(text)?)),
            Text::Prefix(text) => Some(Kind::Prefix(short(text)?)),
            Text::Suffix(text) => Some(Kind::Suffix(short(text)?)),
            Text::Any | Text::OneOrMore => None,
        },
        Pattern::Template(template, _) => Some(Kind::Template(short(template.start())?)),
        Pattern::Namespace(name) | Pattern::TrustDomain(name) => Some(Kind::Exact(plain(name)?)),
        Pattern::ServiceAccount(namespace, account) => {
            Some(Kind::Pair(plain(namespace)?, plain(account)?))
        }
        Pattern::RequestPrincipal(Text::Exact(issuer), _) => Some(Kind::Issuer(short(issuer)?)),
        Pattern::Block(block) => Some(Kind::Block(block.trunc())),
        Pattern::Port(port) => Some(Kind::Exact(port.to_string())),
        Pattern::RequestPrincipal(..) | Pattern::Metadata { .. } => None,
    }
}

/// Every key of an entry that may cover this one.
fn keys_of_wider(attribute: &Attribute, pattern: &Pattern) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut add = |kind| keys.push(Key(attribute.clone(), kind));
    match pattern {
        Pattern::Text(text) | Pattern::Path(text) | Pattern::Principal(text) => {
            if let Text::Exact(text) = text {
                add(Kind::Exact(text.clone()));
            }
            if let Text::Exact(text) | Text::Prefix(text) = text {
                beginnings(text).for_each(|start| {
                    add(Kind::Prefix(start.to_owned()));
                    add(Kind::Template(start.to_owned()));
                });
            }
            if let Text::Exact(text) | Text::Suffix(text) = text {
                ends(text).for_each(|end| add(Kind::Suffix(end.to_owned())));
            }
        }
        Pattern::Template(template, _) => {
            add(Kind::Template(template.start().to_owned()));
            beginnings(template.start()).for_each(|start| add(Kind::Prefix(start.to_owned())));
            ends(template.end()).for_each(|end| add(Kind::Suffix(end.to_owned())));
        }
        Pattern::Namespace(name) | Pattern::TrustDomain(name) => add(Kind::Exact(name.clone())),
        Pattern::ServiceAccount(namespace, account) => {
            add(Kind::Pair(namespace.clone(), account.clone()));
        }
        Pattern::RequestPrincipal(Text::Exact(issuer), _) => add(Kind::Issuer(issuer.clone())),
        Pattern::Block(block) => {
            for length in 0..=block.prefix_len() {
                if let Ok(wider) = IpNet::new(block.addr(), length) {
                    add(Kind::Block(wider.trunc()));
                }
            }
        }
        Pattern::Port(port) => add(Kind::Exact(port.to_string())),
        Pattern::RequestPrincipal(..) | Pattern::Metadata { .. } => {}
    }
    if let Pattern::Principal(Text::Exact(id)) = pattern {
        keys.extend(keys_of_parts(id));
    }
    keys
}

/// Of what looks at a part of an identity.
fn keys_of_parts(id: &str) -> Vec<Key> {
    let segments: Vec<&str> = id.split('/').collect();
    let after = |name: &str| -> Vec<&str> {
        let pairs = segments.windows(2);
        pairs
            .filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
            .filter(|(before, _)| **before == name)
            .map(|(_, segment)| *segment)
            .collect()
    };
    let mut keys = Vec::new();
    if let Some(domain) = segments.first() {
        keys.push(Key(Attribute::TrustDomain, Kind::Exact((*domain).to_owned())));
    }
    for namespace in after("ns") {
        keys.push(Key(Attribute::Namespace, Kind::Exact(namespace.to_owned())));
        for account in after("sa") {
            let pair = Kind::Pair(namespace.to_owned(), account.to_owned());
            keys.push(Key(Attribute::ServiceAccount, pair));
        }
    }
    keys
}

/// Everything that it begins with and that may have been filed.
fn beginnings(text: &str) -> impl Iterator<Item = &str> {
    (0..=text.len().min(LONGEST)).filter_map(|length| text.get(..length))
}

/// Everything that it ends with and that may have been filed.
fn ends(text: &str) -> impl Iterator<Item = &str> {
    (0..=text.len().min(LONGEST)).filter_map(|length| text.get(text.len() - length..))
}
