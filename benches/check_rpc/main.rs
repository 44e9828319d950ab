//! A whole `Check` over the loopback: client, gRPC, decoding, token, decision, answer.
//!
//! The yardstick is a server of the same make that answers without looking, in the same run with
//! the same requests: figures of two runs are not worth comparing, their ratios are. The client may
//! be the busier half, so what the server's thread alone has used is printed below the table, and
//! the instructions that it executed where there is valgrind. Both kinds of server have mimalloc.
//!
//! `cargo bench --bench check_rpc instructions` counts instructions only.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a bench may fail, and prints"
)]

mod instructions;
mod request;
#[path = "../scenarios/mod.rs"]
mod scenarios;
#[path = "../signing/mod.rs"]
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
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use futures_util::future::join_all;
use postern::authn::clock::Clock;
use postern::authn::{NoKeys, TokenCache};
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, CheckMetrics, CheckServer, RequestSettings};
use postern::telemetry::metrics::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Response, Status};

use request::{Token, check_request};
use scenarios::Shape;

/// One after the other on each stream.
const CALLS_PER_STREAM: usize = 8;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if instructions::serve_if_asked_to() {
        return;
    }
    scenarios::assert_sound();
    if std::env::args().all(|argument| argument != "instructions") {
        divan::main();
        print_cpu();
    }
    instructions::print();
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answering {
    /// The yardstick.
    Empty,
    Rules(usize),
    /// By messages of prost instead of bytes.
    Twin(usize),
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.pad("empty server"),
            Self::Rules(rules) => f.pad(&format!("{rules} rules")),
            Self::Twin(rules) => f.pad(&format!("{rules} rules, slow twin")),
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
        Answering::Rules(rules) | Answering::Twin(rules) => rules,
    });
    let request = check_request(&call, token);
    let server = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = server.block_on(start(answering, Shape::Sparse, &signing::manifest("")));
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
async fn start(answering: Answering, shape: Shape, tokens: &str) -> SocketAddr {
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
            let router =
                server.add_service(CheckServer::new(service(rules, shape, tokens), 4 << 20));
            tokio::spawn(router.serve_with_incoming(incoming));
        }
        Answering::Twin(rules) => {
            let twin = AuthorizationServer::new(Twin(service(rules, shape, tokens)));
            tokio::spawn(server.add_service(twin).serve_with_incoming(incoming));
        }
    }
    address
}

fn service(rules: usize, shape: Shape, tokens: &str) -> AuthorizationService {
    let manifest = shape.manifest(rules) + tokens;
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(scenarios::snapshot(&manifest))));
    let metrics = Metrics::new("0.0.0");
    let metrics = CheckMetrics {
        decisions: metrics.decisions(),
        inputs: metrics.inputs(),
        workloads: metrics.workloads(),
    };
    AuthorizationService::new(cell, Arc::new(NoKeys), RequestSettings::default(), Clock::system())
        .with_metrics(metrics)
        .with_token_cache(Arc::new(TokenCache::new(16 << 20)))
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

struct Twin(AuthorizationService);

#[tonic::async_trait]
impl Authorization for Twin {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.0.answer(request.get_ref()).response))
    }
}
