//! MeshConfig's `extensionProviders` that CUSTOM policies can name, and how they are reached.
//!
//! Read whole: a provider that means something else than it says would guard something else. Those of
//! other kinds are known by name and left alone. Asking them is `custom`'s job.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::mesh_config::{camel_case, is_default};
use super::values::{self, show_duration, text};
use super::{Problems, Reader, document};
use crate::custom::{
    CircuitSettings, Definitions, ExtensionProvider, HeaderPattern, HttpCheck, Protocol,
    RequestBody,
};
use crate::manifest::time::parse_duration;
use crate::outbound::Place;

/// Who can be asked, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExtensionProvidersConfig {
    /// The providers that CUSTOM policies can name, each with how it is reached.
    pub providers: Vec<(ExtensionProvider, ProviderReach)>,
    /// Names of those of other kinds, which are for telemetry.
    pub others: Vec<String>,
}

impl ExtensionProvidersConfig {
    /// The names that can be given.
    pub fn names(&self) -> Vec<String> {
        self.providers.iter().map(|(provider, _)| provider.name.to_string()).collect()
    }
}

/// How a provider is reached: what Istio has in ServiceEntries and DestinationRules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReach {
    /// Where it is; as its definition says, unless set.
    pub place: Place,
    /// TLS with it; `None` is none.
    pub tls: Option<ProviderTls>,
    /// When it is left alone.
    pub circuit: CircuitSettings,
}

/// TLS with a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderTls {
    /// A PEM file of authorities that are trusted instead of the system's.
    pub ca_certificates: Option<PathBuf>,
    /// The name that the certificate must have; the host's, unless set.
    pub server_name: Option<String>,
    /// PEM files of a client certificate with its chain, and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

const ENTRY: [&str; 16] = [
    "name",
    "envoyExtAuthzGrpc",
    "envoyExtAuthzHttp",
    "datadog",
    "envoyFileAccessLog",
    "envoyHttpAls",
    "envoyOtelAls",
    "envoyTcpAls",
    "lightstep",
    "opencensus",
    "opentelemetry",
    "prometheus",
    "sds",
    "skywalking",
    "stackdriver",
    "zipkin",
];

const GRPC: [&str; 7] = [
    "service",
    "port",
    "timeout",
    "failOpen",
    "clearRouteCache",
    "statusOnError",
    "includeRequestBodyInCheck",
];

const HTTP: [&str; 14] = [
    "service",
    "port",
    "timeout",
    "pathPrefix",
    "failOpen",
    "clearRouteCache",
    "statusOnError",
    "includeHeadersInCheck",
    "includeRequestHeadersInCheck",
    "includeAdditionalHeadersInCheck",
    "includeRequestBodyInCheck",
    "headersToUpstreamOnAllow",
    "headersToDownstreamOnDeny",
    "headersToDownstreamOnAllow",
];

const BODY: [&str; 3] = ["maxRequestBytes", "allowPartialMessage", "packAsBytes"];

const CLIENT: [&str; 6] =
    ["name", "address", "tls", "maxRequests", "consecutiveErrors", "circuitOpenFor"];

const TLS: [&str; 4] = ["caCertificates", "serverName", "clientCertificate", "clientKey"];

