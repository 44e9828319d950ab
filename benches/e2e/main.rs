//! From end to end: native filters against Postern behind the same Envoy, and what the process of
//! Postern takes. One command prints every table:
//!
//!     cargo bench --bench e2e
//!     cargo bench --bench e2e -- envoy --rules 10,1000 --seconds 3 --rounds 1
//!
//! The yardstick runs in turns with what is measured, and the figures are medians of rounds: ratios
//! are worth comparing, times of two runs are not. Needs h2load (Debian: nghttp2-client) and Linux.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    dead_code,
    unused_imports,
    reason = "a bench may fail, prints, and uses less of the tests' support than they do"
)]

#[path = "../../tests/conformance/cases.rs"]
mod cases;
mod envoy;
#[path = "../../tests/api_server/gate.rs"]
mod gate;
mod h2load;
mod memory;
#[path = "../../tests/conformance/native/mod.rs"]
mod native;
#[path = "../../tests/conformance/pki.rs"]
mod pki;
mod policies;
mod postern_process;
mod process;
#[path = "../../tests/blackbox/running.rs"]
mod running;
#[path = "../../tests/api_server/server.rs"]
mod server;
mod shared;
mod start;
mod store;
mod swap;
mod through_envoy;
#[path = "../../tests/conformance/yaml.rs"]
mod yaml;

use std::time::Duration;

use clap::Parser as _;

/// Measures Postern as a process, alone and behind a real Envoy
#[derive(Debug, clap::Parser)]
#[command(name = "e2e")]
struct CommandLine {
    /// What is measured [default: all of it]
    #[arg(value_enum)]
    tables: Vec<Table>,

    /// How many rules the policies of the table `envoy` have
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    rules: Vec<usize>,

    /// How long each figure is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// How often each figure is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// What `cargo bench` says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Table {
    /// Requests a second through Envoy: native jwt_authn and rbac against ext_authz to Postern
    Envoy,
    /// Resident memory
    Memory,
    /// From the start of the process to its first answer
    Start,
    /// Latency while 10,000 rules are replaced
    Swap,
    /// 1,000 workloads and 10,000 policies in one process
    Shared,
    /// The embedded API with 10,000 policies: start, lists, writes, watches
    Store,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    time: Duration,
    rounds: usize,
}

fn main() {
    let line = CommandLine::parse();
    let all = [Table::Envoy, Table::Memory, Table::Start, Table::Swap, Table::Shared, Table::Store];
    let wanted = if line.tables.is_empty() { all.to_vec() } else { line.tables };
    let effort =
        Effort { time: Duration::from_secs(line.seconds.max(1)), rounds: line.rounds.max(1) };
    if wanted.contains(&Table::Envoy) && !h2load::is_installed() {
        eprintln!(
            "e2e: `h2load` is not on PATH: on Debian `apt-get install nghttp2-client` brings it; \
             the other tables do without: `cargo bench --bench e2e -- memory start swap`"
        );
        std::process::exit(2);
    }
    process::print_conditions();
    for table in wanted {
        println!();
        match table {
            Table::Envoy => through_envoy::table(&line.rules, effort),
            Table::Memory => memory::table(),
            Table::Start => start::table(effort),
            Table::Swap => swap::table(effort),
            Table::Shared => shared::table(effort),
            Table::Store => store::table(effort),
        }
    }
}

/// The one in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
