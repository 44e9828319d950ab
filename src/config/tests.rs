use std::fs;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

/// A command line, variables, and files to name in them.
#[derive(Default)]
struct Given {
    flags: Flags,
    environment: Environment,
    scratch: Option<TempDir>,
}

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    flags: Flags,
}

impl Given {
    fn flags(line: &str) -> Self {
        let arguments = ["postern"].into_iter().chain(line.split_whitespace());
        let CommandLine { flags } = clap::Parser::try_parse_from(arguments).unwrap();
        Self { flags, ..Self::default() }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.variables.push((name.into(), value.into()));
        self
    }

    fn file(&mut self, name: &str, text: &str) -> String {
        let scratch = self.scratch.get_or_insert_with(|| tempfile::tempdir().unwrap());
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn config(mut self, text: &str) -> Self {
        self.flags.policy.config = Some(self.file("postern.json", text));
        self
    }

    fn mesh_config(mut self, text: &str) -> Self {
        self.flags.policy.mesh_config = Some(self.file("mesh.json", text));
        self
    }

    fn load(&self) -> Config {
        Config::load(&self.flags, &self.environment).unwrap()
    }

    /// The problems, with the scratch folder left out of them.
    fn refused(&self) -> String {
        let error = Config::load(&self.flags, &self.environment).unwrap_err().to_string();
        match &self.scratch {
            Some(scratch) => error.replace(&format!("{}/", scratch.path().display()), ""),
            None => error,
        }
    }
}

#[test]
fn the_defaults_are_safe() {
    let config = Given::flags("--policies p").load();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9191");
    assert_eq!(config.admin.to_string(), "127.0.0.1:8282");
    assert_eq!(config.settings.mesh, Mesh::default());
    assert_eq!(config.settings.workloads[0].namespace, "default");
    assert!(!config.use_remote_address);
    assert_eq!(config.path_normalization, PathNormalization::None);
    assert_eq!(config.warnings, [] as [&str; 0]);
}

#[test]
fn flag_over_environment_over_file_over_mesh_config_over_default() {
    let layered = |flag: bool, variable: bool, file: bool, mesh: bool| {
        let mut given =
            Given::flags(if flag { "--policies p --root-namespace flag" } else { "--policies p" });
        if variable {
            given = given.variable("POSTERN_ROOT_NAMESPACE", "variable");
        }
        if file {
            given = given.config(r#"{"rootNamespace": "file"}"#);
        }
        if mesh {
            given = given.mesh_config(r#"{"rootNamespace": "mesh"}"#);
        }
        given.load().settings.mesh.root_namespace.clone()
    };
    assert_eq!(layered(true, true, true, true), "flag");
    assert_eq!(layered(false, true, true, true), "variable");
    assert_eq!(layered(false, false, true, true), "file");
    assert_eq!(layered(false, false, false, true), "mesh");
    assert_eq!(layered(false, false, false, false), "istio-system");
}

#[rstest]
#[case::none("", None)]
#[case::zero("--workers 0", None)]
#[case::some("--workers 3", Some(3))]
fn a_worker_for_each_core_unless_told_otherwise(
    #[case] line: &str,
    #[case] expected: Option<usize>,
) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = Given::flags(&format!("--policies p {line}")).load();
    assert_eq!(config.workers.get(), expected.unwrap_or(cores));
}

#[rstest]
#[case("--workers two", "--workers: `two` is not a number of threads, such as `4`")]
#[case("--workers 9999", "--workers: `9999` is more than `1024`; more than cores do not help")]
fn a_number_of_workers_can_be_wrong(#[case] line: &str, #[case] expected: &str) {
    let problems = Given::flags(&format!("--policies p {line}")).refused();
    assert_eq!(problems, format!("invalid configuration\n  {expected}"));
}

#[test]
fn everything_can_be_set_in_a_file() {
    let config = Given::default()
        .config(
            r#"{
                "policies": ["a", "b,c"],
                "namespace": "shop",
                "labels": {"app": "cart"},
                "workloads": [
                    {
                        "namespace": "pay", "labels": {"app": "till"}, "name": "till",
                        "services": ["till", "pay"], "addresses": ["10.0.0.1", "::ffff:10.0.0.2"],
                        "serviceAccount": "till"
                    },
                    {"namespace": "web"}
                ],
                "workloadFrom": "destination",
                "listen": "unix:/run/postern.sock",
                "socketMode": "0600",
                "admin": "[::1]:0",
                "workers": 3,
                "probes": "0.0.0.0:8283",
                "rootNamespace": "root",
                "trustDomain": "example.org",
                "trustDomainAliases": ["old.example", "older.example"],
                "useRemoteAddress": true,
                "xffNumTrustedHops": 2,
                "pathNormalization": "MERGE_SLASHES",
                "logLevel": "info,postern::decision=debug",
                "logFormat": "json",
                "shutdownGrace": "1m",
                "jwksRefreshInterval": "90s",
                "maxMessageSize": "1MiB",
                "maxHeadersSize": "64KiB",
                "maxTokenSize": 16384
            }"#,
        )
        .load();
    let mut shown = config.to_json();
    shown.as_object_mut().unwrap().remove("setBy");
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap(), @r#"
    {
      "policies": [
        "a",
        "b,c"
      ],
      "workloads": [
        {
          "namespace": "shop",
          "labels": {
            "app": "cart"
          }
        },
        {
          "namespace": "pay",
          "labels": {
            "app": "till"
          },
          "name": "till",
          "services": [
            "pay",
            "till"
          ],
          "addresses": [
            "10.0.0.1",
            "10.0.0.2"
          ],
          "serviceAccount": "till"
        },
        {
          "namespace": "web",
          "labels": {}
        }
      ],
      "listen": "unix:/run/postern.sock",
      "socketMode": "0600",
      "admin": "[::1]:0",
      "console": true,
      "workers": 3,
      "probes": "0.0.0.0:8283",
      "workloadFrom": "destination",
      "rootNamespace": "root",
      "trustDomain": "example.org",
      "trustDomainAliases": [
        "old.example",
        "older.example"
      ],
      "useRemoteAddress": true,
      "xffNumTrustedHops": 2,
      "clientAddressHeader": null,
      "pathNormalization": "MERGE_SLASHES",
      "extensionProviders": [],
      "logLevel": "info,postern::decision=debug",
      "logFormat": "json",
      "shutdownGrace": "1m",
      "tokenCacheSize": "32MiB",
      "maxMessageSize": 1048576,
      "maxHeadersSize": 65536,
      "maxTokenSize": 16384,
      "jwksRefreshInterval": "90s",
      "jwksMaxAge": "168h",
      "jwksUnknownKidInterval": "10s",
      "jwksUnknownKidWait": "150ms",
      "jwksStartupTimeout": "10s",
      "jwksBlockedCidrs": [],
      "jwksCaCertificates": null,
      "jwksClients": [],
      "introspectionDestinations": [],
      "introspectionUrl": null,
      "introspectionTimeout": "500ms",
      "httpListen": "127.0.0.1:9192",
      "httpFlavour": "envoy",
      "httpPathPrefix": "",
      "httpProxyHeader": null,
      "httpTrustedProxies": [
        "127.0.0.0/8",
        "::1/128"
      ]
    }
    "#);
}

#[test]
fn a_decision_log_is_configured() {
    let line = "--policies p --decision-log file:d.log --decision-log-sample allow=0.5";
    let given = Given::flags(line)
        .config(r#"{"decisionLogHeaders": ["X-B", "x-a"], "decisionLogFileSize": "1MiB"}"#)
        .variable("POSTERN_DECISION_LOG_REDACT", "x-b,x-c");
    let config = given.load();
    let shown = config.to_json();
    let settings =
        shown.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("decision"));
    let settings: Vec<_> = settings.map(|(name, value)| format!("{name} {value}")).collect();
    assert_eq!(
        settings,
        [
            "decisionLogFileSize \"1MiB\"",
            "decisionLogFiles 5",
            "decisionLog \"file:d.log\"",
            "decisionLogSample \"allow=0.5,deny=1,audit=1\"",
            "decisionLogHeaders [\"x-a\",\"x-b\"]",
            "decisionLogRedact [\"x-b\",\"x-c\"]",
            "decisionLogBuffer \"16MiB\"",
        ]
    );
    assert_eq!(config.traces, None);
    let traced = Given::flags("--policies p").variable("OTEL_TRACES_EXPORTER", "otlp");
    assert_eq!(traced.load().traces, Some(OtlpExport { tls: false }));
    let given = Given::flags("--policies p --decision-log otlp")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317")
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let config = given.load();
    assert_eq!(config.traces, Some(OtlpExport { tls: true }));
    let to = config.decision_log.map(|log| log.to);
    assert_eq!(to, Some(DecisionLogTarget::Otlp(OtlpExport { tls: true })));
    assert_eq!(Given::flags("--policies p --decision-log off").load().decision_log, None);
}

#[test]
fn denials_are_native_until_configured() {
    assert_eq!(Given::flags("--policies p").load().denials, None);
    assert_eq!(Given::flags("--policies p").config(r#"{"denials": {}}"#).load().denials, None);
    let written = r#"{"denials": {
        "annotations": true, "status": 404, "body": "no\n", "headers": {"Set-Cookie": "a=b"},
        "tokens": {"status": "401"},
        "workloads": [{"namespace": "shop", "labels": {"app": "web"}, "body": ""}],
        "reasonHeader": {"addresses": ["10.0.0.1"], "principals": ["spiffe://td/ns/a/sa/b"]}
    }}"#;
    let shown = Given::flags("--policies p").config(written).load().to_json();
    let expected = json!({
        "annotations": true, "status": 404, "body": "no\n", "headers": {"set-cookie": "a=b"},
        "tokens": {"status": 401},
        "workloads": [{"namespace": "shop", "labels": {"app": "web"}, "body": ""}],
        "reasonHeader": {"addresses": ["10.0.0.1/32"], "principals": ["td/ns/a/sa/b"]},
    });
    assert_eq!(shown["denials"], expected);
}

#[test]
fn everything_can_be_set_by_variables() {
    let given = Given::default()
        .variable("POSTERN_POLICIES", "policies,with,commas")
        .variable("POSTERN_LABELS", "app=cart,version=v1")
        .variable("POSTERN_LISTEN", "127.0.0.1:0")
        .variable("POSTERN_TRUST_DOMAIN_ALIASES", "a.example, b.example")
        .variable("POSTERN_XFF_NUM_TRUSTED_HOPS", "1")
        .variable("POSTERN_JWKS_REFRESH_INTERVAL", "5m")
        .variable("POSTERN_ADMIN", "");
    let config = given.load();
    assert_eq!(config.policies, [PathBuf::from("policies,with,commas")]);
    assert_eq!(config.settings.workloads[0].labels.len(), 2);
    assert_eq!(config.settings.mesh.trust_domain_aliases, ["a.example", "b.example"]);
    assert_eq!(config.xff_num_trusted_hops, 1);
    assert_eq!(config.key_sources.refresh_interval, Duration::from_secs(300));
    let header = Given::flags("--policies p").variable("POSTERN_CLIENT_ADDRESS_HEADER", "X-Client");
    assert_eq!(header.load().client_address_header.as_deref(), Some("x-client"));
    assert_eq!(config.admin.port(), 8282, "an empty variable is not set");
    let set_by = &config.to_json()["setBy"];
    assert_eq!(set_by["listen"], "--listen (POSTERN_LISTEN)");
    assert_eq!(set_by["admin"], Value::Null);
}

#[test]
fn mistyped_variables_are_pointed_out_and_service_links_are_not() {
    let given = Given::flags("--policies p")
        .variable("POSTERN_LISTNE", "127.0.0.1:1")
        .variable("POSTERN_SERVICE_HOST", "10.0.0.1")
        .variable("POSTERN_SERVICE_PORT_GRPC", "9191")
        .variable("POSTERN_PORT", "tcp://10.0.0.1:9191")
        .variable("POSTERN_PORT_9191_TCP_ADDR", "10.0.0.1")
        .variable("HOME", "/root");
    assert_eq!(given.load().warnings, ["the variable `POSTERN_LISTNE` is no setting"]);
}

#[test]
fn every_problem_is_reported_at_once() {
    let mut given = Given::flags(
        "--listen localhost:1 --labels app --xff-num-trusted-hops -1 --trust-domain spiffe://a/ \
         --shutdown-grace 5 --max-message-size 1 --max-headers-size 1KiB --max-token-size 1TiB",
    )
    .variable("POSTERN_ADMIN", "localhost")
    .config(
        r#"{"trust_domain": "x", "logLevel": "inof", "colour": true, "namespace": null, "labels": 1}"#,
    );
    given.flags.policy.mesh_config = Some("missing.yaml".into());
    insta::assert_snapshot!(given.refused(), @"
    invalid configuration
      postern.json: `trust_domain` is no setting: write `trustDomain`
      postern.json: `colour` is no setting
      postern.json: namespace: a value is missing
      missing.yaml: cannot be read: No such file or directory (os error 2)
      --policies: a file or directory of policies is needed
      --listen: `localhost:1` is not an IP address and a port, such as `127.0.0.1:9191`; names are not looked up
      --admin (POSTERN_ADMIN): `localhost` needs a port, such as `127.0.0.1:9191`
      --xff-num-trusted-hops: `-1` is not a number from 0 to 4294967295
      --trust-domain: `spiffe://a/` is an identity: write `a`
      --labels: `app` is not a label, such as `app=reviews`
      postern.json: logLevel: `inof` is not a level: write `off`, `error`, `warn`, `info`, `debug` or `trace`, or a target and a level such as `postern::control=debug`
      --shutdown-grace: `5` needs a unit, such as `5s` or `5ms`
      --max-message-size: `1` is not between `128KiB` and `256MiB`
      --max-headers-size: `1KiB` is not between `4KiB` and `16MiB`
      --max-token-size: `1TiB` is not a size, such as `4MiB` or `512KiB`
    ");
}

#[rstest]
#[case::v4("127.0.0.1:9191")]
#[case::any_port("0.0.0.0:0")]
#[case::v6("[::1]:0")]
#[case::unix("unix:/run/postern/envoy.sock")]
fn addresses_show_as_typed(#[case] text: &str) {
    assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
}

#[rstest]
#[case::port_alone("9191", "`9191` needs an address, such as `127.0.0.1:9191`")]
#[case::colon_port(":80", "`:80` needs an address, such as `127.0.0.1:80`")]
#[case::v6_alone("::1", "`::1` needs a port, such as `[::1]:9191`")]
#[case::no_path("unix:", "`unix:` needs a path, such as `unix:/run/postern.sock`")]
#[case::abstract_socket(
    "unix:@postern",
    "`unix:@postern` is an abstract socket, which has no permissions; give it a path"
)]
fn addresses_say_what_they_lack(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(text.parse::<Address>().unwrap_err().to_string(), expected);
}

