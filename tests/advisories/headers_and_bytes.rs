//! Headers that come twice, joined, forged, or in bytes that some part cannot read.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::blackbox::Folder;
use crate::scene::{Scene, http, soon, without_raw_headers};
use crate::tokens::{ALICE, token, trusting_issuer};

const DENIED: &str = "deny deny_rule foo/deny rule 0";
const NOT_ALLOWED: &str = "deny no_allow_rule";
const ALLOWED: &str = "allow allow_rule foo/allow rule 0";
const MISSED: &str = "allow no_allow_policy";
const MALFORMED: &str = "deny malformed_request";

/// A policy `deny` or `allow` with one rule.
fn rule(action: &str, rule: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {}, namespace: foo}}
spec: {{action: {action}, rules: [{rule}]}}
",
        action.to_ascii_lowercase()
    )
}

/// A condition on a header.
fn header(action: &str, name: &str, condition: &str) -> String {
    rule(action, &format!("{{when: [{{key: 'request.headers[{name}]', {condition}}}]}}"))
}

/// Adds a line that no request file can say.
fn add_line(check: &mut CheckRequest, name: &str, value: &[u8]) {
    let line =
        HeaderValue { key: name.to_owned(), raw_value: value.to_vec(), ..HeaderValue::default() };
    http(check).header_map.as_mut().unwrap().headers.push(line);
}

/// Only the first of repeated lines was matched. Every line counts, in raw headers and, as far as
/// they can be told apart, in joined ones.
#[tokio::test]
async fn cve_2020_25017_every_line_of_a_header_counts() {
    let deny = Scene::of(&header("DENY", "x-role", "values: [banned]")).await;
    let allow = Scene::of(&header("ALLOW", "x-role", "values: [admin]")).await;
    for lines in ["[user, banned]", "[banned, user]", "[a, b, banned]", "[banned]"] {
        let request = format!("{{headers: {{x-role: {lines}}}}}");
        deny.says(&[(&request, DENIED)]).await;
        let mut joined = deny.check_request(&request);
        without_raw_headers(&mut joined);
        deny.says_to(joined, DENIED).await;
    }
    let request = "{headers: {x-role: [user, admin]}}";
    allow.says(&[(request, ALLOWED)]).await;
    let mut joined = allow.check_request(request);
    without_raw_headers(&mut joined);
    // `user,admin` may as well be one line, which is nobody's role.
    allow.says_to(joined, NOT_ALLOWED).await;
}

/// Only the last of repeated lines reached the authorization server. None may stand for the others:
/// two tokens in one header are no token, and a role is matched in each line.
#[tokio::test]
async fn cve_2021_32777_the_last_line_does_not_stand_for_all() {
    let policies = trusting_issuer() + &header("DENY", "x-role", "values: [banned]");
    let scene = Scene::of(&policies).await;
    let good = token(ALICE);
    let form = "deny jwt Jwt is not in the form of Header.Payload.Signature with two dots and 3 \
                sections";
    let header = "deny jwt Jwt header is an invalid Base64url encoded";
    let signature = "deny jwt Jwt signature is an invalid Base64url encoded";
    for (lines, expect) in [
        (format!("[Bearer {good}]"), MISSED),
        (format!("[Bearer {good}, Bearer {good}]"), form),
        (format!("[Bearer x, Bearer {good}]"), header),
        (format!("[Bearer {good}, Bearer x]"), signature),
        (format!("[Bearer {good}, Basic YTpi]"), signature),
        (format!("[Basic YTpi, Bearer {good}]"), MISSED),
    ] {
        scene.says(&[(&format!("{{headers: {{authorization: {lines}}}}}"), expect)]).await;
    }
    scene.says(&[("{headers: {x-role: [banned, user]}}", DENIED)]).await;
}

