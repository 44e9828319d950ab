//! The commands.
//!
//! stdout is data, stderr is talk. Exit codes: 0 yes, 1 no, 2 could not run.

mod bench;
mod check;
mod crds;
#[cfg(feature = "demo")]
mod demo;
mod diff;
mod jwt;
mod lint;
mod manual;
mod paint;
mod replay;
mod serve;
#[cfg(feature = "api")]
mod store;
#[cfg(feature = "test")]
mod test;
mod yaml;

use std::{fmt, io::Write as _, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _};

/// Could not run: also what a mistake on the command line ends with.
const COULD_NOT_RUN: u8 = 2;

/// Enforces Istio's security resources on any Envoy, through ext_authz
#[derive(Debug, clap::Parser)]
#[command(name = "postern", version, about, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Check(Box<check::Check>),
    Explain(Box<check::Explain>),
    Bench(Box<bench::Bench>),
    Jwt(Box<jwt::Jwt>),
    Lint(Box<lint::Lint>),
    Replay(Box<replay::Replay>),
    Diff(Box<diff::Diff>),
    Crds(crds::Crds),
    Completions(manual::Completions),
    Man(manual::Man),
    #[cfg(feature = "test")]
    Test(Box<test::Test>),
    #[cfg(feature = "api")]
    Store(store::StoreCommand),
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
}

/// The command line. `--policies` takes one path at a time where the line may end with something
/// else: the token of `jwt verify`, the log of `replay`, the case files of `test`.
fn command_line() -> clap::Command {
    let one_at_a_time =
        |command: clap::Command| command.mut_arg("policies", |policies| policies.num_args(1));
    let line = CommandLine::command()
        .mut_subcommand("jwt", |jwt| jwt.mut_subcommand("verify", one_at_a_time))
        .mut_subcommand("replay", one_at_a_time)
        // OLD and NEW stand in its place.
        .mut_subcommand("diff", |diff| diff.mut_arg("policies", |policies| policies.hide(true)));
    if cfg!(feature = "test") { line.mut_subcommand("test", one_at_a_time) } else { line }
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let matches = command_line().get_matches();
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match line.command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run(),
        Command::Bench(bench) => bench.run(),
        Command::Jwt(jwt) => jwt.run(),
        Command::Lint(lint) => lint.run(),
        Command::Replay(replay) => replay.run(),
        Command::Diff(diff) => diff.run(),
        Command::Crds(crds) => crds.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        #[cfg(feature = "test")]
        Command::Test(test) => test.run(),
        #[cfg(feature = "api")]
        Command::Store(store) => store.run(),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(),
    }
}

/// Writes data. Where stdout is closed, nobody reads.
fn print(text: impl fmt::Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Says something to the user. Where stderr is closed, nobody listens.
fn say(text: impl fmt::Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Says why the command could not run.
fn could_not_run(error: impl fmt::Display) -> ExitCode {
    say(format_args!("postern: {error}"));
    ExitCode::from(COULD_NOT_RUN)
}

#[cfg(test)]
mod tests;
