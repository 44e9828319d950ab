//! Values just inside and just outside of what fields take, of one input at a time.
//!
//! For every combination of fields that some value satisfies, there should be one here that does:
//! each text itself, every beginning with every end, the first and the last address of every block
//! and their neighbours. Which of them matter is for others.

use std::net::IpAddr;

use super::names::names;
use super::test::{Entries, Meaning, Test};
use super::texts::dedup;
use super::values::{after, before, host};

/// Stands for a star, and is part of nothing that people write.
const FILL: &str = "x0";

/// How many beginnings are put together with how many ends.
const MOST_PARTS: usize = 48;

/// How many words make up paths and names, each at each place.
const MOST_WORDS: usize = 7;

fn patterns<'t>(tests: &[&'t Test]) -> Vec<&'t str> {
    let lists = tests.iter().filter_map(|test| match &test.entries {
        Entries::Texts(_, list) => Some(list),
        Entries::Blocks(_) | Entries::Ports(_) => None,
    });
    lists.flatten().map(String::as_str).collect()
}

/// Texts for plain patterns, the simplest first. Complete: what a text does with such patterns says
/// its longest beginning and its longest end among theirs, or that it is one of them.
pub fn texts(tests: &[&Test]) -> Vec<String> {
    plain(&patterns(tests))
}

/// The same for whatever patterns.
pub fn plain(patterns: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    let mut beside = Vec::new();
    let (mut starts, mut ends) = (vec![""], vec![""]);
    for pattern in patterns {
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => ends.push(end),
            (None, Some(start)) => starts.push(start),
            (None, None) => all.push((*pattern).to_owned()),
        }
        // A byte more, a byte less, the other case: few are as simple as what they are beside.
        let text = pattern.trim_matches('*');
        let mut shorter = text.to_owned();
        shorter.pop();
        beside.extend([format!("{text}x"), shorter, other_case(text)]);
    }
    for list in [&mut starts, &mut ends] {
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|part| seen.insert(*part));
        list.truncate(MOST_PARTS);
    }
    all.extend(starts.iter().map(ToString::to_string));
    for start in &starts {
        all.push(format!("{start}{FILL}"));
    }
    for start in &starts {
        for end in &ends {
            all.push(format!("{start}{FILL}{end}"));
            all.push(format!("{start}{end}"));
        }
    }
    all.extend(beside);
    dedup(all)
}

fn other_case(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    if upper == text { text.to_ascii_lowercase() } else { upper }
}

/// Paths, for plain patterns and templates; all of them begin with a slash.
pub fn paths(tests: &[&Test]) -> Vec<String> {
    let patterns = patterns(tests);
    let mut all = vec!["/".to_owned(), format!("/{FILL}")];
    let (templates, others): (Vec<&str>, Vec<&str>) =
        patterns.iter().partition(|pattern| pattern.contains("{*}") || pattern.contains("{**}"));
    all.extend(plain(&others));
    for template in &templates {
        for (one, many) in
            [(FILL, "x0/y"), (FILL, FILL), (FILL, ""), ("y", "a/b"), ("[", "["), ("", "")]
        {
            let path = template.replace("{**}", many).replace("{*}", one);
            all.push(format!("{path}x"));
            all.push(format!("x{path}"));
            all.push(path);
        }
    }
    // Words of one pattern where another has its stars.
    let mut words: Vec<String> = patterns
        .iter()
        .flat_map(|pattern| pattern.split('/'))
        .filter(|word| !word.contains(['{', '*']))
        .map(str::to_owned)
        .collect();
    words.extend([FILL.to_owned(), String::new(), "[".to_owned()]);
    let mut words = dedup(words);
    if words.len() > MOST_WORDS {
        let rest = words.split_off(MOST_WORDS);
        words.extend(rest.iter().rev().take(3).cloned());
    }
    for first in &words {
        all.push(format!("/{first}"));
        for second in &words {
            all.push(format!("/{first}/{second}"));
            for third in &words {
                all.push(format!("/{first}/{second}/{third}"));
            }
        }
    }
    let rooted =
        all.into_iter().map(|path| if path.starts_with('/') { path } else { format!("/{path}") });
    dedup(rooted.collect())
}

