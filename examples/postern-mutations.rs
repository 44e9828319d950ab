//! What notices when Postern is wrong: `cargo run --example postern-mutations`.
//!
//! Applies each mutation of `tests/mutations/catalogue.yaml` to a copy of the sources, builds it and
//! asks the tests: first the sets that chance has made, beside native Envoy, then its recorded
//! answers, then all other tests of what policies mean. Prints who noticed, and last `caught A/B`.
//! Exit code 0: all caught, 1: some missed, 2: some could not be asked.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a tool of the tests"
)]

#[path = "../tests/mutations/catalogue.rs"]
mod catalogue;
#[path = "../tests/mutations/scratch.rs"]
mod scratch;
#[path = "../tests/conformance/yaml.rs"]
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;

use crate::catalogue::Mutation;
use crate::scratch::{Ended, Scratch};

/// Makes Postern wrong in many ways, and tells which tests notice.
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// Only mutations with this in their name or file; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Where the copy and its target folder are, kept for the next run.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/mutations"))]
    scratch: PathBuf,
    /// Prints the names, runs nothing.
    #[arg(long)]
    list: bool,
}

/// Tests, in the order they are asked.
const TESTS: [Test; 5] = [
    Test { name: "generated sets", target: &["--test", "conformance"], part: "generated_sets" },
    Test { name: "recorded answers", target: &["--test", "conformance"], part: "in_process" },
    Test { name: "cases", target: &["--test", "cases"], part: "" },
    Test { name: "advisories", target: &["--test", "advisories"], part: "" },
    Test { name: "unit tests", target: &["--lib"], part: "" },
];

struct Test {
    name: &'static str,
    /// What cargo calls it.
    target: &'static [&'static str],
    /// Of the names of its tests.
    part: &'static str,
}

enum Result {
    Caught {
        by: &'static str,
        detail: String,
    },
    Missed,
    /// `from` is not there once.
    Moved(usize),
    DoesNotCompile(String),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut mutations = catalogue::read();
    mutations.retain(|mutation| {
        let is_meant = |part: &String| mutation.name.contains(part) || mutation.file.contains(part);
        arguments.only.is_empty() || arguments.only.iter().any(is_meant)
    });
    if arguments.list {
        for Mutation { name, file, why, .. } in &mutations {
            println!("{name:42} {file:32} {why}");
        }
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    let scratch = Scratch::new(Path::new(env!("CARGO_MANIFEST_DIR")), &arguments.scratch);
    println!("a copy in {}", arguments.scratch.display());
    for Test { name, target, part } in &TESTS {
        let (built, told) = (scratch.build(target), Instant::now());
        let passed = built.and_then(|program| match scratch.test(&program, part) {
            Ended::Passed(_) => Ok(()),
            Ended::Failed(output) | Ended::TookTooLong(output) => Err(output),
        });
        if let Err(output) = passed {
            println!("{output}\nthe copy fails {name} as it is");
            return ExitCode::from(2);
        }
        println!("as it is, passes {name} ({:.0} s)", told.elapsed().as_secs_f64());
    }
    println!();

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut not_asked = 0;
    for mutation in &mutations {
        let told = Instant::now();
        let (by, detail) = match result(&scratch, mutation) {
            Result::Caught { by, detail } => {
                *counts.entry(by).or_default() += 1;
                (by, detail)
            }
            Result::Missed => ("MISSED", String::new()),
            Result::Moved(count) => {
                not_asked += 1;
                ("MOVED", format!("`from` is there {count} times"))
            }
            Result::DoesNotCompile(error) => {
                not_asked += 1;
                ("DOES NOT COMPILE", error)
            }
        };
        let Mutation { name, file, .. } = mutation;
        let seconds = told.elapsed().as_secs();
        println!("{name:42} {file:32} {by:16} {seconds:3} s  {detail}");
    }
    let caught: usize = counts.values().sum();
    println!();
    for (by, count) in &counts {
        println!("{count:4} by {by}");
    }
    if not_asked > 0 {
        println!("{not_asked:4} NOT ASKED");
    }
    println!("{} s", started.elapsed().as_secs());
    println!("caught {caught}/{}", mutations.len());
    match (not_asked, caught == mutations.len()) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::from(1),
        (_, _) => ExitCode::from(2),
    }
}

fn result(scratch: &Scratch, mutation: &Mutation) -> Result {
    let original = scratch.read(&mutation.file);
    let mutated = match mutation.apply(&original) {
        Ok(mutated) => mutated,
        Err(count) => return Result::Moved(count),
    };
    scratch.write(&mutation.file, &mutated);
    let result = ask(scratch);
    scratch.write(&mutation.file, &original);
    result
}

fn ask(scratch: &Scratch) -> Result {
    for Test { name: by, target, part } in TESTS {
        let program = match scratch.build(target) {
            Ok(program) => program,
            Err(output) => return Result::DoesNotCompile(line(&output, &["error"])),
        };
        let detail = match scratch.test(&program, part) {
            Ended::Passed(_) => continue,
            Ended::Failed(output) => detail(&output),
            Ended::TookTooLong(_) => "it took too long".to_owned(),
        };
        return Result::Caught { by, detail };
    }
    Result::Missed
}

/// What was wrong, in one line.
fn detail(output: &str) -> String {
    if let Some((_, found)) = output.split_once("DIFFERENCE ") {
        let lines: Vec<_> = found.lines().take(2).map(str::trim).collect();
        return shortened(&lines.join(": "));
    }
    line(output, &["NOT RUN", "... FAILED", "panicked at"])
}

/// The first line with the first of the texts that is there.
fn line(output: &str, texts: &[&str]) -> String {
    let found = texts.iter().find_map(|text| output.lines().find(|line| line.contains(text)));
    shortened(found.unwrap_or("it failed").trim())
}

/// Tokens are long.
fn shortened(text: &str) -> String {
    const MOST: usize = 110;
    let start: String = text.chars().take(MOST).collect();
    if start.len() < text.len() { format!("{start}...") } else { start }
}
