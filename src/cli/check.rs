//! `postern check`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Handle;

use crate::app;
use crate::authn::clock::Clock;
use crate::authn::jwks::{self, KeySets};
use crate::compile::compile;
use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::diagnostic::Severity;
use crate::gate;
use crate::manifest::node;
use crate::model::Outcome;
use crate::plan::Snapshot;
use crate::source::file::FileSource;

use super::request_file::RequestFile;
use super::{could_not_run, explanation, print, say};

/// Longest wait for key sets that policies name by URI.
const KEYS_WAIT: Duration = Duration::from_secs(10);

/// Decide one request by a set of policies, without a server
///
/// Ends with 0 if the request is allowed, 1 if it is denied, 2 if that could not be found out.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    policy: PolicyFlags,

    /// The request as YAML or JSON: method, path, host, scheme, headers, token, source
    /// {ip, principal}, destination {ip, port}, sni, metadata; `connection: true` for L4
    #[arg(long, value_name = "FILE")]
    request: PathBuf,

    /// Show how every rule fared, and what kept it from matching
    #[arg(long)]
    explain: bool,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Human,
    Json,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        let flags = Flags { policy: self.policy.clone(), server: ServerFlags::default() };
        let config = match Config::load(&flags, &Environment::of_process()) {
            Ok(config) => config,
            Err(invalid) => return could_not_run(invalid),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return could_not_run(error),
        };
        match runtime.block_on(self.decide(&config)) {
            Ok(Outcome::Allow) => ExitCode::SUCCESS,
            Ok(Outcome::Deny) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }

    async fn decide(&self, config: &Config) -> Result<Outcome> {
        let request = read_request(&self.request)?;
        let settings = app::request_settings(config);
        let mut attributes = request
            .attributes(settings.client_address, settings.path_normalization)
            .with_context(|| self.request.display().to_string())?;
        let snapshot = read_policies(config)?;
        let plan = snapshot.workloads.first().context("no workload is configured")?;
        let clock = Clock::system();
        let keys = fetch_keys(&snapshot, clock).await?;
        let now = clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let explained = gate::explain(plan, &mut attributes, &keys, now);
        match self.output {
            Output::Human => print(explanation::human(plan, &explained, self.explain)),
            Output::Json => {
                print(format_args!("{:#}", explanation::json(plan, &explained, self.explain)))
            }
        }
        Ok(explained.passage.verdict.outcome())
    }
}

fn read_request(path: &Path) -> Result<RequestFile> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let documents = node::parse_documents(&text, Some(&name)).map_err(|problems| {
        let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", text.join("\n"))
    })?;
    let [document] = documents.as_slice() else {
        bail!("{name}: expected one request, found {} documents", documents.len());
    };
    RequestFile::from_json(document.to_json()).with_context(|| name)
}

fn read_policies(config: &Config) -> Result<Snapshot> {
    let corpus = FileSource::new(config.policies.clone()).read();
    for problem in &corpus.problems {
        say(format_args!("{problem}: {}", problem.error));
    }
    let decoded = app::decode(config).decode(&corpus.files);
    for diagnostic in &decoded.diagnostics {
        say(diagnostic);
    }
    let errors = decoded.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let all = errors + corpus.problems.len();
    match all {
        0 => {}
        1 => bail!("a problem in the policies"),
        _ => bail!("{all} problems in the policies"),
    }
    let resources: Vec<_> =
        decoded.documents.into_iter().filter_map(|d| d.resource).map(Arc::new).collect();
    Ok(compile(1, &resources, &[], &config.settings))
}

async fn fetch_keys(snapshot: &Snapshot, clock: Clock) -> Result<KeySets> {
    let keys = KeySets::new(jwks::Settings::default(), clock, Arc::new(|_| {}), Handle::current())?;
    keys.sync(&snapshot.key_sources);
    let in_time = tokio::time::timeout(KEYS_WAIT, keys.wait_settled()).await.is_ok();
    let failed = keys.status().into_iter().filter(|source| source.keys == 0);
    for source in failed {
        let why = match source.last_error {
            Some(error) => error.describe(),
            None if in_time => "no usable key".to_owned(),
            None => "no answer in time".to_owned(),
        };
        say(format_args!("warning: no keys for issuer `{}`: {why}", source.id.issuer));
    }
    Ok(keys)
}
