//! How remote key sets are fetched, as configured.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::Reader;
use super::values::{self, show_duration, text};

/// Everything about remote key sets that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySourcesConfig {
    /// How often they are fetched, at most.
    pub refresh_interval: Duration,
    /// How long keys are used after they were last seen at their source.
    pub max_age: Duration,
    /// How often they are fetched because tokens name keys that are not there, at most.
    pub unknown_kid_interval: Duration,
    /// How long a request waits for such a key, at most.
    pub unknown_kid_wait: Duration,
    /// How long readiness waits for the first attempts, at most.
    pub startup_timeout: Duration,
    /// Ranges that keys are not fetched from, beside those that are never asked.
    pub blocked_cidrs: Vec<IpNet>,
    /// A PEM file of authorities that are trusted beside the system's.
    pub ca_certificates: Option<PathBuf>,
    /// What is different for some issuers.
    pub clients: Vec<KeySourceClient>,
}

/// How the sources of one issuer are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySourceClient {
    /// Whose.
    pub issuer: String,
    /// A PEM file of authorities that are trusted instead of all others.
    pub ca_certificates: Option<PathBuf>,
    /// PEM files of a client certificate with its chain, and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl KeySourcesConfig {
    pub(super) fn read(read: &mut Reader<'_>) -> Self {
        let (second, day) = (Duration::from_secs(1), Duration::from_hours(24));
        Self {
            refresh_interval: read.setting("jwksRefreshInterval", Duration::from_mins(20), |v| {
                values::duration(v, second, day)
            }),
            max_age: read.setting("jwksMaxAge", 7 * day, |v| {
                values::duration(v, Duration::from_mins(1), 90 * day)
            }),
            unknown_kid_interval: read.setting(
                "jwksUnknownKidInterval",
                Duration::from_secs(10),
                |v| values::duration(v, Duration::from_millis(100), Duration::from_hours(1)),
            ),
            unknown_kid_wait: read.setting("jwksUnknownKidWait", Duration::from_millis(150), |v| {
                values::duration(v, Duration::ZERO, Duration::from_secs(10))
            }),
            startup_timeout: read.setting("jwksStartupTimeout", Duration::from_secs(10), |v| {
                values::duration(v, Duration::ZERO, Duration::from_hours(1))
            }),
            blocked_cidrs: read.setting("jwksBlockedCidrs", Vec::new(), cidrs),
            ca_certificates: read
                .setting("jwksCaCertificates", None, |v| values::path(v).map(Some)),
            clients: read.setting("jwksClients", Vec::new(), clients),
        }
    }

    /// Adds the settings as they are in effect.
    pub(super) fn show(&self, settings: &mut Map<String, Value>) {
        let path = |path: &PathBuf| path.display().to_string();
        let client = |client: &KeySourceClient| {
            json!({
                "issuer": client.issuer,
                "caCertificates": client.ca_certificates.as_ref().map(path),
                "clientCertificate": client.identity.as_ref().map(|(chain, _)| path(chain)),
                "clientKey": client.identity.as_ref().map(|(_, key)| path(key)),
            })
        };
        let cidrs: Vec<_> = self.blocked_cidrs.iter().map(IpNet::to_string).collect();
        let clients: Vec<_> = self.clients.iter().map(client).collect();
        let shown = [
            ("jwksRefreshInterval", show_duration(self.refresh_interval).into()),
            ("jwksMaxAge", show_duration(self.max_age).into()),
            ("jwksUnknownKidInterval", show_duration(self.unknown_kid_interval).into()),
            ("jwksUnknownKidWait", show_duration(self.unknown_kid_wait).into()),
            ("jwksStartupTimeout", show_duration(self.startup_timeout).into()),
            ("jwksBlockedCidrs", cidrs.into()),
            ("jwksCaCertificates", self.ca_certificates.as_ref().map(path).into()),
            ("jwksClients", clients.into()),
        ];
        settings.extend(shown.map(|(name, value)| (name.to_owned(), value)));
    }
}

/// As `BLOCKED_CIDRS_IN_JWKS_URIS` of istiod: a list, or a text with commas.
pub(super) fn cidrs(value: &Value) -> Result<Vec<IpNet>, String> {
    match value.as_array() {
        Some(list) => list.iter().map(|entry| cidr(text(entry)?)).collect(),
        None => text(value)?.split(',').map(cidr).collect(),
    }
}

fn cidr(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse().map_err(|_| format!("`{text}` is not a range, such as `10.0.0.0/8`"))
}

fn clients(value: &Value) -> Result<Vec<KeySourceClient>, String> {
    let Value::Array(entries) = value else {
        return Err("must be a list with an `issuer` each".into());
    };
    let mut clients: Vec<KeySourceClient> = Vec::with_capacity(entries.len());
    for (number, entry) in (1..).zip(entries) {
        let client = client(entry).map_err(|problem| format!("entry {number}: {problem}"))?;
        if clients.iter().any(|other| other.issuer == client.issuer) {
            return Err(format!("entry {number}: `{}` is there twice", client.issuer));
        }
        clients.push(client);
    }
    Ok(clients)
}

fn client(value: &Value) -> Result<KeySourceClient, String> {
    const KNOWN: [&str; 4] = ["issuer", "caCertificates", "clientCertificate", "clientKey"];
    let Value::Object(members) = value else { return Err("must have an `issuer`".into()) };
    if let Some(key) = members.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(super::document::unknown(key, &KNOWN));
    }
    let path = |name| members.get(name).map(values::path).transpose();
    let identity = match (path("clientCertificate")?, path("clientKey")?) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        (Some(_), None) => return Err("`clientKey` is missing".into()),
        (None, Some(_)) => return Err("`clientCertificate` is missing".into()),
    };
    Ok(KeySourceClient {
        issuer: text(members.get("issuer").ok_or("`issuer` is missing")?)?.to_owned(),
        ca_certificates: path("caCertificates")?,
        identity,
    })
}
