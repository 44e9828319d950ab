//! `postern jwt verify`

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::authn::clock::Clock;
use crate::authn::jwks::KeySets;
use crate::authn::{self, Authentication, KeyLookup, Verifier};
use crate::cli::check::{Output, fetch_keys, paragraph, read_policies};
use crate::cli::print;
use crate::compile::compile;
use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::key_set::KeySet;
use crate::model::{Headers, Http, JwtRule, RequestAuthentication, Resource};
use crate::plan::{JwtPlan, JwtRulePlan, KeyReference, KeySourceId, Snapshot, TokenPlaces};

use super::verdict::{self, Place, RuleVerdict, Verdict};
use super::{read_token, time};

/// Ask a set of policies about one token: which rule takes it, or what each has against it
///
/// Ends with 0 if a request with the token is let on to the AuthorizationPolicies, 1 if it is
/// refused, 2 if that could not be found out.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The token; `-` reads it from stdin, which keeps it out of the shell's history
    token: String,

    #[command(flatten)]
    policy: PolicyFlags,

    /// A file with the key set of every rule with `jwksUri` or an issuer to discover: nothing is
    /// fetched
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,

    /// The time to verify at, such as 2026-05-01T12:00:00Z [default: the present]
    #[arg(long, value_name = "TIME")]
    now: Option<String>,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A rule that holds for the workload, and where it comes from.
struct Rule {
    policy: Arc<Resource>,
    /// Its place in `jwtRules`.
    index: usize,
    /// Compiled from its policy alone: what it makes of a token depends on nothing else.
    alone: Arc<Snapshot>,
    /// Its place in that plan.
    place: usize,
}

impl Verify {
    pub(super) fn run(&self) -> Result<bool> {
        let token = read_token(&self.token)?;
        let now = time(self.now.as_deref())?;
        let flags = Flags { policy: self.policy.clone(), server: ServerFlags::default() };
        let mut config = Config::load(&flags, &Environment::of_process())?;
        for warning in &config.warnings {
            paragraph(format_args!("warning: {warning}"));
        }
        let (resources, _) = read_policies(&mut config)?;
        let snapshot = compile(1, &resources, &[], &config.settings);
        let plan = snapshot.workloads.first().context("no workload is configured")?;
        if plan.jwt.rules.is_empty() {
            bail!(
                "no RequestAuthentication with rules holds for this workload, so that no token is \
                 looked at; --namespace and --labels say which workload it is"
            );
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let keys = runtime.block_on(self.keys(&snapshot));
        let verdict = keys.map(|keys| {
            let max_token_size = config.max_token_size;
            let verifier = Verifier { keys: &keys, cache: None, now, max_token_size };
            Asked { token: &token, verifier }.verdict(&plan.jwt, &rules(&resources, &config))
        });
        // A fetch that nobody waits for any more must not keep the answer.
        runtime.shutdown_timeout(Duration::ZERO);
        let verdict = verdict?;
        match self.output {
            Output::Human => print(verdict::human(&verdict)),
            Output::Json => print(format_args!("{:#}", verdict::json(&verdict))),
        }
        Ok(verdict.is_valid())
    }

    async fn keys(&self, snapshot: &Snapshot) -> Result<Keys> {
        let Some(file) = &self.jwks else {
            return Ok(Keys::Fetched(fetch_keys(&snapshot.key_sources, Clock::system()).await?));
        };
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read `{name}`"))?;
        let keys = KeySet::parse(&text).with_context(|| format!("`{name}` is no key set"))?;
        if snapshot.key_sources.is_empty() {
            paragraph("warning: --jwks is not used, because every rule has its keys inline");
        }
        Ok(Keys::Given(Arc::new(keys)))
    }
}

/// The keys of remote sources.
enum Keys {
    Fetched(KeySets),
    /// The same for each.
    Given(Arc<KeySet>),
}

impl KeyLookup for Keys {
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>> {
        match self {
            Self::Fetched(sets) => sets.keys(source),
            Self::Given(keys) => Some(keys.clone()),
        }
    }
}

/// Every rule that holds for the workload, by policy and in the order written.
fn rules(resources: &[Arc<Resource>], config: &Config) -> Vec<Rule> {
    let mut rules = Vec::new();
    for resource in resources {
        let Some(policy) = authentication(resource) else { continue };
        let alone = Arc::new(compile(1, std::slice::from_ref(resource), &[], &config.settings));
        let attached = alone.workloads.first().is_some_and(|plan| !plan.jwt.rules.is_empty());
        // A plan has its rules in the order of their issuers.
        let mut order: Vec<usize> = (0..policy.jwt_rules.len()).filter(|_| attached).collect();
        order.sort_by_key(|index| policy.jwt_rules.get(*index).map(|rule| &rule.issuer));
        let mut of_policy: Vec<_> = order
            .into_iter()
            .enumerate()
            .map(|(place, index)| Rule {
                policy: resource.clone(),
                index,
                alone: alone.clone(),
                place,
            })
            .collect();
        of_policy.sort_by_key(|rule| rule.index);
        rules.extend(of_policy);
    }
    rules
}

fn authentication(resource: &Resource) -> Option<&RequestAuthentication> {
    match resource {
        Resource::RequestAuthentication(policy) => Some(policy),
        Resource::AuthorizationPolicy(_)
        | Resource::PeerAuthentication(_)
        | Resource::ApiRule(_) => None,
    }
}

impl Rule {
    fn written(&self) -> Option<(&RequestAuthentication, &JwtRule)> {
        let policy = authentication(&self.policy)?;
        Some((policy, policy.jwt_rules.get(self.index)?))
    }

