//! `postern replay`

mod report;

use std::fs::File;
use std::io::{BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::{Config, Environment, Flags, PolicyFlags, ServerFlags};
use crate::replay::{Examples, Judge, Lines, Record, Tally};

use super::check::{Output, count, paragraph, read_policies};
use super::{could_not_run, print, say};

/// Say what other policies would decide about requests of the past
///
/// LOG is a decision log (--decision-log), or an access log of Envoy in the form that
/// docs/decision-log.md gives. Each request is decided for the workload that its record names; where
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
        let (resources, _) = read_policies(config)?;
        let settings = &config.settings;
        let workload = settings.workloads.first().context("no workload is configured")?;
        let mut judge = Judge::new(resources, settings.mesh.clone(), workload.clone());
        let log = Log::open(&self.log)?;
        let begun = Instant::now();
        let tally = self.read(log, &mut judge)?;
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
                count(usize::try_from(tally.malformed).unwrap_or(usize::MAX), "line")
            );
        }
        Ok(tally.has_changes())
    }

    fn read(&self, log: Log, judge: &mut Judge) -> Result<Tally> {
        let progress = log.progress();
        let mut lines = Lines::new(BufReader::with_capacity(BUFFER, log.input));
        let mut tally = Tally::default();
        let mut examples = Examples(self.limit);
        loop {
            let number = lines.number() + 1;
            if number.is_multiple_of(LOOK_EVERY) {
                progress.set_position(lines.bytes_read());
            }
            let line = lines.next_line().with_context(|| format!("cannot read `{}`", log.name))?;
            let read = match line {
                None => break,
                // A blank line is nobody's record.
                Some(Ok(line)) if line.trim_ascii().is_empty() => continue,
                Some(Ok(line)) => Record::read(line).map_err(|error| error.to_string()),
                Some(Err(error)) => Err(error.to_string()),
            };
            let judged = read.and_then(|record| match judge.judge(&record) {
                Ok((after, plan)) => {
                    tally.add(number, &record, &after, plan, &mut examples);
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            });
            if let Err(problem) = judged {
                tally.malformed += 1;
                if tally.malformed <= MOST_SAID {
                    progress.suspend(|| say(format_args!("{}:{number}: {problem}", log.name)));
                }
            }
        }
        progress.finish_and_clear();
        if let Some(more @ 1..) = tally.malformed.checked_sub(MOST_SAID) {
            say(format_args!("... and {more} more"));
        }
        Ok(tally)
    }
}

/// The log that is read.
struct Log {
    name: String,
    input: Box<dyn Read>,
    /// In bytes, where that is known.
    size: Option<u64>,
}

impl Log {
    fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            let input = Box::new(std::io::stdin().lock());
            return Ok(Self { name: "stdin".into(), input, size: None });
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read the log `{name}`"))?;
        let metadata = file.metadata().with_context(|| format!("cannot read the log `{name}`"))?;
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, input: Box::new(file), size })
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
