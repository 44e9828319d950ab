//! Chromium, driven by a script of its own.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::packages;
use crate::running::PATIENCE;

/// What must be there, and is never done without.
const NEEDED: &str = "the tests need Chromium: install it (on Debian the package `chromium`)";

/// The script and the browser. End with their handle.
pub(crate) struct Browser {
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
    _process: Child,
}

impl Browser {
    /// With these settings, beside where Chromium is and pictures go.
    pub(crate) async fn start(mut settings: Value) -> Self {
        let chromium = ["chromium", "chromium-browser", "google-chrome"];
        let folders = ["/usr/bin", "/usr/local/bin", "/snap/bin"];
        let mut paths =
            folders.iter().flat_map(|folder| chromium.map(|name| Path::new(folder).join(name)));
        let Some(chromium) = paths.find(|path| path.exists()) else {
            panic!("nothing to test with: {NEEDED}")
        };
        settings["chromium"] = chromium.display().to_string().into();
        settings["pictures"] = pictures().display().to_string().into();
        let modules = spawn_blocking(packages::node_modules).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Packages are looked for beside the file that names them.
        symlink(modules, at("node_modules")).unwrap();
        fs::write(at("journeys.mjs"), include_str!("journeys.mjs")).unwrap();
        fs::write(at("settings.json"), settings.to_string()).unwrap();
        let mut process = Command::new("node")
            .args([at("journeys.mjs"), at("settings.json")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(at("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { to, from, folder, _process: process }
    }

    /// What the script asks for next; `None` at its end, which is a good one.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let line = timeout(3 * PATIENCE, self.from.next_line()).await;
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
        let line = line.unwrap_or_else(|_| panic!("the script stands still:\n{}", log()));
        let Some(line) = line.unwrap() else { panic!("the script ended:\n{}", log()) };
        let asked: Value = serde_json::from_str(&line).unwrap();
        (asked["do"] != "end").then_some(asked)
    }

    /// That it was done.
    pub(crate) async fn done(&mut self) {
        self.to.write_all(b"done\n").await.unwrap();
    }
}

/// Where pictures are kept, for people to look at.
fn pictures() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.ancestors().nth(3).unwrap().join("console-screenshots");
    fs::create_dir_all(&folder).unwrap();
    folder
}
