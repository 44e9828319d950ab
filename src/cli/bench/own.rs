//! The server that is measured where none is named: the one of `postern serve`, in this process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use crate::app::{self, Running, WORKER_THREAD_NAME};
use crate::config::{Address, Config};
use crate::load::Mix;
use crate::telemetry::logging::LogLevel;

use super::report::ServerFigures;
use super::stages;

pub(super) struct Own {
    config: Config,
    running: Running,
    _runtime: Runtime,
}

impl Own {
    /// Returns when it can answer.
    pub(super) fn start(config: Config) -> Result<Self> {
        // What is not answering checks has a thread of its own, as there.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let log_level = LogLevel::detached(config.log_level.clone());
        let running = runtime.block_on(async {
            let running = app::start(config.clone(), log_level).await?;
            running.ready().await;
            anyhow::Ok(running)
        })?;
        Ok(Self { config, running, _runtime: runtime })
    }

    pub(super) fn address(&self) -> Address {
        self.running.grpc_addr.clone()
    }

    pub(super) fn figures(&self, mix: &Mix, cpu: Option<Duration>, checks: u64) -> ServerFigures {
        let cpu_per_check = cpu
            .filter(|_| checks > 0)
            .map(|cpu| Duration::from_secs_f64(cpu.as_secs_f64() / checks as f64));
        let stages = stages::measure(&self.running, &self.config, mix);
        ServerFigures { workers: self.config.workers.get(), cpu_per_check, stages }
    }
}

/// What the threads that answer have used so far, by the kernel's account. `None` where it keeps
/// none.
pub(super) fn cpu() -> Option<Duration> {
    let mut all = Duration::ZERO;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let folder = thread.ok()?.path();
        if fs::read_to_string(folder.join("comm")).ok()?.trim() == WORKER_THREAD_NAME {
            all += account(&folder)?;
        }
    }
    Some(all)
}

/// The same of the thread that asks.
pub(super) fn cpu_of_this_thread() -> Option<Duration> {
    account(Path::new("/proc/thread-self"))
}

fn account(thread: &Path) -> Option<Duration> {
    let account = fs::read_to_string(thread.join("schedstat")).ok()?;
    account.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
