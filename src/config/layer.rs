//! Settings by name, each with where it came from; nothing is typed yet.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value};

use super::{Environment, Problems, document, read};

/// Every setting by its name in files. Flags are the same in kebab-case, variables in
/// SCREAMING_SNAKE_CASE behind `POSTERN_`.
pub(super) const SETTINGS: [&str; 101] = [
    "admin",
    "api",
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
    "apiRuleDefaultDomain",
    "apiRuleDomains",
    "apiRuleJwtHandler",
    "apiRuleStrictScopes",
    "apiTokens",
    "cacheHint",
    "clientAddressHeader",
    "config",
    "console",
    "decisionLog",
    "decisionLogBuffer",
    "decisionLogFileSize",
    "decisionLogFiles",
    "decisionLogHeaders",
    "decisionLogRedact",
    "decisionLogSample",
    "extensionProviderClients",
    "extensionProviders",
    "httpFlavour",
    "httpListen",
    "httpPathPrefix",
    "httpProxyHeader",
    "httpTrustedProxies",
    "denials",
    "introspectionDestinations",
    "introspectionTimeout",
    "introspectionUrl",
    "jwksBlockedCidrs",
    "jwksCaCertificates",
    "jwksClients",
    "jwksMaxAge",
    "jwksRefreshInterval",
    "jwksStartupTimeout",
    "jwksUnknownKidInterval",
    "jwksUnknownKidWait",
    "kube",
    "kubeApiRules",
    "kubeContext",
    "kubeNamespaces",
    "kubeNode",
    "kubeStatus",
    "kubeWorkloads",
    "kubeconfig",
    "labels",
    "labelsFile",
    "listen",
    "logFormat",
    "logLevel",
    "management",
    "managementAdminClaims",
    "managementAudiences",
    "managementCa",
    "managementCertificate",
    "managementHosts",
    "managementInlineKubeconfig",
    "managementInlineKubeconfigDestinations",
    "managementInsecure",
    "managementIssuer",
    "managementJwksUri",
    "managementJwtRules",
    "managementKey",
    "maxHeadersSize",
    "maxMessageSize",
    "maxTokenSize",
    "meshConfig",
    "namespace",
    "pathNormalization",
    "policies",
    "probes",
    "prometheusCaCertificates",
    "prometheusGrpcErrors",
    "prometheusReporter",
    "prometheusScrapeInterval",
    "prometheusTimeout",
    "prometheusTokenFile",
    "prometheusUrl",
    "rootNamespace",
    "shutdownGrace",
    "socketMode",
    "store",
    "storeHistory",
    "tokenCacheSize",
    "trustDomain",
    "trustDomainAliases",
    "useRemoteAddress",
    "workers",
    "workloadFrom",
    "workloads",
    "xffNumTrustedHops",
];

/// Not set by flag or variable: they have more structure than one line holds.
const ONLY_IN_FILES: [&str; 8] = [
    "apiJwtRules",
    "apiRoles",
    "denials",
    "extensionProviderClients",
    "extensionProviders",
    "jwksClients",
    "managementJwtRules",
    "workloads",
];

/// Where settings come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Environment,
    /// A file: `--config` or `--mesh-config`.
    File(String),
}

impl Origin {
    /// How the user would say where this setting was set.
    pub(super) fn subject(&self, name: &str) -> String {
        match self {
            Self::Flag => flag(name),
            Self::Environment => format!("{} ({})", flag(name), variable(name)),
            Self::File(file) => format!("{file}: {name}"),
        }
    }
}

/// The settings of one origin.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    origin: Origin,
    values: BTreeMap<&'static str, Value>,
}

impl Default for Layer {
    fn default() -> Self {
        Self::new(Origin::Flag)
    }
}

impl Layer {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, values: BTreeMap::new() }
    }

    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.values.insert(name, value);
    }

    /// The `POSTERN_*` variables. An empty one counts as not set, as is usual for containers.
    pub(super) fn of_environment(environment: &Environment, warnings: &mut Vec<String>) -> Self {
        let mut layer = Self::new(Origin::Environment);
        for (variable_name, value) in &environment.variables {
            if !variable_name.starts_with("POSTERN_") || value.is_empty() {
                continue;
            }
            let known = SETTINGS
                .into_iter()
                .filter(|name| !ONLY_IN_FILES.contains(name))
                .find(|name| variable(name) == *variable_name);
            match known {
                Some(name) => layer.set(name, Value::String(value.clone())),
                None if is_service_link(variable_name) => {}
                None => warnings.push(format!("the variable `{variable_name}` is no setting")),
            }
        }
        layer
    }

    /// A `--config` file.
    pub(super) fn of_file(path: &Path, problems: &mut Problems) -> Self {
        let file = path.display().to_string();
        let mut layer = Self::new(Origin::File(file.clone()));
        let text = match read(path) {
            Ok(text) => text,
            Err(problem) => {
                problems.add(file, problem);
                return layer;
            }
        };
        layer.fill(document::object(&file, &text, problems), problems);
        layer
    }

    /// Settings that stand in a file of another kind.
    pub(super) fn of_members(
        file: &str,
        members: Map<String, Value>,
        problems: &mut Problems,
    ) -> Self {
        let mut layer = Self::new(Origin::File(file.to_owned()));
        layer.fill(members, problems);
        layer
    }

    fn fill(&mut self, members: Map<String, Value>, problems: &mut Problems) {
        let Origin::File(file) = self.origin.clone() else { return };
        for (key, value) in members {
            match SETTINGS.into_iter().find(|name| *name == key) {
                Some("config") => problems.add(&file, "`config` cannot be set in a config file"),
                Some(name) if value.is_null() => {
                    problems.add(self.origin.subject(name), "a value is missing");
                }
                Some(name) => self.set(name, value),
                None => problems.add(&file, document::unknown(&key, &SETTINGS)),
            }
        }
    }
}

/// Kubernetes sets variables for each service of the namespace, and one may be named `postern`.
fn is_service_link(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || ["_SERVICE_PORT_", "_TCP", "_UDP"].iter().any(|part| name.contains(part))
}

/// All layers, the strongest first.
#[derive(Debug, Default)]
pub(super) struct Layers(Vec<Layer>);

impl Layers {
    /// Below those before.
    pub(super) fn push(&mut self, layer: Layer) {
        self.0.push(layer);
    }

    pub(super) fn find(&self, name: &str) -> Option<(&Origin, &Value)> {
        self.0.iter().find_map(|layer| Some((&layer.origin, layer.values.get(name)?)))
    }

    /// Where each setting was set.
    pub(super) fn origins(&self) -> Vec<(&'static str, String)> {
        SETTINGS
            .into_iter()
            .filter_map(|name| Some((name, self.find(name)?.0.subject(name))))
            .collect()
    }
}

fn flag(name: &str) -> String {
    format!("--{}", separated(name, '-').to_ascii_lowercase())
}

fn variable(name: &str) -> String {
    format!("POSTERN_{}", separated(name, '_').to_ascii_uppercase())
}

fn separated(name: &str, separator: char) -> String {
    let mut separated = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            separated.push(separator);
        }
        separated.push(character);
    }
    separated
}
