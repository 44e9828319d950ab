//! A real Prometheus on loopback.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

pub(crate) const NEEDED: &str = "the tests need Prometheus 2.42 or later with its promtool: install \
                                 it (on Debian and Ubuntu the package `prometheus`)";

/// A running Prometheus. Killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    /// With the file `config.yml` of this folder, and what there is below `data`.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        for _ in 0..10 {
            // Somebody else may take the port in between.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            if let Some(child) = run(folder, &port.to_string(), arguments) {
                return Self { child, url: format!("http://{port}") };
            }
        }
        panic!("Prometheus never got a port");
    }
}

/// `None` where it ends because somebody else has the port.
fn run(folder: &Path, address: &str, arguments: &[&str]) -> Option<Child> {
    let mut child = Command::new("prometheus")
        .current_dir(folder)
        .args(["--config.file=config.yml", "--storage.tsdb.path=data"])
        .args(["--storage.tsdb.retention.time=1d", "--log.format=logfmt"])
        .arg(format!("--web.listen-address={address}"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{NEEDED}: prometheus: {error}"));
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while stderr.read_line(&mut line).unwrap() > 0 {
        if line.contains("Server is ready to receive web requests") {
            // A full pipe would stop it.
            thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
            return Some(child);
        }
    }
    child.wait().unwrap();
    assert!(line.contains("address already in use"), "{line}");
    None
}