impl ExtensionProvidersConfig {
    pub(super) fn read(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Self {
        let mut config = Self::default();
        if let Some((origin, value)) = reader.layers.find("extensionProviders") {
            let place = origin.subject("extensionProviders");
            config.read_providers(&place, value, &mut reader.problems);
        }
        for (provider, _) in &config.providers {
            if provider.clear_route_cache {
                warnings.push(format!(
                    "extension provider `{}`: a server cannot clear Envoy's route cache; set \
                     `clear_route_cache` in the filter that asks Postern",
                    provider.name
                ));
            }
        }
        if let Some((origin, value)) = reader.layers.find("extensionProviderClients") {
            let place = origin.subject("extensionProviderClients");
            config.read_clients(&place, value, &mut reader.problems);
        }
        config
    }

    fn read_providers(&mut self, place: &str, value: &Value, problems: &mut Problems) {
        each_named(place, value, &ENTRY, problems, |name, entry, problems| {
            let kinds: Vec<_> = entry.by_name.keys().filter(|kind| *kind != "name").collect();
            if kinds.len() > 1 {
                problems.add(&entry.place, "has more than one kind");
                return;
            }
            let provider = match kinds.first().map(|kind| kind.as_str()) {
                Some(kind @ "envoyExtAuthzGrpc") => {
                    entry.members(kind, &GRPC, problems).and_then(|grpc| grpc.grpc(name, problems))
                }
                Some(kind @ "envoyExtAuthzHttp") => {
                    entry.members(kind, &HTTP, problems).and_then(|http| http.http(name, problems))
                }
                Some(_) | None => {
                    self.others.push(name.to_owned());
                    None
                }
            };
            if let Some(provider) = provider {
                let place = Place::Host(provider.host.clone(), provider.port);
                let reach = ProviderReach { place, tls: None, circuit: CircuitSettings::default() };
                self.providers.push((provider, reach));
            }
        });
    }

    fn read_clients(&mut self, place: &str, value: &Value, problems: &mut Problems) {
        each_named(place, value, &CLIENT, problems, |name, entry, problems| {
            match self.providers.iter_mut().find(|(provider, _)| &*provider.name == name) {
                Some((_, reach)) => entry.reach(reach, problems),
                None => {
                    let problem = format!("`{name}` is no provider of `extensionProviders`");
                    problems.add(&entry.place, problem);
                }
            }
        });
    }

    /// Which names of providers mean something.
    pub fn definitions(&self) -> Definitions {
        Definitions::of(self.providers.iter().map(|(provider, _)| provider))
    }

    /// Adds the settings as they are in effect. Values of headers may be secrets, and are not shown.
    pub(super) fn show(&self, settings: &mut Map<String, Value>) {
        let provider = |(provider, reach): &(ExtensionProvider, ProviderReach)| {
            let kind = match provider.protocol {
                Protocol::Grpc => "envoyExtAuthzGrpc",
                Protocol::Http(_) => "envoyExtAuthzHttp",
            };
            let address = match &reach.place {
                Place::Host(host, port) => format!("{host}:{port}"),
                Place::Unix(path) => format!("unix:{}", path.display()),
            };
            json!({
                "name": &*provider.name,
                "kind": kind,
                "address": address,
                "tls": reach.tls.is_some(),
                "timeout": show_duration(provider.timeout),
                "failOpen": provider.fail_open,
                "statusOnError": provider.status_on_error,
                "maxRequests": reach.circuit.max_requests,
                "consecutiveErrors": reach.circuit.consecutive_errors,
                "circuitOpenFor": show_duration(reach.circuit.open_for),
            })
        };
        let others = self.others.iter().map(|name| json!({ "name": name }));
        let shown: Vec<_> = self.providers.iter().map(provider).chain(others).collect();
        settings.insert("extensionProviders".into(), shown.into());
    }
}

/// The members of an object that are set, by their names in camel case.
struct Members<'v> {
    place: String,
    by_name: BTreeMap<String, &'v Value>,
}

/// Reads a list whose entries have a name of their own each, in its order.
fn each_named<'v>(
    place: &str,
    value: &'v Value,
    known: &[&str],
    problems: &mut Problems,
    mut read: impl FnMut(&'v str, &Members<'v>, &mut Problems),
) {
    let Value::Array(entries) = value else {
        problems.add(place, "must be a list with a `name` each");
        return;
    };
    let mut names: Vec<&str> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let Some(entry) = Members::of(place, entry, known, problems) else { continue };
        let Some(name) = entry.required("name", problems, |value| text(value)) else { continue };
        if names.contains(&name) {
            problems.add(&entry.place, format!("`{name}` is there twice"));
            continue;
        }
        names.push(name);
        read(name, &entry, problems);
    }
}

impl<'v> Members<'v> {
    /// Nothing, with the problem noted, where it is no object. A member at its default is not set.
    fn of(
        place: String,
        value: &'v Value,
        known: &[&str],
        problems: &mut Problems,
    ) -> Option<Self> {
        let Value::Object(members) = value else {
            problems.add(place, "must hold settings by name");
            return None;
        };
        let mut by_name = BTreeMap::new();
        for (key, value) in members {
            let name = camel_case(key);
            if !known.contains(&name.as_str()) {
                problems.add(&place, document::unknown(key, known));
            } else if !is_default(value) && by_name.insert(name, value).is_some() {
                problems.add(&place, format!("`{key}` is there twice"));
            }
        }
        Some(Self { place, by_name })
    }

    fn members(&self, name: &str, known: &[&str], problems: &mut Problems) -> Option<Self> {
        let value = self.by_name.get(name)?;
        Members::of(format!("{}.{name}", self.place), value, known, problems)
    }

    fn required<T>(
        &self,
        name: &str,
        problems: &mut Problems,
        parse: impl FnOnce(&'v Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.by_name.contains_key(name) {
            problems.add(&self.place, format!("`{name}` is missing"));
            return None;
        }
        self.optional(name, problems, parse)
    }

