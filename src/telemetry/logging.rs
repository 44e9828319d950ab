//! Where log events go, and how loud they are.
//!
//! What is worth an event, and with which fields, is up to the module it happens in.

use std::{
    fmt, io,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt::MakeWriter, layer::SubscriberExt, reload,
};

/// How an event looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Human,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// `human`, `json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

/// Which events are written: a level, or levels by target, such as `info,postern::decision=debug`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogFilter {
    /// Nothing at all.
    #[error("a level is needed, such as `info`")]
    Empty,
    /// Neither a level nor `target=level`.
    #[error(
        "`{0}` is not a level: write `off`, `error`, `warn`, `info`, `debug` or `trace`, or a target \
         and a level such as `postern::control=debug`"
    )]
    Directive(String),
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { text: "info".into(), targets: quiet().with_default(tracing::Level::INFO) }
    }
}

/// The client of Kubernetes says each failure as an error, however often it is tried again; what it
/// means is said once by those who use it. Heard where it is named.
fn quiet() -> Targets {
    let off = tracing::level_filters::LevelFilter::OFF;
    Targets::new().with_target("kube_client", off).with_target("kube_runtime", off)
}

impl FromStr for LogFilter {
    type Err = InvalidLogFilter;

    /// Stricter than the usual parsers, which take a mistyped level for the name of a target and
    /// then write everything.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidLogFilter::Empty);
        }
        let mut targets = quiet();
        for directive in text.split(',').map(str::trim) {
            let invalid = || InvalidLogFilter::Directive(directive.to_owned());
            targets = match directive.split_once('=') {
                None => targets.with_default(level(directive).ok_or_else(invalid)?),
                Some((target, name)) => {
                    let is_target = !target.is_empty()
                        && target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
                    let level = level(name).filter(|_| is_target).ok_or_else(invalid)?;
                    targets.with_target(target, level)
                }
            };
        }
        Ok(Self { text: text.to_ascii_lowercase(), targets })
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn level(name: &str) -> Option<tracing::level_filters::LevelFilter> {
    use tracing::level_filters::LevelFilter as L;
    match name.trim().to_ascii_lowercase().as_str() {
        "off" => Some(L::OFF),
        "error" => Some(L::ERROR),
        "warn" => Some(L::WARN),
        "info" => Some(L::INFO),
        "debug" => Some(L::DEBUG),
        "trace" => Some(L::TRACE),
        _ => None,
    }
}

/// Reads and changes the filter while Postern runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogLevel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    current: Mutex<LogFilter>,
    handle: Option<reload::Handle<Targets, Registry>>,
}

/// The subscriber that wrote events is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events are no longer written")]
pub struct LogGone;

impl LogLevel {
    /// A handle without a log behind it: for tests and for programs that log on their own.
    pub fn detached(filter: LogFilter) -> Self {
        Self(Arc::new(Inner { current: Mutex::new(filter), handle: None }))
    }

    /// What is written now.
    pub fn current(&self) -> LogFilter {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it, from the next event on.
    pub fn set(&self, filter: LogFilter) -> Result<(), LogGone> {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &self.0.handle {
            handle.reload(filter.targets.clone()).map_err(|_| LogGone)?;
        }
        *current = filter;
        Ok(())
    }
}

/// Another subscriber was installed before.
#[derive(Debug, thiserror::Error)]
#[error("the log is set up already")]
pub struct AlreadySetUp;

/// Writes events of the whole process to stderr: stdout is for data.
pub fn init(filter: LogFilter, format: LogFormat, colour: bool) -> Result<LogLevel, AlreadySetUp> {
    let (subscriber, level) = subscriber(filter, format, colour, io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadySetUp)?;
    Ok(level)
}

fn subscriber<W>(
    filter: LogFilter,
    format: LogFormat,
    colour: bool,
    writer: W,
) -> (impl tracing::Subscriber + Send + Sync, LogLevel)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The filter is the innermost layer, so that an event it drops costs nothing further.
    let (targets, handle) = reload::Layer::new(filter.targets.clone());
    let events = tracing_subscriber::fmt::layer().with_writer(writer);
    let events = match format {
        LogFormat::Human => events.with_ansi(colour).boxed(),
        LogFormat::Json => events.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(targets).with(events);
    let level = LogLevel(Arc::new(Inner { current: Mutex::new(filter), handle: Some(handle) }));
    (subscriber, level)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::level("info")]
    #[case::upper_case("INFO")]
    #[case::off("off")]
    #[case::targets("warn,postern::decision=debug , hyper=off")]
    fn filters_that_mean_something(#[case] text: &str) {
        text.parse::<LogFilter>().unwrap();
    }

    #[rstest]
    #[case::nothing("")]
    #[case::mistyped("inof")]
    #[case::target_alone("postern::control")]
    #[case::no_level("postern=")]
    #[case::no_target("=debug")]
    #[case::span_filter("[check]=debug")]
    #[case::trailing_comma("info,")]
    fn filters_that_are_refused(#[case] text: &str) {
        text.parse::<LogFilter>().unwrap_err();
    }

    #[derive(Debug, Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Lines {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn the_client_of_kubernetes_is_heard_where_it_is_named() {
        let heard = |filter: &str| {
            let lines = Lines::default();
            let filter = filter.parse().unwrap();
            let (subscriber, _) = subscriber(filter, LogFormat::Json, false, lines.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(target: "kube_client::client", "failed again");
            });
            !lines.text().is_empty()
        };
        assert!(!heard("debug"));
        assert!(heard("info,kube_client=warn"));
    }

    #[test]
    fn the_level_changes_while_running() {
        let lines = Lines::default();
        let (subscriber, level) =
            subscriber(LogFilter::default(), LogFormat::Json, false, lines.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("quiet");
            level.set("debug".parse().unwrap()).unwrap();
            tracing::debug!(answer = 42, "heard");
        });
        assert!(!lines.text().contains("quiet"));
        assert!(lines.text().contains(r#""message":"heard","answer":42"#), "{}", lines.text());
        assert_eq!(level.current().to_string(), "debug");
    }

    #[test]
    fn people_get_one_plain_line() {
        let lines = Lines::default();
        let (subscriber, _) =
            subscriber(LogFilter::default(), LogFormat::Human, false, lines.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(snapshot.revision = 2, "policy snapshot published");
        });
        assert!(lines.text().ends_with(" policy snapshot published snapshot.revision=2\n"));
    }
}
