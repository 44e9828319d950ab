//! `postern check` and `postern explain`

mod custom_answer;
mod question;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::runtime::Handle;

use crate::app;
use crate::authn::Verifier;
use crate::authn::clock::Clock;
use crate::authn::jwks::{self, KeySets, Schedule};
use crate::compile::compile;
use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::custom::Standing;
use crate::diagnostic::{Diagnostic, Severity};
use crate::explain::{self, Decided};
use crate::extauthz::RefusalText;
use crate::gate;
use crate::model::{Outcome, Resource};
use crate::outbound::{Client, DialGuard};
use crate::plan::Snapshot;
use crate::source::file::FileSource;

use self::question::QuestionFlags;
pub(super) use self::question::read_request;
use super::{could_not_run, paint, print, say};

/// How many of the rules that came nearest are shown.
const MOST_MISSES: usize = 5;

/// Longest wait for key sets that policies name by URI.
const KEYS_WAIT: Duration = Duration::from_secs(10);

/// Decide one request by a set of policies, without a server
///
/// Ends with 0 if the request is allowed, 1 if it is denied, 2 if that could not be found out.
///
/// A request is YAML or JSON, and every field of it has a default; `{}` is a plain `GET /`:
///
///   method: GET
///   path: /orders?page=2
///   host: shop.example.com
///   scheme: https
///   headers: {x-version: "2", x-role: [a, b]}  # values are strings; a list repeats the header
///   token: eyJhbGciOi...                       # short for authorization: Bearer ...
///   source:
///     ip: 10.1.2.3
///     principal: cluster.local/ns/shop/sa/web  # or principals: [URI, DNS name, CN=...]
///   destination: {ip: 10.0.0.7, port: 8080}
///   sni: shop.example.com
///   metadata: {my.filter: {key: value}}        # dynamic metadata, by filter
///   connection: true                           # no HTTP: then without method, path, ...
///   now: 2026-05-01T12:00:00Z                  # for the times in tokens
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    #[command(flatten)]
    policy: PolicyFlags,

    /// Show how every rule fared, and what kept it from matching
    #[arg(long)]
    explain: bool,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    question: QuestionFlags,
}

/// Decide one request, and show all that led to it
///
/// Shows what `postern check` does, then how every rule fared, and of a request that no ALLOW rule
/// took: the rules that came nearest, what kept each from matching, and a change with which the
/// request would be allowed. That change is tried before it is shown. `postern check --help` tells
/// what a request file looks like.
///
/// Ends with 0 if the request is allowed, 1 if it is denied, 2 if that could not be found out.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    policy: PolicyFlags,

    /// How many of the rules that came nearest are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    misses: usize,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    question: QuestionFlags,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(super) enum Output {
    #[default]
    Human,
    Json,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        let Self { policy, question, explain, output } = self;
        let (walk, misses) = (*explain, MOST_MISSES);
        Asked { policy, question, walk, misses, output: *output }.run()
    }
}

impl Explain {
    pub(super) fn run(&self) -> ExitCode {
        let Self { policy, question, misses, output } = self;
        Asked { policy, question, walk: true, misses: *misses, output: *output }.run()
    }
}

/// What both are asked.
struct Asked<'a> {
    policy: &'a PolicyFlags,
    question: &'a QuestionFlags,
    /// Whether every rule is shown.
    walk: bool,
    misses: usize,
    output: Output,
}

