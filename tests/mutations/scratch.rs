//! A copy of the project that may be spoilt, with a target folder of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is no source.
const LEFT_OUT: [&str; 2] = [".git", "target"];
/// A test that runs longer than this hangs.
const LONGEST: Duration = Duration::from_secs(240);

pub(crate) struct Scratch {
    tree: PathBuf,
    target: PathBuf,
    output: PathBuf,
}

/// How a test ended.
pub(crate) enum Ended {
    /// With what it printed.
    Passed(String),
    /// With what it printed.
    Failed(String),
    /// With what it had printed until then.
    TookTooLong(String),
}

impl Scratch {
    /// Copies the sources of `project`; where a copy is already, only what is different. Its target
    /// folder starts with what `project` has built of other crates.
    pub(crate) fn new(project: &Path, folder: &Path) -> Self {
        let scratch = Self {
            tree: folder.join("tree"),
            target: folder.join("target"),
            output: folder.join("output"),
        };
        mirror(project, &scratch.tree).expect("the sources can be copied");
        if !scratch.target.exists() {
            seed(&project.join("target"), &scratch.target).expect("the target can be copied");
        }
        scratch
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.tree.join(file)).unwrap_or_default()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.tree.join(file), text).expect("the copy can be written");
    }

    /// Builds a test; gives the program, or what the compiler said where it does not compile.
    pub(crate) fn build(&self, target: &[&str]) -> Result<PathBuf, String> {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["test", "--offline", "--no-run", "--target-dir"])
            .arg(&self.target)
            .args(target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        match self.run(&mut command) {
            Ended::Passed(output) => Ok(self.tree.join(program(&output))),
            Ended::Failed(output) | Ended::TookTooLong(output) => Err(output),
        }
    }

    /// Runs those tests of a program that have `part` in their names.
    pub(crate) fn test(&self, program: &Path, part: &str) -> Ended {
        let mut command = Command::new(program);
        command
            .args([part, "--nocapture"])
            .env("CARGO_MANIFEST_DIR", &self.tree)
            .env("RUST_BACKTRACE", "0")
            .env("CONFORMANCE_FIRST", "1");
        self.run(&mut command)
    }

    fn run(&self, command: &mut Command) -> Ended {
        let file = File::create(&self.output).expect("the output can be written");
        let errors = file.try_clone().expect("the output can be written");
        let mut child = command
            .current_dir(&self.tree)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            // So that what it starts can be ended with it.
            .process_group(0)
            .spawn()
            .expect("it runs");
        let deadline = Instant::now() + LONGEST;
        let status = loop {
            if let Some(status) = child.try_wait().expect("cargo runs") {
                break Some(status);
            }
            if Instant::now() > deadline {
                let group = format!("-{}", child.id());
                Command::new("kill").args(["-KILL", "--", &group]).status().expect("kill runs");
                child.wait().expect("cargo ends");
                break None;
            }
            sleep(Duration::from_millis(50));
        };
        let bytes = fs::read(&self.output).expect("the output can be read");
        let output = String::from_utf8_lossy(&bytes).into_owned();
        match status {
            Some(status) if status.success() => Ended::Passed(output),
            Some(_) => Ended::Failed(output),
            None => Ended::TookTooLong(output),
        }
    }
}

/// Cargo names it last: `Executable tests/a.rs (target/debug/deps/a-0123)`.
fn program(output: &str) -> &str {
    let named = output.lines().rev().find(|line| line.contains("Executable"));
    let path = named.and_then(|line| line.rsplit_once('(')).map(|(_, path)| path);
    path.expect("cargo names the program").trim_end_matches(')')
}

/// Makes `to` what `from` is. Files that are the same keep their times, so that cargo builds anew
/// only what has changed.
fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let original = from.join(entry.file_name());
        if !original.exists() || original.is_dir() != entry.path().is_dir() {
            remove(&entry.path())?;
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if LEFT_OUT.iter().any(|left_out| name == OsStr::new(left_out)) {
            continue;
        }
        let copy = to.join(&name);
        if path.is_dir() {
            mirror(&path, &copy)?;
        } else if fs::read(&path)? != fs::read(&copy).unwrap_or_default() || !copy.exists() {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Takes over Envoy, and what is built of other crates.
fn seed(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for folder in ["envoy", "debug/.fingerprint", "debug/build", "debug/deps"] {
        if from.join(folder).exists() {
            take_over(&from.join(folder), &to.join(folder))?;
        }
    }
    Ok(())
}

fn take_over(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        // Postern itself, and its tests, are built anew.
        let is_own = |name: &str| name.starts_with("postern") || name.starts_with("libpostern");
        if is_own(&name.to_string_lossy()) {
            continue;
        }
        let copy = to.join(&name);
        if path.is_dir() {
            take_over(&path, &copy)?;
        } else {
            fs::copy(&path, &copy)?;
            // Cargo goes by times.
            let modified = path.metadata()?.modified()?;
            File::options().write(true).open(&copy)?.set_modified(modified)?;
        }
    }
    Ok(())
}
