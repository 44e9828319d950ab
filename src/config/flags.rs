//! The command line of `serve`, and of every command that reads policies: strings, as typed.

use std::path::PathBuf;

use serde_json::Value;

use super::layer::{Layer, Origin};

/// Everything that can be said on the command line.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// What is enforced, and for whom.
    #[command(flatten)]
    pub policy: PolicyFlags,
    /// How it is served.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Flags that give policies their meaning; shared by every command that reads policies.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PolicyFlags {
    /// Files and directories of policies (.yaml, .yml, .json), read below in name order
    #[arg(long, short, value_name = "PATH", num_args = 1..)]
    pub policies: Vec<PathBuf>,

    /// Namespace of the workload that the policies protect [default: default]
    #[arg(long, value_name = "NS")]
    pub namespace: Option<String>,

    /// Labels of that workload, as `app=reviews,version=v2`
    #[arg(long, value_name = "K=V,...")]
    pub labels: Option<String>,

    /// A file with those labels instead, as the downward API writes it: `app="reviews"` on each line
    #[arg(long, value_name = "FILE")]
    pub labels_file: Option<String>,

    /// Namespace whose policies hold in every namespace [default: istio-system]
    #[arg(long, value_name = "NS", help_heading = "Mesh")]
    pub root_namespace: Option<String>,

    /// Trust domain of the mesh [default: cluster.local]
    #[arg(long, value_name = "TD", help_heading = "Mesh")]
    pub trust_domain: Option<String>,

    /// Other names of the trust domain
    #[arg(long, value_name = "TD,...", help_heading = "Mesh")]
    pub trust_domain_aliases: Option<String>,

    /// A file with Istio's MeshConfig, for what is not set otherwise
    #[arg(long, value_name = "FILE", help_heading = "Mesh")]
    pub mesh_config: Option<String>,

    /// What follows a host of one label in an APIRule [default: none, such hosts are refused]
    #[arg(long, value_name = "DOMAIN", help_heading = "APIRules")]
    pub api_rule_default_domain: Option<String>,

    /// The domains that hosts of APIRules may be in [default: any]
    #[arg(long, value_name = "DOMAIN,...", help_heading = "APIRules")]
    pub api_rule_domains: Option<String>,

    /// Kyma's jwtHandler, ory or istio [default: the form that the oldest APIRule has]
    #[arg(long, value_name = "HANDLER", help_heading = "APIRules")]
    pub api_rule_jwt_handler: Option<String>,

    /// Whether only the claim `scope` is split at blanks, as Istio does, and not `scp` and `scopes`
    /// [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "APIRules")]
    pub api_rule_strict_scopes: Option<String>,

    /// `use_remote_address` of Envoy's listener [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Requests")]
    pub use_remote_address: Option<String>,

    /// `xff_num_trusted_hops` of Envoy's listener [default: 0]
    #[arg(long, value_name = "N", help_heading = "Requests", allow_negative_numbers = true)]
    pub xff_num_trusted_hops: Option<String>,

    /// The header in which Envoy says the client's address, instead of the two above
    #[arg(long, value_name = "NAME", help_heading = "Requests")]
    pub client_address_header: Option<String>,

    /// NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES [default: NONE, Envoy has done it]
    #[arg(long, value_name = "MODE", help_heading = "Requests")]
    pub path_normalization: Option<String>,

    /// What names the workload of a request where its context does not: context (the default workload)
    /// or destination (its address or certificate) [default: context]
    #[arg(long, value_name = "WHAT", help_heading = "Requests")]
    pub workload_from: Option<String>,

    /// The most bytes of headers of a request; larger ones are denied unread [default: 128KiB]
    #[arg(long, value_name = "SIZE", help_heading = "Requests")]
    pub max_headers_size: Option<String>,

    /// The most bytes of a token; larger ones are refused unread [default: 64KiB]
    #[arg(long, value_name = "SIZE", help_heading = "Requests")]
    pub max_token_size: Option<String>,

    /// A YAML file with any of these settings, in camelCase
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
}

