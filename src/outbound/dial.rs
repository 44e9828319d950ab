//! Connections to checked addresses only.
//!
//! The name is resolved once, and the connection goes to an address of that very answer: what was
//! checked is what is dialled, each time anew. What is spoken then is `Client`'s job.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::OutboundError;

/// Addresses that nothing is sent to, whatever a policy says.
///
/// Always: link-local ones, among them the metadata services of most clouds; the metadata services
/// elsewhere (100.100.100.200, fd00:ec2::/32); unspecified and multicast ones. IPv4 addresses count
/// in their IPv6 forms too. Loopback and private addresses are allowed, as under Istio: that is
/// where identity providers of a cluster are.
#[derive(Debug, Clone, Default)]
pub struct DialGuard {
    /// Further ranges.
    pub also_blocked: Vec<IpNet>,
    /// Where set, nothing is sent elsewhere.
    pub only: Option<Vec<IpNet>>,
}

impl DialGuard {
    /// Whether connecting to this address is refused.
    pub fn blocks(&self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V6(v6) => embedded_ipv4(v6).map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        let always = match address {
            IpAddr::V4(v4) => {
                v4.is_link_local()
                    || v4.is_unspecified()
                    || v4.is_multicast()
                    || v4.is_broadcast()
                    || v4 == Ipv4Addr::new(100, 100, 100, 200)
            }
            IpAddr::V6(v6) => {
                v6.is_unicast_link_local()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || matches!(v6.segments(), [0xfd00, 0x0ec2, ..])
            }
        };
        let is_elsewhere = self
            .only
            .as_ref()
            .is_some_and(|allowed| !allowed.iter().any(|range| range.contains(&address)));
        always || is_elsewhere || self.also_blocked.iter().any(|range| range.contains(&address))
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped (`::ffff:a.b.c.d`), compatible
/// (`::a.b.c.d`), behind the well-known NAT64 prefix (`64:ff9b::a.b.c.d`), and by 6to4
/// (`2002:abcd:abcd::`).
fn embedded_ipv4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// Who turns names into addresses.
#[derive(Clone)]
pub(crate) enum Resolver {
    System,
    /// Names that a test machine does not have.
    #[cfg(test)]
    Fixed(fn(&str) -> Vec<IpAddr>),
}

impl Resolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            #[cfg(test)]
            Self::Fixed(resolve) => {
                Ok(resolve(host).into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
        }
    }
}

/// Resolves, checks, connects.
pub(super) async fn dial(
    resolver: &Resolver,
    guard: &DialGuard,
    host: &str,
    port: u16,
    within: Duration,
) -> Result<TcpStream, OutboundError> {
    let deadline = Instant::now() + within;
    let unresolved = |error| OutboundError::Resolve { host: host.to_owned(), error };
    let resolved = timeout_at(deadline, resolver.resolve(host, port))
        .await
        .map_err(|_| OutboundError::Timeout(within))?
        .map_err(unresolved)?;
    let Some(first) = resolved.first() else {
        return Err(unresolved(io::Error::new(io::ErrorKind::NotFound, "no addresses")));
    };
    let mut error = OutboundError::Blocked { host: host.to_owned(), address: first.ip() };
    let allowed: Vec<_> =
        resolved.into_iter().filter(|address| !guard.blocks(address.ip())).collect();
    let mut left = u32::try_from(allowed.len()).unwrap_or(u32::MAX);
    for address in allowed {
        // A dead address leaves time for those after it.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left.max(1);
        left = left.saturating_sub(1);
        error = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => OutboundError::Connect { address, error },
            Err(_) => OutboundError::Timeout(within),
        };
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("169.254.169.254", true)]
    #[case("169.254.0.1", true)]
    #[case("100.100.100.200", true)]
    #[case("0.0.0.0", true)]
    #[case("224.0.0.1", true)]
    #[case("255.255.255.255", true)]
    #[case("fe80::1", true)]
    #[case("febf::1", true)]
    #[case("fd00:ec2::254", true)]
    #[case("fd00:ec2:ffff::1", true)]
    #[case("::", true)]
    #[case("ff02::1", true)]
    #[case("::ffff:169.254.169.254", true)]
    #[case("::ffff:100.100.100.200", true)]
    #[case("::ffff:0.0.0.0", true)]
    #[case("::169.254.169.254", true)]
    #[case("64:ff9b::169.254.169.254", true)]
    #[case("2002:a9fe:a9fe::1", true)]
    #[case("2002:c000:204::1", false)]
    #[case("127.0.0.1", false)]
    #[case("::1", false)]
    #[case("::ffff:127.0.0.1", false)]
    #[case("10.0.0.1", false)]
    #[case("192.168.0.1", false)]
    #[case("100.100.100.201", false)]
    #[case("169.253.255.255", false)]
    #[case("8.8.8.8", false)]
    #[case("fd00:ec3::1", false)]
    #[case("fec0::1", false)]
    #[case("2001:db8::1", false)]
    fn always_blocked(#[case] address: IpAddr, #[case] blocked: bool) {
        assert_eq!(DialGuard::default().blocks(address), blocked);
    }

    #[test]
    fn further_ranges_are_blocked_in_every_form() {
        let also_blocked = vec!["10.0.0.0/8".parse().unwrap()];
        let guard = DialGuard { also_blocked, only: None };
        assert!(guard.blocks("10.1.2.3".parse().unwrap()));
        assert!(guard.blocks("::ffff:10.1.2.3".parse().unwrap()));
        assert!(guard.blocks("169.254.169.254".parse().unwrap()));
        assert!(!guard.blocks("11.1.2.3".parse().unwrap()));
    }

    #[test]
    fn some_ranges_and_no_others() {
        let only = ["10.0.0.0/8", "169.254.0.0/16", "2001:db8::/32"];
        let only = only.iter().map(|range| range.parse().unwrap()).collect();
        let guard =
            DialGuard { also_blocked: vec!["10.9.0.0/16".parse().unwrap()], only: Some(only) };
        for allowed in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(!guard.blocks(allowed.parse().unwrap()), "{allowed}");
        }
        for blocked in
            ["10.9.2.3", "11.1.2.3", "127.0.0.1", "::1", "169.254.169.254", "2001:db9::1"]
        {
            assert!(guard.blocks(blocked.parse().unwrap()), "{blocked}");
        }
        let nowhere = DialGuard { only: Some(Vec::new()), ..DialGuard::default() };
        assert!(nowhere.blocks("10.1.2.3".parse().unwrap()));
    }
}