    fn plan(&self) -> Option<&JwtRulePlan> {
        self.alone.workloads.first()?.jwt.rules.get(self.place)
    }
}

/// The question.
struct Asked<'a> {
    token: &'a str,
    verifier: Verifier<'a>,
}

impl Asked<'_> {
    fn verdict(&self, plan: &JwtPlan, rules: &[Rule]) -> Verdict {
        let mut verdicts = Vec::new();
        let mut places = Vec::new();
        for rule in rules {
            let (Some((policy, written)), Some(compiled)) = (rule.written(), rule.plan()) else {
                continue;
            };
            let outcome = authn::check_token(compiled, self.token, &self.verifier);
            // First where the rule is that takes it, then where it is somebody's.
            let rank = match &outcome {
                Ok(_) => 0,
                Err(crate::model::JwtError::UnknownIssuer) => 2,
                Err(_) => 1,
            };
            places.extend(all_places(&compiled.places).map(|place| (rank, place)));
            verdicts.push(RuleVerdict {
                policy: format!(
                    "RequestAuthentication/{}/{}",
                    policy.metadata.namespace, policy.metadata.name
                ),
                rule: rule.index,
                file: policy.metadata.file.as_ref().map(ToString::to_string),
                line: written.position.line,
                column: written.position.column,
                issuer: written.issuer.clone(),
                audiences: written.audiences.clone(),
                keys: self.key_ids(&compiled.keys),
                outcome,
            });
        }
        places.sort_by_key(|(rank, _)| *rank);
        // What counts is what happens to a request, with all rules together.
        let answers = places.into_iter().map(|(_, place)| {
            let answer = self.answer(plan, &place);
            (place, answer)
        });
        let mut first = None;
        for (place, answer) in answers {
            if answer.error.is_none() && answer.claims.is_some() {
                first = Some((place, answer));
                break;
            }
            first.get_or_insert((place, answer));
        }
        let (place, answer) = first.unzip();
        Verdict {
            inspection: authn::inspect(self.token, self.verifier.max_token_size),
            place,
            answer: answer.unwrap_or_default(),
            rules: verdicts,
            now: self.verifier.now,
        }
    }

    /// What becomes of a request with the token at that place.
    fn answer(&self, plan: &JwtPlan, place: &Place) -> Authentication {
        let (path, line) = match place {
            Place::Header { name, prefix } => {
                ("/".to_owned(), Some((name.clone(), format!("{prefix}{}", self.token))))
            }
            Place::Param(name) => {
                let escape = |text: &str| {
                    let all = percent_encoding::NON_ALPHANUMERIC;
                    percent_encoding::utf8_percent_encode(text, all).to_string()
                };
                (format!("/?{}={}", escape(name), escape(self.token)), None)
            }
            Place::Cookie(name) => {
                ("/".to_owned(), Some(("cookie".to_owned(), format!("{name}={}", self.token))))
            }
        };
        let lines = line.into_iter().map(|(n, v)| (n.into(), v.into_bytes().into())).collect();
        let mut http = Http {
            method: "GET".into(),
            path: path.into(),
            host: "".into(),
            scheme: "https".into(),
            headers: Headers::new(lines, false),
        };
        authn::authenticate(plan, &mut http, &self.verifier)
    }

    /// The `kid` of each key that the rule has; `None` without any keys at hand.
    fn key_ids(&self, keys: &KeyReference) -> Option<Vec<Option<String>>> {
        let keys = match keys {
            KeyReference::Inline(keys) => keys.clone(),
            KeyReference::Remote(source) => self.verifier.keys.keys(source)?,
        };
        Some(keys.key_ids().map(|kid| kid.map(str::to_owned)).collect())
    }
}

fn all_places(places: &TokenPlaces) -> impl Iterator<Item = Place> {
    let headers = places
        .headers
        .iter()
        .map(|(name, prefix)| Place::Header { name: name.to_string(), prefix: prefix.to_string() });
    let params = places.params.iter().map(|name| Place::Param(name.to_string()));
    let cookies = places.cookies.iter().map(|name| Place::Cookie(name.to_string()));
    headers.chain(params).chain(cookies)
}
