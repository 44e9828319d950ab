//! Load on a Check server, ours or any other: many calls at a time, and what came of them.
//!
//! Knows nothing about policies or how a server is started; that is `cli`'s job.

mod answer;
mod client;
mod mix;
mod tally;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Address;

pub use answer::Answer;
pub use mix::{Mix, Question};
pub use tally::{Errors, Tally};

use client::{Client, Schedule};

/// Name of the threads that make the load.
pub const THREAD_NAME: &str = "load";

/// How often somebody may look at how far it is.
const TICK: Duration = Duration::from_millis(100);
/// No answer for so long: the server is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked, of whom, and how much of it at a time.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub target: Address,
    /// The questions.
    pub mix: Arc<Mix>,
    /// HTTP/2 connections; at least one is made.
    pub connections: usize,
    /// Calls under way on each connection; at least one.
    pub streams: usize,
    /// Calls a second of all streams together; `None` asks again as soon as there is an answer.
    pub rate: Option<f64>,
    /// Calls before this is over are not counted.
    pub warm_up: Duration,
    /// When it is enough.
    pub until: Until,
}

/// When it is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// This time after the warm-up.
    Elapsed(Duration),
    /// So many calls after the warm-up.
    Calls(u64),
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Every call that was counted.
    pub tally: Tally,
    /// From the end of the warm-up to the last answer.
    pub elapsed: Duration,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The warm-up is over: from now on calls are counted.
    Counting,
    /// So many calls are answered or failed, those of the warm-up too.
    Done(u64),
    /// The last answer is there.
    Over,
}

/// Why there was no load.
#[derive(Debug, thiserror::Error)]
pub enum NoLoad {
    /// Nobody listens there, or not as gRPC does.
    #[error("cannot connect to `{0}`")]
    Connect(Address, #[source] io::Error),
    /// This process cannot have threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A thread of ours has panicked.
    #[error("a thread of the load has ended early")]
    Lost,
}

/// Makes the load and waits for its end; tells `watch` how far it is, some times a second.
pub fn run(load: &Load, mut watch: impl FnMut(Progress)) -> Result<Outcome, NoLoad> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let connections = load.connections.max(1);
    let threads = cores.min(connections);
    let done = Arc::new(AtomicU64::new(0));
    let abandoned = Arc::new(AtomicBool::new(false));
    let (start, started) = watch::channel(None);
    let (report, reports) = mpsc::channel();
    for number in 0..threads {
        let client = Client {
            load: load.clone(),
            // Dealt out like cards.
            connections: (number..connections).step_by(threads).collect(),
            done: done.clone(),
            abandoned: abandoned.clone(),
            started: started.clone(),
        };
        let report = report.clone();
        thread::Builder::new()
            .name(THREAD_NAME.into())
            .spawn(move || client.run(&report))
            .map_err(NoLoad::Thread)?;
    }
    drop(report);
    for _ in 0..threads {
        match reports.recv() {
            Ok(Event::Connected) => {}
            Ok(Event::Refused(error)) => return Err(NoLoad::Connect(load.target.clone(), error)),
            Ok(Event::Ended(..)) | Err(_) => return Err(NoLoad::Lost),
        }
    }
    let counting = Instant::now() + load.warm_up;
    let schedule = Schedule::new(load, counting);
    start.send_replace(Some(schedule));

    let mut outcome =
        Outcome { tally: Tally::new(load.mix.questions().len()), elapsed: Duration::ZERO };
    let (mut running, mut is_counting) = (threads, false);
    let (mut last, mut moved) = (0, Instant::now());
    while running > 0 {
        let until_counting = counting.saturating_duration_since(Instant::now());
        let tick = if is_counting { TICK } else { TICK.min(until_counting) };
        match reports.recv_timeout(tick) {
            Ok(Event::Ended(tally, at)) => {
                running -= 1;
                outcome.tally.add(&tally);
                outcome.elapsed = outcome.elapsed.max(at.saturating_duration_since(counting));
            }
            Ok(Event::Connected | Event::Refused(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(NoLoad::Lost),
        }
        if !is_counting && Instant::now() >= counting {
            is_counting = true;
            watch(Progress::Counting);
        }
        let now = done.load(Ordering::Relaxed);
        if now != last {
            (last, moved) = (now, Instant::now());
        } else if moved.elapsed() > PATIENCE {
            abandoned.store(true, Ordering::Relaxed);
        }
        watch(Progress::Done(now));
    }
    watch(Progress::Over);
    Ok(outcome)
}

/// What a thread says.
#[derive(Debug)]
enum Event {
    Connected,
    Refused(io::Error),
    /// What it counted, and when its last answer came.
    Ended(Tally, Instant),
}

#[cfg(test)]
mod tests;