/// Names of peers.
pub fn peers(tests: &[&Test]) -> Vec<String> {
    let mut all = names(tests, None);
    let mut positive: Vec<Test> = tests.iter().map(|test| (*test).clone()).collect();
    positive.iter_mut().for_each(|test| test.negated = false);
    let positive: Vec<&Test> = positive.iter().collect();
    all.extend(names(&positive, None));
    // Names that are no SPIFFE ID, or no whole one, or more than one.
    all.extend(["peer.example.com", "CN=peer", "spiffe://x0"].map(str::to_owned));
    let mut plain_patterns = Vec::new();
    for test in &positive {
        if let Entries::Texts(meaning, list) = &test.entries {
            match meaning {
                Meaning::Principal => {
                    plain_patterns.extend(list.iter().map(String::as_str));
                }
                Meaning::TrustDomain => all.extend(list.iter().flat_map(|domain| {
                    let domain = domain.replace('*', FILL);
                    [format!("spiffe://{domain}"), format!("spiffe://{domain}/x0")]
                })),
                Meaning::Namespace
                | Meaning::ServiceAccount
                | Meaning::RequestPrincipal
                | Meaning::Path
                | Meaning::Metadata
                | Meaning::Text => {}
            }
        }
    }
    all.extend(plain(&plain_patterns).into_iter().map(|text| format!("spiffe://{text}")));
    let more: Vec<String> = all
        .iter()
        .filter(|name| name.contains("/sa/"))
        .flat_map(|name| {
            [
                name.replace("/sa/", "/x0/sa/"),
                format!("{name}/x0"),
                format!("{name}x"),
                name.replace("/sa/", "x/sa/"),
                name.replace("/sa/", "/s/"),
            ]
        })
        .collect();
    all.extend(more);
    all.retain(|name| !name.is_empty());
    dedup(all)
}

/// Addresses, each block's first, second and last, and those beside it.
pub fn addresses(tests: &[&Test]) -> Vec<IpAddr> {
    let mut all = vec![IpAddr::from([192, 0, 2, 1])];
    for test in tests {
        if let Entries::Blocks(list) = &test.entries {
            for block in list {
                all.extend([host(block), block.network(), block.broadcast()]);
                all.extend(before(block.network()));
                all.extend(after(block.broadcast()));
            }
        }
    }
    all.push(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|ip| seen.insert(*ip));
    all
}

/// Ports, each and its neighbours.
pub fn ports(tests: &[&Test]) -> Vec<u16> {
    let mut all = Vec::new();
    for test in tests {
        if let Entries::Ports(list) = &test.entries {
            for port in list {
                all.push(*port);
                all.extend(port.checked_add(1));
                all.extend(port.checked_sub(1));
            }
        }
    }
    all.push(8080);
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|port| seen.insert(*port));
    all
}

/// Texts of metadata, for what stands in brackets and for what does not.
pub fn metadata(tests: &[&Test]) -> Vec<String> {
    let all = patterns(tests);
    let inner = all.iter().map(|pattern| {
        let is_list = pattern.starts_with('[') && pattern.ends_with(']');
        if is_list { pattern.trim_matches(['[', ']']) } else { pattern }
    });
    let mut both: Vec<&str> = inner.collect();
    both.extend(&all);
    plain(&both)
}

/// Subjects of tokens, and issuers.
pub fn issuers_and_subjects(tests: &[&Test]) -> (Vec<String>, Vec<String>) {
    let (mut issuers, mut subjects) = (Vec::new(), vec!["user"]);
    for pattern in patterns(tests) {
        match pattern.rsplit_once('/') {
            Some((issuer, subject)) => {
                issuers.push(issuer);
                subjects.push(subject);
            }
            None if pattern.starts_with('*') => subjects.push(pattern),
            None => issuers.push(pattern),
        }
    }
    (plain(&issuers), plain(&subjects))
}
