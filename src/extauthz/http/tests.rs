//! What is not as a proxy writes it is denied, and what is gets the answer that it would get over gRPC.

mod twin;

use http::Request;
use http::request::Parts;
use proptest::prelude::*;
use proptest::sample::select;
use rstest::rstest;

use super::super::tests::{service, service_with};
use super::super::{CheckMetrics, RequestSettings};
use super::*;
use crate::model::{Outcome, Reason};
use crate::telemetry::metrics::Metrics;
use twin::POLICIES;

const ALLOW_A: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: a, namespace: foo }
spec:
  rules:
  - to: [{ operation: { paths: [/a], methods: [GET] } }]
";

fn settings(flavour: Flavour) -> HttpSettings {
    HttpSettings {
        flavour,
        path_prefix: "".into(),
        proxy_header: None,
        trusted_proxies: ["127.0.0.0/8".parse().unwrap()].into(),
        max_head_size: 1 << 16,
    }
}

/// A request line's method and target, and header lines.
fn head(method: &str, target: &str, lines: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// Answers with the keys that are there, as nothing is waited for.
fn answer(server: &HttpServer, head: &Parts, peer: &str) -> (Reason, http::response::Parts) {
    let peer = (!peer.is_empty()).then(|| peer.parse().unwrap());
    let checked = futures_util::FutureExt::now_or_never(server.answer(head, peer)).unwrap();
    let (parts, _) = checked.response.into_parts();
    assert_eq!(parts.status.is_success(), checked.verdict.outcome() == Outcome::Allow);
    (checked.verdict.reason, parts)
}

const NGINX: &[(&str, &[u8])] = &[
    ("host", b"h"),
    ("x-original-method", b"GET"),
    ("x-original-uri", b"/a?b"),
    ("x-forwarded-proto", b"https"),
    ("x-real-ip", b"10.0.0.1"),
];

const TRAEFIK: &[(&str, &[u8])] = &[
    ("host", b"postern"),
    ("x-forwarded-method", b"GET"),
    ("x-forwarded-uri", b"/a?b"),
    ("x-forwarded-host", b"h"),
    ("x-forwarded-proto", b"https"),
    ("x-forwarded-for", b"10.0.0.1"),
];

const ENVOY: &[(&str, &[u8])] = &[("host", b"h"), ("x-forwarded-proto", b"https")];

fn parts_of(flavour: Flavour) -> (&'static str, &'static [(&'static str, &'static [u8])]) {
    match flavour {
        Flavour::Envoy => ("/a?b", ENVOY),
        Flavour::Nginx => ("/postern/nginx", NGINX),
        Flavour::Traefik => ("/postern/traefik", TRAEFIK),
    }
}

#[rstest]
fn each_part_is_there_once(#[values("envoy", "nginx", "traefik")] name: &str) {
    let flavour = Flavour::ALL.into_iter().find(|f| f.as_str() == name).unwrap();
    let server = HttpServer::new(service(ALLOW_A), settings(flavour));
    let (target, lines) = parts_of(flavour);
    let decide = |lines: &[_], peer| answer(&server, &head("GET", target, lines), peer).0;
    assert!(matches!(decide(lines, "127.0.0.1"), Reason::AllowRule(_)));
    assert!(matches!(decide(lines, ""), Reason::AllowRule(_)), "a unix socket");
    assert!(matches!(decide(lines, "::ffff:127.0.0.1"), Reason::AllowRule(_)));
    for peer in ["10.0.0.1", "::1", "128.0.0.1", "::ffff:10.0.0.1"] {
        assert_eq!(decide(lines, peer), Reason::MalformedRequest, "{peer}");
    }
    for (at, (name, value)) in lines.iter().enumerate() {
        // Envoy may leave scheme and headers out, and what then is unknown is none of this policy's.
        if flavour == Flavour::Envoy && *name == "x-forwarded-proto" {
            continue;
        }
        if flavour == Flavour::Traefik && *name == "host" {
            continue;
        }
        let mut without = lines.to_vec();
        without.remove(at);
        assert_eq!(decide(&without, "127.0.0.1"), Reason::MalformedRequest, "without {name}");
        let twice: Vec<_> = lines.iter().copied().chain([(*name, *value)]).collect();
        assert_eq!(decide(&twice, "127.0.0.1"), Reason::MalformedRequest, "{name} twice");
        for bad in [&b""[..], b"\xff", b"a, b", b" ", b"a b"] {
            if flavour == Flavour::Envoy && *name == "host" && bad != b"\xff" {
                continue;
            }
            let mut lines = lines.to_vec();
            lines[at].1 = bad;
            assert_eq!(decide(&lines, "127.0.0.1"), Reason::MalformedRequest, "{name}: {bad:?}");
        }
    }
}

#[rstest]
#[case::no_slash("a")]
#[case::absolute("http://h/a")]
#[case::fragment("/a#b")]
#[case::blank("/a b")]
#[case::tab("/a\tb")]
#[case::letters("/\u{e9}")]
#[case::list("/a, /a")]
#[case::asterisk("*")]
fn a_path_that_is_none_is_denied(#[case] path: &str) {
    for flavour in [Flavour::Nginx, Flavour::Traefik] {
        let server = HttpServer::new(service(""), settings(flavour));
        let (target, lines) = parts_of(flavour);
        let lines: Vec<_> = (lines.iter().copied())
            .map(|(n, v)| if n.ends_with("-uri") { (n, path.as_bytes()) } else { (n, v) })
            .collect();
        let (reason, parts) = answer(&server, &head("GET", target, &lines), "127.0.0.1");
        assert_eq!((reason, parts.status.as_u16()), (Reason::MalformedRequest, 403), "{flavour}");
    }
}

#[rstest]
#[case::of_another(Flavour::Nginx, "GET", "/postern/traefik")]
#[case::of_envoy(Flavour::Nginx, "GET", "/a")]
#[case::longer(Flavour::Nginx, "GET", "/postern/nginx/a")]
#[case::posted(Flavour::Nginx, "POST", "/postern/nginx")]
#[case::absolute(Flavour::Nginx, "GET", "http://h/postern/nginx")]
#[case::forward_auth_of_envoy(Flavour::Traefik, "GET", "/")]
#[case::forward_auth_of_nginx(Flavour::Traefik, "GET", "/postern/nginx")]
#[case::nginx_of_envoy(Flavour::Envoy, "GET", "/postern/nginx")]
#[case::traefik_of_envoy(Flavour::Envoy, "GET", "/postern/traefik?a=b")]
#[case::envoy_absolute(Flavour::Envoy, "GET", "http://h/a")]
#[case::envoy_connect(Flavour::Envoy, "CONNECT", "h:80")]
fn another_way_of_asking_is_denied(
    #[case] flavour: Flavour,
    #[case] method: &str,
    #[case] target: &str,
) {
    // It has all that any flavour asks for, and no policy denies.
    let lines: Vec<_> = NGINX.iter().chain(&TRAEFIK[1..4]).chain(&TRAEFIK[5..]).copied().collect();
    let server = HttpServer::new(service(""), settings(flavour));
    let (reason, _) = answer(&server, &head(method, target, &lines), "127.0.0.1");
    assert_eq!(reason, Reason::MalformedRequest);
}

#[rstest]
#[case::there("/pre/a", true)]
#[case::not_there("/a", false)]
#[case::not_all("/pr/a", false)]
#[case::nothing_behind("/pre", false)]
#[case::no_slash_behind("/prea", false)]
#[case::in_capitals("/PRE/a", false)]
fn the_prefix_is_taken_off(#[case] target: &str, #[case] passes: bool) {
    let settings = HttpSettings { path_prefix: "/pre".into(), ..settings(Flavour::Envoy) };
    let server = HttpServer::new(service(ALLOW_A), settings);
    let (_, parts) = answer(&server, &head("GET", target, ENVOY), "127.0.0.1");
    assert_eq!(parts.status.is_success(), passes);
}

#[rstest]
#[case::not_there(&[], false)]
#[case::twice(&["source=10.0.0.1", "source=10.0.0.1"], false)]
#[case::unreadable(&["who=me"], false)]
#[case::empty(&[""], true)]
#[case::known(&["workload=foo/x"], false)]
fn a_configured_header_is_needed(#[case] values: &[&str], #[case] passes: bool) {
    let name = http::HeaderName::from_static("x-says");
    let settings = HttpSettings { proxy_header: Some(name), ..settings(Flavour::Envoy) };
    let server = HttpServer::new(service(ALLOW_A), settings);
    let said = values.iter().map(|value| ("x-says", value.as_bytes()));
    let lines: Vec<_> = ENVOY.iter().copied().chain(said).collect();
    let (_, parts) = answer(&server, &head("GET", "/a", &lines), "127.0.0.1");
    assert_eq!(parts.status.is_success(), passes);
    if passes {
        assert_eq!(parts.headers["x-envoy-auth-headers-to-remove"], "x-says");
    }
}

/// A condition that needs what was not said allows nothing, and denies; negated or not.
#[rstest]
#[case::source("from: [{source: {ipBlocks: [10.0.0.0/8]}}]")]
#[case::not_source("from: [{source: {notIpBlocks: [10.0.0.0/8]}}]")]
#[case::remote("from: [{source: {notRemoteIpBlocks: [10.0.0.0/8]}}]")]
#[case::principal("from: [{source: {notPrincipals: [a]}}]")]
#[case::namespace("from: [{source: {notNamespaces: [a]}}]")]
#[case::port("to: [{operation: {notPorts: ['80']}}]")]
#[case::destination("when: [{key: destination.ip, notValues: [10.0.0.0/8]}]")]
#[case::sni("when: [{key: connection.sni, notValues: [a]}]")]
#[case::metadata("when: [{key: 'experimental.envoy.filters.a[b]', notValues: [a]}]")]
#[case::header("when: [{key: 'request.headers[x-a]', notValues: [a]}]")]
#[case::header_of_the_connection(
    "when: [{key: 'request.headers[content-length]', notValues: [a]}]"
)]
fn what_was_not_said_is_unknown(#[case] rule: &str) {
    for action in ["ALLOW", "DENY"] {
        let policy = format!(
            "---\n{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, \
             metadata: {{name: p, namespace: foo}}, spec: {{action: {action}, rules: [{{{rule}}}]}}}}"
        );
        let metrics = Metrics::new("0");
        let metrics = CheckMetrics {
            decisions: metrics.decisions(),
            inputs: metrics.inputs(),
            workloads: metrics.workloads(),
        };
        let service = service(&policy).with_metrics(metrics);
        let server = HttpServer::new(service, settings(Flavour::Envoy));
        let (_, parts) = answer(&server, &head("GET", "/a", &[("host", b"h")]), "127.0.0.1");
        assert_eq!(parts.status.as_u16(), 403, "{action}");
    }
}

