use std::sync::Mutex;

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use http::Response;
use prost::Message as _;
use rstest::rstest;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::*;

/// What a server does with its calls, by their number.
#[derive(Debug, Clone, Copy)]
enum Server {
    Answers,
    /// A gRPC status without a message.
    Unimplemented,
    NotFound,
    Nonsense,
    /// Every tenth call takes the connection with it.
    HangsUp,
    /// A polite end of each connection after ten calls.
    SaysGoodbye,
}

impl Server {
    /// Serves until the runtime is dropped.
    fn start(self) -> (Runtime, Address) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        runtime.spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(self.serve(connection));
            }
        });
        (runtime, address)
    }

    async fn serve(self, connection: tokio::net::TcpStream) -> Result<(), h2::Error> {
        let mut connection = h2::server::handshake(connection).await?;
        let mut calls = 0;
        while let Some(call) = connection.accept().await {
            let (_, mut respond) = call?;
            calls += 1;
            if calls == 10 && matches!(self, Self::HangsUp) {
                return Ok(());
            }
            if calls == 10 && matches!(self, Self::SaysGoodbye) {
                connection.graceful_shutdown();
            }
            let head = Response::builder();
            let (head, message) = match self {
                Self::NotFound => (head.status(404), None),
                Self::Unimplemented => {
                    (head.header("grpc-status", "12").header("grpc-message", "no such"), None)
                }
                Self::Nonsense => (head, Some(Bytes::from_static(b"\0\0\0\0\x01\xff"))),
                Self::Answers | Self::HangsUp | Self::SaysGoodbye => {
                    let message = CheckResponse::default().encode_to_vec();
                    assert_eq!(message, b"");
                    (head, Some(Bytes::from_static(b"\0\0\0\0\0")))
                }
            };
            let head = head.body(()).unwrap();
            match message {
                None => drop(respond.send_response(head, true)?),
                Some(message) => {
                    let mut body = respond.send_response(head, false)?;
                    body.send_data(message, false)?;
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                    body.send_trailers(trailers)?;
                }
            }
        }
        Ok(())
    }
}

fn load(target: Address, calls: u64) -> Load {
    let question = Question { name: "q".into(), check: CheckRequest::default(), weight: 1 };
    Load {
        target,
        mix: Arc::new(Mix::new(vec![question]).unwrap()),
        connections: 2,
        streams: 3,
        rate: None,
        warm_up: Duration::ZERO,
        until: Until::Calls(calls),
    }
}

fn outcome(server: Server, calls: u64) -> Outcome {
    let (_running, target) = server.start();
    run(&load(target, calls), |_| {}).unwrap()
}

fn answers(outcome: &Outcome) -> Vec<(Answer, u64)> {
    outcome.tally.answers_to(0).collect()
}

#[test]
fn counts_as_many_calls_as_it_was_told_to_make() {
    let outcome = outcome(Server::Answers, 1_000);
    assert_eq!(answers(&outcome), [(Answer::Allow, 1_000)]);
    assert_eq!(outcome.tally.answers(), 1_000);
    assert!(outcome.tally.errors().is_empty(), "{:?}", outcome.tally.errors());
    assert!(outcome.tally.latency(0.5) <= outcome.tally.latency(1.0));
}

#[rstest]
#[case(Server::Unimplemented, "gRPC status 12 no such")]
#[case(Server::NotFound, "HTTP status 404: not gRPC")]
fn what_is_no_answer_is_an_error(#[case] server: Server, #[case] expected: &str) {
    let outcome = outcome(server, 50);
    assert_eq!(
        outcome.tally.errors().clone().into_iter().collect::<Vec<_>>(),
        [(expected.into(), 50)]
    );
    assert_eq!(outcome.tally.answers(), 0);
}

#[test]
fn a_message_that_is_no_answer_is_an_error() {
    let outcome = outcome(Server::Nonsense, 10);
    let errors: Vec<_> = outcome.tally.errors().iter().collect();
    let [(error, 10)] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(error.starts_with("not a CheckResponse: "), "{error}");
}

/// The calls under way are lost, later ones have a new connection.
#[test]
fn a_lost_connection_is_made_again() {
    let outcome = outcome(Server::HangsUp, 200);
    let errors: u64 = outcome.tally.errors().values().sum();
    assert_eq!(outcome.tally.answers() + errors, 200, "{:?}", outcome.tally.errors());
    assert!(errors > 0 && outcome.tally.answers() > errors, "{:?}", outcome.tally.errors());
}

/// Servers end connections now and then, and no call is lost by it.
#[test]
fn a_goodbye_is_no_error() {
    let outcome = outcome(Server::SaysGoodbye, 200);
    assert!(outcome.tally.errors().is_empty(), "{:?}", outcome.tally.errors());
    assert_eq!(answers(&outcome), [(Answer::Allow, 200)]);
}

#[test]
fn nobody_there_is_no_load() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    drop(listener);
    let error = run(&load(address, 1), |_| {}).unwrap_err();
    assert!(matches!(error, NoLoad::Connect(..)), "{error}");
}

/// It tells what it does in order, and that it is over.
#[test]
fn tells_how_far_it_is() {
    let (_running, target) = Server::Answers.start();
    let seen = Mutex::new(Vec::new());
    run(&load(target, 100), |progress| seen.lock().unwrap().push(progress)).unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.iter().filter(|p| **p == Progress::Counting).count(), 1);
    assert_eq!(seen.last(), Some(&Progress::Over));
}
