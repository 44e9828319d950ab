//! The tutorial, as a reader follows it: every file written, every command run, every output
//! compared.
//!
//! `POSTERN_UPDATE_SESSIONS=1` writes what is found into the page.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test support functions")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::iter::once;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, fs, thread};

const ADMIN: &str = "127.0.0.1:8282";

/// A shell in a folder.
struct Shell {
    folder: tempfile::TempDir,
    /// What goes on in the background; ended with the shell.
    servers: Vec<Child>,
    /// Where the server's admin port really is.
    admin: Option<String>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.kill());
            drop(server.wait());
        }
    }
}

impl Shell {
    fn command(&self, line: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_postern")).parent().unwrap();
        let path = env::var_os("PATH").unwrap();
        let path = env::join_paths(once(binary.to_owned()).chain(env::split_paths(&path))).unwrap();
        let line = match &self.admin {
            Some(admin) => line.replace(ADMIN, admin),
            None => line.to_owned(),
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", &line])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .stdin(Stdio::null());
        command
    }

    /// What a command prints.
    fn run(&mut self, line: &str) -> String {
        if let Some(line) = line.strip_suffix(" &") {
            self.serve(line);
            return String::new();
        }
        let output = self.command(&format!("{{ {line}\n}} 2>&1")).output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if let Some(code @ 1..) = output.status.code() {
            writeln!(text, "[exit {code}]").unwrap();
        }
        text
    }

    /// On ports that are free, instead of its usual ones.
    fn serve(&mut self, line: &str) {
        let mut server = self
            .command(&format!("exec {line}"))
            .env("POSTERN_LISTEN", "127.0.0.1:0")
            .env("POSTERN_ADMIN", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap());
        self.servers.push(server);
        while self.admin.is_none() {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server has ended");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["listener"] == "admin" {
                self.admin = event["address"].as_str().map(str::to_owned);
            }
        }
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
    }
}

/// The page with the outputs that there really are.
fn follow(page: &str) -> String {
    let mut shell =
        Shell { folder: tempfile::tempdir().unwrap(), servers: Vec::new(), admin: None };
    let mut found = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        writeln!(found, "{line}").unwrap();
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let Some(file) = info.strip_prefix("yaml ") {
            let file = shell.folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, block.join("\n") + "\n").unwrap();
            block.iter().for_each(|line| writeln!(found, "{line}").unwrap());
        } else {
            assert_eq!(info, "console", "a block that is no file has to be commands");
            for command in block.iter().filter_map(|line| line.strip_prefix("$ ")) {
                writeln!(found, "$ {command}").unwrap();
                found.push_str(&shell.run(command));
            }
        }
        found.push_str("```\n");
    }
    found
}

#[test]
fn the_tutorial_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial.md");
    let page = fs::read_to_string(&path).unwrap();
    let found = follow(&page);
    if env::var_os("POSTERN_UPDATE_SESSIONS").is_some() {
        fs::write(path, found).unwrap();
        return;
    }
    if found != page {
        let at = page.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| text.lines().skip(at).take(12).collect::<Vec<_>>().join("\n");
        panic!("line {}: the page has\n{}\nfound\n{}", at + 1, from(&page), from(&found));
    }
}
