//! `postern replay`

mod report;

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::app;
use crate::authn::clock::Clock;
use crate::authn::{KeyLookup, NoKeys};
use crate::compile::compile;
use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::model::Resource;
use crate::plan::Snapshot;
use crate::replay::{
    CheckJudge, Checked, Delimited, Example, Examples, Judge, Lines, Record, Said, Schema, Tally,
    Texts, Told, Unreadable, message_of_json,
};

use super::check::{Output, count, fetch_keys, paragraph, read_policies};
use super::{could_not_run, print, say};

/// Say what other policies would decide about requests of the past
///
/// LOG is a decision log (--decision-log), an access log of Envoy in the form that
/// docs/decision-log.md gives, or recorded CheckRequests, in JSON on a line each or in bytes with their
/// lengths before them. Each request is decided for the workload that its record names; where
/// one names none, for that of --namespace and --labels. What a record does not say is never guessed:
/// where it matters, the request counts among those of which it cannot be told.
///
/// Ends with 0 if no outcome changes, 1 if one does, 2 if the log or the policies cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// The log; `-` reads it from stdin
    #[arg(value_name = "LOG")]
    log: PathBuf,

    #[command(flatten)]
    policy: PolicyFlags,

    /// Compare with what these policies say, instead of what was decided
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,

    /// How many changed requests are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Go on where a line is no record; otherwise the command ends with 2
    #[arg(long)]
    skip_malformed: bool,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// So many lines that are no records are said one by one.
const MOST_SAID: u64 = 10;

/// One read of the log.
const BUFFER: usize = 1 << 20;

/// So many bytes tell text from messages.
const LOOKED_AT: usize = 4_096;

/// How often the progress is looked at, in lines.
const LOOK_EVERY: u64 = 4_096;

