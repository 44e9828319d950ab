//! A server that runs, and the lines that it writes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running binary. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The first line that contains this.
    pub(crate) fn line(&mut self, part: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        let latest = Instant::now() + PATIENCE;
        let left = || latest.saturating_duration_since(Instant::now());
        while let Ok(line) = self.lines.recv_timeout(left()) {
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
        panic!("never said {part:?}:\n{}", self.seen.join("\n"));
    }

    /// Where one of its listeners is.
    pub(crate) fn address(&mut self, listener: &str) -> String {
        let line = self.line(&format!(r#""listening on","listener":"{listener}""#));
        let event: Value = serde_json::from_str(&line).unwrap();
        event["address"].as_str().unwrap().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Waits for the end: the exit code, and all that was written.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.seen.extend(self.lines.iter());
        (code, self.seen.join("\n"))
    }
}
