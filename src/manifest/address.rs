//! IP blocks and ports as Go's `netip` and `strconv` read them, which is how Istio reads them.
//!
//! Leaves what they match to `compile`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    codes,
    cursor::{At, string},
    problem::{Problem, Report},
    text::quoted,
};
use crate::model::Located;

/// What is wrong with an IP block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidIpBlock {
    #[error("not an IP address or CIDR range")]
    Address,
    #[error("an address in a policy cannot have a zone")]
    Zone,
    #[error("the prefix length must be a number from 0 to {max}, without leading zeros")]
    PrefixLength { max: u8 },
}

/// Parses one entry. A bad entry is an error, never a shorter list: dropping the only block of an
/// ALLOW rule would widen the rule to every address. An IPv4 address in IPv6 form stays IPv6.
pub(crate) fn parse_ip_block(text: &str) -> Result<IpNet, InvalidIpBlock> {
    let address = |text: &str| {
        let zone = text.contains('%');
        let wrong = if zone { InvalidIpBlock::Zone } else { InvalidIpBlock::Address };
        text.parse::<IpAddr>().map_err(|_| wrong)
    };
    let Some((prefix, length)) = text.rsplit_once('/') else {
        return address(text).map(IpNet::from);
    };
    let prefix = address(prefix)?;
    let bad = InvalidIpBlock::PrefixLength { max: if prefix.is_ipv4() { 32 } else { 128 } };
    let canonical =
        length == "0" || (!length.starts_with('0') && length.chars().all(|c| c.is_ascii_digit()));
    let length = length.parse().ok().filter(|_| canonical).ok_or(bad)?;
    IpNet::new(prefix, length).map_err(|_| bad)
}

/// Parses a port as Go's `ParseUint`: digits only, leading zeros allowed, 0 allowed.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let significant = text.trim_start_matches('0');
    if significant.is_empty() { Some(0) } else { significant.parse().ok() }
}

/// One entry of a list of IP blocks.
pub(crate) fn ip_block(at: &At<'_>, report: &mut Report<'_>) -> Option<Located<IpNet>> {
    let text = string(at, report)?;
    match parse_ip_block(&text) {
        Ok(block) => {
            if block != block.trunc() {
                let message = format!("{} has bits set after its prefix", quoted(&text));
                report.add(
                    Problem::warning(codes::HOST_BITS, at, message)
                        .help(format!("it means `{}`", block.trunc())),
                );
            }
            Some(Located::new(block, at.node.position))
        }
        Err(wrong) => {
            let message = format!("{} is not a usable ip block: {wrong}", quoted(&text));
            let help = match wrong {
                InvalidIpBlock::Address => {
                    "write an address such as `10.1.2.3` or a range such as `10.1.0.0/16`"
                }
                InvalidIpBlock::Zone => "write the address without `%` and what follows",
                InvalidIpBlock::PrefixLength { .. } => {
                    "write a range such as `10.1.0.0/16`, or a single address without `/`"
                }
            };
            report.add(Problem::error(codes::BAD_IP_BLOCK, at, message).help(help));
            None
        }
    }
}

/// One entry of a list of ports.
pub(crate) fn port(at: &At<'_>, report: &mut Report<'_>) -> Option<Located<u16>> {
    let text = string(at, report)?;
    let port = parse_port(&text);
    if port.is_none() {
        let message = format!("{} is not a port", quoted(&text));
        report.add(
            Problem::error(codes::BAD_PORT, at, message).help("write a number from 0 to 65535"),
        );
    }
    port.map(|port| Located::new(port, at.node.position))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::v4("1.2.3.4", "1.2.3.4/32")]
    #[case::v6("2001:db8::1", "2001:db8::1/128")]
    #[case::host_bits("10.1.2.3/16", "10.1.2.3/16")]
    #[case::all("0.0.0.0/0", "0.0.0.0/0")]
    #[case::mapped_stays_v6("::ffff:1.2.3.4", "::ffff:1.2.3.4/128")]
    #[case::mapped_range("::ffff:1.2.3.4/24", "::ffff:1.2.3.4/24")]
    fn ip_blocks_are_read_like_netip(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parse_ip_block(text).map(|block| block.to_string()), Ok(expected.to_owned()));
    }

    #[rstest]
    #[case::empty("", InvalidIpBlock::Address)]
    #[case::three_parts("1.2.3", InvalidIpBlock::Address)]
    #[case::leading_zero("1.2.3.04", InvalidIpBlock::Address)]
    #[case::too_big("1.2.3.256", InvalidIpBlock::Address)]
    #[case::space(" 1.2.3.4", InvalidIpBlock::Address)]
    #[case::host("localhost", InvalidIpBlock::Address)]
    #[case::brackets("[::1]", InvalidIpBlock::Address)]
    #[case::two_slashes("1.2.3.4/8/8", InvalidIpBlock::Address)]
    #[case::star("*", InvalidIpBlock::Address)]
    #[case::zone("fe80::1%eth0", InvalidIpBlock::Zone)]
    #[case::zone_in_range("fe80::1%eth0/64", InvalidIpBlock::Zone)]
    #[case::no_length("1.2.3.4/", InvalidIpBlock::PrefixLength { max: 32 })]
    #[case::long("1.2.3.4/33", InvalidIpBlock::PrefixLength { max: 32 })]
    #[case::long_v6("::1/129", InvalidIpBlock::PrefixLength { max: 128 })]
    #[case::zero_before("1.2.3.4/08", InvalidIpBlock::PrefixLength { max: 32 })]
    #[case::plus("1.2.3.4/+8", InvalidIpBlock::PrefixLength { max: 32 })]
    #[case::minus("1.2.3.4/-8", InvalidIpBlock::PrefixLength { max: 32 })]
    #[case::mask("1.2.3.4/255.0.0.0", InvalidIpBlock::PrefixLength { max: 32 })]
    fn bad_ip_blocks_are_refused_like_netip(#[case] text: &str, #[case] expected: InvalidIpBlock) {
        assert_eq!(parse_ip_block(text), Err(expected));
    }

    #[rstest]
    #[case("0", Some(0))]
    #[case("000", Some(0))]
    #[case("080", Some(80))]
    #[case("65535", Some(65535))]
    #[case("00000000000000000000065535", Some(65535))]
    #[case("65536", None)]
    #[case("4294967296", None)]
    #[case("", None)]
    #[case("+80", None)]
    #[case("-1", None)]
    #[case("8_0", None)]
    #[case("80 ", None)]
    #[case("0x50", None)]
    #[case("http", None)]
    fn ports_are_read_like_parse_uint(#[case] text: &str, #[case] expected: Option<u16>) {
        assert_eq!(parse_port(text), expected);
    }
}