#[rstest]
#[case::not_quoted(
    r#"{"labels": {"version": 1.10}}"#,
    "labels: the value of `version` must be in quotes: `\"1.1\"`"
)]
#[case::octal(r#"{"socketMode": 660}"#, "socketMode: `660` must be in quotes, such as `\"0660\"`")]
#[case::mode(r#"{"socketMode": "999"}"#, "socketMode: `999` is not a file mode, such as `0660`")]
#[case::workload(
    r#"{"workloads": [{"labels": {}}]}"#,
    "workloads: entry 1: `namespace` is missing"
)]
#[case::workload_key(
    r#"{"workloads": [{"namespace": "a", "label": {}}]}"#,
    "workloads: entry 1: `label` is none of `namespace`, `name`, `labels`, `services`, `addresses`, \
     `serviceAccount`"
)]
#[case::workload_name(
    r#"{"workloads": [{"namespace": "a", "name": "b/c"}]}"#,
    "workloads: entry 1: `name`: `b/c` is not a name: lower case letters, digits, `-` and `.`, at most \
     253"
)]
#[case::workload_twice(
    r#"{"workloads": [{"namespace": "a", "name": "b"}, {"namespace": "a", "name": "b"}]}"#,
    "workloads: entry 2: `a/b` is there twice"
)]
#[case::workload_address(
    r#"{"workloads": [{"namespace": "a", "addresses": ["10.0.0.0/8"]}]}"#,
    "workloads: entry 1: `addresses`: `10.0.0.0/8` is not an address"
)]
#[case::workload_address_twice(
    r#"{"workloads": [{"namespace": "a", "addresses": ["10.0.0.1"]},
                      {"namespace": "b", "addresses": ["::ffff:10.0.0.1"]}]}"#,
    "workloads: entry 2: `10.0.0.1` is the address of another"
)]
#[case::workload_services(
    r#"{"workloads": [{"namespace": "a", "services": "b"}]}"#,
    "workloads: entry 1: `services` must be a list"
)]
#[case::workload_from(
    r#"{"workloadFrom": "labels"}"#,
    "workloadFrom: `labels` is not context or destination"
)]
#[case::bool(
    r#"{"useRemoteAddress": "yes"}"#,
    "useRemoteAddress: `yes` is neither `true` nor `false`"
)]
#[case::namespace(
    r#"{"namespace": "Shop"}"#,
    "namespace: `Shop` is not a namespace: lower case letters, digits and `-`, at most 63"
)]
#[case::path_normalization(
    r#"{"pathNormalization": "MERGE"}"#,
    "pathNormalization: `MERGE` is not NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES"
)]
#[case::address_header(
    r#"{"clientAddressHeader": "x client"}"#,
    "clientAddressHeader: `x client` is not a header name, such as `x-client-address`"
)]
#[case::pseudo_header(
    r#"{"clientAddressHeader": ":authority"}"#,
    "clientAddressHeader: `:authority` is not a header name, such as `x-client-address`"
)]
#[case::taken_header(
    r#"{"clientAddressHeader": "X-Forwarded-For"}"#,
    "clientAddressHeader: `X-Forwarded-For` has a meaning of its own: take one that nobody else uses"
)]
#[case::two_ways_to_the_client(
    r#"{"clientAddressHeader": "x-client", "useRemoteAddress": true}"#,
    "--client-address-header: the address is read from the header, so neither --use-remote-address \
     nor --xff-num-trusted-hops can be set"
)]
#[case::nested(r#"{"config": "other.yaml"}"#, "`config` cannot be set in a config file")]
#[case::list(r#"["policies"]"#, "must hold settings by name")]
#[case::interval(
    r#"{"jwksRefreshInterval": "10ms"}"#,
    "jwksRefreshInterval: `10ms` is not between `1s` and `24h`"
)]
#[case::cidr(
    r#"{"jwksBlockedCidrs": ["10.0.0.0/8", "10.0.0.0/33"]}"#,
    "jwksBlockedCidrs: `10.0.0.0/33` is not a range, such as `10.0.0.0/8`"
)]
#[case::denial_unknown(
    r#"{"denials": {"Status": 404}}"#,
    "denials: `Status` is no setting: write `status`"
)]
#[case::denial_status(
    r#"{"denials": {"status": 200}}"#,
    "denials: status: `200` is not `401`, `403` or `404`"
)]
#[case::denial_header(
    r#"{"denials": {"tokens": {"headers": {"Content-Length": "1"}}}}"#,
    "denials: tokens: headers: `content-length` cannot be set"
)]
#[case::denial_workload(
    r#"{"denials": {"workloads": [{"namespace": "a"}]}}"#,
    "denials: workloads: entry 1: none of `status`, `body`, `headers` and `tokens` is there"
)]
#[case::denial_nobody(
    r#"{"denials": {"reasonHeader": {}}}"#,
    "denials: reasonHeader: neither `addresses` nor `principals` names anybody"
)]
#[case::denial_star(
    r#"{"denials": {"reasonHeader": {"principals": ["cluster.local/*"]}}}"#,
    "denials: reasonHeader: principals: `cluster.local/*` is not an identity, such as \
     `cluster.local/ns/shop/sa/web`; stars mean nothing here"
)]
#[case::denial_range(
    r#"{"denials": {"reasonHeader": {"addresses": ["10.0.0.0/33"]}}}"#,
    "denials: reasonHeader: addresses: `10.0.0.0/33` is not an address or a range, such as \
     `10.0.0.0/8`"
)]
#[case::client_list(
    r#"{"jwksClients": {"issuer": "a"}}"#,
    "jwksClients: must be a list with an `issuer` each"
)]
#[case::client_issuer(
    r#"{"jwksClients": [{"caCertificates": "a.pem"}]}"#,
    "jwksClients: entry 1: `issuer` is missing"
)]
#[case::client_key(
    r#"{"jwksClients": [{"issuer": "a", "cacertificates": "a.pem"}]}"#,
    "jwksClients: entry 1: `cacertificates` is no setting: write `caCertificates`"
)]
#[case::client_half(
    r#"{"jwksClients": [{"issuer": "a", "clientCertificate": "a.pem"}]}"#,
    "jwksClients: entry 1: `clientKey` is missing"
)]
#[case::client_twice(
    r#"{"jwksClients": [{"issuer": "a"}, {"issuer": "a"}]}"#,
    "jwksClients: entry 2: `a` is there twice"
)]
#[case::decision_log(
    r#"{"decisionLog": "syslog"}"#,
    "decisionLog: `syslog` is not `off`, `stdout`, `otlp` or `file:PATH`"
)]
#[case::decision_log_without_a_path(
    r#"{"decisionLog": "file:"}"#,
    "decisionLog: `file:` lacks a path, such as `file:/var/log/decisions`"
)]
#[case::decision_log_is_off(
    r#"{"decisionLogSample": {"allow": 1}}"#,
    "decisionLogSample: is for --decision-log, which is not set"
)]
#[case::decision_log_is_no_file(
    r#"{"decisionLog": "stdout", "decisionLogFiles": 3}"#,
    "decisionLogFiles: is for --decision-log file:PATH"
)]
#[case::sample(
    r#"{"decisionLog": "stdout", "decisionLogSample": {"allow": 2}}"#,
    "decisionLogSample: `2` is not a number from 0, none, to 1, all"
)]
#[case::secret_header(
    r#"{"decisionLog": "stdout", "decisionLogHeaders": ["x-a", "Authorization"]}"#,
    "--decision-log-headers: `authorization` may hold a secret and is never logged: remove it"
)]
#[case::redacted_header(
    r#"{"decisionLog": "stdout", "decisionLogRedact": "x a"}"#,
    "decisionLogRedact: `x a` is not a header name, such as `x-client-address`"
)]
#[case::log_buffer(
    r#"{"decisionLog": "stdout", "decisionLogBuffer": "1KiB"}"#,
    "decisionLogBuffer: `1KiB` is not between `64KiB` and `4GiB`"
)]
#[case::log_files(
    r#"{"decisionLog": "file:a", "decisionLogFiles": 1001}"#,
    "decisionLogFiles: `1001` is not a number of files from 0 to 1000"
)]
#[case::same_port_for_probes(
    r#"{"admin": "127.0.0.1:80", "probes": "127.0.0.1:80"}"#,
    "--probes: `127.0.0.1:80` is taken by --admin"
)]
#[case::same_port(
    r#"{"admin": "127.0.0.1:9191"}"#,
    "--admin: `127.0.0.1:9191` is taken by --listen"
)]
#[case::same_port_for_http(
    r#"{"listen": "127.0.0.1:9192"}"#,
    "--http-listen: `127.0.0.1:9192` is taken by --listen"
)]
#[case::http_nowhere(
    r#"{"httpListen": "off", "httpFlavour": "nginx"}"#,
    "httpFlavour: is for --http-listen, which is `off`"
)]
#[case::http_flavour(
    r#"{"httpFlavour": "apache"}"#,
    "httpFlavour: `apache` is not `envoy`, `nginx` or `traefik`"
)]
#[case::http_prefix(
    r#"{"httpPathPrefix": "postern"}"#,
    "httpPathPrefix: `postern` is not the beginning of a path, such as `/postern/envoy`"
)]
#[case::http_prefix_of_nginx(
    r#"{"httpFlavour": "nginx", "httpPathPrefix": "/a", "pathNormalization": "BASE"}"#,
    "--http-path-prefix: only Envoy puts something before the path: --http-flavour is not `envoy`"
)]
#[case::http_header(
    r#"{"httpProxyHeader": "X-Forwarded-For"}"#,
    "httpProxyHeader: `X-Forwarded-For` has a meaning of its own: take one that nobody else uses"
)]
#[case::http_proxies(
    r#"{"httpTrustedProxies": "10.0.0.0"}"#,
    "httpTrustedProxies: `10.0.0.0` is not a range, such as `10.0.0.0/8`"
)]
fn bad_values_say_what_to_write(#[case] file: &str, #[case] expected: &str) {
    let given = Given::flags("--policies p").config(file);
    let error = given.refused().replace("postern.json: ", "");
    assert_eq!(error, format!("invalid configuration\n  {expected}"));
}