/// Flags of the server itself.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct ServerFlags {
    /// Where gRPC ext_authz listens: an address or unix:PATH [default: 127.0.0.1:9191]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// Permissions of the socket file, in octal [default: 0660]
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<String>,

    /// Where proxies ask over HTTP: an address, unix:PATH, or off [default: 127.0.0.1:9192]
    #[arg(long, value_name = "ADDR", help_heading = "HTTP")]
    pub http_listen: Option<String>,

    /// Which proxy asks there: envoy (`http_service`), nginx (`auth_request`), or traefik (ForwardAuth)
    /// [default: envoy]
    #[arg(long, value_name = "PROXY", help_heading = "HTTP", alias = "http-flavor")]
    pub http_flavour: Option<String>,

    /// `path_prefix` of Envoy's `http_service` [default: none]
    #[arg(long, value_name = "PATH", help_heading = "HTTP")]
    pub http_path_prefix: Option<String>,

    /// The header in which the proxy says what else it knows (docs/http.md) [default: none]
    #[arg(long, value_name = "NAME", help_heading = "HTTP")]
    pub http_proxy_header: Option<String>,

    /// From where proxies may ask there [default: this machine]
    #[arg(long, value_name = "CIDR,...", help_heading = "HTTP")]
    pub http_trusted_proxies: Option<String>,

    /// Where livez, readyz, metrics and config_dump are [default: 127.0.0.1:8282]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,

    /// Whether the console is shown there, at /console/ [default: true]
    #[arg(long, value_name = "BOOL")]
    pub console: Option<String>,

    /// How many threads answer; 0 is one for each core [default: 0]
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,

    /// Where only livez, readyz and metrics are, for kubelet and Prometheus [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub probes: Option<String>,

    /// A level, or levels by target as `info,postern::control=debug` [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// human, json, or auto: human on a terminal [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Where decisions are logged: off, stdout, file:PATH, or otlp as the OTEL_* variables say [default: off]
    #[arg(long, value_name = "WHERE", help_heading = "Decision log")]
    pub decision_log: Option<String>,

    /// What share of them, as `allow=0.01,deny=1,audit=1` [default: all]
    #[arg(long, value_name = "RATES", help_heading = "Decision log")]
    pub decision_log_sample: Option<String>,

    /// Headers that are logged beside those that policies look at [default: x-request-id]
    #[arg(long, value_name = "NAME,...", help_heading = "Decision log")]
    pub decision_log_headers: Option<String>,

    /// Headers that are not, beside those that hold tokens and cookies
    #[arg(long, value_name = "NAME,...", help_heading = "Decision log")]
    pub decision_log_redact: Option<String>,

    /// How much may wait to be written before more is dropped [default: 16MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Decision log")]
    pub decision_log_buffer: Option<String>,

    /// How large the file gets before the next begins [default: 100MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Decision log")]
    pub decision_log_file_size: Option<String>,

    /// How many of those before are kept [default: 5]
    #[arg(long, value_name = "N", help_heading = "Decision log")]
    pub decision_log_files: Option<String>,

    /// How long requests may take to finish at shutdown [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub shutdown_grace: Option<String>,

    /// How often remote key sets are fetched [default: 20m]
    #[arg(long, value_name = "TIME", help_heading = "Keys")]
    pub jwks_refresh_interval: Option<String>,

    /// How long keys are used after they were last seen at their source [default: 168h]
    #[arg(long, value_name = "TIME", help_heading = "Keys")]
    pub jwks_max_age: Option<String>,

    /// How often, at most, keys are fetched because tokens name unknown ones [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Keys")]
    pub jwks_unknown_kid_interval: Option<String>,

    /// How long a request waits for such a key, and never longer than Envoy does [default: 150ms]
    #[arg(long, value_name = "TIME", help_heading = "Keys")]
    pub jwks_unknown_kid_wait: Option<String>,

    /// How long readiness waits for the first fetch of each key set [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Keys")]
    pub jwks_startup_timeout: Option<String>,

    /// Ranges that keys are never fetched from, beside link-local and metadata addresses
    #[arg(long, value_name = "CIDR,...", help_heading = "Keys")]
    pub jwks_blocked_cidrs: Option<String>,

    /// A PEM file of authorities trusted for fetching keys, beside the system's
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub jwks_ca_certificates: Option<String>,

    /// Servers that callers' tokens may be sent to, so that these say whether they are good
    #[arg(long, value_name = "URL,...", help_heading = "Keys")]
    pub introspection_destinations: Option<String>,

    /// The introspection endpoint of APIRules that name none
    #[arg(long, value_name = "URL", help_heading = "Keys")]
    pub introspection_url: Option<String>,

    /// How long one question to an introspection endpoint may take [default: 500ms]
    #[arg(long, value_name = "TIME", help_heading = "Keys")]
    pub introspection_timeout: Option<String>,

    /// How much memory verified tokens may take; 0 verifies each time [default: 32MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Keys")]
    pub token_cache_size: Option<String>,

    /// Have answers say for which requests they hold, and that for this long at most [default: off]
    #[arg(long, value_name = "TIME")]
    pub cache_hint: Option<String>,

    /// The largest CheckRequest that is read [default: 4MiB]
    #[arg(long, value_name = "SIZE")]
    pub max_message_size: Option<String>,

    /// Policies of a Kubernetes cluster, as they change there, instead of --policies [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        help_heading = "Kubernetes",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub kube: Option<String>,

    /// Only those of these namespaces; the root namespace must be among them [default: all]
    #[arg(long, value_name = "NS,...", help_heading = "Kubernetes")]
    pub kube_namespaces: Option<String>,

    /// How to reach the cluster [default: the pod's own account, else what kubectl would use]
    #[arg(long, value_name = "FILE", help_heading = "Kubernetes")]
    pub kubeconfig: Option<String>,

    /// A context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", help_heading = "Kubernetes")]
    pub kube_context: Option<String>,

    /// Whether one replica writes to policies whether they are accepted [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Kubernetes")]
    pub kube_status: Option<String>,

    /// Whether its pods are workloads, found by --workload-from destination or by name [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Kubernetes")]
    pub kube_workloads: Option<String>,

    /// Whether its APIRules are followed, and in which version; true is v1beta1 [default: false]
    #[arg(
        long,
        value_name = "VERSION",
        help_heading = "Kubernetes",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub kube_api_rules: Option<String>,

    /// Only those of this node [default: all]
    #[arg(long, value_name = "NAME", help_heading = "Kubernetes")]
    pub kube_node: Option<String>,

    /// A folder with the policies, changed through --api, instead of --policies
    #[arg(long, value_name = "DIR", help_heading = "Store")]
    pub store: Option<String>,

    /// How many changes the store remembers, for those who watch [default: 10000]
    #[arg(long, value_name = "N", help_heading = "Store")]
    pub store_history: Option<String>,

    /// Where kubectl can talk to the store [default: nowhere]
    #[arg(long, value_name = "ADDR", help_heading = "Store")]
    pub api: Option<String>,

    /// Plain HTTP for the API, on loopback only; kubectl sends no tokens that way [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        help_heading = "Store",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub api_insecure: Option<String>,

    /// A PEM file with the API's certificate and its chain [default: one that it makes itself]
    #[arg(long, value_name = "FILE", help_heading = "Store")]
    pub api_certificate: Option<String>,

    /// A PEM file with the key of that certificate
    #[arg(long, value_name = "FILE", help_heading = "Store")]
    pub api_key: Option<String>,

    /// A PEM file of authorities whose client certificates are taken, beside the API's own
    #[arg(long, value_name = "FILE", help_heading = "Store")]
    pub api_client_ca: Option<String>,

    /// Names and addresses that the API's own certificate is for, beside this machine's
    #[arg(long, value_name = "HOST,...", help_heading = "Store")]
    pub api_hosts: Option<String>,

    /// Where to write a kubeconfig for the operator [default: kubeconfig in the store's folder]
    #[arg(long, value_name = "FILE", help_heading = "Store")]
    pub api_kubeconfig: Option<String>,

    /// A file of bearer tokens, `token,user,uid,"group1,group2"` on each line
    #[arg(long, value_name = "FILE", help_heading = "Store")]
    pub api_tokens: Option<String>,

    /// Whether writing into a namespace that is not there makes it [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Store")]
    pub api_create_namespaces: Option<String>,

    /// How many watches there may be at a time [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Store")]
    pub api_most_watches: Option<String>,

    /// Where the management API is, over TLS (docs/management.md) [default: nowhere]
    #[arg(long, value_name = "ADDR", help_heading = "Management")]
    pub management: Option<String>,

    /// Plain HTTP for it, on loopback only; tokens are needed all the same [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        help_heading = "Management",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub management_insecure: Option<String>,

    /// A PEM file with its certificate and its chain [default: one that Postern makes itself]
    #[arg(long, value_name = "FILE", help_heading = "Management")]
    pub management_certificate: Option<String>,

    /// A PEM file with the key of that certificate
    #[arg(long, value_name = "FILE", help_heading = "Management")]
    pub management_key: Option<String>,

    /// Names and addresses that its own certificate is for, beside this machine's
    #[arg(long, value_name = "HOST,...", help_heading = "Management")]
    pub management_hosts: Option<String>,

    /// Where to write the authority that signed its own certificate
    #[arg(long, value_name = "FILE", help_heading = "Management")]
    pub management_ca: Option<String>,

    /// Whose tokens its callers have; more than one in managementJwtRules of --config
    #[arg(long, value_name = "ISSUER", help_heading = "Management")]
    pub management_issuer: Option<String>,

    /// Where that issuer's keys are [default: as it says itself, by discovery]
    #[arg(long, value_name = "URL", help_heading = "Management")]
    pub management_jwks_uri: Option<String>,

    /// Whom these tokens must be meant for
    #[arg(long, value_name = "AUD,...", help_heading = "Management")]
    pub management_audiences: Option<String>,

    /// Claims that may hold the role `admin` [default: roles,realm_access.roles,role]
    #[arg(long, value_name = "CLAIM,...", help_heading = "Management")]
    pub management_admin_claims: Option<String>,

    /// Whether administrators may send kubeconfigs of other clusters (docs/management.md) [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        help_heading = "Management",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub management_inline_kubeconfig: Option<String>,

    /// Where these clusters may be
    #[arg(long, value_name = "HOST|CIDR,...", help_heading = "Management")]
    pub management_inline_kubeconfig_destinations: Option<String>,

    /// The Prometheus that it has its metrics from, http or https [default: none]
    #[arg(long, value_name = "URL", help_heading = "Management")]
    pub prometheus_url: Option<String>,

    /// Whose telemetry counts, source|waypoint or destination [default: source|waypoint]
    #[arg(long, value_name = "WHO", help_heading = "Management")]
    pub prometheus_reporter: Option<String>,

    /// Whether a gRPC status that is not OK counts as an error, too [default: false]
    #[arg(
        long,
        value_name = "BOOL",
        help_heading = "Management",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub prometheus_grpc_errors: Option<String>,

    /// How often Prometheus looks at proxies [default: 15s]
    #[arg(long, value_name = "TIME", help_heading = "Management")]
    pub prometheus_scrape_interval: Option<String>,

    /// How long one answer of Prometheus may take [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Management")]
    pub prometheus_timeout: Option<String>,

    /// A file with a bearer token for Prometheus
    #[arg(long, value_name = "FILE", help_heading = "Management")]
    pub prometheus_token_file: Option<String>,

    /// A PEM file of authorities trusted for it, beside the system's
    #[arg(long, value_name = "FILE", help_heading = "Management")]
    pub prometheus_ca_certificates: Option<String>,
}