const TOKENS: &str = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: r, namespace: foo }
spec:
  jwtRules:
  - { issuer: i, jwks: '{\"keys\":[]}', RULE }
";

/// Where headers are left out, one that token rules look at may be among them.
#[rstest]
#[case::authorization("forwardOriginalToken: true", true)]
#[case::other_header("fromHeaders: [{name: x-token}]", false)]
#[case::cookie("fromCookies: [c]", false)]
#[case::payload("outputPayloadToHeader: x-p", false)]
#[case::claim("outputClaimToHeaders: [{header: x-c, claim: c}]", false)]
fn tokens_may_need_all_headers(#[case] rule: &str, #[case] passes: bool) {
    let service = service(&TOKENS.replace("RULE", rule));
    let server = HttpServer::new(service, settings(Flavour::Envoy));
    let (_, parts) = answer(&server, &head("GET", "/a", &ENVOY[..1]), "127.0.0.1");
    assert_eq!(parts.status.is_success(), passes);
    let (_, parts) = answer(&server, &head("GET", "/a", ENVOY), "127.0.0.1");
    assert!(parts.status.is_success());
}

#[rstest]
#[case::envoy(Flavour::Envoy, 400)]
#[case::nginx(Flavour::Nginx, 403)]
#[case::traefik(Flavour::Traefik, 400)]
fn a_path_that_cannot_be_normalised(#[case] flavour: Flavour, #[case] status: u16) {
    let read = RequestSettings {
        path_normalization: crate::normalize::PathNormalization::Base,
        ..RequestSettings::default()
    };
    let server = HttpServer::new(service_with("", &[], read), settings(flavour));
    let (target, lines) = parts_of(flavour);
    let target = if flavour == Flavour::Envoy { "/%00" } else { target };
    let lines: Vec<_> = (lines.iter().copied())
        .map(|(n, v)| if n.ends_with("-uri") { (n, &b"/%00"[..]) } else { (n, v) })
        .collect();
    let (_, parts) = answer(&server, &head("GET", target, &lines), "127.0.0.1");
    assert_eq!(parts.status.as_u16(), status);
}

proptest! {
    /// Whatever is asked, there is an answer.
    #[test]
    fn no_header_makes_it_panic(
        flavour in select(&Flavour::ALL[..]),
        lines in proptest::collection::vec(
            (select(&["host", "x-forwarded-for", "x-original-uri", "x-says", "x-real-ip"][..]),
             proptest::collection::vec(0x20u8..=0xff, 0..12)),
            0..8,
        ),
    ) {
        let settings = HttpSettings {
            proxy_header: Some(http::HeaderName::from_static("x-says")),
            ..settings(flavour)
        };
        let server = HttpServer::new(service(POLICIES), settings);
        let (target, own) = parts_of(flavour);
        let lines: Vec<_> = (lines.iter())
            .filter(|(_, value)| !value.contains(&0x7f))
            .map(|(name, value)| (*name, &value[..]))
            .chain(own.iter().copied())
            .collect();
        answer(&server, &head("GET", target, &lines), "127.0.0.1");
    }
}
