//! The embedded store and its API, as configured.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde_json::{Map, Value, json};

use super::Reader;
use super::values::{self, text};
use crate::api::access::{Grant, Roles};

/// The store, and who may change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder that it is in.
    pub folder: PathBuf,
    /// How many changes it remembers.
    pub history: usize,
    /// Its API; `None` serves what is there.
    pub api: Option<ApiConfig>,
}

/// Where the API is, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// Plain HTTP, to whoever is on this machine.
    pub insecure: bool,
    /// PEM files of the server's certificate with its chain, and of its key, instead of our own.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A PEM file of authorities for clients, beside our own.
    pub client_ca: Option<PathBuf>,
    /// Names and addresses in our own certificate, beside those of this machine.
    pub hosts: Vec<String>,
    /// Where to write a kubeconfig for the operator, instead of into the store's folder.
    pub kubeconfig: Option<PathBuf>,
    /// A file of bearer tokens.
    pub tokens: Option<PathBuf>,
    /// Rules for JSON Web Tokens, as a RequestAuthentication has them; null is none.
    pub jwt_rules: Value,
    /// Who may do what.
    pub roles: Roles,
    /// Whether writing into a namespace makes it.
    pub create_namespaces: bool,
    /// How many watches there may be at a time.
    pub most_watches: usize,
}

/// What means nothing without the API.
const OF_THE_API: [&str; 12] = [
    "apiCertificate",
    "apiClientCa",
    "apiCreateNamespaces",
    "apiHosts",
    "apiInsecure",
    "apiJwtRules",
    "apiKey",
    "apiKubeconfig",
    "apiMostWatches",
    "apiRoles",
    "apiTokens",
    "api",
];

impl StoreConfig {
    pub(super) fn read(read: &mut Reader<'_>) -> Option<Self> {
        let api = ApiConfig::read(read);
        let folder = read.setting("store", None, |value| values::path(value).map(Some));
        let history = read.setting("storeHistory", 10_000, |value| count(value, 1, 10_000_000));
        let set = read.layers.find("store").is_some();
        for name in OF_THE_API.into_iter().chain(["storeHistory"]).filter(|_| !set) {
            if let Some((origin, _)) = read.layers.find(name) {
                let subject = origin.subject(name);
                read.problems.add(subject, "there is no store: --store says where it is");
            }
        }
        if let (true, Some((origin, _))) = (set, read.layers.find("policies")) {
            let subject = origin.subject("policies");
            read.problems.add(
                subject,
                "policies come from --store already: bring them there, with kubectl or `postern \
                 store import`, or leave --store out",
            );
        }
        Some(Self { folder: folder?, history, api })
    }

    pub(super) fn show(&self, settings: &mut Map<String, Value>) {
        settings.insert("store".into(), self.folder.display().to_string().into());
        settings.insert("storeHistory".into(), self.history.into());
        let Some(api) = &self.api else { return };
        let shown = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string().into(),
            None => Value::Null,
        };
        let grants = api.roles.grants.iter().map(|grant| {
            json!({
                "role": grant.role.as_str(),
                "namespaces": grant.namespaces.names(),
                "users": grant.users,
                "groups": grant.groups,
            })
        });
        let mut set = |name: &str, value: Value| settings.insert(name.into(), value);
        set("api", api.address.to_string().into());
        set("apiInsecure", api.insecure.into());
        let (certificate, key) = api.identity.clone().unzip();
        set("apiCertificate", shown(&certificate));
        set("apiKey", shown(&key));
        set("apiClientCa", shown(&api.client_ca));
        set("apiHosts", api.hosts.clone().into());
        set("apiKubeconfig", shown(&api.kubeconfig));
        set("apiTokens", shown(&api.tokens));
        // An inline key set can hold a shared key.
        let issuers = api.jwt_rules.as_array().into_iter().flatten();
        set("apiJwtRules", issuers.map(|rule| json!({ "issuer": rule.get("issuer") })).collect());
        set("apiRoles", grants.collect());
        set("apiCreateNamespaces", api.create_namespaces.into());
        set("apiMostWatches", api.most_watches.into());
    }
}

