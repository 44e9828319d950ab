//! The same requests by way of Postern and by Envoy alone.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::authorizers::Authorizers;
use crate::envoy_process::Envoy;
use crate::gate::Gate;
use crate::http1::{self, Body};
use crate::{envoy_config, providers, servers};

/// What came of one request: what the client sees (and in it the upstream), what authorizers saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
    pub(crate) upstream: Option<(String, Vec<String>)>,
    pub(crate) asked: Vec<String>,
}

const REQUEST_HEADERS: &str = "x-user: eve\r\nx-secret: s\r\nx-add: own\r\nx-if-absent: own\r\n\
                               x-if-there: own\r\nx-join: own\r\nx-over: own\r\nx-req-a: 1\r\n\
                               x-req-a: 2\r\nx-req-own: client\r\nx-a-suffix: 3\r\n\
                               authorization: Basic x\r\n";

pub(crate) async fn ask(to: SocketAddr, method: &str, path: &str, want: &str, body: &str) -> Seen {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let length = match body {
        "" => String::new(),
        body => format!("content-length: {}\r\n", body.len()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\nx-want: {want}\r\n\
         {REQUEST_HEADERS}{length}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = http1::read(&mut stream, Body::Response).await.unwrap().unwrap();
    let body = String::from_utf8(answer.body.clone()).unwrap();
    let upstream = servers::echoed(&body).map(|upstream| {
        (upstream.path, compared(upstream.headers.iter().map(|(n, v)| (&**n, v.clone()))))
    });
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Seen {
        status: text(&answer.first_line),
        headers: lines(answer.headers.iter().map(|(n, v)| (&**n, text(v)))),
        body: if upstream.is_some() { String::new() } else { body },
        upstream,
        asked: Vec::new(),
    }
}

fn is_noise(name: &str) -> bool {
    matches!(
        name,
        "date"
            | "x-request-id"
            | "x-forwarded-proto"
            | "x-envoy-upstream-service-time"
            | "x-envoy-expected-rq-timeout-ms"
            | "content-length"
    )
}

fn lines<'a>(lines: impl Iterator<Item = (&'a str, String)>) -> Vec<String> {
    let lines = lines.filter(|(name, _)| !is_noise(name));
    let mut lines: Vec<_> = lines.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort();
    lines
}

/// Lines of one name joined: Postern says them so, and they mean the same.
fn compared<'a>(all: impl Iterator<Item = (&'a str, String)>) -> Vec<String> {
    let mut joined: Vec<(&str, String)> = Vec::new();
    for (name, value) in all {
        match joined.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => *values = format!("{values},{value}"),
            None => joined.push((name, value)),
        }
    }
    lines(joined.into_iter())
}

#[tokio::test(flavor = "multi_thread")]
async fn postern_does_what_native_envoy_does() {
    let authorizers = Authorizers::start().await;
    let providers = providers::providers(&authorizers);
    let mesh_config = providers::mesh_config(&providers);
    // As often as it likes, so that each request meets a provider that is asked.
    let clients: Vec<_> = providers
        .iter()
        .filter(|provider| provider.kind.is_some())
        .map(|provider| json!({"name": provider.name, "consecutiveErrors": 0}))
        .collect();
    let own = json!({"extensionProviderClients": clients});
    let gate = Gate::start(&providers::policies(), &mesh_config, &own).await;
    let upstream = servers::echo().await;
    let postern = SocketAddr::from(([127, 0, 0, 1], gate.port()));
    let config = envoy_config::bootstrap(&providers, postern, upstream.address);
    let envoy = Envoy::start("envoy.json", &config.to_string()).await;
    let listeners = envoy.listeners().await;
    let mut different = Vec::new();
    let mut count = 0;
    for (method, path, wants, body) in REQUESTS {
        for want in wants.split(' ') {
            let mut seen = Vec::new();
            for listener in ["native", "postern"] {
                authorizers.take();
                let mut one = ask(listeners[listener].v4, method, path, want, body).await;
                one.asked = authorizers.take();
                seen.push(one);
            }
            count += 1;
            // Postern asks at once those that Envoy asks one after the other: some in vain.
            let is_of_several = providers::RULES
                .iter()
                .any(|(prefix, names)| path.starts_with(prefix) && names.len() > 1);
            if is_of_several {
                let native = std::mem::take(&mut seen[0].asked);
                let asked = std::mem::take(&mut seen[1].asked);
                assert!(native.iter().all(|one| asked.contains(one)), "{native:?} {asked:?}");
            }
            if seen[0] != seen[1] {
                different.push(format!(
                    "{method} {path} ({want})\n  native  {:?}\n  postern {:?}",
                    seen[0], seen[1]
                ));
            }
        }
    }
    assert!(different.is_empty(), "{} of {count}:\n{}", different.len(), different.join("\n"));
}

const REQUESTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/free", "allow", ""),
    (
        "GET",
        "/a/x?gone=1&b=%41&a=1&a=2&flag",
        "allow allow-empty headers mallory path query down deny deny-bare deny-default error slow",
        "",
    ),
    ("POST", "/a/x", "allow deny", "a body that is not asked for"),
    (
        "GET",
        "/b/x?q=1",
        "allow headers mallory down deny deny-bare redirect created error slow",
        "",
    ),
    ("POST", "/b/x", "allow", "a body that is not asked for"),
    ("GET", "/c/x", "allow headers deny deny-bare redirect created error slow", ""),
    ("GET", "/d/x", "allow", ""),
    ("GET", "/e/x", "allow", ""),
    ("GET", "/f/x", "allow", ""),
    ("GET", "/g/x", "allow", ""),
    ("GET", "/h/x", "allow", ""),
    ("POST", "/i/x", "allow deny", "short"),
    ("POST", "/i/x", "allow", "ten bytes."),
    ("POST", "/i/x", "allow", "longer than ten bytes"),
    ("GET", "/i/x", "allow deny", ""),
    ("POST", "/j/x", "allow deny", "short"),
    ("POST", "/j/x", "allow deny", "longer than ten bytes"),
    ("GET", "/j/x", "allow", ""),
    ("GET", "/ab/x", "allow headers down mallory deny deny-bare error", ""),
    ("GET", "/ah/x", "allow down deny", ""),
    ("GET", "/bd/x", "allow headers deny", ""),
    ("GET", "/hj/x", "allow deny", ""),
];
