//! What a proxy says about the connection and the workload, in one header of its own.
//!
//! `source=10.0.0.7:41234;destination=10.0.0.9:8080;certificate=…;sni=shop.example`: each part at most
//! once. The server name is the client's own words, so it comes last and is all of the rest. Whether
//! the header can be believed is `read`'s business.

use std::net::{IpAddr, SocketAddr};

use super::super::view::AddressView;

/// The parts that were said; `None` for what was not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// The other end of the client's connection.
    pub(super) source: Option<AddressView<'a>>,
    /// This end of it, with its port.
    pub(super) destination: Option<AddressView<'a>>,
    /// The client's certificate as Envoy and nginx write it; empty where there is none.
    pub(super) certificate: Option<&'a str>,
    /// The server name of the TLS handshake; empty without one.
    pub(super) sni: Option<&'a str>,
    /// The scheme of the request.
    pub(super) scheme: Option<&'a str>,
    /// Whether each header line of the request is sent as a line.
    pub(super) has_raw_headers: bool,
    /// The names by which a workload is chosen, as `context_extensions` has them.
    pub(super) extensions: Vec<(&'static str, &'a str)>,
}

/// `None` for what cannot be read.
pub(super) fn parse(text: &str) -> Option<Said<'_>> {
    let mut said = Said::default();
    let mut port = None;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=')?;
        if key == "sni" {
            said.sni = Some(present(behind));
            break;
        }
        let (value, behind) = behind.split_once(';').unwrap_or((behind, ""));
        rest = behind;
        match key {
            "source" => set(&mut said.source, address(value)?)?,
            "destination" => set(&mut said.destination, address(value)?)?,
            "port" => set(&mut port, value.parse::<u16>().ok()?)?,
            "scheme" if ["http", "https"].contains(&value) => set(&mut said.scheme, value)?,
            "certificate" => set(&mut said.certificate, present(value))?,
            "headers" if value == "raw" && !said.has_raw_headers => said.has_raw_headers = true,
            "workload" => extend(&mut said, "postern.workload", value)?,
            "namespace" => extend(&mut said, "postern.namespace", value)?,
            "labels" => extend(&mut said, "postern.labels", value)?,
            _ => return None,
        }
    }
    match (&mut said.destination, port) {
        (Some(AddressView::Socket { port, .. }), Some(told)) if port.is_none() => {
            *port = Some(told.into());
        }
        // An address alone would leave the port unsaid.
        (Some(AddressView::Socket { port: None, .. }), _) | (_, Some(_)) => return None,
        (_, None) => {}
    }
    Some(said)
}

fn set<T>(part: &mut Option<T>, value: T) -> Option<()> {
    part.replace(value).is_none().then_some(())
}

fn extend<'a>(said: &mut Said<'a>, name: &'static str, value: &'a str) -> Option<()> {
    if said.extensions.iter().any(|(known, _)| *known == name) {
        return None;
    }
    said.extensions.push((name, value));
    Some(())
}

/// Proxies write a dash for what is not there, if they write anything.
fn present(value: &str) -> &str {
    if value == "-" { "" } else { value }
}

/// An address with or without a port; a unix socket has none.
pub(super) fn address(text: &str) -> Option<AddressView<'_>> {
    if matches!(text, "" | "-") || text.starts_with("unix:") {
        return Some(AddressView::Other);
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some(AddressView::Socket { address: text, port: None });
    }
    let port = text.parse::<SocketAddr>().ok()?.port();
    let (address, _) = text.rsplit_once(':')?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    Some(AddressView::Socket { address, port: Some(port.into()) })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", Some(Said::default()))]
    #[case::envoys("source=10.0.0.7:41234;destination=[::1]:80;certificate=;sni=", Some(Said {
        source: Some(AddressView::Socket { address: "10.0.0.7", port: Some(41234) }),
        destination: Some(AddressView::Socket { address: "::1", port: Some(80) }),
        certificate: Some(""),
        sni: Some(""),
        ..Said::default()
    }))]
    #[case::nginxs("source=::1;destination=::2;port=8080;scheme=https;headers=raw;certificate=-;sni=-", Some(Said {
        source: Some(AddressView::Socket { address: "::1", port: None }),
        destination: Some(AddressView::Socket { address: "::2", port: Some(8080) }),
        certificate: Some(""),
        sni: Some(""),
        scheme: Some("https"),
        has_raw_headers: true,
        ..Said::default()
    }))]
    #[case::socket("source=unix:", Some(Said {
        source: Some(AddressView::Other),
        ..Said::default()
    }))]
    #[case::workload("workload=shop/reviews;labels=app=reviews,version=v2", Some(Said {
        extensions: vec![
            ("postern.workload", "shop/reviews"),
            ("postern.labels", "app=reviews,version=v2"),
        ],
        ..Said::default()
    }))]
    #[case::injected("certificate=;sni=x;certificate=forged;source=1.1.1.1", Some(Said {
        certificate: Some(""),
        sni: Some("x;certificate=forged;source=1.1.1.1"),
        ..Said::default()
    }))]
    #[case::twice("source=1.1.1.1;source=1.1.1.1", None)]
    #[case::workload_twice("workload=a;workload=b", None)]
    #[case::raw_twice("headers=raw;headers=raw", None)]
    #[case::no_port("destination=1.1.1.1", None)]
    #[case::two_ports("destination=1.1.1.1:80;port=80", None)]
    #[case::port_alone("port=80", None)]
    #[case::port_too_large("destination=1.1.1.1;port=65536", None)]
    #[case::no_scheme("scheme=ftp", None)]
    #[case::no_address("source=localhost:80", None)]
    #[case::octal("source=010.1.1.1", None)]
    #[case::unknown("source=1.1.1.1;who=me", None)]
    #[case::no_value("source", None)]
    #[case::empty_part(";source=1.1.1.1", None)]
    #[case::list("source=1.1.1.1, source=2.2.2.2", None)]
    fn read_as(#[case] text: &str, #[case] expect: Option<Said<'_>>) {
        assert_eq!(parse(text), expect);
    }
}
