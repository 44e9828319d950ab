//! A whole `Check` over the loopback: client, gRPC, decoding, token, decision, answer.
//!
//! The yardstick is a server of the same make that answers without looking, in the same run with
//! the same requests: figures of two runs are not worth comparing, their ratios are. The client may
//! be the busier half, so what the server's thread alone has used is printed below the table.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "a bench may fail, and prints"
)]

mod scenarios;
#[expect(dead_code, reason = "another bench uses all of it")]
mod signing;

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request, TlsSession,
};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use futures_util::future::join_all;
use postern::authn::NoKeys;
use postern::authn::clock::Clock;
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, CheckMetrics, RequestSettings};
use postern::telemetry::metrics::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Response, Status};

use scenarios::{Call, HEADERS, Shape};
use signing::Algorithm;

/// One after the other on each stream.
const CALLS_PER_STREAM: usize = 8;

fn main() {
    scenarios::assert_sound();
    divan::main();
    print_cpu();
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answering {
    /// The yardstick.
    Empty,
    Rules(usize),
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.pad("empty server"),
            Self::Rules(rules) => f.pad(&format!("{rules} rules")),
        }
    }
}

const ANSWERING: [Answering; 3] = [Answering::Empty, Answering::Rules(10), Answering::Rules(1_000)];

#[divan::bench_group(min_time = 1)]
mod one_stream {
    use super::{ANSWERING, Answering, Bencher, Token, bench};

    #[divan::bench(args = ANSWERING)]
    fn no_token(bencher: Bencher<'_, '_>, answering: Answering) {
        bench(bencher, answering, Token::None, 1);
    }

    #[divan::bench(args = ANSWERING)]
    fn es256(bencher: Bencher<'_, '_>, answering: Answering) {
        bench(bencher, answering, Token::Es256, 1);
    }

    #[divan::bench(args = ANSWERING)]
    fn rs256(bencher: Bencher<'_, '_>, answering: Answering) {
        bench(bencher, answering, Token::Rs256, 1);
    }
}

#[divan::bench_group(min_time = 1)]
mod streams_32 {
    use super::{ANSWERING, Answering, Bencher, Token, bench};

    #[divan::bench(args = ANSWERING)]
    fn no_token(bencher: Bencher<'_, '_>, answering: Answering) {
        bench(bencher, answering, Token::None, 32);
    }

    #[divan::bench(args = ANSWERING)]
    fn es256(bencher: Bencher<'_, '_>, answering: Answering) {
        bench(bencher, answering, Token::Es256, 32);
    }

    #[divan::bench(args = ANSWERING)]
    fn rs256(bencher: Bencher<'_, '_>, answering: Answering) {
        bench(bencher, answering, Token::Rs256, 32);
    }
}

/// Many calls at a time on one connection. The request is one that the last rule allows.
fn bench(bencher: Bencher<'_, '_>, answering: Answering, token: Token, streams: usize) {
    let call = Shape::Sparse.hit(match answering {
        Answering::Empty => 10,
        Answering::Rules(rules) => rules,
    });
    let request = check_request(&call, token);
    let server = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = server.block_on(start(answering));
    let client = Builder::new_current_thread().enable_all().build().unwrap();
    let channel = client.block_on(connect(address));
    // What is not an allowed call would be measured as a cheap one.
    let first = client.block_on(ask(channel.clone(), &request));
    assert_eq!(first.status.map(|status| status.code), Some(0));

    let calls = if streams == 1 { 1 } else { streams * CALLS_PER_STREAM };
    let (before, answered) = (cpu(&server), Cell::new(0));
    bencher.counter(ItemsCount::new(calls)).bench_local(|| {
        answered.set(answered.get() + calls);
        client.block_on(join_all((0..streams).map(async |_| {
            for _ in 0..calls / streams {
                divan::black_box(ask(channel.clone(), &request).await);
            }
        })))
    });
    if let (Some(before), Some(after)) = (before, cpu(&server)) {
        let used = (after - before).div_f64(answered.get() as f64);
        CPU.lock().unwrap().push((streams, token, answering, used));
    }
    server.shutdown_background();
}