#[test]
fn key_sources_are_configured() {
    let flags = "--policies p --jwks-max-age 48h --jwks-unknown-kid-interval 30s \
                 --jwks-unknown-kid-wait 0s --jwks-startup-timeout 1m \
                 --jwks-blocked-cidrs 10.0.0.0/8,fd00::/8 --jwks-ca-certificates ca.pem";
    let file = r#"{"jwksRefreshInterval": "5m", "jwksClients": [
        {"issuer": "a", "caCertificates": "a.pem"},
        {"issuer": "b", "clientCertificate": "b.pem", "clientKey": "b.key"}
    ]}"#;
    let config = Given::flags(flags).config(file).load();
    let client = |issuer: &str, ca: Option<&str>, identity: Option<(&str, &str)>| KeySourceClient {
        issuer: issuer.into(),
        ca_certificates: ca.map(Into::into),
        identity: identity.map(|(chain, key)| (chain.into(), key.into())),
    };
    let expected = KeySourcesConfig {
        refresh_interval: Duration::from_mins(5),
        max_age: Duration::from_hours(48),
        unknown_kid_interval: Duration::from_secs(30),
        unknown_kid_wait: Duration::ZERO,
        startup_timeout: Duration::from_mins(1),
        blocked_cidrs: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        ca_certificates: Some("ca.pem".into()),
        clients: vec![
            client("a", Some("a.pem"), None),
            client("b", None, Some(("b.pem", "b.key"))),
        ],
    };
    assert_eq!(config.key_sources, expected);
}

