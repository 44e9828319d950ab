//! Case files, run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::app;
use crate::authn::Verifier;
use crate::authn::clock::Clock;
use crate::case_file::{Answer, Case, CaseFile, PolicySource};
use crate::compile::compile;
use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::custom::Standing;
use crate::diagnostic::Severity;
use crate::explain::{self, Decided};
use crate::extauthz::RequestSettings;
use crate::manifest::node::{self, Node};
use crate::manifest::{self, Embedded};
use crate::model::{Position, Resource};
use crate::plan::WorkloadPlan;
use crate::request_file::RequestFile;
use crate::source::PolicyFile;
use crate::source::file::FileSource;

use super::coverage::Coverage;
use super::tokens::Tokens;

/// What came of all case files.
#[derive(Debug, Default)]
pub(super) struct Suite {
    pub(super) files: Vec<FileResult>,
    pub(super) coverage: Coverage,
    /// Why some of it could not run.
    pub(super) problems: Vec<String>,
    /// Everything that was read.
    pub(super) paths: BTreeSet<PathBuf>,
}

/// What came of one of them.
#[derive(Debug)]
pub(super) struct FileResult {
    pub(super) name: Arc<str>,
    pub(super) cases: Vec<CaseResult>,
}

/// What came of one request.
#[derive(Debug)]
pub(super) struct CaseResult {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) failure: Option<Failure>,
}

/// An answer that was not expected.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) expected: String,
    pub(super) answered: String,
    /// As `postern check` says it.
    pub(super) explanation: String,
}

/// Whether a file holds resources, and so no cases.
pub(super) fn is_resource(file: &PolicyFile) -> bool {
    node::parse_documents(&file.text, Some(&file.name)).is_ok_and(|documents| {
        let has = |root: &Node, name: &str| root.entries().iter().any(|entry| entry.key == name);
        !documents.is_empty()
            && documents.iter().all(|root| has(root, "kind") && has(root, "apiVersion"))
    })
}

impl Suite {
    pub(super) fn cases(&self) -> impl Iterator<Item = &CaseResult> {
        self.files.iter().flat_map(|file| &file.cases)
    }

    pub(super) fn failed(&self) -> usize {
        self.cases().filter(|case| case.failure.is_some()).count()
    }

    /// Runs a case file, or adds why it cannot run.
    pub(super) fn add(&mut self, file: &PolicyFile, flags: &PolicyFlags) {
        let cases = match CaseFile::read(&file.text, Some(&file.name)) {
            Ok(cases) => cases,
            Err(found) => {
                self.problems.extend(found.iter().map(ToString::to_string));
                return;
            }
        };
        let before = self.problems.len();
        let bench = Bench::new(self, file, &cases, flags);
        if let Some(bench) = bench.filter(|_| self.problems.len() == before) {
            let results = cases.requests.iter().map(|case| bench.run(case, &mut self.coverage));
            match results.collect::<Result<_>>() {
                Ok(cases) => self.files.push(FileResult { name: file.name.clone(), cases }),
                Err(error) => self.problems.push(format!("{}: {error:#}", file.name)),
            }
        }
    }
}

/// The policies of one case file, compiled, and all that requests are asked with.
struct Bench {
    plan: Arc<WorkloadPlan>,
    settings: RequestSettings,
    tokens: Tokens,
    now: u64,
}