impl Asked<'_> {
    fn run(&self) -> ExitCode {
        let flags = Flags { policy: self.policy.clone(), server: ServerFlags::default() };
        let config = match Config::load(&flags, &Environment::of_process()) {
            Ok(config) => config,
            Err(invalid) => return could_not_run(invalid),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return could_not_run(error),
        };
        let decided = runtime.block_on(self.decide(&config));
        // A fetch that nobody waits for any more must not keep the answer.
        runtime.shutdown_timeout(Duration::ZERO);
        match decided {
            Ok(Outcome::Allow) => ExitCode::SUCCESS,
            Ok(Outcome::Deny) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }

    async fn decide(&self, config: &Config) -> Result<Outcome> {
        for warning in &config.warnings {
            paragraph(format_args!("warning: {warning}"));
        }
        let settings = app::request_settings(config);
        // Both are read before either is found wanting, so that all problems show at once.
        let question = self.question.question(&settings);
        let policies = self.compile(config);
        let (question, snapshot) = match (question, policies) {
            (Ok(question), Ok(snapshot)) => (question, snapshot),
            (Err(request), Err(policies)) => bail!("{request:#}, and {policies:#}"),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        };
        let plan = snapshot.workloads.first().context("no workload is configured")?;
        let clock = Clock::system();
        let now = self.question.now()?.or(question.now()).unwrap_or_else(|| clock.unix_seconds());
        let attributes = question.attributes(&settings);
        // Without tokens to verify nobody waits for keys.
        let has_http = attributes.as_ref().is_ok_and(|attributes| attributes.http.is_some());
        let needs_keys = has_http && !plan.jwt.rules.is_empty();
        let sources = if needs_keys { snapshot.key_sources.as_slice() } else { &[] };
        let keys = fetch_keys(sources, clock).await?;
        let max_token_size = settings.max_token_size;
        let verifier = Verifier { keys: &keys, cache: None, now, max_token_size };
        // A malformed request is refused before anybody says how.
        let asked = config.denials.as_ref().zip(attributes.as_ref().ok().cloned());
        let (definitions, answers) = self.question.custom.standing(config)?;
        let providers =
            Standing { definitions: Some(&definitions), answers: &answers, ..Standing::default() };
        let decided = Decided::new(plan, attributes, &verifier, providers, self.misses);
        let verdict = decided.explanation.passage.verdict;
        let refusal =
            asked.filter(|_| verdict.outcome() == Outcome::Deny).map(|(denials, mut it)| {
                gate::forget_peer_where_disabled(plan, &mut it);
                denials.refusal(plan, verdict, &it)
            });
        match self.output {
            Output::Human => {
                let colour = paint::wanted(&std::io::stdout());
                print(paint::decision(&explain::human(&decided, self.walk), colour));
                if let Some(refusal) = refusal {
                    print(refusal_text(&refusal));
                }
            }
            Output::Json => {
                let mut json = explain::json(&decided, self.walk);
                if let (Some(RefusalText { status, body, headers }), Some(members)) =
                    (refusal, json.as_object_mut())
                {
                    let headers: BTreeMap<_, _> = headers.into_iter().collect();
                    let refusal = json!({"status": status, "body": body, "headers": headers});
                    members.insert("refusal".to_owned(), refusal);
                }
                print(format_args!("{json:#}"));
            }
        }
        Ok(decided.explanation.passage.verdict.outcome())
    }

    fn compile(&self, config: &Config) -> Result<Snapshot> {
        let looks_like_a_url = |path: &&std::path::PathBuf| path.to_string_lossy().contains("://");
        if let Some(url) = config.policies.iter().find(looks_like_a_url) {
            let url = url.display();
            bail!("`{url}` was taken for a policy: put METHOD and URL before --policies");
        }
        let mut config = config.clone();
        let (resources, others) = read_policies(&mut config)?;
        self.warn(others);
        let snapshot = compile(1, &resources, &[], &config.settings);
        say_if_nothing_holds(&resources, &snapshot);
        Ok(snapshot)
    }

    /// Findings about the policies are not what was asked for: one line, or one line each.
    fn warn(&self, mut found: Vec<Diagnostic>) {
        found.retain(|found| found.severity == Severity::Warning);
        if found.is_empty() {
            return;
        }
        if self.walk {
            for found in found {
                say(Diagnostic { excerpt: None, resource: None, help: None, ..found });
            }
            say("");
        } else {
            let warnings = count(found.len(), "warning");
            paragraph(format_args!("{warnings} in the policies: --explain shows them"));
        }
    }
}

