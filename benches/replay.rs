//! How many records `postern replay` decides in a second, and what memory it takes.
//!
//! `cargo bench --bench replay` writes logs of 100,000 and 1,000,000 records, as a Postern with 1,000
//! rules logs them, and has the built binary replay each by the same and by other policies. Then it
//! says what a decision costs that is logged, and one that is not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a bench"
)]

#[path = "check_rpc/request.rs"]
#[expect(dead_code, reason = "other benches use the rest")]
mod request;
#[expect(dead_code, reason = "other benches use the rest")]
mod scenarios;
#[expect(dead_code, reason = "other benches use the rest")]
mod signing;

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use postern::authn::NoKeys;
use postern::authn::clock::Clock;
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, RequestSettings};
use postern::telemetry::decision_log::{
    DecisionLog, Destination, Redaction, SampleRates, Settings, Sink, Writer,
};
use postern::telemetry::metrics::Metrics;
use prost::Message as _;

use request::{Token, check_request};
use scenarios::Shape;

const RULES: usize = 1_000;

fn main() {
    // libtest's options are not ours.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("same.yaml");
    fs::write(&policies, Shape::Mix.manifest(RULES)).unwrap();
    let others = folder.path().join("other.yaml");
    fs::write(&others, Shape::Mix.manifest(RULES - 100)).unwrap();
    let lines = lines();
    let bytes = lines.iter().map(Vec::len).sum::<usize>() / lines.len();
    println!("{} different records of {bytes} bytes, {RULES} rules", lines.len());
    for records in [100_000_usize, 1_000_000] {
        let log = folder.path().join(format!("{records}.log"));
        let mut out = BufWriter::new(File::create(&log).unwrap());
        for line in lines.iter().cycle().take(records) {
            out.write_all(line).unwrap();
        }
        out.into_inner().unwrap();
        for (what, policies, code) in
            [("same policies", &policies, 0), ("other policies", &others, 1)]
        {
            let (took, cpu, peak) = replay(&log, policies, code);
            println!(
                "{records:>9} records  {what:<15} {:>6.2} s  {:>9.0} records/s  \
                 {cpu:>5.2} s of CPU  peak {peak:>6} KiB",
                took.as_secs_f64(),
                records as f64 / took.as_secs_f64(),
            );
        }
        fs::remove_file(log).unwrap();
    }
    for (what, rate) in [("not logged", None), ("not sampled", Some(0.0)), ("logged", Some(1.0))] {
        println!("a decision that is {what:<12} {:>6.0} ns", cost(rate));
    }
}

#[derive(Debug)]
struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &[Vec<u8>]) -> std::io::Result<()> {
        Ok(())
    }
}

/// Of a Check from bytes to bytes, in nanoseconds, of which such a share is logged.
fn cost(rate: Option<f64>) -> f64 {
    const CHECKS: u32 = 200_000;
    let mut service = service();
    if let Some(rate) = rate {
        let rates = SampleRates { allow: rate, deny: rate, audit: rate };
        service = service.with_decision_log(log(Box::new(Nowhere), rates).0);
    }
    let message = check_request(&Shape::Mix.hit(RULES), Token::None).encode_to_vec();
    let begun = Instant::now();
    for _ in 0..CHECKS {
        drop(service.answer_bytes(&message).unwrap());
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(CHECKS)
}

fn service() -> AuthorizationService {
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(scenarios::snapshot(&Shape::Mix.manifest(RULES)))));
    AuthorizationService::new(cell, Arc::new(NoKeys), RequestSettings::default(), Clock::system())
}

fn log(to: Box<dyn Sink>, rates: SampleRates) -> (DecisionLog, Writer) {
    let settings = Settings { rates, redaction: Redaction::default(), buffer: 64 << 20 };
    let metrics = Metrics::new("0.0.0").decision_log();
    DecisionLog::open(settings, Destination::Lines(to), Clock::system(), metrics).unwrap()
}

/// How long it took, how many seconds of CPU, and how much memory, in KiB, it had at most; the last two
/// as they were last seen.
fn replay(log: &Path, policies: &Path, code: i32) -> (Duration, f64, u64) {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("replay")
        .arg(log)
        .arg("--policies")
        .arg(policies)
        .args(["--namespace", "shop"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut peak, mut cpu) = (0, 0.0_f64);
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        // Behind the name: user and system time are the 12th and 13th, in hundredths of a second.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        cpu = cpu.max(fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(code));
    (begun.elapsed(), cpu, peak)
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

impl Sink for Kept {
    fn write(&mut self, lines: &[Vec<u8>]) -> std::io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }
}

/// What is logged of calls that different rules decide.
fn lines() -> Vec<Vec<u8>> {
    let kept = Kept::default();
    let (log, writer) = log(Box::new(kept.clone()), SampleRates::default());
    let service = service().with_decision_log(log);
    let mut calls = Shape::Mix.spread(RULES);
    calls.push(Shape::Mix.miss(RULES));
    for call in &calls {
        let message = check_request(call, Token::None).encode_to_vec();
        drop(service.answer_bytes(&message).unwrap());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert!(runtime.block_on(writer.finish(Duration::from_secs(10))));
    let lines = std::mem::take(&mut *kept.0.lock().unwrap());
    assert_eq!(lines.len(), calls.len());
    lines
}
