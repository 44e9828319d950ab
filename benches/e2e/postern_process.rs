//! `postern serve` as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use postern::config::Address;
use postern::extauthz::ClientAddress;
use postern::load::{self, Answer, Load, Mix, NoLoad, Question, Until};
use postern::request_file::RequestFile;
use serde_json::{Value, json};

use crate::policies::{Asked, NAMESPACE, Policies};

/// A running Postern, ended with this.
pub(crate) struct Postern {
    child: Child,
    pub(crate) grpc: Address,
    /// Its admin port, known once it listens.
    pub(crate) admin: String,
}

impl Postern {
    /// Starts it and returns when it listens.
    pub(crate) fn start(policies: &Policies) -> Self {
        Self::run(command(policies, "127.0.0.1:0"))
    }

    /// Starts a `serve` like that and returns when it listens.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut grpc, mut admin) = (None, None);
        while grpc.is_none() || admin.is_none() {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "postern has ended");
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let fields = if event["fields"].is_object() { &event["fields"] } else { &event };
            let address = fields["address"].as_str().map(str::to_owned);
            match fields["listener"].as_str() {
                Some("grpc") => grpc = address,
                Some("admin") => admin = address,
                _ => {}
            }
        }
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self { child, grpc: grpc.unwrap().parse().unwrap(), admin: admin.unwrap() }
    }

    /// Starts it and asks until it answers: how long that takes.
    pub(crate) fn first_answer(policies: &Policies) -> Duration {
        let socket = policies.folder().join("postern.sock");
        let mut load = load(Address::Unix(socket.clone()), policies, Asked::Allowed);
        load.until = Until::Calls(1);
        (load.connections, load.streams) = (1, 1);
        let begun = Instant::now();
        let child = command(policies, &format!("unix:{}", socket.display()));
        let mut child = { child }.stderr(Stdio::null()).spawn().unwrap();
        let outcome = loop {
            match load::run(&load, |_| {}) {
                Ok(outcome) => break outcome,
                Err(NoLoad::Connect(..)) => thread::sleep(Duration::from_micros(200)),
                Err(error) => panic!("{error}"),
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not get ready");
        };
        let taken = begun.elapsed();
        assert_answers(&outcome, Asked::Allowed);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(std::fs::remove_file(socket));
        taken
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Postern {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(policies: &Policies, listen: &str) -> Command {
    command_for(&policies.file(), NAMESPACE, listen)
}

/// `serve` of these policies.
pub(crate) fn command_for(policies: &Path, namespace: &str, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command
        .env_clear()
        .args(["serve", "--namespace", namespace, "--log-format", "json"])
        .args(["--admin", "127.0.0.1:0", "--http-listen", "off", "--listen", listen, "--policies"])
        .arg(policies)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Checks as Envoy would ask for a request, four connections with eight at a time.
pub(crate) fn load(target: Address, policies: &Policies, asked: Asked) -> Load {
    let (path, headers) = policies.request(asked);
    let headers: Vec<_> = headers.iter().map(|(name, value)| json!([name, value])).collect();
    let text = json!({"path": path, "host": "shop.example.com", "headers": headers}).to_string();
    let request = RequestFile::read(&text, None).unwrap();
    let check = request.check_request(ClientAddress::default());
    let question = Question { name: asked.name().to_owned(), check, weight: 1 };
    Load {
        target,
        mix: Arc::new(Mix::new(vec![question]).unwrap()),
        connections: 4,
        streams: 8,
        rate: None,
        warm_up: Duration::ZERO,
        until: Until::Calls(1),
    }
}

/// Figures of wrong answers are worth nothing.
pub(crate) fn assert_answers(outcome: &load::Outcome, asked: Asked) {
    assert!(outcome.tally.errors().is_empty(), "{:?}", outcome.tally.errors());
    let answers: Vec<_> = outcome.tally.answers_to(0).map(|(answer, _)| answer).collect();
    let expected = match asked {
        Asked::Allowed => Answer::Allow,
        Asked::Denied => Answer::Deny(403),
    };
    assert_eq!(answers, [expected], "{asked:?}");
}

/// The revision in force.
pub(crate) fn revision(postern: &Postern) -> u64 {
    let dump = crate::envoy::get(&postern.admin, "/config_dump");
    let dump: Value = serde_json::from_str(&dump).unwrap();
    dump["snapshot"]["revision"].as_u64().unwrap()
}
