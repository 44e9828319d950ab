//! One setting each, from a raw value to its type.
//!
//! Flags and variables are strings; files may also use numbers, lists and maps. The error is one
//! line that says what to write instead.

use std::{
    collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc,
    time::Duration,
};

use serde_json::Value;

use crate::normalize::PathNormalization;
use crate::telemetry::logging::{LogFilter, LogFormat};

use super::address::{self, Address};

pub(super) type Parsed<T> = Result<T, String>;

pub(super) const DEFAULT_ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8282);

/// More cores than this no machine of today has.
const MOST_WORKERS: usize = 1_024;

pub(super) fn path_normalization(value: &Value) -> Parsed<PathNormalization> {
    let known = [
        PathNormalization::None,
        PathNormalization::Base,
        PathNormalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes,
    ];
    let text = text(value)?;
    // The mesh config's word for what Istio does unless told otherwise.
    if text.eq_ignore_ascii_case("DEFAULT") {
        return Ok(PathNormalization::Base);
    }
    known.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        format!("`{text}` is not NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES")
    })
}

pub(super) fn path(value: &Value) -> Parsed<PathBuf> {
    text(value).map(PathBuf::from)
}

/// A path may hold a comma, so a text is one path; a list holds several.
pub(super) fn paths(value: &Value) -> Parsed<Vec<PathBuf>> {
    match value.as_array() {
        Some(paths) if paths.is_empty() => Err("a path is needed".into()),
        Some(paths) => paths.iter().map(path).collect(),
        None => path(value).map(|path| vec![path]),
    }
}

pub(super) fn address(value: &Value) -> Parsed<Address> {
    text(value)?.parse().map_err(|error: address::InvalidAddress| error.to_string())
}

pub(super) fn socket_address(value: &Value) -> Parsed<SocketAddr> {
    address::socket_address(text(value)?).map_err(|error| error.to_string())
}

/// A namespace as Kubernetes allows it.
pub(super) fn namespace(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = text.len() <= 63
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if !is_label {
        return Err(format!(
            "`{text}` is not a namespace: lower case letters, digits and `-`, at most 63"
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn trust_domain(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let odd = |c: char| c == '/' || c == ',' || c.is_whitespace();
    match text.strip_prefix("spiffe://") {
        Some(bare) => {
            Err(format!("`{text}` is an identity: write `{}`", bare.trim_end_matches('/')))
        }
        None if text.contains(odd) => Err(format!("`{text}` is not a trust domain")),
        None => Ok(text.to_owned()),
    }
}

pub(super) fn trust_domains(value: &Value) -> Parsed<Vec<String>> {
    match value.as_array() {
        Some(domains) => domains.iter().map(trust_domain).collect(),
        None => text(value)?
            .split(',')
            .map(|domain| trust_domain(&Value::String(domain.trim().to_owned())))
            .collect(),
    }
}

pub(super) fn labels(value: &Value) -> Parsed<BTreeMap<String, String>> {
    if let Value::Object(members) = value {
        let label = |(key, value): (&String, &Value)| match value.as_str() {
            Some(value) => Ok((key.clone(), value.to_owned())),
            None => Err(format!("the value of `{key}` must be in quotes: `\"{value}\"`")),
        };
        return members.iter().map(label).collect();
    }
    let mut labels = BTreeMap::new();
    for pair in text(value)?.split(',').map(str::trim) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(format!("`{pair}` is not a label, such as `app=reviews`"));
        };
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() {
            return Err(format!("`{pair}` is a label without a name"));
        }
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("`{key}` is there twice"));
        }
    }
    Ok(labels)
}

/// Labels as the downward API writes them into a file: a line for each, its value in quotes. Values of
/// labels have nothing that needs an escape, so what has one is not understood and refused.
pub(super) fn labels_file(value: &Value) -> Parsed<BTreeMap<String, String>> {
    let file = path(value)?;
    let text = super::read(&file).map_err(|problem| format!("`{}` {problem}", file.display()))?;
    let mut labels = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let place = format!("`{}` line {number}", file.display());
        let label = line.split_once('=').and_then(|(key, value)| {
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            (!key.is_empty() && !value.contains(['"', '\\'])).then_some((key, value))
        });
        let Some((key, value)) = label else {
            return Err(format!("{place} is not a label, such as `app=\"reviews\"`"));
        };
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("{place}: `{key}` is there twice"));
        }
    }
    Ok(labels)
}

