//! What single entries mean, for the slow twin: written with plain pieces, sharing nothing with
//! `matcher`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::pattern::{anything, dots, fits, literal, not_slash, plain};

/// `requestPrincipals`, split at the last slash.
pub(super) fn is_request_principal(pattern: &str, iss: &str, sub: &str) -> bool {
    let some = || vec![dots(1)];
    let suffix = |text: &str| vec![anything(), literal(text)];
    let prefix = |text: &str| vec![literal(text), anything()];
    let exact = |text: &str| vec![literal(text)];
    let (wanted_iss, wanted_sub) = match pattern.rfind('/') {
        _ if pattern == "*" => (some(), some()),
        Some(at) => {
            let (i, s) = pattern.split_at(at);
            let s = s.strip_prefix('/').unwrap_or(s);
            if i == "*" {
                (some(), exact(s))
            } else if let Some(end) = i.strip_prefix('*') {
                (suffix(end), exact(s))
            } else if s == "*" {
                (exact(i), some())
            } else if let Some(start) = s.strip_suffix('*') {
                (exact(i), prefix(start))
            } else {
                (exact(i), exact(s))
            }
        }
        None => match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => (some(), suffix(end)),
            (None, Some(start)) => (prefix(start), some()),
            (None, None) => (exact(pattern), exact("")),
        },
    };
    fits(&wanted_iss, iss) && fits(&wanted_sub, sub)
}

/// `principals`, behind `spiffe://`.
pub(super) fn principal(pattern: &str, name: &str) -> bool {
    let mut pieces = vec![literal("spiffe://")];
    if pattern == "*" {
        pieces = vec![dots(1)];
    } else if let Some(suffix) = pattern.strip_prefix('*') {
        pieces.extend([dots(0), literal(suffix)]);
    } else {
        pieces.extend(plain(pattern, dots(0)));
    }
    fits(&pieces, name)
}

/// `namespaces`: `/ns/<namespace>/` anywhere.
pub(super) fn in_namespace(pattern: &str, name: &str) -> bool {
    let mut pieces = vec![dots(0), literal("/ns/")];
    for (i, text) in pattern.split('*').enumerate() {
        if i > 0 {
            pieces.push(dots(0));
        }
        pieces.push(literal(text));
    }
    pieces.extend([literal("/"), dots(0)]);
    fits(&pieces, name)
}

/// `serviceAccounts`; a bare name is in the policy's namespace.
pub(super) fn is_account(pattern: &str, name: &str, policy_namespace: &str) -> bool {
    let (namespace, account) = match pattern.split_once('/') {
        Some((namespace, account)) => (namespace, account),
        None => (policy_namespace, pattern),
    };
    let between = [vec![], vec![dots(1), literal("/")]];
    let after = [vec![], vec![literal("/"), dots(1)]];
    between.iter().any(|between| {
        after.iter().any(|after| {
            let mut pieces =
                vec![literal("spiffe://"), dots(1), literal(format!("/ns/{namespace}/"))];
            pieces.extend(between.iter().cloned());
            pieces.push(literal(format!("sa/{account}")));
            pieces.extend(after.iter().cloned());
            fits(&pieces, name)
        })
    })
}

/// `trustDomains`: the segments right behind `spiffe://`.
pub(super) fn in_trust_domain(pattern: &str, name: &str) -> bool {
    let pieces = match pattern.split_once('*') {
        _ if pattern == "*" => vec![literal("spiffe://"), anything()],
        None => vec![literal(format!("spiffe://{pattern}/")), anything()],
        Some((start, end)) => vec![
            literal(format!("spiffe://{start}")),
            not_slash(),
            literal(format!("{end}/")),
            dots(0),
        ],
    };
    fits(&pieces, name)
}

/// An address block.
pub(super) fn within(net: IpNet, ip: IpAddr) -> bool {
    match (net.addr(), ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same_start(&a.octets(), &b.octets(), net.prefix_len()),
        (IpAddr::V6(a), IpAddr::V6(b)) => same_start(&a.octets(), &b.octets(), net.prefix_len()),
        _ => false,
    }
}

/// Whether the first bits are the same.
fn same_start(a: &[u8], b: &[u8], bits: u8) -> bool {
    (0..bits).all(|bit| {
        let (byte, mask) = (usize::from(bit / 8), 0x80u8 >> (bit % 8));
        a.get(byte).map(|x| x & mask) == b.get(byte).map(|x| x & mask)
    })
}
