//! `postern diff`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::app;
use crate::compile::compile;
use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::plan::WorkloadPlan;
use crate::policy_diff::{self, Comparison};

use super::check::{paragraph, read_policies, say_if_nothing_holds};
use super::{could_not_run, print};

/// Say which requests a change of policies allows or denies that were not before
///
/// OLD and NEW are files or directories of policies. Each change is shown with a request that has it,
/// as `postern check --request` takes it; what a token says stands beside it.
///
/// Ends with 0 if no change was found, 1 if there is one, 2 if that could not be found out.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// The policies as they are
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// The policies as they are to be
    #[arg(value_name = "NEW")]
    new: PathBuf,

    #[command(flatten)]
    policy: PolicyFlags,

    /// How many changes of each kind are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// How the changes are written
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Human,
    Json,
    Markdown,
}

impl Diff {
    pub(super) fn run(&self) -> ExitCode {
        match self.compare() {
            Ok(comparison) if comparison.differences.is_empty() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }

    fn compare(&self) -> Result<Comparison> {
        if !self.policy.policies.is_empty() {
            bail!("OLD and NEW take the place of --policies");
        }
        let old_config = self.config(&self.old)?;
        for warning in &old_config.warnings {
            paragraph(format_args!("warning: {warning}"));
        }
        let new_config = self.config(&self.new)?;
        // Both are read before either is found wanting, so that all problems show at once.
        let (old, new) = (plan(&old_config), plan(&new_config));
        let (old, new) = match (old, new) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(old), Err(new)) => bail!("old: {old:#}, and new: {new:#}"),
            (Err(error), Ok(_)) => return Err(error.context("old")),
            (Ok(_), Err(error)) => return Err(error.context("new")),
        };
        let settings = app::request_settings(&old_config);
        let comparison = policy_diff::compare(&old, &new, &settings);
        match self.output {
            Output::Human => {
                print(policy_diff::human(&comparison, &settings, self.limit).trim_end());
            }
            Output::Json => {
                print(format_args!("{:#}", policy_diff::json(&comparison, &settings, self.limit)));
            }
            Output::Markdown => {
                print(policy_diff::markdown(&comparison, &settings, self.limit).trim_end());
            }
        }
        Ok(comparison)
    }

    fn config(&self, policies: &Path) -> Result<Config> {
        let policy = PolicyFlags { policies: vec![policies.to_owned()], ..self.policy.clone() };
        let flags = Flags { policy, server: ServerFlags::default() };
        Ok(Config::load(&flags, &Environment::of_process())?)
    }
}

/// What holds for the workload.
fn plan(config: &Config) -> Result<Arc<WorkloadPlan>> {
    let mut config = config.clone();
    let (resources, _) = read_policies(&mut config)?;
    let snapshot = compile(1, &resources, &[], &config.settings);
    say_if_nothing_holds(&resources, &snapshot);
    snapshot.workloads.first().cloned().context("no workload is configured")
}
