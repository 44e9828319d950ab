//! Where kubeconfigs of callers may lead.
//!
//! What is never connected to, whoever asks, is `outbound`'s to know.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::outbound::DialGuard;

/// Hosts and ranges of addresses. Without an entry: nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destinations {
    hosts: Vec<String>,
    ranges: Vec<IpNet>,
}

/// An entry that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host, address or range, such as `api.example` or `10.0.0.0/8`")]
pub struct InvalidDestination(String);

impl Destinations {
    /// Reads hosts, addresses and ranges.
    pub fn parse<S: AsRef<str>>(
        entries: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidDestination> {
        let mut read = Self::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            if let Ok(range) = entry.parse::<IpNet>() {
                read.ranges.push(range);
            } else if let Ok(address) = entry.parse::<IpAddr>() {
                read.ranges.push(address.into());
            } else if is_host(entry) {
                read.hosts.push(canonical(entry));
            } else {
                return Err(InvalidDestination(entry.to_owned()));
            }
        }
        Ok(read)
    }

    /// What may be connected to for this host: wherever it is, if it is named; else the ranges. An
    /// address is never a name.
    pub(super) fn guard(&self, host: &str) -> DialGuard {
        let is_named = self.hosts.contains(&canonical(host)) && host.parse::<IpAddr>().is_err();
        let only = (!is_named).then(|| self.ranges.clone());
        DialGuard { also_blocked: Vec::new(), only }
    }
}

/// A DNS name. Its last label has a letter, so that no way of writing an address is one.
fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(is_label)
        && last.starts_with(|char: char| char.is_ascii_alphabetic())
}

fn canonical(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