/// What the server used for a call, by the kernel's account.
static CPU: Mutex<Vec<(usize, Token, Answering, Duration)>> = Mutex::new(Vec::new());

/// What the server's only thread has used since it began; not to be had on every system.
fn cpu(server: &Runtime) -> Option<Duration> {
    let account = server.spawn(async { fs::read_to_string("/proc/thread-self/schedstat") });
    let account = server.block_on(account).unwrap().ok()?;
    Some(Duration::from_nanos(account.split(' ').next()?.parse().ok()?))
}

fn print_cpu() {
    let used = CPU.lock().unwrap();
    for (streams, token, answering, cpu) in &*used {
        let empty =
            used.iter().find(|(s, t, a, _)| s == streams && t == token && *a == Answering::Empty);
        let ratio = empty.map_or(f64::NAN, |(.., empty)| cpu.div_duration_f64(*empty));
        println!(
            "server CPU per call, {streams:2} streams, {token:6}, {answering:12}: \
             {:6.1} µs, {ratio:5.2} x empty",
            cpu.as_secs_f64() * 1e6
        );
    }
}

async fn ask(channel: Channel, request: &CheckRequest) -> CheckResponse {
    AuthorizationClient::new(channel).check(request.clone()).await.unwrap().into_inner()
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Serves as `app` does, with metrics.
async fn start(answering: Answering) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener).map(|accepted| {
        accepted.and_then(|connection: TcpStream| connection.set_nodelay(true).map(|()| connection))
    });
    let mut server = Server::builder();
    match answering {
        Answering::Empty => {
            let router = server.add_service(AuthorizationServer::new(Empty));
            tokio::spawn(router.serve_with_incoming(incoming));
        }
        Answering::Rules(rules) => {
            let router = server.add_service(AuthorizationServer::new(service(rules)));
            tokio::spawn(router.serve_with_incoming(incoming));
        }
    }
    address
}

fn service(rules: usize) -> AuthorizationService {
    let manifest = Shape::Sparse.manifest(rules) + &signing::manifest("");
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(scenarios::snapshot(&manifest))));
    let metrics = Metrics::new("0.0.0");
    let metrics = CheckMetrics { decisions: metrics.decisions(), inputs: metrics.inputs() };
    AuthorizationService::new(cell, Arc::new(NoKeys), RequestSettings::default(), Clock::system())
        .with_metrics(metrics)
}

struct Empty;

#[tonic::async_trait]
impl Authorization for Empty {
    async fn check(
        &self,
        _: tonic::Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse { status: Some(Default::default()), ..Default::default() }))
    }
}

/// As Envoy sends it.
fn check_request(call: &Call, token: Token) -> CheckRequest {
    let authorization = token.header().map(|header| ("authorization", header.to_owned()));
    let headers = HEADERS
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .chain([("x-tenant", call.tenant.clone())])
        .chain(authorization)
        .map(|(name, value)| HeaderValue {
            key: name.to_owned(),
            raw_value: value.into_bytes(),
            ..HeaderValue::default()
        });
    let http = HttpRequest {
        id: "1234567890".into(),
        method: "GET".into(),
        path: call.path.clone(),
        host: "shop.example.com".into(),
        scheme: "https".into(),
        protocol: "HTTP/2".into(),
        header_map: Some(HeaderMap { headers: headers.collect() }),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                principal: format!("spiffe://{}", call.principal),
                ..Peer::default()
            }),
            destination: Some(Peer::default()),
            request: Some(Request { http: Some(http), ..Request::default() }),
            tls_session: Some(TlsSession { sni: "shop.example.com".into() }),
            ..AttributeContext::default()
        }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    Rs256,
    Es256,
}

impl Token {
    fn header(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Rs256 => Some(&Algorithm::Rs256.signed().header),
            Self::Es256 => Some(&Algorithm::Es256.signed().header),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        })
    }
}