impl Bench {
    fn new(
        suite: &mut Suite,
        file: &PolicyFile,
        cases: &CaseFile,
        flags: &PolicyFlags,
    ) -> Option<Self> {
        let flags = Flags { policy: flags.clone(), server: ServerFlags::default() };
        let environment = Environment::of_process();
        let settings = cases.settings.clone();
        let mut config = match Config::load_within(&file.name, settings, &flags, &environment) {
            Ok(config) => config,
            Err(error) => {
                suite.problems.push(error.to_string());
                return None;
            }
        };
        let folder = Path::new(&*file.name).parent().unwrap_or(Path::new(""));
        let mut resources = resources(suite, file, cases, &mut config, folder);
        let tokens = match Tokens::new(cases, folder, &mut suite.paths) {
            Ok(tokens) => tokens,
            Err(error) => {
                suite.problems.push(format!("{}: {error:#}", file.name));
                return None;
            }
        };
        for resource in &mut resources {
            tokens.replace_keys(resource);
        }
        let resources: Vec<_> = resources.into_iter().map(Arc::new).collect();
        let snapshot = compile(1, &resources, &[], &config.settings);
        let plan = snapshot.workloads.first()?.clone();
        suite.coverage.know(&plan);
        Some(Self {
            plan,
            settings: app::request_settings(&config),
            tokens,
            now: Clock::system().unix_seconds(),
        })
    }

    fn run(&self, case: &Case, coverage: &mut Coverage) -> Result<CaseResult> {
        let mut request = case.request.clone();
        let now = request.now.unwrap_or(self.now);
        if let Some(recipe) = &case.token {
            self.tokens.put(recipe, now, &mut request).with_context(|| case.name.clone())?;
        }
        let (answer, decided) = self.ask(&request, now);
        coverage.note(&self.plan, &decided.explanation.rules);
        coverage.note_access(&self.plan, decided.explanation.access.as_deref().unwrap_or_default());
        let failure = (!case.expect.is_met_by(&answer)).then(|| Failure {
            expected: case.expect.to_string(),
            answered: answer.to_string(),
            explanation: explain::human(&decided, false),
        });
        Ok(CaseResult { name: case.name.clone(), position: case.position, failure })
    }

    fn ask(&self, request: &RequestFile, now: u64) -> (Answer, Decided<'_>) {
        let plan = &*self.plan;
        let check = request.check_request(self.settings.client_address);
        let max_token_size = self.settings.max_token_size;
        let verifier = Verifier { keys: &self.tokens, cache: None, now, max_token_size };
        let attributes = request.attributes(&check, &self.settings);
        let decided = Decided::new(plan, attributes, &verifier, Standing::default(), 1);
        let verdict = decided.explanation.passage.verdict;
        let answer = Answer::new(plan, verdict, &decided.audited_by());
        (answer, decided)
    }
}

/// The policies of a case file; every error becomes a problem.
fn resources(
    suite: &mut Suite,
    file: &PolicyFile,
    cases: &CaseFile,
    config: &mut Config,
    folder: &Path,
) -> Vec<Resource> {
    let mut roots = Vec::new();
    let mut inline = Vec::new();
    match &cases.policies {
        Some(policies) => {
            for policy in policies {
                match policy {
                    PolicySource::Path(path) => roots.push(folder.join(path)),
                    PolicySource::Inline(node) => inline.push(node.clone()),
                }
            }
        }
        None if config.policies.is_empty() => {
            let message = "policies are missing: write `policies`, or give --policies";
            suite.problems.push(format!("{}: {message}", file.name));
            return Vec::new();
        }
        None => roots.clone_from(&config.policies),
    }
    suite.paths.extend(roots.iter().cloned());
    let corpus = FileSource::new(roots).read();
    for problem in &corpus.problems {
        suite.problems.push(format!("{problem}: {}", problem.error));
    }
    let namespace = config.settings.workloads.first().map_or("default", |w| &w.namespace);
    let default_namespace = namespace.into();
    let options = manifest::Options { default_namespace, api_rules: config.api_rules.clone() };
    let texts = corpus.files.iter().map(|file| (&*file.name, file.text.as_bytes()));
    let embedded = Embedded { text: &file.text, file: &file.name, roots: &inline };
    let decoded = manifest::decode_files_and(texts, Some(embedded), &options);
    let errors = decoded.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    suite.problems.extend(errors.map(ToString::to_string));
    config.found_by(&decoded.services);
    decoded.accepted().cloned().collect()
}
