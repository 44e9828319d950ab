//! The management API, as configured.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::{Map, Value, json};

use super::Reader;
use super::layer::SETTINGS;
use super::store;
use super::values::{self, show_duration, text};
use crate::management::access::DEFAULT_ADMIN_CLAIMS;
use crate::management::mesh::Destinations;
use crate::management::metric::{Reporter, Telemetry};
use crate::management::prometheus::Prometheus;

/// Where the management API is, for whom, and what it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// Plain HTTP, on this machine.
    pub insecure: bool,
    /// PEM files of its certificate with its chain, and of the key, instead of our own.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Names and addresses in our own certificate, beside those of this machine.
    pub hosts: Vec<String>,
    /// Where to write the authority of our own certificate.
    pub ca: Option<PathBuf>,
    /// Rules for the tokens of callers, as a RequestAuthentication has them.
    pub jwt_rules: Value,
    /// Claims that may hold the admin role.
    pub admin_claims: Vec<String>,
    /// Where the numbers are.
    pub prometheus: Option<PrometheusConfig>,
    /// Whether administrators may send kubeconfigs of other clusters, and where these may be: hosts and
    /// CIDR ranges. `None` is not at all.
    pub inline_kubeconfig: Option<Vec<String>>,
}

/// The Prometheus that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusConfig {
    /// Where it is.
    pub url: String,
    /// How the telemetry in it is read.
    pub telemetry: Telemetry,
    /// How long one answer may take.
    pub timeout: Duration,
    /// A file with a bearer token for it.
    pub token_file: Option<PathBuf>,
    /// A PEM file of authorities trusted for it, beside the system's.
    pub ca_certificates: Option<PathBuf>,
}

/// What means nothing without the API.
fn others() -> impl Iterator<Item = &'static str> {
    let is_other = |name: &&str| {
        *name != "management" && (name.starts_with("management") || is_of_prometheus(name))
    };
    SETTINGS.into_iter().filter(is_other)
}

fn is_of_prometheus(name: &str) -> bool {
    name.starts_with("prometheus")
}

impl ManagementConfig {
    pub(super) fn read(read: &mut Reader<'_>) -> Option<Self> {
        let path = |value: &Value| values::path(value).map(Some);
        let address =
            read.setting("management", None, |value| values::socket_address(value).map(Some));
        if read.layers.find("management").is_none() {
            for name in others() {
                if let Some((origin, _)) = read.layers.find(name) {
                    let subject = origin.subject(name);
                    read.problems.add(subject, "is for --management, which is not set");
                }
            }
            return None;
        }
        let insecure = read.setting("managementInsecure", false, values::boolean);
        let certificate = read.setting("managementCertificate", None, path);
        let key = read.setting("managementKey", None, path);
        if certificate.is_some() != key.is_some() {
            let problem = "a certificate needs its key, and a key its certificate: set both";
            read.problems.add("--management-certificate, --management-key", problem);
        }
        let identity = certificate.zip(key);
        let hosts = read.setting("managementHosts", Vec::new(), store::hosts);
        let ca = read.setting("managementCa", None, path);
        let jwt_rules = jwt_rules(read);
        let claims = read.setting(
            "managementAdminClaims",
            DEFAULT_ADMIN_CLAIMS.map(str::to_owned).to_vec(),
            store::texts,
        );
        let config = Self {
            address: address?,
            insecure,
            identity,
            hosts,
            ca,
            jwt_rules,
            admin_claims: claims,
            prometheus: PrometheusConfig::read(read),
            inline_kubeconfig: inline_kubeconfig(read),
        };
        config.check_transport(read);
        Some(config)
    }

    fn check_transport(&self, read: &mut Reader<'_>) {
        let own = !self.hosts.is_empty() || self.ca.is_some();
        if self.insecure {
            if !self.address.ip().is_loopback() {
                let problem = format!(
                    "`{}` can be reached from elsewhere: without TLS only an address of loopback, \
                     such as `127.0.0.1:9443`",
                    self.address
                );
                read.problems.add("--management", problem);
            }
            if self.identity.is_some() || own {
                let problem = "there are no certificates without TLS: leave them or this out";
                read.problems.add("--management-insecure", problem);
            }
        } else if self.identity.is_some() && own {
            let problem = "are for a certificate that Postern makes itself, and it has one";
            read.problems.add("--management-hosts, --management-ca", problem);
        }
    }

    pub(super) fn show(&self, settings: &mut Map<String, Value>) {
        let shown = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string().into(),
            None => Value::Null,
        };
        let mut set = |name: &str, value: Value| settings.insert(name.into(), value);
        set("management", self.address.to_string().into());
        set("managementInsecure", self.insecure.into());
        let (certificate, key) = self.identity.clone().unzip();
        set("managementCertificate", shown(&certificate));
        set("managementKey", shown(&key));
        set("managementHosts", self.hosts.clone().into());
        set("managementCa", shown(&self.ca));
        // An inline key set can hold a shared key.
        let rules = self.jwt_rules.as_array().into_iter().flatten();
        let issuers = rules.map(|rule| json!({ "issuer": rule.get("issuer") }));
        set("managementJwtRules", issuers.collect());
        set("managementAdminClaims", self.admin_claims.clone().into());
        set("managementInlineKubeconfig", self.inline_kubeconfig.is_some().into());
        set("managementInlineKubeconfigDestinations", json!(self.inline_kubeconfig));
        let Some(prometheus) = &self.prometheus else { return };
        // A URL may hold credentials.
        let url = Prometheus::target(&prometheus.url).map(|target| target.to_string());
        let url = url.ok().and_then(|url| url.strip_suffix("/api/v1/query_range").map(Value::from));
        set("prometheusUrl", url.unwrap_or_default());
        let telemetry = prometheus.telemetry;
        set("prometheusGrpcErrors", telemetry.grpc_errors.into());
        set("prometheusReporter", telemetry.reporter.as_str().into());
        set("prometheusScrapeInterval", show_duration(telemetry.scrape_interval).into());
        set("prometheusTimeout", show_duration(prometheus.timeout).into());
        set("prometheusTokenFile", shown(&prometheus.token_file));
        set("prometheusCaCertificates", shown(&prometheus.ca_certificates));
    }
}