impl Replay {
    pub(super) fn run(&self) -> ExitCode {
        let flags = Flags { policy: self.policy.clone(), server: ServerFlags::default() };
        let config = match Config::load(&flags, &Environment::of_process()) {
            Ok(config) => config,
            Err(invalid) => return could_not_run(invalid),
        };
        match self.replay(&config) {
            Ok(false) => ExitCode::SUCCESS,
            Ok(true) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }

    /// Whether something changes.
    fn replay(&self, config: &Config) -> Result<bool> {
        for warning in &config.warnings {
            paragraph(format_args!("warning: {warning}"));
        }
        let config = &mut config.clone();
        let (resources, _) = read_policies(config)?;
        if resources.is_empty() {
            paragraph("warning: no policy was found, so everything is allowed");
        }
        let old = match &self.against {
            Some(path) => {
                let mut config = config.clone();
                config.policies = vec![path.clone()];
                Some(read_policies(&mut config)?.0)
            }
            None => None,
        };
        let mut log = Log::open(&self.log)?;
        let begun = Instant::now();
        let tally = match log.holds()? {
            Holds::Lines => self.lines(log, config, resources, old)?,
            Holds::Messages => self.messages(log, config, &resources, old.as_deref())?,
        };
        if std::io::stderr().is_terminal() {
            say(report::speed(&tally, begun.elapsed()));
        }
        let name = &self.log.display().to_string();
        match self.output {
            Output::Human => print(report::human(&tally, name).trim_end()),
            Output::Json => print(format_args!("{:#}", report::json(&tally))),
        }
        if tally.malformed > 0 && !self.skip_malformed {
            bail!(
                "{} of the log cannot be used: --skip-malformed goes on without them",
                count(usize::try_from(tally.malformed).unwrap_or(usize::MAX), "record")
            );
        }
        Ok(tally.has_changes())
    }

    fn lines(
        &self,
        log: Log,
        config: &Config,
        resources: Vec<Arc<Resource>>,
        old: Option<Vec<Arc<Resource>>>,
    ) -> Result<Tally> {
        let settings = &config.settings;
        let workload = settings.workloads.first().context("no workload is configured")?;
        let definitions = config.extension_providers.definitions();
        let judge = |resources| {
            Judge::new(resources, settings.mesh.clone(), workload.clone())
                .with_providers(definitions.clone())
        };
        let checks = Checks::new(config, &resources, old.as_deref())?;
        let (mut judge, mut old) = (judge(resources), old.map(judge));
        let mut count = Count::new(&log, self.limit);
        let name = log.name.clone();
        let mut lines = Lines::new(log.input);
        loop {
            let number = lines.number() + 1;
            count.look(number, lines.bytes_read());
            let line = lines.next_line().with_context(|| format!("cannot read `{name}`"))?;
            let judged = match line {
                None => break,
                // A blank line is nobody's record.
                Some(Ok(line)) if line.trim_ascii().is_empty() => continue,
                Some(Ok(line)) => match Record::read(line) {
                    Ok(record) => {
                        judge_record(&mut judge, old.as_mut(), &record, number, &mut count)
                    }
                    Err(Unreadable::NoSchema) => match message_of_json(line) {
                        Ok(message) => checks.judge(&message, number, &mut count),
                        Err(_) => Err(Unreadable::NoSchema.to_string()),
                    },
                    Err(error) => Err(error.to_string()),
                },
                Some(Err(error)) => Err(error.to_string()),
            };
            count.note(&name, number, judged);
        }
        Ok(count.finish())
    }

    fn messages(
        &self,
        log: Log,
        config: &Config,
        resources: &[Arc<Resource>],
        old: Option<&[Arc<Resource>]>,
    ) -> Result<Tally> {
        let checks = Checks::new(config, resources, old)?;
        let mut count = Count::new(&log, self.limit);
        let name = log.name.clone();
        let mut messages = Delimited::new(log.input);
        loop {
            let number = messages.number() + 1;
            count.look(number, messages.bytes_read());
            let next = messages.next_message().with_context(|| format!("cannot read `{name}`"))?;
            match next {
                None => break,
                Some(Ok(message)) => {
                    let judged = checks.judge(message, number, &mut count);
                    count.note(&name, number, judged);
                }
                // Where the next one begins is not known.
                Some(Err(error)) => {
                    count.note(&name, number, Err(error.to_string()));
                    break;
                }
            }
        }
        Ok(count.finish())
    }
}

/// Decides a record by the new policies, and by the old ones where it shall not count what it says.
fn judge_record(
    judge: &mut Judge,
    old: Option<&mut Judge>,
    record: &Record<'_>,
    number: u64,
    count: &mut Count,
) -> Result<(), String> {
    let before = match old {
        None => Told::Decided(Said::by_record(record)),
        Some(old) => {
            let (after, plan) = old.judge(record).map_err(|error| error.to_string())?;
            Told::by_policies(after, plan)
        }
    };
    let (after, plan) = judge.judge(record).map_err(|error| error.to_string())?;
    let after = Told::by_policies(after, plan);
    let (before, after) = match before {
        Told::Decided(said) => (said, after),
        untold @ (Told::CannotTell(_) | Told::Unaffected) => (Said::default(), untold),
    };
    let is_seen = |(_, lines): &(_, Texts<'_>)| !lines.is_empty();
    if record.schema == Some(Schema::AccessLog) && record.headers.iter().any(is_seen) {
        count.tally.assumed_one_line += 1;
    }
    count.tally.add(&before, &after, || Example::of(number, record), &mut count.examples);
    Ok(())
}

/// What decides recorded CheckRequests.
struct Checks {
    new: CheckJudge,
    old: Option<CheckJudge>,
}

impl Checks {
    fn new(
        config: &Config,
        resources: &[Arc<Resource>],
        old: Option<&[Arc<Resource>]>,
    ) -> Result<Self> {
        let judge = |resources: &[Arc<Resource>]| -> Result<CheckJudge> {
            let snapshot = compile(1, resources, &[], &config.settings);
            let keys = keys(&snapshot)?;
            let settings = app::request_settings(config);
            Ok(CheckJudge::new(snapshot, keys, settings, Clock::system()))
        };
        Ok(Self { new: judge(resources)?, old: old.map(judge).transpose()? })
    }

    fn judge(&self, message: &[u8], number: u64, count: &mut Count) -> Result<(), String> {
        let checked = self.new.judge(message).map_err(|error| error.to_string())?;
        let before = match &self.old {
            Some(old) => Some(old.judge(message).map_err(|error| error.to_string())?),
            None => None,
        };
        let before = before.as_ref().map(Checked::said).unwrap_or_default();
        let after = Told::Decided(checked.said());
        count.tally.add(&before, &after, || checked.example(number), &mut count.examples);
        Ok(())
    }
}

/// The keys of these policies, fetched where they are elsewhere.
fn keys(snapshot: &Snapshot) -> Result<Arc<dyn KeyLookup + Send + Sync>> {
    if snapshot.key_sources.is_empty() {
        return Ok(Arc::new(NoKeys));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let keys = runtime.block_on(fetch_keys(&snapshot.key_sources, Clock::system()))?;
    // What was fetched stays.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(Arc::new(keys))
}

/// What was counted so far, and who is told.
struct Count {
    tally: Tally,
    examples: Examples,
    progress: ProgressBar,
}

impl Count {
    fn new(log: &Log, limit: usize) -> Self {
        Self { tally: Tally::default(), examples: Examples(limit), progress: log.progress() }
    }

    fn look(&self, number: u64, bytes: u64) {
        if number.is_multiple_of(LOOK_EVERY) {
            self.progress.set_position(bytes);
        }
    }

    fn note(&mut self, name: &str, number: u64, judged: Result<(), String>) {
        let Err(problem) = judged else { return };
        self.tally.malformed += 1;
        if self.tally.malformed <= MOST_SAID {
            self.progress.suspend(|| say(format_args!("{name}:{number}: {problem}")));
        }
    }

    fn finish(self) -> Tally {
        self.progress.finish_and_clear();
        if let Some(more @ 1..) = self.tally.malformed.checked_sub(MOST_SAID) {
            say(format_args!("... and {more} more"));
        }
        self.tally
    }
}

/// What a log is made of.
enum Holds {
    Lines,
    /// Each with its length before it.
    Messages,
}

/// The log that is read.
struct Log {
    name: String,
    input: BufReader<Box<dyn Read>>,
    /// In bytes, where that is known.
    size: Option<u64>,
}

impl Log {
    fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            let input = BufReader::with_capacity(BUFFER, Box::new(std::io::stdin().lock()) as _);
            return Ok(Self { name: "stdin".into(), input, size: None });
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read the log `{name}`"))?;
        let metadata = file.metadata().with_context(|| format!("cannot read the log `{name}`"))?;
        let size = metadata.is_file().then_some(metadata.len());
        let input = BufReader::with_capacity(BUFFER, Box::new(file) as _);
        Ok(Self { name, input, size })
    }

    /// Lines begin with a brace. So may a message of 123 bytes, but what follows there is the first
    /// field of a CheckRequest, which is a newline to those who read text. Other text has no control
    /// characters, which messages are full of.
    fn holds(&mut self) -> Result<Holds> {
        let start =
            self.input.fill_buf().with_context(|| format!("cannot read `{}`", self.name))?;
        let start = start.get(..LOOKED_AT).unwrap_or(start);
        let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
        // A character may be cut at the end of what is looked at.
        let is_text = !start.iter().any(is_control)
            && str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true);
        Ok(match start {
            [b'{', b'\n', ..] => Holds::Messages,
            [b'{', ..] => Holds::Lines,
            _ if is_text => Holds::Lines,
            _ => Holds::Messages,
        })
    }

    /// A bar on a terminal, nothing elsewhere.
    fn progress(&self) -> ProgressBar {
        const BAR: &str = "{bar:40} {percent:>3} %  {bytes_per_sec}  {eta} left";
        const SPINNER: &str = "{spinner} {bytes}  {bytes_per_sec}";
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = match self.size {
            Some(size) => ProgressBar::new(size),
            None => ProgressBar::new_spinner(),
        };
        let template = if self.size.is_some() { BAR } else { SPINNER };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}
