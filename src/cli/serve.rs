//! `postern serve`

use std::{pin::pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use crate::app::{self, Drained};
use crate::config::{Config, Environment, Flags};
use crate::control::NotStarted;
use crate::shutdown::Signals;
use crate::telemetry::logging::{self, LogLevel};

use super::{could_not_run, say};

/// Answer Envoy's ext_authz checks by Istio's policies
///
/// Every setting can also be a variable, such as POSTERN_ROOT_NAMESPACE, or stand in the --config
/// file, such as rootNamespace. Flags win over variables, variables over the file, the file over the
/// mesh config.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    pub(super) fn run(&self) -> ExitCode {
        let config = match Config::load(&self.flags, &Environment::of_process()) {
            Ok(config) => config,
            Err(invalid) => return could_not_run(invalid),
        };
        let log = logging::init(config.log_level.clone(), config.log_format, config.colour);
        // Checks are answered by threads of their own; here is what is left.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // A thread that compiles many policies needs much memory once. The allocator gives it
            // back when the thread ends.
            .thread_keep_alive(Duration::from_secs(1))
            .build();
        let (log_level, runtime) = match (log, runtime) {
            (Ok(log_level), Ok(runtime)) => (log_level, runtime),
            (Err(error), _) => return could_not_run(error),
            (_, Err(error)) => return could_not_run(error),
        };
        let served = runtime.block_on(serve(config, log_level));
        // Whatever is left had its time.
        runtime.shutdown_timeout(Duration::ZERO);
        match served {
            Ok(code) => code,
            Err(error) => refuse(&error),
        }
    }
}

/// The first signal begins the shutdown, the second ends it.
async fn serve(config: Config, log_level: LogLevel) -> Result<ExitCode> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let running = tokio::select! {
        running = app::start(config, log_level) => running?,
        signal = signals.next() => {
            tracing::info!(signal, "asked to end before serving");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let shutdown = running.shutdown.clone();
    let mut ended = pin!(running.wait());
    loop {
        tokio::select! {
            ended = &mut ended => return ended.map(|drained| match drained {
                // Both are an end as asked for; the second is in the log.
                Drained::Fully | Drained::Partly => ExitCode::SUCCESS,
            }),
            signal = signals.next() => {
                if shutdown.has_begun() {
                    tracing::warn!(signal, "asked again: ending at once");
                    return Ok(ExitCode::FAILURE);
                }
                tracing::info!(signal, "asked to end");
                shutdown.begin();
            }
        }
    }
}

pub(super) fn refuse(error: &anyhow::Error) -> ExitCode {
    if let Some(NotStarted::Refused(problems)) = error.downcast_ref() {
        for problem in problems {
            say(format_args!("{problem}\n"));
        }
    }
    could_not_run(format_args!("{error:#}"))
}
