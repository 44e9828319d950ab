use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::admission::{Pruned, admit, prune};
use crate::api::object_meta::{Endpoint, Target};
use crate::api::status::{ApiError, ResourceType};

const VS: ResourceType = ResourceType::VIRTUAL_SERVICE;

fn target(version: &'static str) -> Target<'static> {
    Target { resource: VS, version, namespace: Some("shop"), name: Some("r") }
}

fn object(version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": VS.api_version(version),
        "kind": "VirtualService",
        "metadata": { "name": "r", "namespace": "shop" },
        "spec": spec,
    })
}

fn submit(spec: &Value) -> Result<Vec<String>, ApiError> {
    let answers = ["v1", "v1beta1", "v1alpha3"].map(|version| {
        let mut new = object(version, spec);
        let Pruned { unknown, warnings } = prune(VS, &mut new);
        assert_eq!(unknown, [] as [&str; 0]);
        assert_eq!(new["spec"], *spec, "nothing is lost");
        admit(target(version), Endpoint::Main, None, &new).map(|more| [warnings, more].concat())
    });
    let [first, second, third] = answers;
    let text = |answer: &Result<_, ApiError>| answer.as_ref().err().map(ToString::to_string);
    assert_eq!((text(&first), text(&first)), (text(&second), text(&third)));
    first
}

/// `field: message` of each cause.
fn refused(spec: &Value) -> Vec<String> {
    let error = submit(spec).unwrap_err();
    assert_eq!(error.code(), 422, "{error}");
    let status = error.to_json();
    let causes = status["details"]["causes"].as_array().unwrap().iter();
    let text = |cause: &Value, name: &str| cause[name].as_str().unwrap().to_owned();
    causes.map(|it| format!("{}: {}", text(it, "field"), text(it, "message"))).collect()
}

fn to(host: &str) -> Value {
    json!({ "destination": { "host": host } })
}

/// One route for HTTP.
fn http(route: &Value) -> Value {
    json!({ "hosts": ["a.b"], "http": [route] })
}

fn weighted(weights: &[i64]) -> Value {
    let to = |weight: &i64| json!({ "destination": { "host": "a" }, "weight": weight });
    http(&json!({ "route": weights.iter().map(to).collect::<Vec<_>>() }))
}

