//! What Postern is told to do: flags over `POSTERN_*` environment over `--config` over the mesh
//! config over defaults, all checked before anything starts.
//!
//! The only place that reads the environment. Acting on it is `app`'s job.

mod address;
mod api_rules;
mod decision_log;
mod denials;
mod document;
mod extension_providers;
mod flags;
mod http;
mod introspection;
mod key_sources;
mod kube;
mod layer;
#[cfg(feature = "management")]
mod management;
mod mesh_config;
mod opentelemetry;
#[cfg(feature = "api")]
mod store;
mod values;
mod workloads;

use std::{
    fmt,
    io::IsTerminal as _,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::authn::DEFAULT_MAX_TOKEN_SIZE;
use crate::compile::Settings;
use crate::extauthz::{DenialSettings, RequestSettings, WorkloadFrom};
use crate::manifest::ApiRuleOptions;
use crate::model::{Mesh, Service, Workload};
use crate::normalize::PathNormalization;
use crate::telemetry::logging::{LogFilter, LogFormat};

pub use address::{Address, InvalidAddress};
pub use decision_log::{DecisionLogConfig, DecisionLogTarget};
pub use extension_providers::{ExtensionProvidersConfig, ProviderReach, ProviderTls};
pub use flags::{Flags, PolicyFlags, ServerFlags};
pub use http::HttpConfig;
pub use introspection::IntrospectionConfig;
pub use key_sources::{KeySourceClient, KeySourcesConfig};
pub use kube::KubeConfig;
#[cfg(feature = "management")]
pub use management::{ManagementConfig, PrometheusConfig};
pub use opentelemetry::OtlpExport;
#[cfg(feature = "api")]
pub use store::{ApiConfig, StoreConfig};

use layer::{Layer, Layers};
use mesh_config::MeshConfig;

/// Everything that can be set, checked and typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Files and directories of policies; at least one, unless loaded without or policies come from
    /// somewhere else.
    pub policies: Vec<PathBuf>,
    /// The cluster that policies come from instead.
    pub kube: Option<KubeConfig>,
    /// The store that policies come from instead.
    #[cfg(feature = "api")]
    pub store: Option<StoreConfig>,
    /// The management API; `None` is none.
    #[cfg(feature = "management")]
    pub management: Option<ManagementConfig>,
    /// Mesh and workloads; the first workload is the default.
    pub settings: Arc<Settings>,
    /// How requests name their workload.
    pub workload_from: WorkloadFrom,
    /// Where gRPC ext_authz listens.
    pub listen: Address,
    /// Permissions of the socket file, where that is a unix socket.
    pub socket_mode: u32,
    /// The port for proxies that ask over HTTP; `None` is none.
    pub http: Option<HttpConfig>,
    /// Where the admin endpoints listen.
    pub admin: SocketAddr,
    /// Whether the console is shown there.
    pub console: bool,
    /// How many threads answer.
    pub workers: NonZeroUsize,
    /// Where liveness, readiness and metrics are shown, and nothing else; `None` is nowhere.
    pub probes: Option<SocketAddr>,
    /// Envoy's `use_remote_address`.
    pub use_remote_address: bool,
    /// Envoy's `xff_num_trusted_hops`.
    pub xff_num_trusted_hops: u32,
    /// The header, in lower case, in which Envoy says the client's address instead.
    pub client_address_header: Option<Arc<str>>,
    /// What to do to paths before they are matched.
    pub path_normalization: PathNormalization,
    /// Whom CUSTOM policies can name.
    pub extension_providers: ExtensionProvidersConfig,
    /// How APIRules are read.
    pub api_rules: ApiRuleOptions,
    /// Which events are logged.
    pub log_level: LogFilter,
    /// How they look.
    pub log_format: LogFormat,
    /// Whether they are coloured.
    pub colour: bool,
    /// Where decisions are logged; `None` is nowhere.
    pub decision_log: Option<DecisionLogConfig>,
    /// For how long answers may say that they hold; `None` says nothing.
    pub cache_hint: Option<Duration>,
    /// How denials look; `None` is as native filters make them.
    pub denials: Option<Arc<DenialSettings>>,
    /// How spans are exported, as the `OTEL_*` variables say; `None` exports none.
    pub traces: Option<OtlpExport>,
    /// How long requests may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// How remote key sets are fetched.
    pub key_sources: KeySourcesConfig,
    /// Whom tokens are sent to that only their issuer can read.
    pub introspection: IntrospectionConfig,
    /// How much memory verified tokens may take, in bytes; 0 keeps none.
    pub token_cache_size: usize,
    /// The largest CheckRequest, in bytes.
    pub max_message_size: usize,
    /// The most bytes of a request's headers.
    pub max_headers_size: usize,
    /// The most bytes of one token.
    pub max_token_size: usize,
    /// What is allowed and probably not meant; for the log.
    pub warnings: Vec<String>,
    /// Where each setting that is not a default was set.
    origins: Vec<(&'static str, String)>,
}

/// What the process was started with, beside its flags.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Variables by name.
    pub variables: Vec<(String, String)>,
    /// Whether stderr is a terminal.
    pub terminal: bool,
}

