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