#[rstest]
#[case::nothing(json!({}), "spec: Required value: one of `http`, `tls` and `tcp` must have a route")]
#[case::no_route(json!({ "hosts": ["a"], "http": [] }), "spec: Required value: one of `http`, `tls` and `tcp` must have a route")]
#[case::host(json!({ "hosts": ["a b"], "http": [{ "route": [to("a")] }] }), "spec.hosts[0]: Invalid value: \"a b\": a host is a DNS name, one that begins with `*.`, `*`, or an address")]
#[case::empty_host(json!({ "hosts": [""], "http": [{ "route": [to("a")] }] }), "spec.hosts[0]: Invalid value: \"\": a host is a DNS name, one that begins with `*.`, `*`, or an address")]
#[case::star(json!({ "hosts": ["*"], "http": [{ "route": [to("a")] }] }), "spec.hosts[0]: Invalid value: \"*\": `*` can only be used with gateways, and not with `mesh` among them")]
#[case::star_in_the_mesh(json!({ "hosts": ["*"], "gateways": ["a/b", "mesh"], "http": [{ "route": [to("a")] }] }), "spec.hosts[0]: Invalid value: \"*\": `*` can only be used with gateways, and not with `mesh` among them")]
#[case::twice(json!({ "hosts": ["a", "b", "a"], "http": [{ "route": [to("a")] }] }), "spec.hosts[2]: Duplicate value: \"a\"")]
#[case::gateway(json!({ "hosts": ["a"], "gateways": ["a/b/c"], "http": [{ "route": [to("a")] }] }), "spec.gateways[0]: Invalid value: \"a/b/c\": a gateway is `namespace/name`, or the name of one in the same namespace")]
#[case::delegate_for_gateways(json!({ "gateways": ["a/b"], "http": [{ "route": [to("a")] }] }), "spec.gateways: Forbidden: cannot be set without `hosts`: what others delegate to has no gateways")]
#[case::delegate_for_tcp(json!({ "tcp": [{ "route": [to("a")] }] }), "spec.tcp: Forbidden: cannot be set without `hosts`: what others delegate to has no tcp")]
#[case::delegate_of_delegate(json!({ "http": [{ "route": [to("a")], "delegate": { "name": "b" } }] }), "spec.http[0].delegate: Forbidden: what others delegate to cannot delegate itself")]
#[case::nowhere(http(&json!({})), "spec.http[0].route: Required value: a route needs `route`, `redirect`, `directResponse` or `delegate`")]
#[case::both(http(&json!({ "route": [to("a")], "redirect": { "uri": "/" } })), "spec.http[0].route: Forbidden: cannot stand beside `redirect`")]
#[case::answered(http(&json!({ "fault": {}, "directResponse": { "status": 204 } })), "spec.http[0].fault: Forbidden: cannot stand beside `directResponse`")]
#[case::delegated(http(&json!({ "route": [to("a")], "delegate": { "name": "b" } })), "spec.http[0].route: Forbidden: cannot stand beside `delegate`")]
#[case::mirrors(http(&json!({ "route": [to("a")], "mirror": { "host": "b" }, "mirrors": [to("c")] })), "spec.http[0].mirrors: Forbidden: cannot stand beside `mirror`")]
#[case::share(http(&json!({ "route": [to("a")], "mirrorPercentage": { "value": 100.5 } })), "spec.http[0].mirrorPercentage.value: Invalid value: 100.5: a share is 0 to 100")]
#[case::old_share(http(&json!({ "route": [to("a")], "mirror_percent": 101 })), "spec.http[0].mirror_percent: Invalid value: 101: a share is 0 to 100")]
#[case::redirect(http(&json!({ "redirect": {} })), "spec.http[0].redirect: Required value: a redirect leads to another `uri`, `authority`, `scheme` or `port`")]
#[case::redirect_code(http(&json!({ "redirect": { "uri": "/", "redirectCode": 200 } })), "spec.http[0].redirect.redirectCode: Invalid value: 200: a redirect is 300 to 399")]
#[case::redirect_scheme(http(&json!({ "redirect": { "scheme": "ftp" } })), "spec.http[0].redirect.scheme: Invalid value: \"ftp\": the scheme is `http` or `https`")]
#[case::status(http(&json!({ "directResponse": { "status": 99 } })), "spec.http[0].directResponse.status: Invalid value: 99: a status is 200 to 599")]
#[case::no_host(http(&json!({ "route": [to("")] })), "spec.http[0].route[0].destination.host: Required value: requests have to go somewhere")]
#[case::any_host(http(&json!({ "route": [to("*")] })), "spec.http[0].route[0].destination.host: Invalid value: \"*\": a destination is the DNS name of a service")]
#[case::subset(http(&json!({ "route": [{ "destination": { "host": "a", "subset": "V_1" } }] })), "spec.http[0].route[0].destination.subset: Invalid value: \"V_1\": a subset is named by small letters, digits and `-`")]
#[case::port(http(&json!({ "route": [{ "destination": { "host": "a", "port": { "number": 65536 } } }] })), "spec.http[0].route[0].destination.port.number: Invalid value: 65536: a port is 1 to 65535")]
#[case::no_port(http(&json!({ "route": [{ "destination": { "host": "a", "port": {} } }] })), "spec.http[0].route[0].destination.port.number: Invalid value: 0: a port is 1 to 65535")]
#[case::match_port(http(&json!({ "match": [{ "port": 70000 }], "route": [to("a")] })), "spec.http[0].match[0].port: Invalid value: 70000: a port is 1 to 65535")]
#[case::negative(weighted(&[-1, 101]), "spec.http[0].route[0].weight: Invalid value: -1: a weight cannot be negative")]
#[case::all_zero(weighted(&[0, 0]), "spec.http[0].route: Invalid value: \"array\": the weights of several destinations cannot all be 0")]
#[case::tls_nowhere(json!({ "hosts": ["a"], "tls": [{ "match": [{ "sniHosts": ["a"] }] }] }), "spec.tls[0].route: Required value: connections have to go somewhere")]
#[case::tls_any(json!({ "hosts": ["a"], "tls": [{ "match": [], "route": [to("a")] }] }), "spec.tls[0].match: Required value: a route for TLS needs server names")]
#[case::tls_no_name(json!({ "hosts": ["a"], "tls": [{ "match": [{ "sniHosts": [] }], "route": [to("a")] }] }), "spec.tls[0].match[0].sniHosts: Required value: a route for TLS needs server names")]
#[case::tcp_zero(json!({ "hosts": ["a"], "tcp": [{ "route": [to("a"), to("b")] }] }), "spec.tcp[0].route: Invalid value: \"array\": the weights of several destinations cannot all be 0")]
fn istio_refuses(#[case] spec: Value, #[case] expected: &str) {
    assert_eq!(refused(&spec), [expected]);
}