/// Lines were joined before they were matched, so that `admin` hid in `user,admin`. An exact DENY rule
/// sees each line; what arrives joined counts as any of its readings.
#[tokio::test]
async fn cve_2026_26308_joining_hides_no_line() {
    let deny = Scene::of(&header("DENY", "x-role", "values: [admin]")).await;
    let lines = "{headers: [[x-role, user], [x-other, a], [X-Role, admin], [x-role, user]]}";
    deny.says(&[(lines, DENIED), ("{headers: {x-role: 'user,admin'}}", MISSED)]).await;
    for request in [lines, "{headers: {x-role: 'user,admin'}}", "{headers: {x-role: 'user,other'}}"]
    {
        let mut joined = deny.check_request(request);
        without_raw_headers(&mut joined);
        deny.says_to(joined, DENIED).await;
    }
    let negative = Scene::of(&header("ALLOW", "x-role", "notValues: [admin]")).await;
    let mut joined = negative.check_request("{headers: {x-role: [user, admin]}}");
    without_raw_headers(&mut joined);
    negative.says_to(joined, NOT_ALLOWED).await;
}

/// A header that is not UTF-8 made the message to the authorization server invalid, and the request
/// was let through. Each byte is taken as it is, and answered.
#[tokio::test]
async fn cve_2023_27488_no_byte_makes_a_request_unanswerable() {
    let scene = Scene::of(&header("DENY", "x-role", "values: ['*']")).await;
    for byte in 0x80..=0xff {
        for value in [vec![byte], vec![byte, b'a'], vec![b'a', byte, byte]] {
            let mut check = scene.check_request("{}");
            add_line(&mut check, "x-role", &value);
            scene.says_to(check, DENIED).await;
        }
    }
    // Without raw headers Envoy puts `!` in the place of such bytes. That is no match of a `!`.
    for (policy, expect) in [
        (header("ALLOW", "x-role", "values: ['bot!']"), NOT_ALLOWED),
        (header("DENY", "x-role", "notValues: ['bot!']"), DENIED),
    ] {
        let scene = Scene::of(&policy).await;
        let mut check = scene.check_request("{}");
        add_line(&mut check, "x-role", b"bot\xff");
        scene.says_to(check.clone(), expect).await;
        without_raw_headers(&mut check);
        scene.says_to(check, expect).await;
    }
    // Neither a name that is no name.
    let mut check = scene.check_request("{}");
    add_line(&mut check, "x-r\u{f6}le", b"a");
    scene.says_to(check, MISSED).await;
}

