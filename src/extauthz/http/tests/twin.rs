//! The slow twin: what is asked over HTTP, as a CheckRequest.

use envoy_types::pb::envoy::config::core::v3::HeaderMap as HeaderMapMessage;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{Peer, TlsSession};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use http::request::Parts;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::super::tests::{address, check, header, service_with};
use super::super::super::{RequestSettings, response};
use super::super::*;
use super::{answer, head, settings};

pub(super) const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow, namespace: foo }
spec:
  rules:
  - to: [{ operation: { paths: [/a], notMethods: [PUT] } }]
  - to: [{ operation: { hosts: [h.x], ports: ['81'] } }]
  - from: [{ source: { ipBlocks: [10.0.0.1] } }]
    to: [{ operation: { methods: [PUT] } }]
  - when: [{ key: 'request.headers[x-a]', values: [b] }, { key: connection.sni, values: [s] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: deny, namespace: foo }
spec:
  action: DENY
  rules:
  - from: [{ source: { remoteIpBlocks: [10.0.0.2] } }]
  - when: [{ key: 'request.headers[:scheme]', values: [https] }, { key: 'request.headers[x-a]', values: [a] }]
  - when: [{ key: 'request.headers[authorization]', notValues: ['*'] }, { key: destination.port, values: ['80'] }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: r, namespace: foo }
spec:
  jwtRules:
  - issuer: i
    jwks: '{\"keys\":[]}'
    outputClaimToHeaders: [{ header: x-c, claim: c }]
";

/// A request as a client sends it over a connection.
#[derive(Debug, Clone)]
struct Original {
    method: &'static str,
    path: &'static str,
    host: &'static str,
    scheme: &'static str,
    lines: Vec<(&'static str, &'static str)>,
    source: &'static str,
    port: u16,
    sni: &'static str,
    forwarded_for: Option<&'static str>,
}

fn original() -> impl Strategy<Value = Original> {
    let line = select(
        &[
            ("x-a", "a"),
            ("x-a", "b"),
            ("x-a", "a,b"),
            ("x-c", "forged"),
            ("authorization", "Basic x"),
            ("authorization", "Bearer bad"),
            ("accept", "a"),
        ][..],
    );
    (
        (select(&["GET", "PUT", "get"][..]), select(&["/a", "/a?b", "/b", "/a/", "*"][..])),
        (select(&["h", "h.x", "H.X:80"][..]), select(&["http", "https"][..])),
        proptest::collection::vec(line, 0..4),
        (select(&["10.0.0.1", "10.0.0.2", "::1"][..]), select(&[80u16, 81][..])),
        select(&["", "s", "S", "s;source=10.0.0.1"][..]),
        proptest::option::of(select(&["10.0.0.2", "10.0.0.2,10.0.0.1", "x", ""][..])),
    )
        .prop_map(
            |((method, path), (host, scheme), lines, (source, port), sni, forwarded_for)| {
                Original { method, path, host, scheme, lines, source, port, sni, forwarded_for }
            },
        )
}

impl Original {
    /// As Envoy asks over gRPC.
    fn check(&self) -> CheckRequest {
        check(|attributes| {
            attributes.source =
                Some(Peer { address: address(self.source, 1234), ..Peer::default() });
            attributes.destination =
                Some(Peer { address: address("10.9.8.7", self.port.into()), ..Peer::default() });
            attributes.tls_session = Some(TlsSession { sni: self.sni.into() });
            let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
            (http.method, http.path) = (self.method.into(), self.path.into());
            (http.host, http.scheme) = (self.host.into(), self.scheme.into());
            let forwarded = self.forwarded_for.map(|value| ("x-forwarded-for", value));
            let lines = self.lines.iter().copied().chain(forwarded);
            let headers = lines.map(|(name, value)| header(name, value.as_bytes())).collect();
            http.header_map = Some(HeaderMapMessage { headers });
        })
    }

    /// As a proxy of the flavour asks.
    fn head(&self, flavour: Flavour) -> Parts {
        let mut said =
            format!("headers=raw;destination=10.9.8.7:{};certificate=;sni={}", self.port, self.sni);
        if flavour == Flavour::Envoy {
            said = format!("source={};scheme={};{said}", self.source, self.scheme);
        }
        let own: Vec<(&str, &str)> = match flavour {
            Flavour::Envoy => vec![("host", self.host), ("x-forwarded-proto", "http")],
            Flavour::Nginx => vec![
                ("host", self.host),
                ("x-original-method", self.method),
                ("x-original-uri", self.path),
                ("x-forwarded-proto", self.scheme),
                ("x-real-ip", self.source),
            ],
            Flavour::Traefik => vec![
                ("x-forwarded-host", self.host),
                ("x-forwarded-method", self.method),
                ("x-forwarded-uri", self.path),
                ("x-forwarded-proto", self.scheme),
            ],
        };
        let forwarded = match (flavour, self.forwarded_for) {
            // They append who connects, which is then the last that is to be believed.
            (Flavour::Traefik, Some(others)) => Some(format!("{others},{}", self.source)),
            (Flavour::Traefik, None) => Some(self.source.to_owned()),
            (Flavour::Envoy | Flavour::Nginx, others) => others.map(str::to_owned),
        };
        let mut lines = self.lines.clone();
        lines.push(("x-says", &said));
        lines.extend(own);
        lines.extend(forwarded.as_deref().map(|value| ("x-forwarded-for", value)));
        let lines: Vec<_> = lines.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        match flavour.path() {
            Some(path) => head("GET", path, &lines),
            None => head(self.method, &format!("/pre{}", self.path), &lines),
        }
    }
}

proptest! {
    /// The slow twin: what is asked over HTTP is answered as the same is over gRPC.
    #[test]
    fn answers_as_over_grpc(original in original(), flavour in select(&Flavour::ALL[..])) {
        let mut read = RequestSettings::default();
        // Of these, the last entry is the proxy's.
        read.client_address.use_remote_address = flavour == Flavour::Traefik;
        let grpc = {
            let mut check = original.check();
            if flavour == Flavour::Traefik {
                // As Envoy has it that appends who connects.
                let http = check.attributes.as_mut().unwrap().request.as_mut().unwrap();
                let map = http.http.as_mut().unwrap().header_map.as_mut().unwrap();
                map.headers.retain(|line| line.key != "x-forwarded-for");
                let others = original.forwarded_for.map(|others| format!("{others},"));
                let value = format!("{}{}", others.unwrap_or_default(), original.source);
                map.headers.push(header("x-forwarded-for", value.as_bytes()));
            }
            service_with(POLICIES, &[], read.clone()).answer(&check)
        };
        let settings = HttpSettings {
            path_prefix: if flavour == Flavour::Envoy { "/pre" } else { "" }.into(),
            proxy_header: Some(http::HeaderName::from_static("x-says")),
            ..settings(flavour)
        };
        let server = HttpServer::new(service_with(POLICIES, &[], read), settings);
        let (reason, parts) = answer(&server, &original.head(flavour), "127.0.0.1");
        prop_assert_eq!(reason, grpc.verdict.reason);
        prop_assert_eq!(response::outcome_of(&grpc.response), grpc.verdict.outcome());
        let denied = match grpc.response.http_response.unwrap() {
            HttpResponse::DeniedResponse(denied) => denied,
            HttpResponse::OkResponse(ok) => {
                let removed = parts.headers.get("x-envoy-auth-headers-to-remove");
                let removed = removed.map_or("", |value| value.to_str().unwrap());
                for name in &ok.headers_to_remove {
                    if flavour == Flavour::Envoy {
                        prop_assert!(removed.split(',').any(|removed| removed == name));
                    } else {
                        prop_assert!(!parts.headers.contains_key(name));
                    }
                }
                return Ok(());
            }
            HttpResponse::ErrorResponse(_) => panic!("never sent"),
        };
        prop_assert_eq!(i32::from(parts.status.as_u16()), denied.status.unwrap().code);
        for option in denied.headers {
            let told = option.header.unwrap();
            prop_assert_eq!(parts.headers[&told.key].to_str().unwrap(), told.value);
        }
    }
}
