//! `postern lint`

mod sarif;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::{Value as Json, json};

use crate::admin;
use crate::app;
use crate::compile::compile;
use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::diagnostic::{Diagnostic, Severity};
use crate::lint::{self, Sorted, Subject};
use crate::model::{Kind, Resource, Service, Workload};
use crate::plan::CompiledSize;
use crate::source::file::FileSource;

use super::check::{count, paragraph};
use super::{could_not_run, print};

/// Say what is wrong with policies, and what in them is probably not meant
///
/// Ends with 0 if there is nothing to say, 1 if there are errors or warnings (see `--fail-on`), 2 if the
/// policies cannot be read. Every code is in docs/diagnostics.md, with a page in docs/lints for each that
/// can be ignored: `postern.dev/lint-ignore: PST0510,PST0525` as an annotation of the resource.
#[derive(Debug, clap::Args)]
pub(super) struct Lint {
    #[command(flatten)]
    policy: PolicyFlags,

    /// Show how much the policies are, and what they take in memory when compiled
    #[arg(long)]
    stats: bool,

    /// How the findings are written
    #[arg(long, value_enum, default_value_t)]
    output: Output,

    /// The least severity of findings to end with 1 for
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    fail_on: FailOn,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Human,
    Json,
    /// SARIF 2.1.0, as code hosts and editors read it
    Sarif,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum FailOn {
    Note,
    #[default]
    Warning,
    Error,
}

/// How much the accepted policies are.
struct Stats {
    /// By kind, in the order of [`Kind::ALL`].
    resources: Vec<(Kind, usize)>,
    /// For the workload of the flags, and those of the configuration.
    size: CompiledSize,
}

impl Lint {
    pub(super) fn run(&self) -> ExitCode {
        let flags = Flags { policy: self.policy.clone(), server: ServerFlags::default() };
        let config = match Config::load(&flags, &Environment::of_process()) {
            Ok(config) => config,
            Err(invalid) => return could_not_run(invalid),
        };
        match self.lint(&config) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }

    /// Whether there was nothing to end with 1 for.
    fn lint(&self, config: &Config) -> Result<bool> {
        let corpus = FileSource::new(config.policies.clone()).read();
        for problem in &corpus.problems {
            paragraph(format_args!("{problem}: {}", problem.error));
        }
        if !corpus.problems.is_empty() {
            bail!("{} in the policies", count(corpus.problems.len(), "problem"));
        }
        let decoded = app::decode(config).decode(&corpus.files);
        let mut findings = decoded.diagnostics;
        let resources: Vec<_> =
            decoded.documents.into_iter().filter_map(|document| document.resource).collect();
        let complete = findings.iter().all(|found| found.severity != Severity::Error);
        let mesh = &config.settings.mesh;
        let services = services(&decoded.services, config);
        let subject = Subject { resources: &resources, mesh, services: &services, complete };
        findings.extend(lint::lint(subject));
        findings.sort_by_cached_key(place);
        let mut sorted = lint::sort(findings, &resources);
        let texts = corpus.files.iter().map(|file| (&*file.name, &*file.text));
        lint::add_excerpts(&mut sorted.shown, texts);
        let stats = self.stats.then(|| Stats::of(&resources, config));
        match self.output {
            Output::Human => print(human(&sorted, stats.as_ref()).trim_end()),
            Output::Json => print(format_args!("{:#}", json(&sorted, stats.as_ref()))),
            Output::Sarif => print(format_args!("{:#}", sarif::log(&sorted))),
        }
        let least = self.fail_on.severity();
        Ok(sorted.shown.iter().all(|found| found.severity < least))
    }
}

impl FailOn {
    fn severity(self) -> Severity {
        match self {
            Self::Note => Severity::Note,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

/// Those of the files, and those that the configuration has workloads of.
fn services(of_files: &[Service], config: &Config) -> Vec<Service> {
    let of_workload = |Workload { namespace, services, .. }: &Workload| -> Vec<Service> {
        let service = |name: &String| Service {
            namespace: namespace.clone(),
            name: name.clone(),
            selector: BTreeMap::new(),
        };
        services.iter().map(service).collect()
    };
    let configured = config.settings.workloads.iter().flat_map(of_workload);
    of_files.iter().cloned().chain(configured).collect()
}

/// By file and place; what is about no file comes last.
fn place(found: &Diagnostic) -> impl Ord + use<> {
    (found.file.is_none(), found.file.clone(), found.position)
}

impl Stats {
    fn of(resources: &[Arc<Resource>], config: &Config) -> Self {
        let of_kind = |kind| resources.iter().filter(|resource| resource.kind() == kind).count();
        Self {
            resources: Kind::ALL.into_iter().map(|kind| (kind, of_kind(kind))).collect(),
            size: compile(1, resources, &[], &config.settings).compiled_size(),
        }
    }
}

fn human(Sorted { shown, ignored }: &Sorted, stats: Option<&Stats>) -> String {
    let mut text = String::new();
    for found in shown {
        text.push_str(&format!("{found}\n\n"));
    }
    let of = |severity| shown.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    text.push_str(&format!("{}, {}", count(errors, "error"), count(warnings, "warning")));
    let notes = of(Severity::Note);
    if notes > 0 {
        text.push_str(&format!(", {}", count(notes, "note")));
    }
    if !ignored.is_empty() {
        text.push_str(&format!(", {} ignored", ignored.len()));
    }
    text.push('\n');
    if let Some(Stats { resources, size }) = stats {
        for (kind, number) in resources {
            text.push_str(&format!("{:<24} {number}\n", kind.as_str()));
        }
        text.push_str(&format!("{:<24} {}\n", "rules for the workload", size.rules));
        text.push_str(&format!("{:<24} {}\n", "compiled bytes", size.bytes));
        if let Some(bytes) = size.bytes_per_rule() {
            text.push_str(&format!("{:<24} {bytes}\n", "compiled bytes a rule"));
        }
    }
    text
}

/// `version` changes when a field changes its meaning or goes; new fields may come any time.
fn json(Sorted { shown, ignored }: &Sorted, stats: Option<&Stats>) -> Json {
    let all = |findings: &[Diagnostic]| -> Vec<Json> {
        findings.iter().map(admin::diagnostic_json).collect()
    };
    let mut object = json!({ "version": 1, "findings": all(shown), "ignored": all(ignored) });
    if let (Some(Stats { resources, size }), Some(members)) = (stats, object.as_object_mut()) {
        let resources = resources.iter().map(|(kind, number)| (kind.as_str(), *number));
        let stats = json!({
            "resources": resources.collect::<BTreeMap<_, _>>(),
            "rules": size.rules,
            "compiledBytes": size.bytes,
            "bytesPerRule": size.bytes_per_rule(),
        });
        members.insert("stats".to_owned(), stats);
    }
    object
}
