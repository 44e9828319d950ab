use std::sync::LazyLock;

use rstest::rstest;

use super::*;
use crate::extauthz::{ClientAddress, Malformed, RequestSettings};
use crate::model::Value;

fn read(text: &str) -> RequestFile {
    RequestFile::read(text, Some("request.yaml")).unwrap_or_else(|found| panic!("{found:?}"))
}

fn refused(text: &str) -> String {
    let found = RequestFile::read(text, Some("request.yaml")).unwrap_err();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    found.join("\n")
}

static BEHIND_ONE_PROXY: LazyLock<RequestSettings> = LazyLock::new(|| RequestSettings {
    client_address: ClientAddress { use_remote_address: true, trusted_hops: 1 },
    ..RequestSettings::default()
});

#[test]
fn nothing_is_a_plain_get() {
    let request = read("{}");
    let check = request.check_request(ClientAddress::default());
    let attributes = request.attributes(&check, &RequestSettings::default()).unwrap();
    let http = attributes.http.unwrap();
    assert_eq!((&*http.method, &*http.path, &*http.host, &*http.scheme), ("GET", "/", "", "http"));
    assert_eq!(http.headers.iter().count(), 0);
    assert!(!http.headers.joined());
    assert_eq!(attributes.peer.principal(), None);
    assert_eq!((attributes.source_ip, attributes.destination_port), (None, None));
}

