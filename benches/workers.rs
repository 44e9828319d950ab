//! How a server is spread over cores: one pool of threads that share all work, against a runtime for
//! each core with connections of its own, handed over by one that accepts them or by the kernel.
//!
//!     cargo bench --bench workers
//!     cargo bench --bench workers -- --seconds 1 --rounds 1
//!
//! Everything else is the same: tonic, the service, its settings. The load is in the same process on
//! threads of its own, so calls a second are of both together; CPU is of the server alone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    dead_code,
    reason = "a bench may fail, prints, and uses one of the scenarios"
)]

mod scenarios;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use postern::authn::NoKeys;
use postern::authn::clock::Clock;
use postern::config::Address;
use postern::control::publish::SnapshotCell;
use postern::extauthz::{
    AuthorizationService, CheckMetrics, CheckServer, ClientAddress, RequestSettings,
};
use postern::load::{self, Load, Mix, Progress, Question, Until};
use postern::request_file::RequestFile;
use postern::telemetry::metrics::Metrics;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;

const THREAD_NAME: &str = "answering";

/// Connections, and streams on each.
const LOADS: [(usize, usize); 7] = [(1, 1), (1, 8), (1, 64), (2, 32), (4, 1), (4, 8), (32, 4)];

#[derive(Debug, clap::Parser)]
struct CommandLine {
    /// How long each figure is measured
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How often
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What `cargo bench` says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// tokio's `multi_thread`.
    Shared,
    /// One accepts, and hands connections to a `current_thread` runtime for each core.
    HandedOver,
    /// The kernel deals connections to listeners of such runtimes.
    ReusePort,
}

const SHAPES: [Shape; 3] = [Shape::Shared, Shape::HandedOver, Shape::ReusePort];

fn main() {
    let line = CommandLine::parse();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    println!("{workers} workers; calls a second, and the server's CPU for each call");
    println!(
        "connections x streams   {:>22} {:>22} {:>22}",
        "multi_thread", "handed over", "SO_REUSEPORT"
    );
    let service = service();
    for (connections, streams) in LOADS {
        let mut figures = [const { (Vec::new(), Vec::new()) }; 3];
        for _ in 0..line.rounds.max(1) {
            for (shape, (rates, cpu)) in SHAPES.into_iter().zip(&mut figures) {
                let seen = measure(shape, workers, &service, (connections, streams), line.seconds);
                rates.push(seen.0);
                cpu.push(seen.1);
            }
        }
        let columns = figures
            .map(|(rates, cpu)| format!("{:>10.0}/s {:>6.1} µs", median(rates), median(cpu)));
        println!(
            "{connections:>11} x {streams:<9} {:>22} {:>22} {:>22}",
            columns[0], columns[1], columns[2]
        );
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn measure(
    shape: Shape,
    workers: usize,
    service: &AuthorizationService,
    (connections, streams): (usize, usize),
    seconds: u64,
) -> (f64, f64) {
    let running = shape.start(workers, service);
    let load = Load {
        target: Address::Tcp(running.address),
        mix: mix(),
        connections,
        streams,
        rate: None,
        warm_up: Duration::from_millis(300),
        until: Until::Elapsed(Duration::from_secs(seconds)),
    };
    let (mut before, mut after) = (Duration::ZERO, Duration::ZERO);
    let outcome = load::run(&load, |progress| match progress {
        Progress::Counting => before = cpu(),
        Progress::Over => after = cpu(),
        Progress::Done(_) => {}
    })
    .unwrap();
    assert!(outcome.tally.errors().is_empty(), "{:?}", outcome.tally.errors());
    drop(running);
    while threads().next().is_some() {
        thread::sleep(Duration::from_millis(1));
    }
    let calls = outcome.tally.answers() as f64;
    (calls / outcome.elapsed.as_secs_f64(), (after - before).as_secs_f64() * 1e6 / calls)
}

/// Ends when dropped.
struct Running {
    address: SocketAddr,
    _pools: Vec<Runtime>,
    _ends: Vec<oneshot::Sender<()>>,
}

impl Shape {
    fn start(self, workers: usize, service: &AuthorizationService) -> Running {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        match self {
            Self::Shared => {
                let pool = pool(workers);
                let listener = pool.block_on(TcpListener::bind(any)).unwrap();
                let address = listener.local_addr().unwrap();
                pool.spawn(serve(TcpListenerStream::new(listener), service.clone()));
                Running { address, _pools: vec![pool], _ends: Vec::new() }
            }
            Self::HandedOver => {
                let accepting = pool(1);
                let listener = accepting.block_on(TcpListener::bind(any)).unwrap();
                let address = listener.local_addr().unwrap();
                let (mut desks, mut ends) = (Vec::new(), Vec::new());
                for _ in 0..workers {
                    let (desk, handed) = mpsc::unbounded_channel::<std::net::TcpStream>();
                    desks.push(desk);
                    let service = service.clone();
                    ends.push(worker(move || async move {
                        let incoming =
                            UnboundedReceiverStream::new(handed).map(TcpStream::from_std);
                        serve(incoming, service).await;
                    }));
                }
                let turn = AtomicUsize::new(0);
                accepting.spawn(async move {
                    while let Ok((connection, _)) = listener.accept().await {
                        let turn = turn.fetch_add(1, Ordering::Relaxed) % desks.len();
                        drop(desks[turn].send(connection.into_std().unwrap()));
                    }
                });
                Running { address, _pools: vec![accepting], _ends: ends }
            }
            Self::ReusePort => {
                // Holds the port until all listen; never listens itself.
                let first = reuse(any);
                let address = first.local_addr().unwrap();
                let listening = std::sync::Barrier::new(workers + 1);
                let listening = Arc::new(listening);
                let mut ends = Vec::new();
                for _ in 0..workers {
                    let (service, listening) = (service.clone(), listening.clone());
                    ends.push(worker(move || async move {
                        let listener = reuse(address).listen(1024).unwrap();
                        listening.wait();
                        serve(TcpListenerStream::new(listener), service).await;
                    }));
                }
                listening.wait();
                Running { address, _pools: Vec::new(), _ends: ends }
            }
        }
    }
}

fn reuse(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

fn pool(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name(THREAD_NAME).enable_all().build().unwrap()
}

/// A thread with a runtime of its own, ended with what it returns.
fn worker<F>(work: impl FnOnce() -> F + Send + 'static) -> oneshot::Sender<()>
where
    F: Future<Output = ()>,
{
    let (end, ended) = oneshot::channel();
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                () = work() => {}
                _ = ended => {}
            }
        });
    };
    thread::Builder::new().name(THREAD_NAME.into()).spawn(run).unwrap();
    end
}