pub(super) fn boolean(value: &Value) -> Parsed<bool> {
    if let Value::Bool(value) = value {
        return Ok(*value);
    }
    match text(value)? {
        "true" => Ok(true),
        "false" => Ok(false),
        text => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

pub(super) fn hops(value: &Value) -> Parsed<u32> {
    let text = scalar(value)?;
    text.parse().map_err(|_| format!("`{text}` is not a number from 0 to {}", u32::MAX))
}

/// A header that nothing else is in: the client's address is taken out of the request with it.
pub(super) fn address_header(value: &Value) -> Parsed<Option<Arc<str>>> {
    let text = text(value)?;
    let name = header_name(text)?;
    if TAKEN.contains(&name.as_str()) {
        return Err(format!("`{text}` has a meaning of its own: take one that nobody else uses"));
    }
    Ok(Some(name.into()))
}

/// In lower case.
pub(super) fn header_name(text: &str) -> Parsed<String> {
    let is_name =
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !is_name {
        return Err(format!("`{text}` is not a header name, such as `x-client-address`"));
    }
    Ok(text.to_ascii_lowercase())
}

/// Headers that clients send or upstreams need.
const TAKEN: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "forwarded",
    "host",
    "transfer-encoding",
    "x-envoy-external-address",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

pub(super) fn socket_mode(value: &Value) -> Parsed<u32> {
    // In YAML, 0660 is a number of uncertain base.
    let Value::String(text) = value else {
        return Err(format!("`{value}` must be in quotes, such as `\"0660\"`"));
    };
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a file mode, such as `0660`")),
    }
}

pub(super) fn log_filter(value: &Value) -> Parsed<LogFilter> {
    // YAML 1.1 reads `off` as false.
    if *value == Value::Bool(false) {
        return "off".parse().map_err(|_| "must be in quotes".to_owned());
    }
    text(value)?
        .parse()
        .map_err(|error: crate::telemetry::logging::InvalidLogFilter| error.to_string())
}

/// `None` is `auto`.
pub(super) fn log_format(value: &Value) -> Parsed<Option<LogFormat>> {
    match text(value)? {
        "auto" => Ok(None),
        "human" => Ok(Some(LogFormat::Human)),
        "json" => Ok(Some(LogFormat::Json)),
        text => Err(format!("`{text}` is not `auto`, `human` or `json`")),
    }
}

pub(super) fn shutdown_grace(value: &Value) -> Parsed<Duration> {
    duration(value, Duration::ZERO, Duration::from_secs(60 * 60))
}

/// A time with its unit, within these bounds.
pub(super) fn duration(value: &Value, least: Duration, most: Duration) -> Parsed<Duration> {
    let text = scalar(value)?;
    let (number, unit) = split_unit(&text);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(format!("`{text}` needs a unit, such as `{text}s` or `{text}ms`")),
        _ => return Err(format!("`{text}` is not a time, such as `5s`, `500ms`, `20m` or `1h`")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a time, such as `5s`, `500ms`, `20m` or `1h`"))?;
    let duration = Duration::from_millis(number.saturating_mul(milliseconds));
    if duration < least || duration > most {
        let (least, most) = (show_duration(least), show_duration(most));
        return Err(format!("`{text}` is not between `{least}` and `{most}`"));
    }
    Ok(duration)
}

/// As it would be typed.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole =
        units.iter().find(|(unit, _)| milliseconds > 0 && milliseconds.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", milliseconds / unit),
        None if milliseconds == 0 => "0s".into(),
        None => format!("{milliseconds}ms"),
    }
}

/// Envoy's own limit on headers is 60 KiB, and they are not all of a CheckRequest.
pub(super) fn message_size(value: &Value) -> Parsed<usize> {
    size(value, 128 << 10, 256 << 20)
}

/// `None` is one for each core.
pub(super) fn workers(value: &Value) -> Parsed<Option<NonZeroUsize>> {
    let text = scalar(value)?;
    let number: usize =
        text.parse().map_err(|_| format!("`{text}` is not a number of threads, such as `4`"))?;
    if number > MOST_WORKERS {
        return Err(format!("`{text}` is more than `{MOST_WORKERS}`; more than cores do not help"));
    }
    Ok(NonZeroUsize::new(number))
}

/// 0 turns the cache off.
pub(super) fn token_cache_size(value: &Value) -> Parsed<usize> {
    size(value, 0, 16 << 30)
}

pub(super) fn headers_size(value: &Value) -> Parsed<usize> {
    // From less than Envoy's default to the most that it can be told to take.
    size(value, 4 << 10, 16 << 20)
}

/// What waits to be logged is at least one event of a request with many headers.
pub(super) fn log_buffer(value: &Value) -> Parsed<usize> {
    size(value, 64 << 10, 4 << 30)
}

pub(super) fn log_file_size(value: &Value) -> Parsed<usize> {
    size(value, 64 << 10, 1 << 40)
}

/// 0 keeps only the one that is written.
pub(super) fn log_files(value: &Value) -> Parsed<usize> {
    const MOST: usize = 1_000;
    let text = scalar(value)?;
    let number = text.parse().ok().filter(|number| *number <= MOST);
    number.ok_or_else(|| format!("`{text}` is not a number of files from 0 to {MOST}"))
}

pub(super) fn token_size(value: &Value) -> Parsed<usize> {
    size(value, 1 << 10, 16 << 20)
}

fn size(value: &Value, least: usize, most: usize) -> Parsed<usize> {
    let text = scalar(value)?;
    let (number, unit) = split_unit(&text);
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{text}` is not a size, such as `4MiB` or `512KiB`")),
    };
    let number: usize = number
        .parse()
        .map_err(|_| format!("`{text}` is not a size, such as `4MiB` or `512KiB`"))?;
    let size = number.saturating_mul(factor);
    if !(least..=most).contains(&size) {
        let (least, most) = (show_size(least), show_size(most));
        return Err(format!("`{text}` is not between `{least}` and `{most}`"));
    }
    Ok(size)
}

/// As it would be typed.
pub(super) fn show_size(size: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units.iter().find(|(unit, _)| size > 0 && size.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", size / unit),
        None => size.to_string(),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text.get(..digits).unwrap_or_default(), text.get(digits..).unwrap_or_default().trim())
}

/// A string that is not empty.
pub(super) fn text(value: &Value) -> Parsed<&str> {
    match value {
        Value::String(text) if text.trim().is_empty() => Err("a value is missing".into()),
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Err(format!("`{value}` must be in quotes")),
        Value::Null | Value::Array(_) | Value::Object(_) => Err("must be a text".into()),
    }
}

/// A string or a number.
fn scalar(value: &Value) -> Parsed<String> {
    if let Value::Number(number) = value {
        return Ok(number.to_string());
    }
    text(value).map(|text| text.trim().to_owned())
}