#[test]
fn who_may_ask_over_http() {
    let http = |flags: &str| {
        let config = Given::flags(&format!("--policies p {flags}")).load();
        (config.http, config.warnings)
    };
    let (loopback, warnings) = http("");
    let loopback = loopback.unwrap();
    assert_eq!(loopback.listen.to_string(), "127.0.0.1:9192");
    assert_eq!(
        *loopback.trusted_proxies,
        ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]
    );
    assert!(warnings.is_empty());
    assert_eq!(http("--http-listen off"), (None, Vec::new()));
    assert_eq!(http("--http-listen unix:/s").1, [""; 0]);
    let said = |flags| http(flags).1.concat();
    assert!(said("--http-listen 0.0.0.0:1").starts_with("HTTP on 0.0.0.0:1 answers nobody but"));
    assert!(
        said("--http-listen 0.0.0.0:1 --http-trusted-proxies 10.0.0.0/8")
            .starts_with("HTTP on 0.0.0.0:1 believes what --http-trusted-proxies say")
    );
    assert!(said("--http-flavour nginx").starts_with("nginx sends paths as clients write them"));
    assert_eq!(said("--http-flavor traefik --path-normalization BASE"), "");
}

#[test]
fn what_a_port_beyond_loopback_means_is_said() {
    let config = Given::flags("--policies p --listen 0.0.0.0:1 --admin [::]:2").load();
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[0].starts_with("gRPC on 0.0.0.0:1 answers everyone"));
    assert!(config.warnings[1].starts_with("the admin endpoints on [::]:2 answer everyone"));
}

