//! h2load, and what it saw.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::policies::{Asked, Policies};

const CONNECTIONS: &str = "4";
const STREAMS: &str = "8";

pub(crate) fn is_installed() -> bool {
    let asked = Command::new("h2load").arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// What came of the requests of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    pub(crate) per_second: f64,
    pub(crate) p99: Duration,
}

/// Sends it a few times, whatever comes of it, so that caches of tokens and of code are warm.
pub(crate) fn warm_up(to: SocketAddr, policies: &Policies, asked: Asked) {
    let mut command = command(to, policies, asked, &["-n", "200"]);
    assert!(command.output().expect("h2load runs").status.success());
}

fn command(to: SocketAddr, policies: &Policies, asked: Asked, amount: &[&str]) -> Command {
    let (path, headers) = policies.request(asked);
    let mut command = Command::new("h2load");
    command.args(["-t", "1", "-c", CONNECTIONS, "-m", STREAMS]).args(amount);
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    command.arg(format!("http://{to}{path}"));
    command
}

/// Sends one request again and again for so long; a status that is not expected ends it all.
pub(crate) fn run(to: SocketAddr, policies: &Policies, asked: Asked, time: Duration) -> Seen {
    let log = policies.folder().join("h2load.log");
    drop(fs::remove_file(&log));
    let mut command = command(to, policies, asked, &["-D", &time.as_secs().to_string()]);
    let output = command.arg("--log-file").arg(&log).output().expect("h2load runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&log).expect("what h2load logs");
    let mut times = Vec::new();
    for line in text.lines() {
        let mut columns = line.split('\t').skip(1).map(|column| column.parse::<u64>());
        let (Some(Ok(status)), Some(Ok(taken))) = (columns.next(), columns.next()) else {
            panic!("h2load logs `{line}`");
        };
        assert_eq!(status, u64::from(asked.status()), "a request that shall be {}", asked.name());
        times.push(taken);
    }
    assert!(!times.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    Seen {
        requests: times.len(),
        per_second: times.len() as f64 / time.as_secs_f64(),
        p99: Duration::from_micros(p99),
    }
}
