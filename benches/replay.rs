//! How many records `postern replay` decides in a second, and what memory it takes.
//!
//! `cargo bench --bench replay` writes logs of 100,000 and 1,000,000 records, as a Postern with 1,000
//! rules logs them, and has the built binary replay each by the same and by other policies.

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
    DecisionLog, Destination, Redaction, SampleRates, Settings, Sink,
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
            let (took, peak) = replay(&log, policies, code);
            println!(
                "{records:>9} records  {what:<15} {:>6.2} s  {:>9.0} records/s  peak {:>6} KiB",
                took.as_secs_f64(),
                records as f64 / took.as_secs_f64(),
                peak,
            );
        }
        fs::remove_file(log).unwrap();
    }
}

/// How long it took and how much memory, in KiB, it had at most.
fn replay(log: &Path, policies: &Path, code: i32) -> (Duration, u64) {
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
    let mut peak = 0;
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(code));
    (begun.elapsed(), peak)
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
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(scenarios::snapshot(&Shape::Mix.manifest(RULES)))));
    let kept = Kept::default();
    let settings = Settings {
        rates: SampleRates::default(),
        redaction: Redaction::default(),
        buffer: 64 << 20,
    };
    let metrics = Metrics::new("0.0.0").decision_log();
    let to = Destination::Lines(Box::new(kept.clone()));
    let (log, writer) = DecisionLog::open(settings, to, Clock::system(), metrics).unwrap();
    let service = AuthorizationService::new(
        cell,
        Arc::new(NoKeys),
        RequestSettings::default(),
        Clock::system(),
    )
    .with_decision_log(log);
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
