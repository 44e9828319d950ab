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

/// An address without its zone.
pub(super) fn split_zone(entry: &str) -> &str {
    entry.split_once('%').map_or(entry, |(address, _)| address)
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

    // Envoy's answers to what a client sent, for `use_remote_address` false and then true, each with
    // 0, 1 and 2 trusted hops.
    #[rstest]
    #[case::none(None, "peer peer peer peer peer peer")]
    #[case::empty(Some(""), "peer peer peer peer peer peer")]
    #[case::garbage(Some("garbage"), "peer peer peer peer peer peer")]
    #[case::port(Some("9.9.9.9:1234"), "peer peer peer peer peer peer")]
    #[case::one(Some("9.9.9.9"), "9.9.9.9 peer peer peer 9.9.9.9 peer")]
    #[case::two(Some("9.9.9.9, 8.8.8.8"), "8.8.8.8 9.9.9.9 peer peer 8.8.8.8 9.9.9.9")]
    #[case::three(Some("1.1.1.1,2.2.2.2,3.3.3.3"), "3.3.3.3 2.2.2.2 1.1.1.1 peer 3.3.3.3 2.2.2.2")]
    #[case::garbage_last(Some("9.9.9.9, garbage"), "peer 9.9.9.9 peer peer peer 9.9.9.9")]
    #[case::comma_last(Some("9.9.9.9,"), "peer 9.9.9.9 peer peer peer 9.9.9.9")]
    #[case::v6_and_port_last(
        Some("9.9.9.9, [2001:db8::1]:80"),
        "peer 9.9.9.9 peer peer peer 9.9.9.9"
    )]
    #[case::v6(Some("2001:db8::1"), "2001:db8::1 peer peer peer 2001:db8::1 peer")]
    #[case::octal(Some("010.1.1.1"), "peer peer peer peer peer peer")]
    fn as_envoy(#[case] sent: Option<&str>, #[case] expect: &str) {
        let peer: IpAddr = "127.0.0.5".parse().unwrap();
        let columns = [(false, 0), (false, 1), (false, 2), (true, 0), (true, 1), (true, 2)];
        assert_eq!(expect.split(' ').count(), columns.len());
        for ((use_remote_address, trusted_hops), expect) in
            columns.into_iter().zip(expect.split(' '))
        {
            // Envoy appends its peer before it asks.
            let asked = match (use_remote_address, sent) {
                (false, sent) => sent.map(str::to_owned),
                (true, None | Some("")) => Some(peer.to_string()),
                (true, Some(sent)) => Some(format!("{sent},{peer}")),
            };
            let settings = ClientAddress { use_remote_address, trusted_hops };
            let expect = if expect == "peer" { peer } else { expect.parse().unwrap() };
            let found = settings.remote_ip(Some(peer), asked.as_deref());
            assert_eq!(found, Some(expect), "{settings:?}");
        }
    }

    #[rstest]
    #[case::v4(&["9.9.9.9"], Some("9.9.9.9"))]
    #[case::v6(&["2001:db8::1"], Some("2001:db8::1"))]
    #[case::absent(&[], None)]
    #[case::empty(&[""], None)]
    #[case::garbage(&["garbage"], None)]
    #[case::port(&["9.9.9.9:80"], None)]
    #[case::list(&["9.9.9.9,8.8.8.8"], None)]
    #[case::blank(&["9.9.9.9 "], None)]
    #[case::two_lines(&["9.9.9.9", "9.9.9.9"], None)]
    fn out_of_a_header(#[case] lines: &[&str], #[case] expect: Option<&str>) {
        let lines = lines.iter().map(|line| ("x-a".into(), line.as_bytes().into())).collect();
        let headers = Headers::new(lines, false);
        assert_eq!(told(&headers, "x-a"), expect.map(|ip| ip.parse().unwrap()));
    }
}