    /// `None` where it is not set, and with the problem noted where it is wrong.
    fn optional<T>(
        &self,
        name: &str,
        problems: &mut Problems,
        parse: impl FnOnce(&'v Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.by_name.get(name)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(problem) => {
                problems.add(format!("{}.{name}", self.place), problem);
                None
            }
        }
    }

    fn grpc(&self, name: &str, problems: &mut Problems) -> Option<ExtensionProvider> {
        self.provider(name, Protocol::Grpc, problems)
    }

    fn http(&self, name: &str, problems: &mut Problems) -> Option<ExtensionProvider> {
        let mut patterns = |name: &str| self.optional(name, problems, header_patterns);
        let include = patterns("includeRequestHeadersInCheck");
        let deprecated = patterns("includeHeadersInCheck");
        let check = HttpCheck {
            include_request_headers: include.or(deprecated).unwrap_or_default(),
            headers_to_upstream_on_allow: patterns("headersToUpstreamOnAllow").unwrap_or_default(),
            headers_to_downstream_on_deny: patterns("headersToDownstreamOnDeny")
                .unwrap_or_default(),
            headers_to_downstream_on_allow: patterns("headersToDownstreamOnAllow")
                .unwrap_or_default(),
            path_prefix: self.optional("pathPrefix", problems, path_prefix).unwrap_or_default(),
            additional_headers: self
                .optional("includeAdditionalHeadersInCheck", problems, additional_headers)
                .unwrap_or_default(),
        };
        self.provider(name, Protocol::Http(check), problems)
    }

    fn provider(
        &self,
        name: &str,
        protocol: Protocol,
        problems: &mut Problems,
    ) -> Option<ExtensionProvider> {
        let service = self.required("service", problems, service);
        let port = self.required("port", problems, port);
        let timeout = self.optional("timeout", problems, timeout);
        let mut boolean =
            |name: &str| self.optional(name, problems, values::boolean).unwrap_or_default();
        let (fail_open, clear_route_cache) = (boolean("failOpen"), boolean("clearRouteCache"));
        let status_on_error = self.optional("statusOnError", problems, status);
        let body = self.members("includeRequestBodyInCheck", &BODY, problems);
        let request_body = body.and_then(|body| body.request_body(problems));
        let ((namespace, host), port) = (service?, port?);
        Some(ExtensionProvider {
            name: name.into(),
            host,
            namespace,
            port,
            timeout: timeout.unwrap_or(ExtensionProvider::DEFAULT_TIMEOUT),
            fail_open,
            clear_route_cache,
            status_on_error: status_on_error.unwrap_or(ExtensionProvider::DEFAULT_STATUS_ON_ERROR),
            request_body,
            protocol,
        })
    }

    fn request_body(&self, problems: &mut Problems) -> Option<RequestBody> {
        let bytes = self
            .required("maxRequestBytes", problems, |value| number(value, 1, u64::from(u32::MAX)));
        let mut boolean =
            |name: &str| self.optional(name, problems, values::boolean).unwrap_or_default();
        let (allow_partial_message, pack_as_bytes) =
            (boolean("allowPartialMessage"), boolean("packAsBytes"));
        let max_request_bytes = usize::try_from(bytes?).unwrap_or(usize::MAX);
        Some(RequestBody { max_request_bytes, allow_partial_message, pack_as_bytes })
    }

    fn reach(&self, reach: &mut ProviderReach, problems: &mut Problems) {
        if let Some(place) = self.optional("address", problems, address) {
            reach.place = place;
        }
        if let Some(value) = self.by_name.get("tls").filter(|value| **value != &Value::Bool(false))
        {
            let all = Value::Object(Map::new());
            let value = if **value == Value::Bool(true) { &all } else { value };
            let place = format!("{}.tls", self.place);
            reach.tls = Members::of(place, value, &TLS, problems).map(|tls| tls.tls(problems));
        }
        let circuit = &mut reach.circuit;
        if let Some(most) = self.optional("maxRequests", problems, |v| number(v, 1, 1 << 20)) {
            circuit.max_requests = usize::try_from(most).unwrap_or(usize::MAX);
        }
        if let Some(errors) =
            self.optional("consecutiveErrors", problems, |v| number(v, 0, 1 << 20))
        {
            circuit.consecutive_errors = u32::try_from(errors).unwrap_or(u32::MAX);
        }
        let bounds = (Duration::from_millis(10), Duration::from_hours(1));
        let open_for = |value: &Value| values::duration(value, bounds.0, bounds.1);
        if let Some(open_for) = self.optional("circuitOpenFor", problems, open_for) {
            circuit.open_for = open_for;
        }
    }

    fn tls(&self, problems: &mut Problems) -> ProviderTls {
        let mut path = |name: &str| self.optional(name, problems, values::path);
        let ca_certificates = path("caCertificates");
        let identity = match (path("clientCertificate"), path("clientKey")) {
            (Some(chain), Some(key)) => Some((chain, key)),
            (None, None) => None,
            (Some(_), None) => {
                problems.add(&self.place, "`clientKey` is missing");
                None
            }
            (None, Some(_)) => {
                problems.add(&self.place, "`clientCertificate` is missing");
                None
            }
        };
        let server_name = self.optional("serverName", problems, |v| text(v).map(str::to_owned));
        ProviderTls { ca_certificates, server_name, identity }
    }
}

