//! `postern bench`

mod own;
mod progress;
mod report;
mod stages;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::app;
use crate::config::{self, Address, Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::load::{self, Load, Mix, Progress, Question, Until};

use super::check::read_request;
use super::serve::refuse;
use super::{print, say};
use own::Own;
use progress::ProgressLine;
use report::Report;
pub(super) use report::grouped;

/// Put load on a Check server, and show what it takes
///
/// The server is one of its own, made of --policies as `postern serve` makes it, or the one at
/// --target: Postern or any other that answers Envoy's ext_authz over gRPC. Each stream asks again as
/// soon as it has its answer, unless --rate says how often.
///
/// Ends with 0 if every request was answered, 1 if some were not, 2 if there was nothing to measure.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    #[command(flatten)]
    policy: PolicyFlags,

    /// Requests as `postern check --request` takes them; `a.yaml=9` is asked nine times as often as
    /// `b.yaml`
    #[arg(long, value_name = "FILE[=WEIGHT]", num_args = 1.., required = true)]
    requests: Vec<String>,

    /// A server that runs already, at an address or unix:PATH, instead of one of its own
    #[arg(long, value_name = "ADDR", help_heading = "Load")]
    target: Option<Address>,

    /// HTTP/2 connections; Envoy has one for each of its threads
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = number(1, 10_000), help_heading = "Load")]
    connections: u64,

    /// Requests under way at a time on each connection
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = number(1, 10_000), help_heading = "Load")]
    streams: u64,

    /// How long requests are counted
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Load")]
    duration: Duration,

    /// How many requests are counted, however long it takes
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = number(1, u64::MAX), help_heading = "Load")]
    count: Option<u64>,

    /// How long requests are made before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time, help_heading = "Load")]
    warmup: Duration,

    /// Requests a second of all streams together, instead of as many as are answered
    #[arg(long, value_name = "N", value_parser = number(1, 100_000_000), help_heading = "Load")]
    rate: Option<u64>,

    /// Threads of its own server; 0 is one for each core [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "target", help_heading = "Load")]
    workers: Option<String>,

    /// How the figures are written
    #[arg(long, value_enum, default_value_t)]
    output: super::check::Output,
}

fn number(least: u64, most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(least..=most)
}

fn time(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::ZERO, Duration::from_hours(24))
}

impl Bench {
    pub(super) fn run(&self) -> ExitCode {
        match self.measure() {
            Ok(report) => {
                match self.output {
                    super::check::Output::Human => print(&report),
                    super::check::Output::Json => print(format_args!("{:#}", report.json())),
                }
                if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => refuse(&error),
        }
    }

    fn measure(&self) -> Result<Report> {
        let config = self.config()?;
        for warning in &config.warnings {
            say(format_args!("warning: {warning}"));
        }
        let mix = Arc::new(self.mix(&config)?);
        let own = match self.target {
            None => Some(Own::start(config)?),
            Some(_) => None,
        };
        let target = match (&self.target, &own) {
            (Some(target), _) => target.clone(),
            (None, Some(own)) => own.address(),
            (None, None) => bail!("there is no server"),
        };
        let load = Load {
            target,
            mix: mix.clone(),
            connections: usize::try_from(self.connections)?,
            streams: usize::try_from(self.streams)?,
            rate: self.rate.map(|rate| rate as f64),
            warm_up: self.warmup,
            until: match self.count {
                Some(calls) => Until::Calls(calls),
                None => Until::Elapsed(self.duration),
            },
        };
        let mut line = ProgressLine::begin(load.until, load.warm_up);
        let (mut before, mut after) = (None, None);
        let outcome = load::run(&load, |progress| {
            let cpu = || own.as_ref().and_then(|_| own::cpu());
            match progress {
                Progress::Counting => before = cpu(),
                Progress::Done(_) => {}
                Progress::Over => after = cpu(),
            }
            line.show(progress);
        });
        line.end();
        let outcome = outcome.map_err(|error| self.remedy(error))?;
        let cpu = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        let server = own.as_ref().map(|own| own.figures(&mix, cpu, outcome.tally.answers()));
        Ok(Report { load, outcome, server })
    }

    fn config(&self) -> Result<Config> {
        let mut flags = Flags { policy: self.policy.clone(), server: ServerFlags::default() };
        let environment = Environment::of_process();
        if self.target.is_some() {
            if !self.policy.policies.is_empty() {
                bail!(
                    "--policies is for a server of our own, and the one at --target has policies \
                     already: leave one of them out"
                );
            }
            return Ok(Config::load_without_policies(&flags, &environment)?);
        }
        // Ports that nobody else has, whatever `serve` is told by variables and files.
        flags.server.listen = Some("127.0.0.1:0".into());
        flags.server.http_listen = Some("off".into());
        flags.server.admin = Some("127.0.0.1:0".into());
        flags.server.workers.clone_from(&self.workers);
        Config::load(&flags, &environment).map_err(Into::into)
    }

    fn mix(&self, config: &Config) -> Result<Mix> {
        let client_address = app::request_settings(config).client_address;
        let mut questions = Vec::new();
        let mut failed = Vec::new();
        for argument in &self.requests {
            let (name, weight) = weighted(argument)?;
            match read_request(&PathBuf::from(&name)) {
                Ok(request) => {
                    if request.now.is_some() {
                        say(format_args!(
                            "warning: `now` of `{name}` is left out: the server has its own clock"
                        ));
                    }
                    let check = request.check_request(client_address);
                    questions.push(Question { name, check, weight });
                }
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        if !failed.is_empty() {
            bail!("{}", failed.join(", and "));
        }
        Mix::new(questions).context("every request has the weight 0: give one of them another")
    }

    /// What to do about it is for people at a command line to know.
    fn remedy(&self, error: load::NoLoad) -> anyhow::Error {
        let is_refused = match &error {
            load::NoLoad::Connect(..) => self.target.is_some(),
            load::NoLoad::Thread(_) | load::NoLoad::Lost => false,
        };
        let error = anyhow::Error::from(error);
        if is_refused {
            anyhow::anyhow!(
                "{error:#}\n  --target takes the address of a running server that speaks gRPC without \
                 TLS; without --target one is started from --policies"
            )
        } else {
            error
        }
    }
}

/// `FILE` or `FILE=WEIGHT`. What is behind `=` and no number belongs to the name.
fn weighted(argument: &str) -> Result<(String, u16)> {
    match argument.rsplit_once('=') {
        Some((name, digits))
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            let weight =
                digits.parse().ok().filter(|weight| *weight <= MOST_WEIGHT).with_context(|| {
                    format!("--requests: the weight of `{argument}` is over {MOST_WEIGHT}")
                })?;
            Ok((name.to_owned(), weight))
        }
        Some(_) | None => Ok((argument.to_owned(), 1)),
    }
}

/// One round has as many requests as all weights together.
const MOST_WEIGHT: u16 = 10_000;
