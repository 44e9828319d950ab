//! Where decisions are logged, and what of them, as configured.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::opentelemetry::{self, OtlpExport};
use super::values::{self, show_size, text};
use super::{Environment, Reader};
use crate::telemetry::decision_log::{NEVER_LOGGED, Redaction, SampleRates, Settings};

/// Everything about the decision log that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionLogConfig {
    /// Where it goes.
    pub to: DecisionLogTarget,
    /// What is logged, and how often.
    pub settings: Settings,
}

/// Where decisions are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecisionLogTarget {
    /// To stdout.
    Stdout,
    /// To a receiver that the `OTEL_*` variables name.
    Otlp(OtlpExport),
    /// Into a file.
    File {
        /// Which.
        path: PathBuf,
        /// How many bytes it may have before the next begins.
        size: usize,
        /// How many of those before are kept.
        kept: usize,
    },
}

/// Settings that mean nothing without `decisionLog`.
const OTHERS: [&str; 6] = [
    "decisionLogBuffer",
    "decisionLogFiles",
    "decisionLogFileSize",
    "decisionLogHeaders",
    "decisionLogRedact",
    "decisionLogSample",
];

const FILE: &str = "file:";

impl DecisionLogConfig {
    pub(super) fn read(read: &mut Reader<'_>, environment: &Environment) -> Option<Self> {
        let to = read.setting("decisionLog", Some(Target::Off), |value| target(value).map(Some));
        let to = to.unwrap_or(Target::Off);
        let is_set = |name: &&str| read.layers.find(name).is_some();
        let needless: &[&str] = match to {
            Target::Off => &OTHERS,
            Target::Stdout | Target::Otlp => &["decisionLogFiles", "decisionLogFileSize"],
            Target::File(_) => &[],
        };
        let needless: Vec<_> = needless.iter().copied().filter(|name| is_set(name)).collect();
        for name in needless {
            let problem = match to {
                Target::Off => "is for --decision-log, which is not set",
                Target::Stdout | Target::Otlp | Target::File(_) => {
                    "is for --decision-log file:PATH"
                }
            };
            if let Some((origin, _)) = read.layers.find(name) {
                read.problems.add(origin.subject(name), problem);
            }
        }
        let defaults = Redaction::default();
        let headers = read.setting("decisionLogHeaders", defaults.headers, header_names);
        for name in headers.iter().filter(|name| NEVER_LOGGED.contains(&name.as_str())) {
            read.problems.add(
                "--decision-log-headers",
                format!("`{name}` may hold a secret and is never logged: remove it"),
            );
        }
        let redacted = read.setting("decisionLogRedact", defaults.redacted, header_names);
        let settings = Settings {
            rates: read.setting("decisionLogSample", SampleRates::default(), sample_rates),
            redaction: Redaction { headers, redacted },
            buffer: read.setting("decisionLogBuffer", 16 << 20, values::log_buffer),
        };
        let size = read.setting("decisionLogFileSize", 100 << 20, values::log_file_size);
        let kept = read.setting("decisionLogFiles", 5, values::log_files);
        let to = match to {
            Target::Off => return None,
            Target::Stdout => DecisionLogTarget::Stdout,
            Target::Otlp => {
                if cfg!(not(feature = "otlp")) {
                    let problem = "this Postern was built without it (feature `otlp`)";
                    read.problems.add("--decision-log otlp", problem);
                }
                DecisionLogTarget::Otlp(opentelemetry::exporter(read, environment, "LOGS"))
            }
            Target::File(path) => DecisionLogTarget::File { path, size, kept },
        };
        Some(Self { to, settings })
    }

    /// Adds the settings as they are in effect.
    pub(super) fn show(&self, shown: &mut Map<String, Value>) {
        let Self { to, settings: Settings { rates, redaction, buffer } } = self;
        let to = match to {
            DecisionLogTarget::Stdout => "stdout".to_owned(),
            DecisionLogTarget::Otlp(_) => "otlp".to_owned(),
            DecisionLogTarget::File { path, size, kept } => {
                shown.insert("decisionLogFileSize".into(), json!(show_size(*size)));
                shown.insert("decisionLogFiles".into(), json!(kept));
                format!("{FILE}{}", path.display())
            }
        };
        let settings = [
            ("decisionLog", json!(to)),
            ("decisionLogSample", json!(rates.to_string())),
            ("decisionLogHeaders", json!(redaction.headers)),
            ("decisionLogRedact", json!(redaction.redacted)),
            ("decisionLogBuffer", json!(show_size(*buffer))),
        ];
        shown.extend(settings.map(|(name, value)| (name.to_owned(), value)));
    }
}

enum Target {
    Off,
    Stdout,
    Otlp,
    File(PathBuf),
}

fn target(value: &Value) -> Result<Target, String> {
    // YAML 1.1 reads `off` as false.
    if *value == Value::Bool(false) {
        return Ok(Target::Off);
    }
    match text(value)? {
        "off" => Ok(Target::Off),
        "stdout" => Ok(Target::Stdout),
        "otlp" => Ok(Target::Otlp),
        text => match text.strip_prefix(FILE) {
            Some("") => Err(format!("`{text}` lacks a path, such as `file:/var/log/decisions`")),
            Some(path) => Ok(Target::File(path.into())),
            None => Err(format!("`{text}` is not `off`, `stdout`, `otlp` or `file:PATH`")),
        },
    }
}

/// `allow=0.01,deny=1`, or a mapping.
fn sample_rates(value: &Value) -> Result<SampleRates, String> {
    let written = if let Value::Object(members) = value {
        let pairs = members.iter().map(|(name, rate)| format!("{name}={rate}"));
        pairs.collect::<Vec<_>>().join(",")
    } else {
        text(value)?.to_owned()
    };
    SampleRates::parse(&written).map_err(|error| error.to_string())
}

/// A list, or a text with commas.
fn header_names(value: &Value) -> Result<Vec<String>, String> {
    let mut names = match value.as_array() {
        Some(list) => list.iter().map(header_name).collect::<Result<Vec<_>, _>>()?,
        None => text(value)?
            .split(',')
            .map(|name| header_name(&Value::String(name.trim().to_owned())))
            .collect::<Result<Vec<_>, _>>()?,
    };
    names.sort();
    names.dedup();
    Ok(names)
}

fn header_name(value: &Value) -> Result<String, String> {
    values::header_name(text(value)?)
}
