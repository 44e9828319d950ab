use super::*;
use crate::config::{Config, Environment, Flags};

fn load(config: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.yaml");
    std::fs::write(&path, config).unwrap();
    let mut flags = Flags::default();
    flags.policy.config = Some(path.to_str().unwrap().into());
    let loaded = Config::load_without_policies(&flags, &Environment::default());
    let folder = format!("{}/", folder.path().display());
    loaded.map_err(|invalid| invalid.to_string().replace(&folder, ""))
}

#[test]
fn every_field_is_read() {
    let config = load(
        r#"
extensionProviders:
- name: opa
  envoyExtAuthzGrpc:
    service: foo/opa.foo.svc.cluster.local
    port: "9191"
    timeout: 0.25s
    fail_open: true
    statusOnError: "503"
    includeRequestBodyInCheck: {maxRequestBytes: 10, allowPartialMessage: true, packAsBytes: true}
- name: proxy
  envoyExtAuthzHttp:
    service: 127.0.0.1
    port: 4180
    pathPrefix: /check
    clearRouteCache: true
    includeHeadersInCheck: [ignored]
    includeRequestHeadersInCheck: [Cookie, "x-*"]
    includeAdditionalHeadersInCheck: {X-Key: 100%%}
    headersToUpstreamOnAllow: ["*-user"]
    headersToDownstreamOnDeny: [set-cookie]
    headersToDownstreamOnAllow: [set-cookie]
- name: zipkin
  zipkin: {service: z, port: 9411}
extensionProviderClients:
- name: opa
  address: unix:/run/opa.sock
  tls: {serverName: opa, caCertificates: ca.pem}
  maxRequests: 3
  consecutiveErrors: 0
  circuitOpenFor: 5s
- name: proxy
  address: "[::1]:80"
  tls: true
"#,
    )
    .unwrap();
    let ExtensionProvidersConfig { providers, others } = &config.extension_providers;
    assert_eq!(others, &["zipkin"]);
    let (opa, reach) = &providers[0];
    let expected = ExtensionProvider {
        name: "opa".into(),
        host: "opa.foo.svc.cluster.local".into(),
        namespace: Some("foo".into()),
        port: 9191,
        timeout: Duration::from_millis(250),
        fail_open: true,
        clear_route_cache: false,
        status_on_error: 503,
        request_body: Some(RequestBody {
            max_request_bytes: 10,
            allow_partial_message: true,
            pack_as_bytes: true,
        }),
        protocol: Protocol::Grpc,
    };
    assert_eq!(*opa, expected);
    let circuit = CircuitSettings {
        max_requests: 3,
        consecutive_errors: 0,
        open_for: Duration::from_secs(5),
    };
    let tls = ProviderTls {
        ca_certificates: Some("ca.pem".into()),
        server_name: Some("opa".into()),
        identity: None,
    };
    let place = Place::Unix("/run/opa.sock".into());
    assert_eq!(*reach, ProviderReach { place, tls: Some(tls), circuit });
    let (proxy, reach) = &providers[1];
    let pattern = |text: &str| HeaderPattern::parse(text).unwrap();
    let check = HttpCheck {
        path_prefix: "/check".into(),
        include_request_headers: vec![pattern("cookie"), pattern("x-*")],
        additional_headers: [("x-key".to_owned(), "100%".to_owned())].into(),
        headers_to_upstream_on_allow: vec![pattern("*-user")],
        headers_to_downstream_on_deny: vec![pattern("set-cookie")],
        headers_to_downstream_on_allow: vec![pattern("set-cookie")],
    };
    assert_eq!(proxy.protocol, Protocol::Http(check));
    assert_eq!((proxy.timeout, proxy.status_on_error), (Duration::from_secs(600), 403));
    assert_eq!(reach.place, Place::Host("::1".into(), 80));
    assert_eq!(reach.tls, Some(ProviderTls::default()));
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("`proxy`") && config.warnings[0].contains("route cache"));
    assert!(!config.to_json().to_string().contains("100%"), "values of headers may be secrets");
}