#[test]
fn a_mesh_config_gives_what_concerns_us() {
    let mesh = r#"{
        "rootNamespace": "root",
        "trust_domain": "example.org",
        "trustDomainAliases": ["old.example"],
        "pathNormalization": {"normalization": "DEFAULT"},
        "accessLogFile": "/dev/stdout",
        "enableTracing": true,
        "extensionProviders": [
            {"name": "opa", "envoyExtAuthzGrpc": {"service": "opa.local", "port": 9191}},
            {"name": "otel", "opentelemetry": {"service": "otel.local", "port": 4317}}
        ],
        "defaultConfig": {"proxyMetadata": {}, "gatewayTopology": {"numTrustedProxies": 2}}
    }"#;
    let gateway = Given::flags("--policies p --use-remote-address true").mesh_config(mesh).load();
    assert_eq!(gateway.settings.mesh.root_namespace, "root");
    assert_eq!(gateway.settings.mesh.trust_domain, "example.org");
    assert_eq!(gateway.settings.mesh.trust_domain_aliases, ["old.example"]);
    assert_eq!(gateway.path_normalization, PathNormalization::Base);
    let providers = &gateway.extension_providers;
    assert_eq!(providers.providers.iter().map(|(p, _)| &*p.name).collect::<Vec<_>>(), ["opa"]);
    assert_eq!(providers.others, ["otel"]);
    assert_eq!(gateway.xff_num_trusted_hops, 2);
    let sidecar = Given::flags("--policies p").mesh_config(mesh).load();
    assert_eq!(sidecar.xff_num_trusted_hops, 0);
    assert_eq!(sidecar.warnings.len(), 1);
    let told = Given::flags("--policies p --xff-num-trusted-hops 1").mesh_config(mesh).load();
    assert_eq!((told.xff_num_trusted_hops, told.warnings.len()), (1, 0));
}

