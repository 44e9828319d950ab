//! Values of one input that may make fields hold.

use std::net::IpAddr;

use ipnet::IpNet;

use super::names::names;
use super::test::{Entries, Input, Test};
use super::texts::{between, dedup, paths_between, taken};
use super::{Change, Probe};
use crate::model::Value;

/// Changes of one input that may make these hold, the likeliest first. `tests` are all about it.
pub(super) fn candidates(
    input: &Input,
    tests: &[&Test],
    probe: &Probe,
    issuers: &[&str],
) -> Vec<Change> {
    let texts = || Texts::of(tests);
    let http = probe.attributes.http.as_ref();
    match input {
        Input::Peer => {
            let now = probe.attributes.peer.principal();
            let none = Change::Peer(None);
            let some = names(tests, now).into_iter().map(|name| Change::Peer(Some(name)));
            let wants_none = tests.iter().all(|test| test.negated);
            let last = wants_none.then_some(none);
            some.chain(last).collect()
        }
        Input::RequestPrincipal => {
            let wants_none = tests.iter().all(|test| test.negated);
            let none = wants_none.then_some(Change::RequestPrincipal(None));
            let some = request_principals(&texts(), issuers).into_iter();
            none.into_iter().chain(some.map(|it| Change::RequestPrincipal(Some(it)))).collect()
        }
        Input::Claim(path) => {
            let now = claim(probe, path);
            let values = texts().between(now);
            let without = tests.iter().all(|test| test.negated);
            let changes = values.into_iter().map(|value| Change::Claim(path.clone(), Some(value)));
            let without = without.then(|| Change::Claim(path.clone(), None));
            without.into_iter().chain(changes).collect()
        }
        Input::Method => {
            let mut methods = texts().between(http.map(|http| &*http.method));
            methods.splice(0..0, ["GET", "POST", "PUT", "DELETE"].map(str::to_owned));
            dedup(methods).into_iter().map(Change::Method).collect()
        }
        Input::Host => {
            let hosts = texts().between(http.map(|http| &*http.host));
            hosts.into_iter().map(Change::Host).collect()
        }
        Input::Path => {
            let Texts { yes, no } = texts();
            let now = http.map(|http| http.path_without_query());
            paths_between(&yes, &no, now).into_iter().map(Change::Path).collect()
        }
        Input::Scheme => {
            let mut schemes = vec!["https".to_owned(), "http".to_owned()];
            schemes.extend(texts().between(None));
            dedup(schemes).into_iter().map(Change::Scheme).collect()
        }
        Input::Header(name) => {
            let now = http.and_then(|http| http.headers.first(name));
            let now = now.and_then(|now| str::from_utf8(now).ok());
            let without = tests.iter().all(|test| test.negated);
            let without = without.then(|| Change::Header(name.clone(), None));
            let values = texts().between(now).into_iter();
            let values = values.map(|value| Change::Header(name.clone(), Some(value)));
            without.into_iter().chain(values).collect()
        }
        Input::SourceIp => addresses(tests).into_iter().map(Change::SourceIp).collect(),
        Input::RemoteIp => addresses(tests).into_iter().map(Change::RemoteIp).collect(),
        Input::DestinationIp => addresses(tests).into_iter().map(Change::DestinationIp).collect(),
        Input::DestinationPort => ports(tests).into_iter().map(Change::DestinationPort).collect(),
        Input::Sni => {
            // Server names come in lower case.
            let names = texts().between(Some(&probe.attributes.sni)).into_iter();
            names.map(|name| Change::Sni(name.to_ascii_lowercase())).collect()
        }
        Input::Metadata { filter, key } => {
            let change =
                |value| Change::Metadata { filter: filter.clone(), key: key.clone(), value };
            let without = tests.iter().all(|test| test.negated).then(|| change(None));
            let values = metadata(&texts()).into_iter().map(|value| change(Some(value)));
            without.into_iter().chain(values).collect()
        }
    }
}

/// The patterns of fields, those that are wanted and those that are not.
struct Texts<'t> {
    yes: Vec<&'t str>,
    no: Vec<&'t str>,
}