impl Flags {
    pub(super) fn layer(&self) -> Layer {
        let Self { policy, server } = self;
        let texts = [
            ("namespace", &policy.namespace),
            ("labels", &policy.labels),
            ("labelsFile", &policy.labels_file),
            ("rootNamespace", &policy.root_namespace),
            ("trustDomain", &policy.trust_domain),
            ("trustDomainAliases", &policy.trust_domain_aliases),
            ("meshConfig", &policy.mesh_config),
            ("apiRuleDefaultDomain", &policy.api_rule_default_domain),
            ("apiRuleDomains", &policy.api_rule_domains),
            ("apiRuleJwtHandler", &policy.api_rule_jwt_handler),
            ("apiRuleStrictScopes", &policy.api_rule_strict_scopes),
            ("useRemoteAddress", &policy.use_remote_address),
            ("xffNumTrustedHops", &policy.xff_num_trusted_hops),
            ("clientAddressHeader", &policy.client_address_header),
            ("pathNormalization", &policy.path_normalization),
            ("workloadFrom", &policy.workload_from),
            ("maxHeadersSize", &policy.max_headers_size),
            ("maxTokenSize", &policy.max_token_size),
            ("config", &policy.config),
            ("listen", &server.listen),
            ("socketMode", &server.socket_mode),
            ("httpListen", &server.http_listen),
            ("httpFlavour", &server.http_flavour),
            ("httpPathPrefix", &server.http_path_prefix),
            ("httpProxyHeader", &server.http_proxy_header),
            ("httpTrustedProxies", &server.http_trusted_proxies),
            ("admin", &server.admin),
            ("console", &server.console),
            ("workers", &server.workers),
            ("probes", &server.probes),
            ("logLevel", &server.log_level),
            ("logFormat", &server.log_format),
            ("decisionLog", &server.decision_log),
            ("decisionLogSample", &server.decision_log_sample),
            ("decisionLogHeaders", &server.decision_log_headers),
            ("decisionLogRedact", &server.decision_log_redact),
            ("decisionLogBuffer", &server.decision_log_buffer),
            ("decisionLogFileSize", &server.decision_log_file_size),
            ("decisionLogFiles", &server.decision_log_files),
            ("shutdownGrace", &server.shutdown_grace),
            ("jwksRefreshInterval", &server.jwks_refresh_interval),
            ("jwksMaxAge", &server.jwks_max_age),
            ("jwksUnknownKidInterval", &server.jwks_unknown_kid_interval),
            ("jwksUnknownKidWait", &server.jwks_unknown_kid_wait),
            ("jwksStartupTimeout", &server.jwks_startup_timeout),
            ("jwksBlockedCidrs", &server.jwks_blocked_cidrs),
            ("jwksCaCertificates", &server.jwks_ca_certificates),
            ("introspectionDestinations", &server.introspection_destinations),
            ("introspectionUrl", &server.introspection_url),
            ("introspectionTimeout", &server.introspection_timeout),
            ("tokenCacheSize", &server.token_cache_size),
            ("cacheHint", &server.cache_hint),
            ("maxMessageSize", &server.max_message_size),
            ("kube", &server.kube),
            ("kubeNamespaces", &server.kube_namespaces),
            ("kubeconfig", &server.kubeconfig),
            ("kubeContext", &server.kube_context),
            ("kubeStatus", &server.kube_status),
            ("kubeWorkloads", &server.kube_workloads),
            ("kubeApiRules", &server.kube_api_rules),
            ("kubeNode", &server.kube_node),
            ("store", &server.store),
            ("storeHistory", &server.store_history),
            ("api", &server.api),
            ("apiInsecure", &server.api_insecure),
            ("apiCertificate", &server.api_certificate),
            ("apiKey", &server.api_key),
            ("apiClientCa", &server.api_client_ca),
            ("apiHosts", &server.api_hosts),
            ("apiKubeconfig", &server.api_kubeconfig),
            ("apiTokens", &server.api_tokens),
            ("apiCreateNamespaces", &server.api_create_namespaces),
            ("apiMostWatches", &server.api_most_watches),
            ("management", &server.management),
            ("managementAdminClaims", &server.management_admin_claims),
            ("managementAudiences", &server.management_audiences),
            ("managementCa", &server.management_ca),
            ("managementCertificate", &server.management_certificate),
            ("managementHosts", &server.management_hosts),
            ("managementInlineKubeconfig", &server.management_inline_kubeconfig),
            (
                "managementInlineKubeconfigDestinations",
                &server.management_inline_kubeconfig_destinations,
            ),
            ("managementInsecure", &server.management_insecure),
            ("managementIssuer", &server.management_issuer),
            ("managementJwksUri", &server.management_jwks_uri),
            ("managementKey", &server.management_key),
            ("prometheusCaCertificates", &server.prometheus_ca_certificates),
            ("prometheusGrpcErrors", &server.prometheus_grpc_errors),
            ("prometheusReporter", &server.prometheus_reporter),
            ("prometheusScrapeInterval", &server.prometheus_scrape_interval),
            ("prometheusTimeout", &server.prometheus_timeout),
            ("prometheusTokenFile", &server.prometheus_token_file),
            ("prometheusUrl", &server.prometheus_url),
        ];
        let mut layer = Layer::new(Origin::Flag);
        for (name, text) in texts {
            if let Some(text) = text {
                layer.set(name, Value::String(text.clone()));
            }
        }
        if !policy.policies.is_empty() {
            let paths = policy.policies.iter().map(|path| path.to_string_lossy().into());
            layer.set("policies", Value::Array(paths.collect()));
        }
        layer
    }
}