#[test]
fn a_mesh_config_with_problems_names_them_all() {
    let given = Given::flags("--policies p").mesh_config(
        r#"{
            "rootNamespaces": "root",
            "trustDomain": "a/b",
            "pathNormalization": {"normalisation": "BASE"},
            "extensionProviders": [{"name": "opa"}, {"name": "opa"}, {}],
            "defaultConfig": {"gatewayTopology": {"numTrustedProxies": -1, "num": 1}}
        }"#,
    );
    insta::assert_snapshot!(given.refused(), @"
    invalid configuration
      mesh.json: `rootNamespaces` is no setting
      mesh.json: pathNormalization: `normalisation` is no setting
      mesh.json: defaultConfig.gatewayTopology.numTrustedProxies: `-1` is not a number from 0 to 4294967295
      mesh.json: defaultConfig.gatewayTopology: `num` is no setting
      mesh.json: extensionProviders[1]: `opa` is there twice
      mesh.json: extensionProviders[2]: `name` is missing
      mesh.json: trustDomain: `a/b` is not a trust domain
    ");
}

#[test]
fn yaml_is_read_and_its_mistakes_have_a_place() {
    let mut given = Given::flags("--policies p");
    let yaml = "# shop\nlabels:\n  app: cart\ntrustDomainAliases: [a.example]\n";
    given.flags.policy.config = Some(given.file("postern.yaml", yaml));
    let config = given.load();
    assert_eq!(config.settings.workloads[0].labels["app"], "cart");
    assert_eq!(config.settings.mesh.trust_domain_aliases, ["a.example"]);
    let twice = "namespace: a\nlisten: 127.0.0.1:0\nnamespace: b\n";
    given.flags.policy.config = Some(given.file("twice.yaml", twice));
    insta::assert_snapshot!(given.refused(), @"
    invalid configuration
      twice.yaml:3:1: the key `namespace` is given twice
    ");
}

#[test]
fn the_config_map_of_a_mesh_config_is_recognised() {
    let given =
        Given::flags("--policies p").mesh_config(r#"{"apiVersion": "v1", "kind": "ConfigMap"}"#);
    assert!(given.refused().contains("is a Kubernetes object, not a MeshConfig"));
}

#[rstest]
#[case(Duration::ZERO, "0s")]
#[case(Duration::from_millis(1500), "1500ms")]
#[case(Duration::from_secs(90), "90s")]
#[case(Duration::from_secs(7200), "2h")]
fn durations_show_as_typed(#[case] duration: Duration, #[case] expected: &str) {
    assert_eq!(values::show_duration(duration), expected);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let mut given = Given::flags("--policies p");
    assert!(!given.load().colour);
    assert_eq!(given.load().log_format, LogFormat::Json);
    given.environment.terminal = true;
    assert!(given.load().colour);
    assert_eq!(given.load().log_format, LogFormat::Human);
    assert!(!given.variable("NO_COLOR", "1").load().colour);
}

#[test]
fn labels_as_the_downward_api_writes_them() {
    let mut given = Given::flags("--policies p");
    let written = "app=\"reviews\"\napp.kubernetes.io/part-of=\"shop\"\nempty=\"\"";
    given.flags.policy.labels_file = Some(given.file("labels", written));
    let labels = given.load().settings.workloads[0].labels.clone();
    let expected = [("app", "reviews"), ("app.kubernetes.io/part-of", "shop"), ("empty", "")];
    assert!(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));

    given.file("labels", "");
    assert!(given.load().settings.workloads[0].labels.is_empty(), "a pod without labels");
}

#[rstest]
#[case::no_quotes("app=reviews", "line 1 is not a label, such as `app=\"reviews\"`")]
#[case::no_value("a=\"1\"\n\nb", "line 3 is not a label, such as `app=\"reviews\"`")]
#[case::no_name("=\"x\"", "line 1 is not a label, such as `app=\"reviews\"`")]
#[case::half_quoted("a=\"", "line 1 is not a label, such as `app=\"reviews\"`")]
#[case::escaped(r#"a="\u0031""#, "line 1 is not a label, such as `app=\"reviews\"`")]
#[case::twice("a=\"1\"\na=\"2\"", "line 2: `a` is there twice")]
fn a_bad_line_of_labels_is_an_error(#[case] written: &str, #[case] expected: &str) {
    let mut given = Given::flags("--policies p");
    given.flags.policy.labels_file = Some(given.file("labels", written));
    let expected = format!("invalid configuration\n  --labels-file: `labels` {expected}");
    assert_eq!(given.refused(), expected);
}

#[test]
fn labels_are_not_set_twice() {
    let mut given = Given::flags("--policies p --labels app=web");
    let file = given.file("labels", "app=\"reviews\"");
    let given = given.variable("POSTERN_LABELS_FILE", &file);
    let expected = "invalid configuration\n  --labels-file (POSTERN_LABELS_FILE): labels are set by --labels too";
    assert_eq!(given.refused(), expected);

    let missing = Given::flags("--policies p --labels-file /nowhere/labels").refused();
    let expected = "--labels-file: `/nowhere/labels` cannot be read: No such file or directory";
    assert!(missing.contains(expected), "{missing}");
}

#[test]
fn probes_are_nowhere_unless_asked_for() {
    assert_eq!(Given::flags("--policies p").load().probes, None);
    let config = Given::flags("--policies p --probes 0.0.0.0:8283").load();
    assert_eq!(config.probes, Some("0.0.0.0:8283".parse().unwrap()));
    assert_eq!(config.warnings, [] as [&str; 0], "nothing there is worth a warning");
}

#[test]
fn a_cluster_is_where_policies_come_from_too() {
    let line = "--kube --kube-namespaces shop,istio-system --namespace shop --kubeconfig k \
                --kube-context x --kube-status false --kube-workloads true --kube-node n1";
    let config = Given::flags(line).variable("HOSTNAME", "pod-1").load();
    let expected = KubeConfig {
        api_rules: None,
        namespaces: vec!["istio-system".into(), "shop".into()],
        kubeconfig: Some("k".into()),
        context: Some("x".into()),
        status: false,
        workloads: true,
        node: Some("n1".into()),
        host: Some("pod-1".into()),
    };
    assert_eq!(config.kube, Some(expected));
    assert_eq!(config.to_json()["kubeNamespaces"], json!(["istio-system", "shop"]));
    let plain = Given::flags("").config(r#"{"kube": true}"#).load().kube.unwrap();
    assert!(plain.status && plain.namespaces.is_empty() && !plain.workloads);
    assert_eq!(Given::flags("--policies p --kube=false").load().kube, None);
}

#[rstest]
#[case::two_sources(
    "--kube --policies p",
    "--policies: policies come from the cluster already (--kube)"
)]
#[case::no_cluster("--policies p --kubeconfig k", "--kubeconfig: is for --kube, which is not set")]
#[case::no_root(
    "--kube --kube-namespaces default",
    "--kube-namespaces: `istio-system` is missing: it is the root namespace, whose policies hold everywhere"
)]
#[case::no_workload(
    "--kube --kube-namespaces istio-system",
    "--kube-namespaces: `default` is missing: it is the namespace of a workload"
)]
#[case::no_pods("--kube --kube-node n1", "--kube-node: is for --kube-workloads, which is not set")]
#[case::no_namespace(
    "--kube --kube-namespaces istio-system,default,",
    "--kube-namespaces: a value is missing"
)]
fn a_cluster_can_be_wrong(#[case] line: &str, #[case] expected: &str) {
    let problems = Given::flags(line).refused();
    assert_eq!(problems, format!("invalid configuration\n  {expected}"));
}