#[test]
fn every_field_arrives() {
    let request = read(
        r#"
method: POST
path: /a?b=c
host: Shop.example:8080
scheme: https
headers: {X-Version: "2", x-role: [a, b], Accept: [text/html, text/plain]}
token: abc
source: {ip: 10.1.2.3, principals: [CN=me, a.example, cluster.local/ns/n/sa/s]}
destination: {ip: "2001:db8::1", port: 8080}
sni: SHOP.example
metadata: {f: {k: [x, 1, true, null, {a: b}]}}
now: 1970-01-01T00:01:00Z
"#,
    );
    let check = request.check_request(ClientAddress::default());
    let attributes = request.attributes(&check, &RequestSettings::default()).unwrap();
    let http = attributes.http.as_ref().unwrap();
    let lines: Vec<_> = http.headers.iter().map(|(n, v)| (n, str::from_utf8(v).unwrap())).collect();
    assert_eq!(
        lines,
        [
            ("x-version", "2"),
            ("x-role", "a"),
            ("x-role", "b"),
            ("accept", "text/html,text/plain"),
            ("authorization", "Bearer abc"),
        ]
    );
    assert_eq!(&*http.host, "Shop.example:8080");
    assert_eq!(attributes.peer.names, ["spiffe://cluster.local/ns/n/sa/s", "a.example", "CN=me"]);
    assert_eq!(attributes.source_ip, Some("10.1.2.3".parse().unwrap()));
    assert_eq!(attributes.destination_ip, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(attributes.destination_port, Some(8080));
    assert_eq!(attributes.sni, "shop.example");
    assert_eq!(request.now, Some(60));
    let (filter, metadata) = &attributes.filter_metadata[0];
    assert_eq!(filter, "f");
    let Some(Value::List(items)) = metadata.get("k") else { panic!("{metadata:?}") };
    assert_eq!(items[..3], [Value::String("x".into()), Value::Number(1.0), Value::Bool(true)]);
    assert_eq!(items[3], Value::Null);
    assert!(!attributes.missing.peer_certificate && !attributes.missing.tls_session);
}

#[test]
fn a_connection_has_no_http() {
    let request =
        read("{connection: true, source: {principal: a.example}, destination: {port: 1}}");
    let check = request.check_request(ClientAddress::default());
    let attributes = request.attributes(&check, &RequestSettings::default()).unwrap();
    assert!(attributes.http.is_none());
    assert_eq!(attributes.peer.principal(), Some("a.example"));
}

/// With `use_remote_address` Envoy appends the peer before it asks.
#[test]
fn the_peer_is_appended_where_envoy_does() {
    let request = read("{source: {ip: 10.0.0.1}, headers: {x-forwarded-for: 203.0.113.9}}");
    let check = request.check_request(BEHIND_ONE_PROXY.client_address);
    let attributes = request.attributes(&check, &BEHIND_ONE_PROXY).unwrap();
    let http = attributes.http.as_ref().unwrap();
    let lines: Vec<_> = http.headers.values("x-forwarded-for").collect();
    assert_eq!(lines, [b"203.0.113.9,10.0.0.1"]);
    assert_eq!(attributes.remote_ip, Some("203.0.113.9".parse().unwrap()));
}

/// What the service would deny as malformed is no mistake of the file.
#[test]
fn a_malformed_request_can_be_told() {
    let request = read("{path: admin}");
    let check = request.check_request(ClientAddress::default());
    let malformed = request.attributes(&check, &RequestSettings::default()).unwrap_err();
    assert_eq!(malformed, Malformed::Path);
}

#[rstest]
#[case::map("{a: b, c: [d, e]}")]
#[case::pairs("[[a, b], [c, d], [C, e]]")]
fn headers_are_a_map_or_pairs(#[case] headers: &str) {
    let request = read(&format!("headers: {headers}"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(request.headers, [pair("a", "b"), pair("c", "d"), pair("c", "e")]);
}

#[rstest]
#[case::yaml("path: /a", None)]
#[case::flow("{path: /a}", None)]
#[case::json("{\n\t\"path\": \"/a\"\n}", None)]
#[case::stdin("{path: /a}", Some("stdin"))]
#[case::json_file("{\"path\": \"/a\"}", Some("a.json"))]
#[case::json_in_yaml("{\"path\": \"/a\"}", Some("a.YAML"))]
fn yaml_and_json(#[case] text: &str, #[case] file: Option<&str>) {
    assert_eq!(RequestFile::read(text, file).unwrap().path, "/a");
}

#[test]
fn a_json_file_is_json() {
    assert!(RequestFile::read("{path: /a}", Some("a.json")).is_err());
}

#[rstest]
#[case::seconds("now: 1590969600")]
#[case::text("now: 2020-06-01T00:00:00Z")]
#[case::quoted("now: '2020-06-01T02:00:00+02:00'")]
fn times(#[case] text: &str) {
    assert_eq!(read(text).now, Some(1_590_969_600));
}

#[rstest]
#[case::unknown("metod: GET", "unknown field `metod`", "did you mean `method`?")]
#[case::authority("authority: x", "unknown field `authority`", "write it as `host`")]
#[case::top_level_principal("principal: x", "unknown field `principal`", "below `source`")]
#[case::nested("source: {port: 1}", "unknown field `port`", "`ip`, `principal`, `principals`")]
#[case::type_of_path("path: 1", "expected a string, found the number `1`", "quote it: `\"1\"`")]
#[case::type_of_header("headers: {x: 1.10}", "found the number `1.10`", "quote it: `\"1.10\"`")]
#[case::header_list("headers: [a]", "expected a list, found the string `a`", "")]
#[case::header_triple("headers: [[a, b, c]]", "expected a pair `[name, value]`", "")]
#[case::host_header("headers: {Host: x}", "`host` cannot be written as a header", "field `host`")]
#[case::pseudo_header("headers: {':path': /}", "`:path` cannot be", "a field of the request")]
#[case::bad_header("headers: {'a b': x}", "`a b` cannot be written as a header", "")]
#[case::bearer("token: Bearer x", "`token` is the token alone", "remove `Bearer `")]
#[case::two_tokens("{token: x, headers: {authorization: z}}", "which is there too", "remove one")]
#[case::ip("source: {ip: 10.1.2}", "`10.1.2` is not an IP address", "10.1.2.3")]
#[case::port("destination: {port: 70000}", "`70000` is not a port", "0 to 65535")]
#[case::port_text("destination: {port: http}", "expected a port number", "")]
#[case::principal("source: {principal: ''}", "is never empty", "leave it out")]
#[case::metadata("metadata: {f: 1}", "expected a mapping, found the number", "")]
#[case::now("now: yesterday", "not a time from 1970 on", "2026-05-01T12:00:00Z")]
#[case::before("now: -1", "not a time from 1970 on", "")]
#[case::connection("{connection: true, path: /}", "has no `path`", "remove `connection`")]
#[case::two("---\n{}\n---\n{}", "a second document", "a file of its own")]
#[case::none("", "the file is empty", "`{}` is a plain `GET /`")]
#[case::list("[]", "expected a mapping, found a list", "")]
#[case::yaml("a: [", "not valid YAML", "")]
#[case::twice("{path: /, path: /a}", "error[PST0005]: the key `path`", "")]
fn mistakes_have_a_place_and_advice(#[case] text: &str, #[case] what: &str, #[case] help: &str) {
    let found = refused(text);
    assert!(found.starts_with("request.yaml:"), "{found}");
    assert!(found.contains("error[PST0"), "{found}");
    assert!(found.contains(what), "{found}");
    assert!(found.contains(help), "{found}");
}

#[test]
fn every_mistake_is_said_at_once() {
    let found = refused("{metod: GET, path: 1, source: {ip: x}}");
    assert_eq!(found.matches("error[").count(), 3, "{found}");
}

#[test]
fn a_token_never_shows_in_a_mistake() {
    let found = refused("token: Bearer secret-token\nmetod: GET\n");
    assert!(!found.contains("secret-token"), "{found}");
}
