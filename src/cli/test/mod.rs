//! `postern test`

mod coverage;
mod junit;
mod report;
mod run;
mod tokens;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;

use crate::config::PolicyFlags;
use crate::source::file::{FileSource, Watching};

use super::check::{Output, count, paragraph};
use super::{could_not_run, print, say};

use run::Suite;

/// Ask policies the requests of case files, and compare the answers with the expected ones
///
/// Ends with 0 if every answer is as expected, 1 if one is not, 2 if that could not be found out.
/// Nothing is listened on and nothing is fetched. A case file:
///
///   policies: [policies/]               # files and directories, seen from here, or resources;
///                                       # without it, those of --policies
///   workload: {namespace: shop, labels: {app: orders}}
///   settings: {trustDomain: td}         # as in a --config file
///   requests:
///   - name: customers read their orders
///     request: {path: /orders/1}        # as `postern check --request` takes it
///     token: {claims: {iss: https://id.example.com, sub: alice}}   # signed for the test
///     expect: allow
///   - name: nobody else does
///     request: {path: /orders/1}
///     expect: {outcome: deny, reason: no_allow_rule}
///
/// docs/testing.md has all of it.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Test {
    /// Case files, and directories with them; resources that stand beside them are left out
    #[arg(value_name = "PATH", required = true)]
    cases: Vec<PathBuf>,

    #[command(flatten)]
    policy: PolicyFlags,

    /// Show which rules and conditions no request has put to the test
    #[arg(long)]
    coverage: bool,

    /// Write a JUnit report there, for CI systems
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Run again whenever a file changes, until interrupted
    #[arg(long)]
    watch: bool,

    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Test {
    pub(super) fn run(&self) -> ExitCode {
        let ended = if self.watch {
            self.run_again_and_again().map(|()| ExitCode::SUCCESS)
        } else {
            self.show(&self.suite())
        };
        ended.unwrap_or_else(|error| could_not_run(format_args!("{error:#}")))
    }

    /// Asks everything, and says nothing yet.
    fn suite(&self) -> Suite {
        let corpus = FileSource::new(self.cases.clone()).read();
        let mut suite = Suite::default();
        suite.paths.extend(self.cases.iter().cloned());
        suite.paths.extend(self.policy.policies.iter().cloned());
        for problem in &corpus.problems {
            suite.problems.push(format!("{problem}: {}", problem.error));
        }
        for file in &corpus.files {
            let is_named = self.cases.iter().any(|path| path.as_os_str() == &*file.name);
            if is_named || !run::is_resource(file) {
                suite.add(file, &self.policy);
            }
        }
        suite
    }

    fn show(&self, suite: &Suite) -> Result<ExitCode> {
        suite.problems.iter().for_each(paragraph);
        if !suite.problems.is_empty() {
            bail!("{}", count(suite.problems.len(), "problem"));
        }
        if suite.cases().next().is_none() {
            bail!("no requests: a case file has `requests`, each with what to `expect`");
        }
        match self.output {
            Output::Human => print(report::human(suite, self.coverage).trim_end()),
            Output::Json => print(format_args!("{:#}", report::json(suite, self.coverage))),
        }
        if let Some(path) = &self.junit {
            fs::write(path, junit::report(suite)?)
                .with_context(|| format!("cannot write `{}` (--junit)", path.display()))?;
        }
        Ok(if suite.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn run_again_and_again(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut paths = BTreeSet::new();
            loop {
                // Read before the run, so that a change in between is seen as one.
                let mut source = FileSource::new(paths.iter().cloned().collect());
                let before = Arc::new(source.read());
                let suite = self.suite();
                if !suite.paths.is_subset(&paths) {
                    paths.extend(suite.paths);
                    continue;
                }
                if let Err(error) = self.show(&suite) {
                    say(format_args!("postern: {error:#}"));
                }
                say("waiting for changes");
                let (corpora, mut changes) = watch::channel(before);
                let watching = tokio::spawn(source.watch(Watching::default(), corpora));
                let changed = tokio::select! {
                    changed = changes.changed() => changed.is_ok(),
                    interrupted = tokio::signal::ctrl_c() => {
                        interrupted?;
                        false
                    }
                };
                watching.abort();
                if !changed {
                    return Ok(());
                }
            }
        })
    }
}
