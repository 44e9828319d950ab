//! Session files: what is typed, and what is printed.
//!
//! ```text
//! # a remark
//! $ kubectl get ap              a command of the shell; what it prints follows, errors too
//! [exit 1]                      and how it ends, where that is not 0
//! & kubectl get ap -w           one that goes on beside those that follow
//! > 2                           waits for two lines of it, which follow
//! > end                         waits for all of them, and its end
//! ```
//!
//! A command goes on over lines that are indented; files are made with `cat > name << EOF`, whose
//! lines are indented likewise. What differs each time is written as `<age>`, `<time>`, `<uid>`,
//! `<version>`, `<server>`.

use std::io::{BufRead as _, BufReader};
use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Instant,
};

use super::kubectl::Kubectl;
use super::server::{PATIENCE, Server};

/// Runs a session, and compares.
pub(crate) fn run(name: &str, server: &Server, kubectl: &Kubectl) {
    let updates = env::var_os("POSTERN_UPDATE_SESSIONS").is_some();
    if updates && !kubectl.is_reference() {
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = file.join("tests/kubectl/sessions").join(name).with_extension("session");
    let expected = fs::read_to_string(&file).unwrap();
    let mut shell = Shell::new(server, kubectl);
    let mut found = String::new();
    for step in steps(&expected) {
        match step {
            Step::Remark(text) => writeln!(found, "{text}").unwrap(),
            Step::Run(text) => {
                writeln!(found, "{text}").unwrap();
                found.push_str(&shell.run(&command(&text)));
            }
            Step::Start(text) => {
                writeln!(found, "{text}").unwrap();
                shell.start(&command(&text));
            }
            Step::Wait(text) => {
                writeln!(found, "{text}").unwrap();
                let count = text.trim_start_matches('>').trim().parse().ok();
                found.push_str(&shell.lines(count));
            }
        }
    }
    if updates {
        fs::write(&file, found).unwrap();
        return;
    }
    let (expected, found) = (kubectl.in_its_words(&expected), kubectl.in_its_words(&found));
    if found != expected {
        let at = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| -> String {
            let lines = text.lines().skip(at.saturating_sub(3)).take(12);
            lines.map(|line| format!("  {line}\n")).collect()
        };
        panic!(
            "{name}.session, kubectl 1.{}, line {}: expected\n{}found\n{}",
            kubectl.minor,
            at + 1,
            from(&expected),
            from(&found),
        );
    }
}

enum Step {
    Remark(String),
    Run(String),
    Start(String),
    Wait(String),
}

/// What is typed; what was printed is left out.
fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut whole = line.to_owned();
        let is_typed = line.starts_with("$ ") || line.starts_with("& ");
        let has_document = line.contains("<<");
        while is_typed
            && let Some(more) = lines
                .next_if(|next| next.starts_with("  ") && (has_document || whole.ends_with('\\')))
        {
            write!(whole, "\n{more}").unwrap();
            if has_document && more.trim() == "EOF" {
                break;
            }
        }
        match line.get(..2) {
            Some("$ ") => steps.push(Step::Run(whole)),
            Some("& ") => steps.push(Step::Start(whole)),
            Some("> ") => steps.push(Step::Wait(whole)),
            Some("# ") => steps.push(Step::Remark(whole)),
            None if line.is_empty()
                && lines.peek().is_none_or(|next| next.starts_with(['$', '#', '&'])) =>
            {
                steps.push(Step::Remark(whole));
            }
            _ => {}
        }
    }
    steps
}

