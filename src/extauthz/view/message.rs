//! What was read, as the CheckRequest that it might have been: for who is asked about it in turn.

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request, TlsSession,
};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};

use super::{AddressView, CheckView, ContextView, HttpView, PeerView};

impl CheckView<'_> {
    /// The message that says the same.
    pub(in crate::extauthz) fn to_message(&self) -> CheckRequest {
        CheckRequest { attributes: self.attributes.as_ref().map(ContextView::to_message) }
    }
}

impl ContextView<'_> {
    fn to_message(&self) -> AttributeContext {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        AttributeContext {
            source: self.source.as_ref().map(PeerView::to_message),
            destination: self.destination.as_ref().map(PeerView::to_message),
            request: self.request.as_ref().map(|request| Request {
                http: request.http.as_ref().map(HttpView::to_message),
                ..Request::default()
            }),
            context_extensions: self.extensions.0.iter().map(owned).collect(),
            metadata_context: self.metadata.cloned(),
            tls_session: self.sni.map(|sni| TlsSession { sni: sni.to_owned() }),
            ..AttributeContext::default()
        }
    }
}

impl PeerView<'_> {
    fn to_message(&self) -> Peer {
        let address = match &self.address {
            AddressView::Absent | AddressView::Other => None,
            AddressView::Socket { address, port } => {
                Some(AddressKind::SocketAddress(SocketAddress {
                    address: (*address).to_owned(),
                    port_specifier: port.map(PortSpecifier::PortValue),
                    ..SocketAddress::default()
                }))
            }
        };
        Peer {
            address: address.map(|address| Address { address: Some(address) }),
            principal: self.principal.to_owned(),
            certificate: self.certificate.to_owned(),
            ..Peer::default()
        }
    }
}

impl HttpView<'_> {
    fn to_message(&self) -> HttpRequest {
        let lines = self.headers.lines.iter().map(|(name, value)| HeaderValue {
            key: name.clone().into_owned(),
            raw_value: value.clone().into_owned(),
            ..HeaderValue::default()
        });
        let entries = self.headers.entries.iter();
        HttpRequest {
            method: self.method.to_owned(),
            path: self.path.to_owned(),
            host: self.host.to_owned(),
            scheme: self.scheme.to_owned(),
            header_map: self.headers.has_lines.then(|| HeaderMap { headers: lines.collect() }),
            headers: entries.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..HttpRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_said_again() {
        let peer = |address: &str, principal: &str| {
            let address = SocketAddress {
                address: address.into(),
                port_specifier: Some(PortSpecifier::PortValue(80)),
                ..SocketAddress::default()
            };
            let address = Address { address: Some(AddressKind::SocketAddress(address)) };
            let principal = principal.to_owned();
            Some(Peer { address: Some(address), principal, ..Peer::default() })
        };
        let line = HeaderValue {
            key: "x-a".into(),
            raw_value: vec![b'a', 0xff],
            ..HeaderValue::default()
        };
        let http = HttpRequest {
            method: "GET".into(),
            path: "/a?b".into(),
            host: "h".into(),
            scheme: "https".into(),
            header_map: Some(HeaderMap { headers: vec![line.clone(), line] }),
            ..HttpRequest::default()
        };
        let check = CheckRequest {
            attributes: Some(AttributeContext {
                source: peer("10.0.0.1", ""),
                destination: peer("::1", "spiffe://td/ns/a/sa/b"),
                request: Some(Request { http: Some(http), ..Request::default() }),
                context_extensions: [("postern.workload".to_owned(), "a/b".to_owned())].into(),
                tls_session: Some(TlsSession { sni: "s".into() }),
                ..AttributeContext::default()
            }),
        };
        assert_eq!(CheckView::of_message(&check).to_message(), check);
        assert_eq!(CheckView::default().to_message(), CheckRequest::default());
    }
}