/// What the schema refuses; rules are then not looked at where the structure is wrong.
#[rstest]
#[case::host(http(&json!({ "route": [{ "destination": {} }] })), "spec.http[0].route[0].destination.host: Required value")]
#[case::destination(http(&json!({ "route": [{ "weight": 1 }] })), "spec.http[0].route[0].destination: Required value")]
#[case::weight(http(&json!({ "route": [{ "destination": { "host": "a" }, "weight": "80" }] })), "spec.http[0].route[0].weight: Invalid value: \"string\": spec.http[0].route[0].weight in body must be of type integer: \"string\"")]
#[case::large(weighted(&[1 << 31]), "spec.http[0].route[0].weight: Invalid value: 2147483648: spec.http[0].route[0].weight in body should be less than or equal to 2147483647")]
#[case::port(http(&json!({ "route": [to("a")], "match": [{ "port": -1 }] })), "spec.http[0].match[0].port: Invalid value: -1: spec.http[0].match[0].port in body should be greater than or equal to 0")]
#[case::two(http(&json!({ "route": [to("a")], "match": [{ "uri": { "exact": "/", "prefix": "/" } }] })), "spec.http[0].match[0].uri: Invalid value: \"object\": only one of `exact`, `prefix` and `regex` can be set")]
#[case::two_named(http(&json!({ "route": [to("a")], "match": [{ "headers": { "x": { "regex": "a", "exact": "a" } } }] })), "spec.http[0].match[0].headers[x]: Invalid value: \"object\": only one of `exact`, `prefix` and `regex` can be set")]
#[case::timeout(http(&json!({ "route": [to("a")], "timeout": "0s" })), "spec.http[0].timeout: Invalid value: \"string\": a duration of 1ms at least is needed")]
#[case::bytes(http(&json!({ "directResponse": { "status": 200, "body": { "bytes": "*" } } })), "spec.http[0].directResponse.body.bytes: Invalid value: \"*\": spec.http[0].directResponse.body.bytes in body must be of type byte: \"*\"")]
#[case::cors(http(&json!({ "route": [to("a")], "corsPolicy": { "unmatchedPreflights": "DROP" } })), "spec.http[0].corsPolicy.unmatchedPreflights: Unsupported value: \"DROP\": supported values: \"UNSPECIFIED\", \"FORWARD\", \"IGNORE\"")]
fn the_schema_refuses(#[case] spec: Value, #[case] expected: &str) {
    let causes = refused(&spec);
    assert_eq!(causes[0], expected);
    assert!(causes.len() <= 2, "{causes:?}");
}

/// From Istio's documentation, and everything that a schema has.
#[rstest]
#[case::weights(weighted(&[80, 20]))]
#[case::other_sum(weighted(&[1, 2]))]
#[case::one_zero(weighted(&[0]))]
#[case::zero_beside(weighted(&[0, 100]))]
#[case::delegate(json!({ "http": [{ "route": [to("a")] }] }))]
#[case::delegates(http(&json!({ "match": [{ "uri": { "regex": "/a.*" } }], "delegate": { "name": "b", "namespace": "c" } })))]
#[case::hosts(json!({ "hosts": ["*.a.b", "10.0.0.1", "2001:db8::1", "a.b.", "*-x.b"], "http": [{ "route": [to("*.a.b")] }] }))]
#[case::star(json!({ "hosts": ["*"], "gateways": ["a/b"], "http": [{ "route": [to("a")] }] }))]
#[case::names_after_a_short_one(json!({ "hosts": ["a"], "gateways": ["mesh", "A/b"], "http": [{ "route": [to("a")] }] }))]
#[case::sni(json!({ "hosts": ["outbound_.80_._.a.b"], "gateways": ["a/b"], "tls": [{ "match": [{ "sniHosts": ["outbound_.80_._.a.b"], "port": 0 }], "route": [to("a")] }] }))]
#[case::tcp(json!({ "hosts": ["a"], "tcp": [{ "match": [{ "port": 1, "sourceSubnet": "10.0.0.0/8", "destinationSubnets": ["10.0.0.0/8"] }], "route": [{ "destination": { "host": "a" }, "weight": 100 }] }] }))]
#[case::port_elsewhere(http(&json!({ "redirect": { "port": 8443 } })))]
#[case::nullable(http(&json!({ "route": [to("a")], "mirrorPercent": null, "retries": { "retryRemoteLocalities": null }, "corsPolicy": { "allowCredentials": null } })))]
#[case::answer(http(&json!({ "directResponse": { "status": 503, "body": { "bytes": "YQ==" } } })))]
#[case::everything(everything())]
fn istio_takes(#[case] spec: Value) {
    assert_eq!(submit(&spec).unwrap(), [] as [&str; 0]);
}