/// What the caller is told, where that is configured.
fn refusal_text(RefusalText { status, body, headers }: &RefusalText) -> String {
    let headers = headers.iter().map(|(name, value)| format!("  {name}: {value}"));
    let body = body.lines().map(|line| format!("  | {line}"));
    let lines = [String::new(), format!("the caller gets {status}")].into_iter();
    lines.chain(headers).chain(body).collect::<Vec<_>>().join("\n")
}

/// The resources, and what is to be said about them; every error is said here. The workloads get to
/// know the Services among the documents.
pub(super) fn read_policies(config: &mut Config) -> Result<(Vec<Arc<Resource>>, Vec<Diagnostic>)> {
    if config.policies.is_empty() {
        // An empty set of policies would allow everything, which is not what the server does.
        bail!("policies are read from files here: name them with --policies");
    }
    let corpus = FileSource::new(config.policies.clone()).read();
    for problem in &corpus.problems {
        paragraph(format_args!("{problem}: {}", problem.error));
    }
    let decoded = app::decode(config).decode(&corpus.files);
    let (errors, others): (Vec<_>, Vec<_>) =
        decoded.diagnostics.into_iter().partition(|found| found.severity == Severity::Error);
    errors.iter().for_each(paragraph);
    let problems = errors.len() + corpus.problems.len();
    if problems > 0 {
        bail!("{} in the policies", count(problems, "problem"));
    }
    config.found_by(&decoded.services);
    let resources = decoded.documents.into_iter().filter_map(|d| d.resource);
    Ok((resources.collect(), others))
}

/// The policies of another workload answer no question about this one.
pub(super) fn say_if_nothing_holds(resources: &[Arc<Resource>], snapshot: &Snapshot) {
    let is_about_requests = |resource: &Arc<Resource>| match **resource {
        Resource::AuthorizationPolicy(_)
        | Resource::RequestAuthentication(_)
        | Resource::ApiRule(_) => true,
        Resource::PeerAuthentication(_) => false,
    };
    let read = resources.iter().filter(|resource| is_about_requests(resource)).count();
    let holds = snapshot.workloads.first().is_some_and(|plan| {
        let has_api_rules = plan.access.as_ref().is_some_and(|it| !it.routes.is_empty());
        has_api_rules || !plan.layers.is_empty() || !plan.jwt.rules.is_empty()
    });
    match read {
        0 if resources.is_empty() => {
            paragraph("warning: no policy was found, so everything is allowed");
        }
        0 => {}
        _ if holds => {}
        _ => paragraph(format_args!(
            "warning: of {} none holds for this workload; --namespace and --labels say which it is",
            count(read, "policy")
        )),
    }
}

/// Fetches the keys of these sources; says which gave none.
pub(super) async fn fetch_keys(
    sources: &[crate::plan::KeySource],
    clock: Clock,
) -> Result<KeySets> {
    let client = Client::new(DialGuard::default(), &[], Vec::new())?;
    let observer = Arc::new(|_: &jwks::Attempt<'_>| {});
    let keys = KeySets::new(client, Schedule::default(), clock, observer, Handle::current());
    keys.sync(sources);
    let in_time = tokio::time::timeout(KEYS_WAIT, keys.wait_settled()).await.is_ok();
    let failed = keys.status().into_iter().filter(|source| source.keys == 0);
    for source in failed {
        let why = match source.last_error {
            Some(error) => error.describe(),
            None if in_time => "it has no usable key".to_owned(),
            None => "no answer in time".to_owned(),
        };
        paragraph(format_args!("warning: no keys for issuer `{}`: {why}", source.id.issuer));
    }
    Ok(keys)
}

/// Says something with a blank line after it: diagnostics have several lines each.
pub(super) fn paragraph(text: impl std::fmt::Display) {
    say(format_args!("{text}\n"));
}

pub(super) fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(start)) => format!("{number} {start}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}