/// `[<namespace>/]<host>`
fn service(value: &Value) -> Result<(Option<String>, String), String> {
    let text = text(value)?;
    let (namespace, host) = match text.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, text),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = host.len() <= 255 && host.split('.').all(is_label);
    if namespace.is_some_and(|namespace| !is_label(namespace))
        || !(is_name || host.parse::<IpAddr>().is_ok())
    {
        return Err(format!(
            "`{text}` is not a host, such as `ext-authz.foo.svc.cluster.local` or \
             `foo/ext-authz.foo.svc.cluster.local`"
        ));
    }
    Ok((namespace.map(str::to_owned), host.to_owned()))
}

fn port(value: &Value) -> Result<u16, String> {
    let number = number(value, 1, u64::from(u16::MAX))?;
    u16::try_from(number).map_err(|_| format!("`{number}` is not a port"))
}

/// Protobuf's JSON takes numbers as texts, too.
fn number(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("`{value}` is not a number from {least} to {most}"))
}

fn timeout(value: &Value) -> Result<Duration, String> {
    let text = text(value)?;
    parse_duration(text)
        .filter(|timeout| *timeout >= Duration::from_millis(1))
        .ok_or_else(|| format!("`{text}` is not a time of at least 1ms, such as `0.5s`"))
}

/// One of those that Envoy has names for.
fn status(value: &Value) -> Result<u16, String> {
    let code = number(value, 100, 599)
        .map_err(|_| format!("`{value}` is not an HTTP status, such as `\"503\"`"))?;
    let is_known = matches!(
        code,
        100 | 200..=208
            | 226
            | 300..=305
            | 307
            | 308
            | 400..=417
            | 421..=424
            | 426
            | 428
            | 429
            | 431
            | 500..=508
            | 510
            | 511
    );
    match u16::try_from(code) {
        Ok(code) if is_known => Ok(code),
        Ok(_) | Err(_) => Err(format!("`{code}` is a status that Envoy does not answer with")),
    }
}

fn path_prefix(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let is_path = text.starts_with('/')
        && !text.contains(['?', '#'])
        && text.parse::<http::uri::PathAndQuery>().is_ok();
    if is_path {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a path, such as `/check`"))
    }
}

fn header_patterns(value: &Value) -> Result<Vec<HeaderPattern>, String> {
    let Value::Array(entries) = value else { return Err("must be a list".into()) };
    let pattern = |entry: &Value| {
        let text = text(entry)?;
        HeaderPattern::parse(text)
            .ok_or_else(|| format!("`{text}` alone is not taken: write a name, `x-*` or `*-x`"))
    };
    entries.iter().map(pattern).collect()
}

fn additional_headers(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let Value::Object(members) = value else { return Err("must hold headers by name".into()) };
    let mut headers = BTreeMap::new();
    for (name, value) in members {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::try_from(&*lower).is_err() {
            return Err(format!("`{name}` is not the name of a header"));
        }
        let Value::String(value) = value else { return Err(format!("`{name}` must be a text")) };
        // Never shown: it may be a secret.
        let plain = value.replace("%%", "");
        if plain.contains('%') {
            return Err(format!(
                "`{name}` has a `%`: Envoy's format strings are not supported, and a plain one is \
                 written `%%`"
            ));
        }
        let value = value.replace("%%", "%");
        if http::HeaderValue::try_from(&*value).is_err() {
            return Err(format!("`{name}` has a value that no header can have"));
        }
        if headers.insert(lower, value).is_some() {
            return Err(format!("`{name}` is there twice"));
        }
    }
    Ok(headers)
}

/// `host:port` or `unix:PATH`
fn address(value: &Value) -> Result<Place, String> {
    let text = text(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err("`unix:` needs a path, such as `unix:/run/opa.sock`".into()),
            path => Ok(Place::Unix(path.into())),
        };
    }
    let problem = || format!("`{text}` is not a host and a port, such as `opa.example:9191`");
    let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(problem)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let (_, host) = service(&Value::String(host.to_owned())).map_err(|_| problem())?;
    Ok(Place::Host(host, port))
}

#[cfg(test)]
mod tests;