/// One byte beyond ASCII kept a pattern from matching. Patterns match bytes, and where a rule says
/// `not`, a byte more does not make it hold for what it excludes.
#[tokio::test]
async fn cve_2026_73552_bytes_beyond_ascii_hide_nothing() {
    let deny = Scene::of(&header("DENY", "x-agent", r#"values: ["bot*", "*bot"]"#)).await;
    let allow = Scene::of(&header("ALLOW", "x-agent", r#"notValues: ["bot*", "*bot"]"#)).await;
    for value in [&b"bot\xff"[..], b"bot\x80\xe9", b"\xffbot", b"\xc3bot", b"bot\xe2\x80\xa8x"] {
        for (scene, expect) in [(&deny, DENIED), (&allow, NOT_ALLOWED)] {
            let mut check = scene.check_request("{}");
            add_line(&mut check, "x-agent", value);
            scene.says_to(check, expect).await;
        }
    }
    // Hosts and paths are text in a CheckRequest, of any characters.
    let policy =
        rule("DENY", r#"{to: [{operation: {hosts: ["a*"]}}, {operation: {paths: ["/a*"]}}]}"#);
    let scene = Scene::of(&policy).await;
    for request in [json!({"host": "a\u{ff}"}), json!({"path": "/a\u{2028}\u{ff}"})] {
        scene.says(&[(&request.to_string(), DENIED)]).await;
    }
}

/// The client's `x-envoy-original-path` was taken for the path. It decides nothing.
#[tokio::test]
async fn cve_2023_27487_x_envoy_original_path_is_not_the_path() {
    let policies = trusting_issuer()
        + &rule("DENY", r#"{to: [{operation: {paths: ["/admin*"]}}]}"#)
        + &rule("ALLOW", r#"{to: [{operation: {paths: ["/public"]}}]}"#);
    let scene = Scene::of(&policies).await;
    for name in
        ["x-envoy-original-path", "x-original-url", "x-rewrite-url", "x-envoy-original-host"]
    {
        let request = |path, value| json!({"path": path, "headers": {name: value}}).to_string();
        scene.says(&[(&request("/admin", "/public"), DENIED)]).await;
        scene.says(&[(&request("/other", "/public"), NOT_ALLOWED)]).await;
        scene.says(&[(&request("/public", "/admin"), ALLOWED)]).await;
    }
    // A bad token is refused, wherever the path is said to be.
    let request = r#"{path: /public, headers: {x-envoy-original-path: ""}, token: x}"#;
    assert!(scene.serves(scene.check_request(request)).await.starts_with("deny jwt "));
}

/// `x-envoy-*` of clients with private addresses were trusted. An address gives no trust, and no such
/// header gives an address.
#[tokio::test]
async fn cve_2024_45806_a_private_address_is_no_trust() {
    let policies = rule("DENY", "{from: [{source: {remoteIpBlocks: [203.0.113.7]}}]}")
        + &rule("ALLOW", "{from: [{source: {ipBlocks: [198.51.100.0/24]}}]}");
    let scene = Scene::of(&policies).await;
    for source in ["10.0.0.7", "192.168.1.1", "127.0.0.1", "::1", "fd00::1"] {
        for name in ["x-envoy-external-address", "x-envoy-internal", "x-real-ip", "true-client-ip"]
        {
            for claimed in ["203.0.113.7", "198.51.100.1", "true"] {
                let request = json!({"source": {"ip": source}, "headers": {name: claimed}});
                scene.says(&[(&request.to_string(), NOT_ALLOWED)]).await;
            }
        }
    }
    scene.says(&[("{source: {ip: 198.51.100.1}}", ALLOWED)]).await;
}

/// `X-Forwarded-Proto` and its like were trusted although nobody had said so. Path, host, method and
/// scheme are those of the request, and the peer is that of the connection.
#[tokio::test]
async fn ghsa_vhr5_ggp3_qq85_forwarded_headers_are_not_the_request() {
    let operation = "{paths: [/admin], hosts: [shop.example], methods: [GET]}";
    let from = "{source: {ipBlocks: [10.0.0.0/8]}}";
    let policies = rule("ALLOW", &format!("{{from: [{from}], to: [{{operation: {operation}}}]}}"))
        + &header("DENY", ":scheme", "values: [http]");
    let scene = Scene::of(&policies).await;
    let forged = json!({
        "x-forwarded-proto": "https", "x-forwarded-scheme": "https", "x-forwarded-host": "shop.example",
        "x-forwarded-uri": "/admin", "x-forwarded-method": "GET", "x-forwarded-for": "10.0.0.1",
        "x-http-method-override": "GET", "forwarded": "for=10.0.0.1;host=shop.example;proto=https",
    });
    let honest = json!({
        "path": "/admin", "host": "shop.example", "method": "GET", "scheme": "https",
        "source": {"ip": "10.0.0.1"}, "headers": forged,
    });
    let edited = |field: &str, value: Json| {
        let mut request = honest.clone();
        request[field] = value;
        request.to_string()
    };
    scene.says(&[(&honest.to_string(), ALLOWED)]).await;
    scene
        .says(&[
            (&edited("scheme", json!("http")), DENIED),
            (&edited("path", json!("/other")), NOT_ALLOWED),
            (&edited("host", json!("other.example")), NOT_ALLOWED),
            (&edited("method", json!("POST")), NOT_ALLOWED),
            (&edited("source", json!({"ip": "192.0.2.1"})), NOT_ALLOWED),
        ])
        .await;
}

/// `X-Forwarded-Uri` was taken from anyone, and the trusted proxies were all of them by default. The
/// client's address is counted from the right, over exactly as many hops as the settings say.
#[tokio::test]
async fn ghsa_7x63_xv5r_3p2x_cve_2026_40575_forwarding_is_trusted_hop_by_hop() {
    let scene = Scene::of(&rule("DENY", r#"{to: [{operation: {paths: ["/admin*"]}}]}"#)).await;
    scene
        .says(&[
            ("{path: /admin, headers: {x-forwarded-uri: /public}}", DENIED),
            ("{path: /public, headers: {x-forwarded-uri: /admin, x-original-url: /admin}}", MISSED),
        ])
        .await;

    let policy = rule("ALLOW", "{from: [{source: {remoteIpBlocks: [10.9.9.9]}}]}");
    // At the edge, the peer is 192.0.2.1 and appended by Envoy.
    for (hops, left_to_right) in [
        (0, vec!["10.9.9.9", "10.9.9.9, 10.9.9.9"]),
        (1, vec!["10.9.9.9, 1.1.1.1", "10.9.9.9,"]),
        (2, vec!["10.9.9.9, 1.1.1.1, 2.2.2.2", "1.1.1.1, 10.9.9.9", "x, 10.9.9.9"]),
    ] {
        let settings = json!({"useRemoteAddress": true, "xffNumTrustedHops": hops});
        let scene = Scene::with(settings, &policy).await;
        for value in left_to_right {
            let request = json!({
                "source": {"ip": "192.0.2.1"},
                "headers": {"x-forwarded-for": value},
            });
            scene.says(&[(&request.to_string(), NOT_ALLOWED)]).await;
        }
    }
    let settings = json!({"useRemoteAddress": true, "xffNumTrustedHops": 1});
    let scene = Scene::with(settings, &policy).await;
    let request = "{source: {ip: 192.0.2.1}, headers: {x-forwarded-for: '1.1.1.1, 10.9.9.9'}}";
    scene.says(&[(request, ALLOWED)]).await;
}

/// Line breaks and escape sequences of a request went into logs as they were. Whatever a client
/// sends, a line of ours stays one line, without control characters.
#[tokio::test]
async fn cve_2024_45808_and_cve_2025_25294_nothing_is_injected_into_logs() {
    const EVIL: &str = "\r\n{\"level\":\"FAKE\"}\n\u{1b}[31m\u{9b}2J\"'\\\u{0}\u{7f}\u{202e}end";
    for format in ["json", "human"] {
        let folder = Folder::new();
        let policies = trusting_issuer() + &rule("ALLOW", "{to: [{operation: {paths: [/a]}}]}");
        folder.file("policies/p.yaml", &policies);
        let scene = Scene::of(&policies).await;
        let mut command = folder.postern();
        command.args(["serve", "--policies", "policies", "--namespace", "foo"]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--http-listen", "off"]);
        command.args(["--log-level", "trace", "--log-format", format]);
        let mut server = Killed(command.stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let grpc = loop {
            let line = lines.next().unwrap().unwrap();
            let address = line.contains("listening on").then(|| grpc_address(&line)).flatten();
            seen.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        let rest = std::thread::spawn(move || lines.map(Result::unwrap).collect::<Vec<_>>());
        let mut client = AuthorizationClient::connect(format!("http://{grpc}")).await.unwrap();
        for check in evil_requests(&scene, EVIL) {
            drop(client.check(check).await);
        }
        drop(server);
        seen.extend(rest.join().unwrap());
        assert!(seen.iter().any(|line| line.contains("malformed CheckRequest")), "{seen:#?}");
        for line in seen {
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(!line.starts_with(r#"{"level":"FAKE""#), "{line:?}");
            if format == "json" {
                serde_json::from_str::<Json>(&line).unwrap();
            }
        }
    }
}

/// Ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Where a line of the log says that gRPC is answered.
fn grpc_address(line: &str) -> Option<String> {
    let (_, after) = line.split_once("127.0.0.1:").filter(|_| line.contains("grpc"))?;
    let port: String = after.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("127.0.0.1:{port}"))
}

/// The text in every place that a message has.
fn evil_requests(scene: &Scene, evil: &str) -> Vec<CheckRequest> {
    let claims = json!({"iss": "https://issuer.example", "sub": evil, evil: evil}).to_string();
    let token = format!("Bearer {}", token(&claims));
    let edits: [&dyn Fn(&mut CheckRequest); 14] = [
        &|check| http(check).path = evil.to_owned(),
        &|check| http(check).path = format!("/{evil}"),
        &|check| http(check).host = evil.to_owned(),
        &|check| http(check).method = evil.to_owned(),
        &|check| http(check).scheme = evil.to_owned(),
        &|check| http(check).id = evil.to_owned(),
        &|check| http(check).protocol = evil.to_owned(),
        &|check| add_line(check, "x-request-id", evil.as_bytes()),
        &|check| add_line(check, evil, evil.as_bytes()),
        &|check| add_line(check, "authorization", format!("Bearer {evil}").as_bytes()),
        &|check| add_line(check, "authorization", token.as_bytes()),
        &|check| attributes(check).tls_session.as_mut().unwrap().sni = evil.to_owned(),
        &|check| attributes(check).source.as_mut().unwrap().principal = evil.to_owned(),
        &|check| {
            let named = [("postern.namespace".to_owned(), evil.to_owned())];
            attributes(check).context_extensions = named.into();
            attributes(check).source.as_mut().unwrap().certificate = evil.to_owned();
        },
    ];
    let edited = edits.iter().map(|edit| {
        let mut check = scene.check_request("{}");
        edit(&mut check);
        check
    });
    edited.collect()
}

fn attributes(check: &mut CheckRequest) -> &mut AttributeContext {
    check.attributes.as_mut().unwrap()
}

/// Cookies were expanded past every limit. A message over the limit is not read at all, and one below
/// it takes time in proportion to its size, however many headers and cookies it has.
#[tokio::test]
async fn cve_2026_47774_limits_come_before_parsing() {
    let policies = crate::tokens::authentication(&format!(
        "jwks: '{}'\n    fromCookies: [session]",
        crate::tokens::jwks()
    )) + &header("DENY", "x-role", "values: [banned]");
    let scene = Scene::with(json!({"maxMessageSize": "128KiB"}), &policies).await;
    let cookies = |count: usize| {
        let mut check = scene.check_request("{}");
        add_line(&mut check, "cookie", "a=b; ".repeat(count).as_bytes());
        check
    };
    scene.says_to(cookies(12_000), MISSED).await;
    let mut client =
        AuthorizationClient::connect(format!("http://{}", scene.engines.running.grpc_addr))
            .await
            .unwrap();
    let refused = soon(client.check(cookies(40_000))).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    // And the connection lives on.
    client.check(cookies(1)).await.unwrap();
}

/// A NUL cut a name short, and the rest of it was somebody else's. No certificate with one has any
/// names, and what only looks like the name is another.
#[tokio::test]
async fn cve_2025_66220_and_cve_2026_47778_a_nul_makes_nobody_of_a_peer() {
    let principal = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}";
    let scene = Scene::of(&rule("ALLOW", principal)).await;
    let web = "spiffe://cluster.local/ns/shop/sa/web";
    scene.says(&[(&format!("{{source: {{principal: '{web}'}}}}"), ALLOWED)]).await;
    let named = |name: &[u8]| {
        let mut check = scene.check_request("{}");
        check.attributes.as_mut().unwrap().source.as_mut().unwrap().certificate =
            certificate_with_uri(name);
        check
    };
    scene.says_to(named(web.as_bytes()), ALLOWED).await;
    for odd in ["", ".evil.example", "/x"] {
        let name = [web.as_bytes(), b"\0", odd.as_bytes()].concat();
        scene.says_to(named(&name), MALFORMED).await;
    }
    // Bytes that no URI has: the certificate cannot be read.
    for odd in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80"] {
        scene.says_to(named(&[web.as_bytes(), odd].concat()), MALFORMED).await;
    }
    for other in [
        "spiffe://cluster.local/ns/shop/sa/web%00",
        "spiffe://cluster.local/ns/shop/sa/web%00.evil",
        "spiffe://cluster.local/ns/shop/sa/we%62",
        "spiffe://cluster.local/ns/shop/sa/web/",
        "spiffe://cluster.local//ns/shop/sa/web",
        "SPIFFE://cluster.local/ns/shop/sa/web",
        "Spiffe://cluster.local/ns/shop/sa/web",
        "spiffe://CLUSTER.LOCAL/ns/shop/sa/web",
        "cluster.local",
        "CN=cluster.local/ns/shop/sa/web",
    ] {
        scene.says(&[(&format!("{{source: {{principal: '{other}'}}}}"), NOT_ALLOWED)]).await;
    }
}

/// A certificate, as Envoy sends it, with these bytes as its only URI SAN; no library writes such.
fn certificate_with_uri(name: &[u8]) -> String {
    let der_length = |len: usize| match u8::try_from(len).unwrap() {
        short @ 0..=127 => vec![short],
        long => vec![0x81, long],
    };
    let uri = [&[0x86][..], &der_length(name.len()), name].concat();
    let names = [&[0x30][..], &der_length(uri.len()), &uri].concat();
    let mut params = CertificateParams::default();
    let subject_alt_name = [2, 5, 29, 17];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&subject_alt_name, names)];
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string()
}