/// Without what marks it as typed, and without the indentation.
fn command(typed: &str) -> String {
    let lines = typed.get(2..).unwrap_or_default().lines();
    lines.map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

struct Shell {
    folder: PathBuf,
    home: PathBuf,
    kubeconfig: String,
    server: String,
    beside: Option<(Child, Receiver<String>)>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.beside.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Shell {
    fn new(server: &Server, kubectl: &Kubectl) -> Self {
        let folder = server.folder.path().join(format!("work-1.{}", kubectl.minor));
        let home = folder.join("home");
        fs::create_dir_all(home.join("bin")).unwrap();
        symlink(&kubectl.path, home.join("bin/kubectl")).unwrap();
        let config: serde_json::Value =
            serde_json::from_reader(File::open(&server.kubeconfig).unwrap()).unwrap();
        let address = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
        Self { folder, home, kubeconfig: server.kubeconfig.clone(), server: address, beside: None }
    }

    /// Both streams are one, as on a terminal.
    fn command(&self, text: &str, both: &File) -> Command {
        let mut path = self.home.join("bin").into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap());
        let mut command = Command::new("sh");
        command
            .args(["-c", text])
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.home)
            .env("TMPDIR", &self.folder)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("SERVER", &self.server)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stderr(both.try_clone().unwrap())
            .stdout(both.try_clone().unwrap());
        command
    }

    fn run(&self, text: &str) -> String {
        let file = self.home.join("printed");
        let status = self.command(text, &File::create(&file).unwrap()).status().unwrap();
        let mut printed = self.without_what_differs(&fs::read_to_string(&file).unwrap());
        if !status.success() {
            writeln!(printed, "[exit {}]", status.code().unwrap_or(-1)).unwrap();
        }
        printed
    }

    fn start(&mut self, text: &str) {
        let (reader, writer) = std::io::pipe().unwrap();
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        let child = self.command(&format!("exec {text}"), &writer).spawn().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(reader).lines().map_while(Result::ok).try_for_each(|it| sender.send(it))
        });
        if let Some((mut before, _)) = self.beside.replace((child, lines)) {
            before.kill().unwrap();
            before.wait().unwrap();
        }
    }

    /// So many lines of what goes on beside, or all to its end.
    fn lines(&mut self, count: Option<usize>) -> String {
        let (child, lines) = self.beside.as_mut().unwrap();
        let latest = Instant::now() + PATIENCE;
        let mut printed = String::new();
        let mut left = count.unwrap_or(usize::MAX);
        while left > 0 {
            left -= 1;
            match lines.recv_timeout(latest.saturating_duration_since(Instant::now())) {
                Ok(line) => writeln!(printed, "{line}").unwrap(),
                Err(RecvTimeoutError::Disconnected) if count.is_none() => break,
                Err(error) => {
                    writeln!(printed, "[{error}]").unwrap();
                    break;
                }
            }
        }
        if count.is_none() {
            let status = child.wait().unwrap();
            if !status.success() {
                writeln!(printed, "[exit {}]", status.code().unwrap_or(-1)).unwrap();
            }
        }
        self.without_what_differs(&printed)
    }

    fn without_what_differs(&self, text: &str) -> String {
        let text = text.replace(&self.server, "<server>");
        let mut out = String::new();
        for line in text.lines() {
            let line = line.trim_end();
            let words = line.split_inclusive([' ', '"', ',', '{', '}', '\'', '/', '=']);
            let line: String = words.map(placeholder).collect();
            writeln!(out, "{}", age(&release(&version(&line)))).unwrap();
        }
        out
    }
}

/// A time or an identifier as what it is.
fn placeholder(word: &str) -> String {
    let core = word.trim_end_matches([' ', '"', ',', '{', '}', '\'', '/', '=']);
    let rest = word.get(core.len()..).unwrap_or_default();
    let shape: String = core.chars().map(|c| if c.is_ascii_hexdigit() { '0' } else { c }).collect();
    let is_uid = shape == "00000000-0000-0000-0000-000000000000";
    let is_time =
        core.ends_with('Z') && shape.get(..19).is_some_and(|shape| shape == "0000-00-00T00:00:00");
    let shown = if is_uid {
        "<uid>"
    } else if is_time {
        "<time>"
    } else {
        core
    };
    format!("{shown}{rest}")
}

/// Resource versions, in YAML, in JSON, and where they are described.
fn version(line: &str) -> String {
    let name =
        if line.contains("Resource Version") { "Resource Version" } else { "resourceVersion" };
    let Some((start, rest)) = line.split_once(name) else { return line.to_owned() };
    let digits = rest.trim_start_matches(['"', ':', ' ', '=']);
    let end = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    if digits.len() == end.len() {
        return line.to_owned();
    }
    let between = rest.strip_suffix(digits).unwrap_or_default();
    format!("{start}{name}{between}<version>{end}")
}

/// The releases of kubectl and of this binary.
fn release(line: &str) -> String {
    match line.split_once("\"gitVersion\": \"") {
        Some((start, rest)) => match rest.split_once("+postern-") {
            Some((api, _)) => format!("{start}\"gitVersion\": \"{api}+<postern>\","),
            None => format!("{start}\"gitVersion\": \"<kubectl>\","),
        },
        None => line.to_owned(),
    }
}

/// The age at the end of a row.
fn age(line: &str) -> String {
    let Some((start, last)) = line.rsplit_once("  ") else { return line.to_owned() };
    let number = last.strip_suffix(['s', 'm']).unwrap_or_default();
    if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) {
        format!("{start}  <age>")
    } else {
        line.to_owned()
    }
}