impl ApiConfig {
    fn read(read: &mut Reader<'_>) -> Option<Self> {
        let path = |value: &Value| values::path(value).map(Some);
        let address = read.setting("api", None, |value| values::socket_address(value).map(Some));
        let insecure = read.setting("apiInsecure", false, values::boolean);
        let certificate = read.setting("apiCertificate", None, path);
        let key = read.setting("apiKey", None, path);
        let api = Self {
            address: address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            insecure,
            client_ca: read.setting("apiClientCa", None, path),
            hosts: read.setting("apiHosts", Vec::new(), hosts),
            kubeconfig: read.setting("apiKubeconfig", None, path),
            tokens: read.setting("apiTokens", None, path),
            jwt_rules: read.setting("apiJwtRules", Value::Null, rules),
            roles: read.setting("apiRoles", Roles::default(), roles),
            create_namespaces: read.setting("apiCreateNamespaces", false, values::boolean),
            most_watches: read.setting("apiMostWatches", 1_000, |value| count(value, 1, 100_000)),
            identity: None,
        };
        if certificate.is_some() != key.is_some() {
            let problem = "a certificate needs its key, and a key its certificate: set both";
            read.problems.add("--api-certificate, --api-key", problem);
        }
        let identity = certificate.zip(key);
        if insecure {
            if !api.address.ip().is_loopback() {
                let problem = format!(
                    "`{}` can be reached from elsewhere: without TLS only an address of loopback, \
                     such as `127.0.0.1:8443`",
                    api.address
                );
                read.problems.add("--api", problem);
            }
            if identity.is_some() || api.client_ca.is_some() {
                let problem = "there are no certificates without TLS: leave them or this out";
                read.problems.add("--api-insecure", problem);
            }
        }
        address.map(|_| Self { identity, ..api })
    }
}

fn count(value: &Value, least: usize, most: usize) -> Result<usize, String> {
    let text = match value.as_u64() {
        Some(number) => number.to_string(),
        None => text(value)?.to_owned(),
    };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from {least} to {most}"))
}

/// Names and addresses that a certificate can have.
pub(super) fn hosts(value: &Value) -> Result<Vec<String>, String> {
    let host = |text: &str| {
        let is_label = |label: &str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
            !label.is_empty() && label.len() <= 63 && label.chars().all(inner)
        };
        let is_name =
            text.len() <= 253 && text.strip_prefix("*.").unwrap_or(text).split('.').all(is_label);
        if text.parse::<IpAddr>().is_ok() || is_name {
            Ok(text.to_owned())
        } else {
            Err(format!("`{text}` is neither a name nor an address, such as `postern.example`"))
        }
    };
    texts(value)?.iter().map(|text| host(text)).collect()
}

pub(super) fn rules(value: &Value) -> Result<Value, String> {
    match value.as_array() {
        Some(rules) if rules.iter().all(Value::is_object) => Ok(value.clone()),
        Some(_) | None => {
            Err("must be a list of rules, as `jwtRules` of a RequestAuthentication".into())
        }
    }
}

fn roles(value: &Value) -> Result<Roles, String> {
    let Value::Array(entries) = value else {
        return Err("must be a list of `role`, `namespaces`, and `users` or `groups`".into());
    };
    let grants = (1..).zip(entries).map(|(number, entry)| {
        grant(entry).map_err(|problem| format!("entry {number}: {problem}"))
    });
    Ok(Roles { grants: grants.collect::<Result<_, _>>()? })
}

fn grant(value: &Value) -> Result<Grant, String> {
    const MEMBERS: [&str; 4] = ["role", "namespaces", "users", "groups"];
    let Value::Object(members) = value else {
        return Err("must have `role`, `namespaces`, and `users` or `groups`".into());
    };
    if let Some(key) = members.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
        return Err(format!("`{key}` is not one of `{}`", MEMBERS.join("`, `")));
    }
    let role = text(members.get("role").ok_or("`role` is missing")?)?;
    let list = |name: &str| match members.get(name) {
        Some(value) => texts(value).map_err(|problem| format!("`{name}`: {problem}")),
        None => Ok(Vec::new()),
    };
    Grant::new(role, list("namespaces")?, list("users")?, list("groups")?)
        .map_err(|error| error.to_string())
}

/// A list, or a text with commas.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value.as_array() {
        Some(items) => items.iter().map(|item| text(item).map(str::to_owned)).collect(),
        None => Ok(text(value)?.split(',').map(|part| part.trim().to_owned()).collect()),
    }
}