#[test]
fn the_deprecated_list_counts_where_the_other_is_not_set() {
    let config = load(
        "extensionProviders: [{name: p, envoyExtAuthzHttp: {service: a, port: 1, \
         includeHeadersInCheck: [x-a], includeRequestHeadersInCheck: []}}]",
    );
    let Protocol::Http(check) =
        &config.unwrap().extension_providers.providers[0].0.protocol.clone()
    else {
        panic!("not HTTP")
    };
    assert_eq!(check.include_request_headers, [HeaderPattern::Exact("x-a".into())]);
}

#[test]
fn every_problem_has_its_place() {
    let problems = load(
        r#"
extensionProviders:
- {name: a, envoyExtAuthzGrpc: {port: 0, timeout: 0s, failOpen: perhaps, statusOnError: "299"}}
- {name: a}
- {name: b, envoyExtAuthzGrpc: {service: a/b/c, port: 70000, pathPrefix: /x}}
- name: c
  envoyExtAuthzHttp:
    service: "*.local"
    port: 1
    pathPrefix: x
    includeRequestHeadersInCheck: ["*"]
    includeAdditionalHeadersInCheck: {x-a: "%REQ(x-b)%"}
    includeRequestBodyInCheck: {maxRequestBytes: 0}
    headersToUpstreamOnAllow: x-a
- {name: d, envoyExtAuthzGrpc: {service: d, port: 1}, zipkin: {service: d, port: 1}}
- {envoyExtAuthzGrpc: {service: d, port: 1}}
- {name: e, envoyExtAuthz: {}}
extensionProviderClients:
- {name: f}
- {name: b, address: b, tls: {clientKey: k}, maxRequests: 0, port: 1}
"#,
    );
    insta::assert_snapshot!(problems.unwrap_err(), @"
    invalid configuration
      postern.yaml: extensionProviders[0].envoyExtAuthzGrpc: `service` is missing
      postern.yaml: extensionProviders[0].envoyExtAuthzGrpc.port: `0` is not a number from 1 to 65535
      postern.yaml: extensionProviders[0].envoyExtAuthzGrpc.timeout: `0s` is not a time of at least 1ms, such as `0.5s`
      postern.yaml: extensionProviders[0].envoyExtAuthzGrpc.failOpen: `perhaps` is neither `true` nor `false`
      postern.yaml: extensionProviders[0].envoyExtAuthzGrpc.statusOnError: `299` is a status that Envoy does not answer with
      postern.yaml: extensionProviders[1]: `a` is there twice
      postern.yaml: extensionProviders[2].envoyExtAuthzGrpc: `pathPrefix` is no setting
      postern.yaml: extensionProviders[2].envoyExtAuthzGrpc.service: `a/b/c` is not a host, such as `ext-authz.foo.svc.cluster.local` or `foo/ext-authz.foo.svc.cluster.local`
      postern.yaml: extensionProviders[2].envoyExtAuthzGrpc.port: `70000` is not a number from 1 to 65535
      postern.yaml: extensionProviders[3].envoyExtAuthzHttp.includeRequestHeadersInCheck: `*` alone is not taken: write a name, `x-*` or `*-x`
      postern.yaml: extensionProviders[3].envoyExtAuthzHttp.headersToUpstreamOnAllow: must be a list
      postern.yaml: extensionProviders[3].envoyExtAuthzHttp.pathPrefix: `x` is not a path, such as `/check`
      postern.yaml: extensionProviders[3].envoyExtAuthzHttp.includeAdditionalHeadersInCheck: `x-a` has a `%`: Envoy's format strings are not supported, and a plain one is written `%%`
      postern.yaml: extensionProviders[3].envoyExtAuthzHttp.service: `*.local` is not a host, such as `ext-authz.foo.svc.cluster.local` or `foo/ext-authz.foo.svc.cluster.local`
      postern.yaml: extensionProviders[3].envoyExtAuthzHttp.includeRequestBodyInCheck.maxRequestBytes: `0` is not a number from 1 to 4294967295
      postern.yaml: extensionProviders[4]: has more than one kind
      postern.yaml: extensionProviders[5]: `name` is missing
      postern.yaml: extensionProviders[6]: `envoyExtAuthz` is no setting
      postern.yaml: extensionProviderClients[0]: `f` is no provider of `extensionProviders`
      postern.yaml: extensionProviderClients[1]: `port` is no setting
      postern.yaml: extensionProviderClients[1]: `b` is no provider of `extensionProviders`
    ");
}