/// The rules of the file, or the one of flags.
fn jwt_rules(read: &mut Reader<'_>) -> Value {
    let rules = read.setting("managementJwtRules", Value::Null, store::rules);
    let text = |value: &Value| text(value).map(|text| Some(text.to_owned()));
    let issuer = read.setting("managementIssuer", None, text);
    let jwks_uri = read.setting("managementJwksUri", None, text);
    let audiences = read.setting("managementAudiences", Vec::new(), store::texts);
    let simple = issuer.is_some() || jwks_uri.is_some() || !audiences.is_empty();
    let has_rules = rules.as_array().is_some_and(|rules| !rules.is_empty());
    match (has_rules, simple) {
        (true, true) => {
            let problem = "rules stand in managementJwtRules: leave them or this out";
            read.problems.add("--management-issuer", problem);
        }
        (true, false) => return rules,
        (false, true) => {
            let (Some(issuer), false) = (issuer, audiences.is_empty()) else {
                let problem = "needs both, and --management-jwks-uri where the issuer does not say \
                               where its keys are: tokens of others, or meant for others, are not \
                               for it";
                read.problems.add("--management-issuer, --management-audiences", problem);
                return Value::Null;
            };
            let mut rule = json!({ "issuer": issuer, "audiences": audiences });
            if let (Some(uri), Value::Object(rule)) = (jwks_uri, &mut rule) {
                rule.insert("jwksUri".into(), uri.into());
            }
            return json!([rule]);
        }
        (false, false) => {
            let problem = "nobody could call it: say whose tokens are taken, with \
                           --management-issuer and --management-audiences, or with \
                           managementJwtRules in the --config file";
            read.problems.add("--management", problem);
        }
    }
    Value::Null
}

fn inline_kubeconfig(read: &mut Reader<'_>) -> Option<Vec<String>> {
    let is_on = read.setting("managementInlineKubeconfig", false, values::boolean);
    let destinations =
        read.setting("managementInlineKubeconfigDestinations", Vec::new(), destinations);
    if is_on && destinations.is_empty() {
        let problem = "needs --management-inline-kubeconfig-destinations: whoever sends a kubeconfig \
                       says where Postern connects to";
        read.problems.add("--management-inline-kubeconfig", problem);
    }
    is_on.then_some(destinations)
}

/// Hosts, addresses and ranges of addresses.
fn destinations(value: &Value) -> Result<Vec<String>, String> {
    let entries = store::texts(value)?;
    Destinations::parse(&entries).map_err(|error| error.to_string())?;
    Ok(entries)
}

impl PrometheusConfig {
    fn read(read: &mut Reader<'_>) -> Option<Self> {
        let path = |value: &Value| values::path(value).map(Some);
        let url = read.setting("prometheusUrl", None, |value| url(value).map(Some));
        let config = Self {
            telemetry: Telemetry {
                reporter: read.setting("prometheusReporter", Reporter::default(), reporter),
                scrape_interval: read.setting(
                    "prometheusScrapeInterval",
                    Duration::from_secs(15),
                    |it| values::duration(it, Duration::from_secs(1), Duration::from_hours(1)),
                ),
                grpc_errors: read.setting("prometheusGrpcErrors", false, values::boolean),
            },
            timeout: read.setting("prometheusTimeout", Duration::from_secs(10), |it| {
                values::duration(it, Duration::from_millis(100), Duration::from_mins(2))
            }),
            token_file: read.setting("prometheusTokenFile", None, path),
            ca_certificates: read.setting("prometheusCaCertificates", None, path),
            url: url.clone().unwrap_or_default(),
        };
        if read.layers.find("prometheusUrl").is_none() {
            for name in others().filter(|name| is_of_prometheus(name)) {
                if let Some((origin, _)) = read.layers.find(name) {
                    let subject = origin.subject(name);
                    read.problems.add(subject, "is for --prometheus-url, which is not set");
                }
            }
        }
        url.map(|_| config)
    }
}

fn url(value: &Value) -> Result<String, String> {
    let text = text(value)?.trim();
    match Prometheus::target(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be a URL, such as `http://prometheus.monitoring:9090`".into()),
    }
}

fn reporter(value: &Value) -> Result<Reporter, String> {
    match text(value)? {
        "source|waypoint" => Ok(Reporter::Source),
        "destination" => Ok(Reporter::Destination),
        text => Err(format!("`{text}` is not `source|waypoint` or `destination`")),
    }
}
