//! Whatever a proxy writes over HTTP gets a whole answer that the proxy understands, and only what it
//! says once and well gets an ALLOW.

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use http::Request;
use http::request::Parts;
use postern::authn::{NoKeys, clock::Clock};
use postern::compile::{Settings, compile};
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, Flavour, HttpServer, HttpSettings, RequestSettings};
use postern::manifest::{Options, decode};
use postern::model::{Mesh, Outcome, Workload};
use postern::normalize::PathNormalization;

static SERVICE: LazyLock<AuthorizationService> = LazyLock::new(|| {
    let decoded = decode(include_str!("policies.yaml"), None, &Options::default());
    assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let workload = Workload { namespace: "shop".into(), ..Workload::default() };
    let plans = Settings { mesh: Mesh::default(), workloads: vec![workload] };
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(compile(7, &resources, &[], &plans))));
    let settings =
        RequestSettings { path_normalization: PathNormalization::Base, ..Default::default() };
    AuthorizationService::new(cell, Arc::new(NoKeys), settings, Clock::system())
});

/// A line with method and target, and header lines; nothing where no server would take them.
fn head(text: &[u8]) -> Option<Parts> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

pub(crate) fn run(data: &[u8]) {
    let Some(head) = head(data) else { return };
    for flavour in Flavour::ALL {
        for proxy_header in [None, Some(http::HeaderName::from_static("x-postern-proxy"))] {
            let settings = HttpSettings {
                flavour,
                path_prefix: "".into(),
                proxy_header,
                trusted_proxies: ["127.0.0.1/32".parse().expect("a range")].into(),
                max_head_size: 1 << 16,
            };
            check(&HttpServer::new(SERVICE.clone(), settings.clone()), &head, &settings);
        }
    }
}

fn check(server: &HttpServer, head: &Parts, settings: &HttpSettings) {
    let answer = |peer: &str| {
        let answer = pin!(server.answer(head, peer.parse().ok()));
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(checked) => checked,
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    };
    let other = answer("10.0.0.1");
    assert_eq!(other.verdict.outcome(), Outcome::Deny, "a stranger");

    let checked = answer("127.0.0.1");
    let status = checked.response.status().as_u16();
    if checked.verdict.outcome() == Outcome::Deny {
        let known: &[u16] =
            if settings.flavour == Flavour::Nginx { &[401, 403] } else { &[400, 401, 403] };
        assert!(known.contains(&status), "{status}");
        return;
    }
    // A claim that is no header's value is refused after all.
    assert!([200, 403].contains(&status), "{status}");
    let needed: &[&str] = match settings.flavour {
        Flavour::Envoy => &[],
        Flavour::Nginx => {
            &["x-original-method", "x-original-uri", "x-forwarded-proto", "x-real-ip"]
        }
        Flavour::Traefik => &["x-forwarded-method", "x-forwarded-uri", "x-forwarded-host"],
    };
    let said = settings.proxy_header.as_ref().map(http::HeaderName::as_str);
    for name in needed.iter().copied().chain(said) {
        assert_eq!(head.headers.get_all(name).iter().count(), 1, "{name}");
    }
}
