//! The client behind trusted proxies, recomputed from `x-forwarded-for`.
//!
//! A CheckRequest does not carry it, so this does what Envoy's connection manager does with the
//! listener's settings, which have to be given here too; or reads it from a header that Envoy was
//! told to set.

use std::net::IpAddr;

use crate::model::Headers;

/// The listener's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientAddress {
    /// `use_remote_address`
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`
    pub trusted_hops: usize,
}

impl ClientAddress {
    /// The client's address. Too few entries, or one that is no address, leave the peer.
    pub fn remote_ip(self, peer: Option<IpAddr>, forwarded_for: Option<&str>) -> Option<IpAddr> {
        let Some(value) = forwarded_for else { return peer };
        // With `use_remote_address` Envoy has already appended the peer, which is one entry more;
        // without, the last entry is itself trusted.
        let from_right = if self.use_remote_address {
            if self.trusted_hops == 0 {
                return peer;
            }
            self.trusted_hops
        } else {
            self.trusted_hops
        };
        value.rsplit(',').nth(from_right).and_then(parse).or(peer)
    }
}

/// The address that a filter before ours has put into a header; `None` unless that is all there is.
/// A second line is not Envoy's, so none of them is to be believed.
pub(super) fn told(headers: &Headers<'_>, name: &str) -> Option<IpAddr> {
    let mut lines = headers.values(name);
    let line = lines.next().filter(|_| lines.next().is_none())?;
    str::from_utf8(line).ok()?.parse().ok()
}

/// An address alone: no port, no brackets. A zone is not part of it.
fn parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches([' ', '\t']);
    match entry.split_once('%') {
        Some((address, _)) => address.parse().ok().filter(IpAddr::is_ipv6),
        None => entry.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // The rows of Envoy's answers, for `use_remote_address` false and 0, 1, 2 trusted hops.
    #[rstest]
    #[case("", ["peer", "peer", "peer"])]
    #[case("garbage", ["peer", "peer", "peer"])]
    #[case("9.9.9.9:1234", ["peer", "peer", "peer"])]
    #[case("9.9.9.9", ["9.9.9.9", "peer", "peer"])]
    #[case("9.9.9.9, 8.8.8.8", ["8.8.8.8", "9.9.9.9", "peer"])]
    #[case("1.1.1.1,2.2.2.2,3.3.3.3", ["3.3.3.3", "2.2.2.2", "1.1.1.1"])]
    #[case("9.9.9.9, garbage", ["peer", "9.9.9.9", "peer"])]
    #[case("9.9.9.9,", ["peer", "9.9.9.9", "peer"])]
    #[case("9.9.9.9, [2001:db8::1]:80", ["peer", "9.9.9.9", "peer"])]
    #[case("2001:db8::1", ["2001:db8::1", "peer", "peer"])]
    #[case("010.1.1.1", ["peer", "peer", "peer"])]
    fn trusting_the_header(#[case] value: &str, #[case] expect: [&str; 3]) {
        let peer: IpAddr = "127.0.0.5".parse().unwrap();
        for (trusted_hops, expect) in expect.iter().enumerate() {
            let settings = ClientAddress { use_remote_address: false, trusted_hops };
            let expect = if *expect == "peer" { peer } else { expect.parse().unwrap() };
            assert_eq!(settings.remote_ip(Some(peer), Some(value)), Some(expect), "{trusted_hops}");
        }
    }

    // With `use_remote_address` true; Envoy has appended the peer.
    #[rstest]
    #[case("127.0.0.5", ["peer", "peer", "peer"])]
    #[case("9.9.9.9,127.0.0.5", ["peer", "9.9.9.9", "peer"])]
    #[case("1.1.1.1,2.2.2.2,3.3.3.3,127.0.0.5", ["peer", "3.3.3.3", "2.2.2.2"])]
    #[case("9.9.9.9, garbage,127.0.0.5", ["peer", "peer", "9.9.9.9"])]
    fn trusting_the_peer(#[case] value: &str, #[case] expect: [&str; 3]) {
        let peer: IpAddr = "127.0.0.5".parse().unwrap();
        for (trusted_hops, expect) in expect.iter().enumerate() {
            let settings = ClientAddress { use_remote_address: true, trusted_hops };
            let expect = if *expect == "peer" { peer } else { expect.parse().unwrap() };
            assert_eq!(settings.remote_ip(Some(peer), Some(value)), Some(expect), "{trusted_hops}");
        }
    }
}