async fn serve(
    incoming: impl Stream<Item = std::io::Result<TcpStream>>,
    service: AuthorizationService,
) {
    let incoming = incoming.map(|accepted| {
        accepted.and_then(|connection| connection.set_nodelay(true).map(|()| connection))
    });
    let router = Server::builder().add_service(CheckServer::new(service, 4 << 20));
    router.serve_with_incoming(incoming).await.unwrap();
}

/// Ten rules, of which the last allows.
fn service() -> AuthorizationService {
    let (cell, mut publisher) = SnapshotCell::new();
    let manifest = scenarios::Shape::Sparse.manifest(10);
    drop(publisher.publish(Arc::new(scenarios::snapshot(&manifest))));
    let metrics = Metrics::new("0.0.0");
    let metrics = CheckMetrics {
        decisions: metrics.decisions(),
        inputs: metrics.inputs(),
        workloads: metrics.workloads(),
    };
    AuthorizationService::new(cell, Arc::new(NoKeys), RequestSettings::default(), Clock::system())
        .with_metrics(metrics)
}

fn mix() -> Arc<Mix> {
    let call = scenarios::Shape::Sparse.hit(10);
    let headers = scenarios::HEADERS.iter().map(|(name, value)| (*name, *value));
    let headers = headers.chain([("x-tenant", call.tenant.as_str())]).collect::<Vec<_>>();
    let request = serde_json::json!({
        "path": call.path,
        "host": "shop.example.com",
        "headers": headers,
        "source": {"principal": call.principal},
    });
    let request = RequestFile::read(&request.to_string(), None).unwrap();
    let check = request.check_request(ClientAddress::default());
    Arc::new(Mix::new(vec![Question { name: "hit".to_owned(), check, weight: 1 }]).unwrap())
}

/// What the threads of the server have used so far.
fn cpu() -> Duration {
    let accounts = threads().filter_map(|folder| fs::read_to_string(folder.join("schedstat")).ok());
    let nanoseconds = accounts.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
    Duration::from_nanos(nanoseconds.sum())
}

/// The threads of the server.
fn threads() -> impl Iterator<Item = PathBuf> {
    let all =
        fs::read_dir("/proc/self/task").unwrap().filter_map(|thread| Some(thread.ok()?.path()));
    all.filter(|folder| {
        fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim() == THREAD_NAME)
    })
}