#[cfg(feature = "api")]
mod store {
    use super::*;

    #[test]
    fn a_store_with_an_api() {
        let roles = r#"[{"role": "editor", "namespaces": ["shop"], "users": ["ann"]}]"#;
        let config = Given::flags("--store s --api [::1]:6443 --api-hosts gate.example,10.0.0.1")
            .config(&format!(r#"{{"apiRoles": {roles}}}"#))
            .load();
        let store = config.store.clone().unwrap();
        let api = store.api.unwrap();
        assert_eq!((store.folder.to_str(), store.history), (Some("s"), 10_000));
        assert_eq!(api.address.to_string(), "[::1]:6443");
        assert_eq!(api.hosts, ["gate.example", "10.0.0.1"]);
        assert_eq!(api.roles.grants.len(), 1);
        assert!(!api.insecure && !api.create_namespaces);
        assert_eq!(config.to_json()["apiRoles"][0]["users"][0], "ann");
    }

    #[test]
    fn keys_in_rules_are_not_shown() {
        let rules = r#"[{"issuer": "i", "jwks": "secret", "audiences": ["a"]}]"#;
        let given = Given::flags("--store s --api 127.0.0.1:0")
            .config(&format!(r#"{{"apiJwtRules": {rules}}}"#));
        assert!(!given.load().to_json().to_string().contains("secret"));
    }

    #[rstest]
    #[case(
        r#"{"apiRoles": {}}"#,
        "apiRoles: must be a list of `role`, `namespaces`, and `users` or `groups`"
    )]
    #[case(r#"{"apiRoles": [{}]}"#, "apiRoles: entry 1: `role` is missing")]
    #[case(
        r#"{"apiRoles": [{"role": "owner", "namespaces": ["*"], "users": ["a"]}]}"#,
        "apiRoles: entry 1: `owner` is not a role: viewer, editor or admin"
    )]
    #[case(
        r#"{"apiRoles": [{"role": "viewer", "namespace": "a", "users": ["a"]}]}"#,
        "apiRoles: entry 1: `namespace` is not one of `role`, `namespaces`, `users`, `groups`"
    )]
    #[case(
        r#"{"apiHosts": "a b"}"#,
        "apiHosts: `a b` is neither a name nor an address, such as `postern.example`"
    )]
    #[case(r#"{"storeHistory": 0}"#, "storeHistory: `0` is not a number from 1 to 10000000")]
    #[case(
        r#"{"apiJwtRules": "x"}"#,
        "apiJwtRules: must be a list of rules, as `jwtRules` of a RequestAuthentication"
    )]
    fn what_makes_no_sense_is_said(#[case] file: &str, #[case] expected: &str) {
        let refused = Given::flags("--store s --api 127.0.0.1:0").config(file).refused();
        assert_eq!(refused, format!("invalid configuration\n  postern.json: {expected}"));
    }
}
