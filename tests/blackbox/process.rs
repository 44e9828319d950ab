//! The built binary as a server, and what it logs.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A Postern that ends with the test.
pub(crate) struct Process {
    child: Child,
    log: Receiver<Value>,
}

impl Process {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .current_dir(folder)
            .env_clear()
            .args([
                "serve",
                "--listen=127.0.0.1:0",
                "--admin=127.0.0.1:0",
                "--http-listen=off",
                "--log-format=json",
            ])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                drop(sender.send(event));
            }
        });
        Self { child, log }
    }

    /// The next event that is meant.
    pub(crate) fn logs(&mut self, is_meant: impl Fn(&Value) -> bool) -> Value {
        let mut others = Vec::new();
        while let Ok(event) = self.log.recv_timeout(Duration::from_secs(30)) {
            if is_meant(&event) {
                return event;
            }
            others.push(event);
        }
        panic!("it is never logged; this is: {others:#?}");
    }

    /// Where one of its listeners is.
    pub(crate) fn listens(&mut self, listener: &str) -> SocketAddr {
        let event = self.logs(|event| event["listener"] == listener);
        event["address"].as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