/// Routes that use what operators use.
fn everything() -> Value {
    json!({
        "hosts": ["reviews.prod.svc.cluster.local"],
        "gateways": ["istio-system/public", "mesh"],
        "exportTo": ["."],
        "http": [{
            "name": "v2",
            "match": [{
                "name": "m", "uri": { "prefix": "/wpcatalog" }, "scheme": { "exact": "https" },
                "method": { "exact": "GET" }, "authority": { "regex": "^(.*?\\.)?a$" },
                "headers": { "end-user": { "exact": "jason" }, "x": {} },
                "withoutHeaders": { "y": { "prefix": "b" } },
                "queryParams": { "q": { "regex": "\\d+$" } }, "ignoreUriCase": true, "port": 443,
                "sourceLabels": { "app": "frontend" }, "sourceNamespace": "shop",
                "gateways": ["mesh"], "statPrefix": "s",
            }],
            "route": [{
                "destination": { "host": "reviews", "subset": "v2", "port": { "number": 9080 } },
                "weight": 25,
                "headers": { "request": { "set": { "test": "true" } }, "response": { "remove": ["foo"] } },
            }, { "destination": { "host": "reviews", "subset": "v1" }, "weight": 75 }],
            "rewrite": { "uri": "/newcatalog", "authority": "b" },
            "timeout": "5s",
            "retries": {
                "attempts": 3, "perTryTimeout": "2s", "retryOn": "gateway-error,connect-failure",
                "retryRemoteLocalities": true, "backoff": "25ms", "retryIgnorePreviousHosts": false,
            },
            "fault": {
                "delay": { "percentage": { "value": 0.1 }, "fixedDelay": "5s" },
                "abort": { "percentage": { "value": 0.1 }, "httpStatus": 400 },
            },
            "mirrors": [{ "destination": { "host": "shadow" }, "percentage": { "value": 1.5 } }],
            "corsPolicy": {
                "allowOrigins": [{ "exact": "https://example.com" }], "allowMethods": ["POST"],
                "allowCredentials": false, "allowHeaders": ["X-Foo"], "exposeHeaders": ["a"],
                "maxAge": "24h", "unmatchedPreflights": "IGNORE",
            },
            "headers": { "request": { "add": { "a": "b" } } },
        }],
        "tls": [{
            "match": [{ "port": 443, "sniHosts": ["reviews.prod.svc.cluster.local"] }],
            "route": [{ "destination": { "host": "reviews" } }],
        }],
        "tcp": [{ "match": [{ "port": 27017 }], "route": [{ "destination": { "host": "mongo" } }] }],
    })
}

#[test]
fn unknown_fields_are_told() {
    let spec = http(&json!({ "route": [{ "destination": { "host": "a" }, "wieght": 1 }] }));
    let mut new = object("v1", &spec);
    assert_eq!(prune(VS, &mut new).unknown, ["spec.http[0].route[0].wieght"]);
    assert_eq!(new["spec"], http(&json!({ "route": [to("a")] })));
    // What is null where it cannot be is dropped, with a word about it.
    let mut new = object("v1", &http(&json!({ "route": [to("a")], "timeout": null })));
    let pruned = prune(VS, &mut new);
    assert_eq!(pruned.warnings, ["spec.http[0].timeout: null, which counts as absent"]);
}

/// What an older version took can be changed elsewhere.
#[test]
fn what_stays_is_not_refused() {
    let old = object("v1", &weighted(&[0, 0]));
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({ "a": "b" });
    assert!(admit(target("v1"), Endpoint::Main, Some(&old), &new).is_ok());
    new["spec"]["hosts"] = json!(["other"]);
    assert!(admit(target("v1"), Endpoint::Main, Some(&old), &new).is_err());
}

#[test]
fn a_status_is_what_it_is() {
    let mut new = object("v1", &weighted(&[1]));
    new["status"] = json!({ "conditions": [{ "type": "Reconciled", "status": "True" }] });
    assert!(admit(target("v1"), Endpoint::Status, None, &new).is_ok());
    new["status"] = json!({ "conditions": 1 });
    assert!(admit(target("v1"), Endpoint::Status, None, &new).is_err());
}

proptest! {
    /// Nothing panics, whatever stands wherever.
    #[test]
    fn anything_can_be_written(
        at in 0_usize..160,
        with in crate::api::admission::tests::any_json(),
    ) {
        let good = everything();
        let spec = crate::api::admission::tests::broken(&good, &mut at.clone(), &with);
        let mut new = object("v1", &spec);
        prune(VS, &mut new);
        if let Err(error) = admit(target("v1"), Endpoint::Main, None, &new) {
            prop_assert_eq!(error.code(), 422);
        }
    }
}