impl Environment {
    /// This process's own. Variables that are not Unicode cannot be settings, and are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables, terminal: std::io::stderr().is_terminal() }
    }

    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    }

    fn has(&self, name: &str) -> bool {
        self.variable(name).is_some()
    }
}

/// Every problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidConfig {
    /// Where it was set, and what is wrong with it.
    pub problems: Vec<(String, String)>,
}

impl std::error::Error for InvalidConfig {}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid configuration")?;
        for (subject, problem) in &self.problems {
            write!(f, "\n  {subject}: {problem}")?;
        }
        Ok(())
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
struct Problems(Vec<(String, String)>);

impl Problems {
    fn add(&mut self, subject: impl fmt::Display, problem: impl fmt::Display) {
        self.0.push((subject.to_string(), problem.to_string()));
    }
}

impl Config {
    /// Reads the files that flags or environment name, and checks everything. Every problem is in
    /// the error.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, InvalidConfig> {
        Self::read(None, flags, environment, true)
    }

    /// As [`Config::load`], for who asks a server that has policies of its own: without policies.
    pub fn load_without_policies(
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Self, InvalidConfig> {
        Self::read(None, flags, environment, false)
    }

    /// As [`Config::load_without_policies`], where a file of another kind has settings of its own,
    /// which come before flags.
    pub fn load_within(
        file: &str,
        settings: serde_json::Map<String, Value>,
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Self, InvalidConfig> {
        Self::read(Some((file, settings)), flags, environment, false)
    }

    fn read(
        within: Option<(&str, serde_json::Map<String, Value>)>,
        flags: &Flags,
        environment: &Environment,
        needs_policies: bool,
    ) -> Result<Self, InvalidConfig> {
        let mut problems = Problems::default();
        let mut warnings = Vec::new();
        let mut layers = Layers::default();
        if let Some((file, settings)) = within {
            layers.push(Layer::of_members(file, settings, &mut problems));
        }
        layers.push(flags.layer());
        layers.push(Layer::of_environment(environment, &mut warnings));
        if let Some((origin, value)) = layers.find("config") {
            match values::path(value) {
                Ok(path) => layers.push(Layer::of_file(&path, &mut problems)),
                Err(problem) => problems.add(origin.subject("config"), problem),
            }
        }
        let mut mesh_config = MeshConfig::default();
        if let Some((origin, value)) = layers.find("meshConfig") {
            match values::path(value) {
                Ok(path) => mesh_config = MeshConfig::read(&path, &mut problems),
                Err(problem) => problems.add(origin.subject("meshConfig"), problem),
            }
        }
        layers.push(std::mem::take(&mut mesh_config.layer));
        let mut read = Reader { layers: &layers, problems };
        let found = |name| layers.find(name).map(|(_, value)| value);
        let elsewhere =
            found("store").is_some() || found("kube").map(values::boolean) == Some(Ok(true));
        if needs_policies && found("policies").is_none() && !elsewhere {
            read.problems.add("--policies", "a file or directory of policies is needed");
        }
        let config = read.config(&mesh_config, environment, warnings);
        if read.problems.0.is_empty() {
            Ok(config)
        } else {
            Err(InvalidConfig { problems: read.problems.0 })
        }
    }

    /// Tells the workloads which of these Services lead to them.
    pub fn found_by(&mut self, services: &[Service]) {
        if !services.is_empty() {
            let settings = Arc::make_mut(&mut self.settings);
            settings.workloads.iter_mut().for_each(|workload| workload.found_by(services));
        }
    }

    /// The whole configuration as it is in effect, for people. No setting holds a secret; one that
    /// ever does is listed here as `<redacted>`.
    pub fn to_json(&self) -> Value {
        let Settings { mesh, workloads: known } = &*self.settings;
        let shown = |path: &PathBuf| path.display().to_string();
        let mut settings = json!({
            "policies": self.policies.iter().map(shown).collect::<Vec<_>>(),
            "workloads": known.iter().map(workloads::show).collect::<Vec<_>>(),
            "listen": self.listen.to_string(),
            "socketMode": format!("{:04o}", self.socket_mode),
            "admin": self.admin.to_string(),
            "console": self.console,
            "workers": self.workers,
            "probes": self.probes.map(|address| address.to_string()),
            "workloadFrom": self.workload_from.as_str(),
            "rootNamespace": mesh.root_namespace,
            "trustDomain": mesh.trust_domain,
            "trustDomainAliases": mesh.trust_domain_aliases,
            "useRemoteAddress": self.use_remote_address,
            "xffNumTrustedHops": self.xff_num_trusted_hops,
            "clientAddressHeader": self.client_address_header.as_deref(),
            "pathNormalization": self.path_normalization.as_str(),
            "extensionProviders": null,
            "logLevel": self.log_level.to_string(),
            "logFormat": self.log_format.as_str(),
            "shutdownGrace": values::show_duration(self.shutdown_grace),
            "tokenCacheSize": values::show_size(self.token_cache_size),
            "maxMessageSize": self.max_message_size,
            "maxHeadersSize": self.max_headers_size,
            "maxTokenSize": self.max_token_size,
        });
        if let Value::Object(settings) = &mut settings {
            self.extension_providers.show(settings);
            self.key_sources.show(settings);
            self.introspection.show(settings);
            api_rules::show(&self.api_rules, settings);
            match &self.http {
                Some(http) => http.show(settings),
                None => drop(settings.insert("httpListen".into(), json!("off"))),
            }
            if self.traces.is_some() {
                settings.insert("traces".into(), json!("otlp"));
            }
            if let Some(decision_log) = &self.decision_log {
                decision_log.show(settings);
            }
            if let Some(longest) = self.cache_hint {
                settings.insert("cacheHint".into(), values::show_duration(longest).into());
            }
            if let Some(denials) = &self.denials {
                settings.insert("denials".into(), denials::show(denials));
            }
            if let Some(kube) = &self.kube {
                kube.show(settings);
            }
            #[cfg(feature = "api")]
            if let Some(store) = &self.store {
                store.show(settings);
            }
            #[cfg(feature = "management")]
            if let Some(management) = &self.management {
                management.show(settings);
            }
            let origins: std::collections::BTreeMap<_, _> = self.origins.iter().cloned().collect();
            settings.insert("setBy".into(), json!(origins));
        }
        settings
    }
}

/// Takes each setting from the first layer that has it.
struct Reader<'l> {
    layers: &'l Layers,
    problems: Problems,
}

