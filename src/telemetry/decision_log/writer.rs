//! The thread that takes events where they are wanted, and the queue to it.
//!
//! Whoever decides never waits: events that find no room are dropped and counted.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use super::super::metrics::DecisionLogMetrics;
use super::RotatingFile;

/// Where events go.
#[derive(Debug)]
pub enum Destination {
    /// stdout, a line each.
    Stdout,
    /// A file, a line each.
    File(RotatingFile),
    /// Somewhere else that takes lines.
    Lines(Box<dyn Sink>),
}

/// Takes events.
pub trait Sink: Send + fmt::Debug {
    /// Takes lines, each with its end.
    ///
    /// # Errors
    /// Some of them are lost.
    fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;
}

enum Message {
    Line(Vec<u8>),
    /// Everything before this is to be written, and then to be told.
    End(tokio::sync::oneshot::Sender<()>),
}

/// Hands lines to the writer.
#[derive(Debug)]
pub(super) struct Queue {
    to: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    room: usize,
    metrics: DecisionLogMetrics,
}

impl Queue {
    /// Hands one over, or drops it.
    pub(super) fn push(&self, line: Vec<u8>) {
        let size = line.len();
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        if waiting.saturating_add(size) > self.room {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.metrics.dropped(1);
        } else if self.to.send(Message::Line(line)).is_err() {
            self.metrics.failed(1);
        }
    }
}

/// The handle of the thread.
#[derive(Debug)]
pub struct Writer {
    to: Sender<Message>,
}

impl Writer {
    /// Has everything written that was logged so far, and the thread end. Says whether that was done
    /// in time.
    pub async fn finish(self, within: Duration) -> bool {
        let (done, written) = tokio::sync::oneshot::channel();
        if self.to.send(Message::End(done)).is_err() {
            return false;
        }
        matches!(tokio::time::timeout(within, written).await, Ok(Ok(())))
    }
}

pub(super) fn start(
    destination: Destination,
    room: usize,
    metrics: DecisionLogMetrics,
) -> io::Result<(Queue, Writer)> {
    let (to, from) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let queue = Queue { to: to.clone(), waiting: waiting.clone(), room, metrics: metrics.clone() };
    let mut work = Work { destination, waiting, metrics, has_failed: false };
    let thread = thread::Builder::new().name("postern-log".into());
    thread.spawn(move || work.run(&from))?;
    Ok((queue, Writer { to }))
}

/// Between two batches that are not full.
const PAUSE: Duration = Duration::from_millis(5);

/// So many lines are written at a time, at most.
const BATCH: usize = 512;

struct Work {
    destination: Destination,
    waiting: Arc<AtomicUsize>,
    metrics: DecisionLogMetrics,
    /// Whether the last attempt did, so that it is said once.
    has_failed: bool,
}

impl Work {
    fn run(&mut self, from: &Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = from.recv() {
            let mut next = Ok(first);
            let end = loop {
                match next {
                    Ok(Message::Line(line)) => batch.push(line),
                    Ok(Message::End(done)) => break Some(done),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break None,
                }
                if batch.len() == BATCH {
                    break None;
                }
                next = from.try_recv();
            };
            self.write(&batch);
            let is_full = batch.len() == BATCH;
            batch.clear();
            if end.is_none() && !is_full {
                // Whoever hands a line to a thread that waits for it has to wake it.
                thread::sleep(PAUSE);
            }
            if let Some(done) = end {
                // Who asked may not wait any more.
                done.send(()).ok();
                return;
            }
        }
    }

    fn write(&mut self, lines: &[Vec<u8>]) {
        if lines.is_empty() {
            return;
        }
        let written = match &mut self.destination {
            Destination::Stdout => write_all(&mut io::stdout().lock(), lines),
            Destination::File(file) => file.write(lines),
            Destination::Lines(sink) => sink.write(lines),
        };
        let (count, bytes) = (lines.len(), lines.iter().map(Vec::len).sum());
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        match written {
            Ok(()) => {
                self.metrics.written(count);
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!("decisions are logged again");
                }
            }
            Err(error) => {
                self.metrics.failed(count);
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::error!(%error, "decisions cannot be logged");
                }
            }
        }
    }
}

/// All lines at once, so that nothing else gets between them.
pub(super) fn write_all(out: &mut impl Write, lines: &[Vec<u8>]) -> io::Result<()> {
    out.write_all(&lines.concat())?;
    out.flush()
}