impl<'t> Texts<'t> {
    fn of(tests: &[&'t Test]) -> Self {
        let all = |negated: bool| {
            let chosen = tests.iter().filter(move |test| test.negated == negated);
            let lists = chosen.filter_map(|test| match &test.entries {
                Entries::Texts(_, list) => Some(list),
                Entries::Blocks(_) | Entries::Ports(_) => None,
            });
            lists.flatten().map(String::as_str).collect()
        };
        Self { yes: all(false), no: all(true) }
    }

    fn between(&self, now: Option<&str>) -> Vec<String> {
        between(&self.yes, &self.no, now)
    }
}

fn claim<'p>(probe: &'p Probe, path: &[String]) -> Option<&'p str> {
    let mut value = probe.claims.as_ref()?;
    for name in path {
        value = value.get(name)?;
    }
    value.as_str()
}

/// Issuer and subject. The issuer is one that tokens can be from, where the pattern leaves a choice.
fn request_principals(texts: &Texts<'_>, issuers: &[&str]) -> Vec<(String, String)> {
    let usual = || issuers.iter().map(ToString::to_string).chain(["issuer".to_owned()]);
    let mut all = Vec::new();
    for pattern in &texts.yes {
        let (issuer, subject) = match pattern.rsplit_once('/') {
            _ if *pattern == "*" => ("*", "*"),
            Some(parts) => parts,
            None if pattern.starts_with('*') => ("*", *pattern),
            None if pattern.ends_with('*') => (*pattern, "*"),
            None => (*pattern, ""),
        };
        let mut from: Vec<String> = usual().collect();
        from.extend(taken(issuer));
        for issuer in dedup(from) {
            all.extend(taken(subject).into_iter().map(|subject| (issuer.clone(), subject)));
        }
    }
    if texts.yes.is_empty() {
        for issuer in usual() {
            all.extend(["user", "other"].map(|subject| (issuer.clone(), subject.to_owned())));
        }
    }
    all
}

/// Addresses in and around blocks.
fn addresses(tests: &[&Test]) -> Vec<IpAddr> {
    let blocks = |negated: bool| {
        let chosen = tests.iter().filter(move |test| test.negated == negated);
        chosen.flat_map(|test| match &test.entries {
            Entries::Blocks(list) => list.as_slice(),
            Entries::Texts(..) | Entries::Ports(_) => &[],
        })
    };
    let mut all: Vec<IpAddr> = Vec::new();
    for block in blocks(false) {
        all.extend([host(block), block.network(), block.broadcast()]);
    }
    for block in blocks(true) {
        all.extend(before(block.network()));
        all.extend(after(block.broadcast()));
    }
    all.extend([IpAddr::from([192, 0, 2, 1]), IpAddr::from([203, 0, 113, 7])]);
    all.extend([IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])]);
    all
}

/// The second of a block: the first is the network itself.
pub(super) fn host(block: &IpNet) -> IpAddr {
    after(block.network()).filter(|ip| block.contains(ip)).unwrap_or(block.network())
}

pub(super) fn before(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_sub(1).map(|ip| IpAddr::V4(ip.into())),
        IpAddr::V6(ip) => u128::from(ip).checked_sub(1).map(|ip| IpAddr::V6(ip.into())),
    }
}

pub(super) fn after(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|ip| IpAddr::V4(ip.into())),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|ip| IpAddr::V6(ip.into())),
    }
}

fn ports(tests: &[&Test]) -> Vec<u16> {
    let of = |test: &&Test| match &test.entries {
        Entries::Ports(list) => list.clone(),
        Entries::Texts(..) | Entries::Blocks(_) => Vec::new(),
    };
    let mut all: Vec<u16> = tests.iter().filter(|test| !test.negated).flat_map(of).collect();
    all.extend([80, 443, 8080]);
    all.extend(tests.iter().flat_map(of).filter_map(|port| port.checked_add(1)));
    all
}

/// Texts, and lists of one text where the pattern is for a list.
fn metadata(texts: &Texts<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for pattern in &texts.yes {
        let is_list = pattern.starts_with('[') && pattern.ends_with(']');
        let inner = if is_list { pattern.trim_matches(['[', ']']) } else { pattern };
        for text in taken(inner) {
            all.push(if is_list {
                Value::List(vec![Value::String(text)])
            } else {
                Value::String(text)
            });
        }
    }
    if texts.yes.is_empty() {
        all.extend(between(&[], &texts.no, None).into_iter().map(Value::String));
    }
    all
}