impl Reader<'_> {
    /// Total: what has a problem gets its default, and the problem is remembered.
    fn config(
        &mut self,
        mesh_config: &MeshConfig,
        environment: &Environment,
        mut warnings: Vec<String>,
    ) -> Config {
        let policies = self.setting("policies", Vec::new(), values::paths);
        let listen = self.setting("listen", Address::default(), values::address);
        let admin = self.setting("admin", values::DEFAULT_ADMIN, values::socket_address);
        if listen == Address::Tcp(admin) && admin.port() != 0 {
            self.problems.add("--admin", format!("`{admin}` is taken by --listen"));
        }
        let probes = self.probes(&listen, admin);
        exposure(&listen, admin, &mut warnings);
        let path_normalization =
            self.setting("pathNormalization", PathNormalization::None, values::path_normalization);
        let http = HttpConfig::read(self, path_normalization, &mut warnings);
        let providers = ExtensionProvidersConfig::read(self, &mut warnings);
        if let Some(HttpConfig { listen: Address::Tcp(address), .. }) = &http {
            self.http_is_elsewhere(*address, &listen, admin, probes);
        }
        let use_remote_address = self.setting("useRemoteAddress", false, values::boolean);
        let hops = self.trusted_hops(mesh_config, use_remote_address, &mut warnings);
        let header = self.setting("clientAddressHeader", None, values::address_header);
        if header.is_some() && (use_remote_address || hops > 0) {
            self.problems.add(
                "--client-address-header",
                "the address is read from the header, so neither --use-remote-address nor \
                 --xff-num-trusted-hops can be set",
            );
        }
        let settings = Arc::new(self.meaning());
        let kube = KubeConfig::read(self, &settings, environment);
        #[cfg(feature = "api")]
        let store = store::StoreConfig::read(self);
        #[cfg(not(feature = "api"))]
        self.no_store();
        #[cfg(feature = "management")]
        let management = ManagementConfig::read(self);
        #[cfg(not(feature = "management"))]
        self.no_management();
        let format = self.setting("logFormat", None, values::log_format);
        let plain = if environment.terminal { LogFormat::Human } else { LogFormat::Json };
        Config {
            policies,
            kube,
            #[cfg(feature = "api")]
            store,
            #[cfg(feature = "management")]
            management,
            settings,
            workload_from: self.setting(
                "workloadFrom",
                WorkloadFrom::default(),
                workloads::workload_from,
            ),
            listen,
            socket_mode: self.setting("socketMode", 0o660, values::socket_mode),
            http,
            admin,
            console: self.console(),
            workers: self.setting("workers", None, values::workers).unwrap_or_else(cores),
            probes,
            use_remote_address,
            xff_num_trusted_hops: hops,
            client_address_header: header,
            path_normalization,
            api_rules: api_rules::read(self, &providers.names()),
            extension_providers: providers,
            log_level: self.setting("logLevel", LogFilter::default(), values::log_filter),
            log_format: format.unwrap_or(plain),
            colour: environment.terminal && !environment.has("NO_COLOR"),
            traces: opentelemetry::traces(self, environment),
            decision_log: DecisionLogConfig::read(self, environment),
            denials: denials::read(self).map(Arc::new),
            cache_hint: self.setting("cacheHint", None, |value| {
                let (least, most) = (Duration::from_secs(1), Duration::from_hours(1));
                values::duration(value, least, most).map(Some)
            }),
            shutdown_grace: self.setting(
                "shutdownGrace",
                Duration::from_secs(10),
                values::shutdown_grace,
            ),
            key_sources: KeySourcesConfig::read(self),
            introspection: IntrospectionConfig::read(self),
            token_cache_size: self.setting("tokenCacheSize", 32 << 20, values::token_cache_size),
            max_message_size: self.setting("maxMessageSize", 4 << 20, values::message_size),
            max_headers_size: self.setting(
                "maxHeadersSize",
                RequestSettings::DEFAULT_MAX_HEADERS_SIZE,
                values::headers_size,
            ),
            max_token_size: self.setting(
                "maxTokenSize",
                DEFAULT_MAX_TOKEN_SIZE,
                values::token_size,
            ),
            warnings,
            origins: self.layers.origins(),
        }
    }

    fn meaning(&mut self) -> Settings {
        let defaults = Mesh::default();
        let mesh = Mesh {
            root_namespace: self.setting(
                "rootNamespace",
                defaults.root_namespace,
                values::namespace,
            ),
            trust_domain: self.setting("trustDomain", defaults.trust_domain, values::trust_domain),
            trust_domain_aliases: self.setting(
                "trustDomainAliases",
                defaults.trust_domain_aliases,
                values::trust_domains,
            ),
        };
        let namespace = self.setting("namespace", "default".to_owned(), values::namespace);
        let labels = self.labels();
        let mut known = vec![Workload { namespace, labels, ..Workload::default() }];
        known.extend(workloads::read(self));
        Settings { mesh, workloads: known }
    }

    fn labels(&mut self) -> std::collections::BTreeMap<String, String> {
        if let (Some((origin, _)), Some((file_origin, _))) =
            (self.layers.find("labels"), self.layers.find("labelsFile"))
        {
            let problem = format!("labels are set by {} too", origin.subject("labels"));
            self.problems.add(file_origin.subject("labelsFile"), problem);
        }
        let of_file = self.setting("labelsFile", Default::default(), values::labels_file);
        self.setting("labels", of_file, values::labels)
    }

    fn probes(&mut self, listen: &Address, admin: SocketAddr) -> Option<SocketAddr> {
        let parse = |value: &Value| values::socket_address(value).map(Some);
        let probes = self.setting("probes", None, parse)?;
        let taken = [(Address::Tcp(admin), "--admin"), (listen.clone(), "--listen")];
        let same = |address: &Address| probes.port() != 0 && *address == Address::Tcp(probes);
        if let Some((_, by)) = taken.iter().find(|(address, _)| same(address)) {
            self.problems.add("--probes", format!("`{probes}` is taken by {by}"));
        }
        Some(probes)
    }

    fn console(&mut self) -> bool {
        let is_built_in = cfg!(feature = "console");
        let is_wanted = self.setting("console", is_built_in, values::boolean);
        if is_wanted && !is_built_in {
            self.problems.add("--console", "this Postern was built without it (feature `console`)");
        }
        is_wanted && is_built_in
    }

    fn http_is_elsewhere(
        &mut self,
        http: SocketAddr,
        listen: &Address,
        admin: SocketAddr,
        probes: Option<SocketAddr>,
    ) {
        let same = |address: SocketAddr| http.port() != 0 && address == http;
        let listen = if let Address::Tcp(listen) = listen { Some(*listen) } else { None };
        let taken = [(listen, "--listen"), (Some(admin), "--admin"), (probes, "--probes")];
        if let Some((_, by)) = taken.iter().find(|(address, _)| address.is_some_and(same)) {
            let problem = format!("`{http}` is taken by {by}");
            self.problems.add("--http-listen", problem);
        }
    }

    /// Istio uses `numTrustedProxies` for gateways only, and gateways use the remote address.
    fn trusted_hops(
        &mut self,
        mesh_config: &MeshConfig,
        use_remote_address: bool,
        warnings: &mut Vec<String>,
    ) -> u32 {
        let default = match mesh_config.num_trusted_proxies {
            Some(proxies) if use_remote_address => proxies,
            Some(1..) if self.layers.find("xffNumTrustedHops").is_none() => {
                warnings.push(
                    "numTrustedProxies of the mesh config is for gateways and not used: \
                     --use-remote-address is false"
                        .into(),
                );
                0
            }
            Some(_) | None => 0,
        };
        self.setting("xffNumTrustedHops", default, values::hops)
    }

    #[cfg(not(feature = "api"))]
    fn no_store(&mut self) {
        for name in ["store", "api"] {
            if let Some((origin, _)) = self.layers.find(name) {
                let problem = "this Postern was built without its store (feature `api`)";
                self.problems.add(origin.subject(name), problem);
            }
        }
    }

    #[cfg(not(feature = "management"))]
    fn no_management(&mut self) {
        if let Some((origin, _)) = self.layers.find("management") {
            let problem = "this Postern was built without it (feature `management`)";
            self.problems.add(origin.subject("management"), problem);
        }
    }

    fn setting<T>(
        &mut self,
        name: &'static str,
        default: T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        let Some((origin, value)) = self.layers.find(name) else { return default };
        match parse(value) {
            Ok(value) => value,
            Err(problem) => {
                self.problems.add(origin.subject(name), problem);
                default
            }
        }
    }
}

/// As many as this process may use: affinity and the quota of its control group count.
fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A time as settings are written, such as `500ms`, within these bounds; or what to write instead.
pub fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    values::duration(&Value::String(text.to_owned()), least, most)
}

fn exposure(listen: &Address, admin: SocketAddr, warnings: &mut Vec<String>) {
    if let Address::Tcp(address) = listen
        && !address.ip().is_loopback()
    {
        warnings.push(format!(
            "gRPC on {address} answers everyone who reaches it: allow only Envoy to, since others \
             can find out what the policies let through"
        ));
    }
    if !admin.ip().is_loopback() {
        warnings.push(format!(
            "the admin endpoints on {admin} answer everyone who reaches them: they show policies and \
             configuration and change the log level"
        ));
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
