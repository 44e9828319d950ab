//! Sets of policies and requests that chance has made, asked of Envoy's native filters and of
//! Postern behind the same Envoy: `cargo run --example postern-conformance -- --seed 7 --count 100`.
//!
//! Prints each difference as small as it gets, and last `agree A/B`. Exit code 0: no difference, 1:
//! some, 2: it could not be run. The harness is that of `tests/conformance`; `docs/conformance.md`
//! tells what is compared.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    reason = "test support functions, of which the tests use more"
)]

#[path = "../tests/conformance/cases.rs"]
mod cases;
#[path = "../tests/conformance/client.rs"]
mod client;
#[path = "../tests/conformance/differential/mod.rs"]
mod differential;
#[path = "../tests/conformance/envoy_config.rs"]
mod envoy_config;
#[path = "../tests/conformance/envoy_process.rs"]
mod envoy_process;
#[path = "../tests/conformance/gate.rs"]
mod gate;
#[path = "../tests/conformance/http1.rs"]
mod http1;
#[path = "../tests/conformance/http2.rs"]
mod http2;
#[path = "../tests/conformance/judge.rs"]
mod judge;
#[path = "../tests/conformance/keys.rs"]
mod keys;
#[path = "../tests/conformance/native/mod.rs"]
mod native;
#[path = "../tests/conformance/pki.rs"]
mod pki;
#[path = "../tests/conformance/servers.rs"]
mod servers;
#[path = "../tests/conformance/tokens.rs"]
mod tokens;
#[path = "../tests/conformance/world.rs"]
mod world;
#[path = "../tests/conformance/yaml.rs"]
mod yaml;

use std::process::ExitCode;

use clap::Parser as _;

use crate::differential::Plan;

/// Compares Postern with Envoy's native filters on generated policies and requests.
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// What everything is generated from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many policy sets.
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// The number of the first set: `--first 17 --count 1` repeats set 17.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Requests for each set.
    #[arg(long, default_value_t = 10)]
    requests: usize,
    /// Sets that share one Envoy process.
    #[arg(long, default_value_t = 50)]
    batch: u64,
    /// How many differences are made small; it takes seconds for each.
    #[arg(long, default_value_t = 5)]
    minimize: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        seed: arguments.seed,
        first: arguments.first,
        count: arguments.count,
        requests_per_set: arguments.requests,
        batch: arguments.batch.max(1),
        minimized: arguments.minimize,
        stops_early: false,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let outcome = runtime.block_on(differential::run(&plan, &mut |text| println!("{text}")));
    println!("{}", outcome.summary());
    if outcome.agree < outcome.all {
        ExitCode::from(1)
    } else if outcome.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    }
}
