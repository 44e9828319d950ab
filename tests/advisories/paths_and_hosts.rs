//! Paths and hosts that some part reads in another way than the one that decides.

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use serde_json::json;

use crate::scene::{Scene, http, refusal};

const MODES: [&str; 4] = ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"];

/// A policy `deny` or `allow` with one operation.
fn operation(action: &str, operation: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {}, namespace: foo}}
spec: {{action: {action}, rules: [{{to: [{{operation: {operation}}}]}}]}}
",
        action.to_ascii_lowercase()
    )
}

const DENIED: &str = "deny deny_rule foo/deny rule 0";
const NOT_ALLOWED: &str = "deny no_allow_rule";
const ALLOWED: &str = "allow allow_rule foo/allow rule 0";
const MISSED: &str = "allow no_allow_policy";
const MALFORMED: &str = "deny malformed_request";

/// `{path: ...}`, whatever is in it.
fn at(path: &str) -> String {
    json!({ "path": path }).to_string()
}

/// A path that is spelt in another way missed DENY rules and `notPaths`. Each normalisation must
/// see through exactly what Istio's of that name does, for both kinds of rule.
#[tokio::test]
async fn cve_2021_31920_and_cve_2021_29492_other_spellings_by_normalization() {
    // Whether it is `/admin` under NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES.
    let spellings = [
        ("/admin", [true, true, true, true]),
        ("//admin", [false, false, true, true]),
        ("/x/..////admin", [false, false, true, true]),
        ("/%61dmin", [false, true, true, true]),
        ("/x/../admin", [false, true, true, true]),
        (r"\x\..\admin", [false, false, false, false]),
        (r"/x\..\admin", [false, true, true, true]),
        ("/%2fadmin", [false, false, false, true]),
        ("/x%2F..%2fadmin", [false, false, false, true]),
        ("/x%5c..%5Cadmin", [false, false, false, true]),
        // Escaped twice is escaped once.
        ("/x%252f..%252fadmin", [false, false, false, false]),
    ];
    for (number, mode) in MODES.into_iter().enumerate() {
        let settings = json!({ "pathNormalization": mode });
        let deny = operation("DENY", r#"{paths: ["/admin*"]}"#);
        let deny = Scene::with(settings.clone(), &deny).await;
        let allow = operation("ALLOW", r#"{notPaths: ["/admin*"]}"#);
        let allow = Scene::with(settings, &allow).await;
        for (path, is_admin) in spellings {
            let (denied, allowed) = match is_admin[number] {
                _ if !path.starts_with('/') => (MALFORMED, MALFORMED),
                true => (DENIED, NOT_ALLOWED),
                false => (MISSED, ALLOWED),
            };
            deny.says(&[(&at(path), denied)]).await;
            allow.says(&[(&at(path), allowed)]).await;
        }
    }
}

/// `/admin#x` was another path to the rules and `/admin` to the upstream. A fragment is never part
/// of what is matched; an escaped `#` is a character like any other, for the upstream too.
#[tokio::test]
async fn cve_2021_39156_and_cve_2021_32779_a_fragment_hides_no_path() {
    for mode in MODES {
        let paths = r#"{paths: [/app/admin, "*/secret", "/files/*", "/t/{*}/x"]}"#;
        let policy = operation("DENY", paths);
        let scene = Scene::with(json!({ "pathNormalization": mode }), &policy).await;
        for path in ["/app/admin#x", "/app/admin#", "/a/secret#.css", "/files/#x", "/t/1/x#?y"] {
            scene.says(&[(&at(path), DENIED)]).await;
        }
        scene.says(&[(&at("/app/admin%23x"), MISSED), (&at("/app/admin%23"), MISSED)]).await;
    }
    let scene = Scene::of(&operation("ALLOW", "{notPaths: [/app/billing]}")).await;
    scene.says(&[(&at("/app/billing#x"), NOT_ALLOWED), (&at("/app/bill#ing"), ALLOWED)]).await;
}

/// `?` or `#` after the path evaded an exact rule about who needs a token. They are no part of it.
#[tokio::test]
async fn cve_2020_8595_a_query_hides_no_path() {
    let policy = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: foo}
spec:
  action: DENY
  rules:
  - from: [{source: {notRequestPrincipals: ['*']}}]
    to: [{operation: {paths: [/p]}}]
";
    let scene = Scene::of(policy).await;
    for path in ["/p", "/p?", "/p#", "/p?x", "/p?x#y", "/p#x?y", "/p?/q", "/p??"] {
        scene.says(&[(&at(path), DENIED)]).await;
    }
    scene.says(&[(&at("/p/"), MISSED), (&at("/q?/p"), MISSED)]).await;
    let scene = Scene::of(&operation("ALLOW", "{notPaths: [/p]}")).await;
    scene.says(&[(&at("/p?"), NOT_ALLOWED), (&at("/p?x"), NOT_ALLOWED)]).await;
}

/// `Httpbin.Foo` passed a rule on `httpbin.foo`. Case does not count in hosts; a port or a final dot
/// makes another host, as with native filters, and an ALLOW list refuses those.
#[tokio::test]
async fn cve_2021_39155_hosts_know_no_case() {
    let hosts = r#"{hosts: [httpbin.foo, "httpbin.foo:*", "*.shop.example", "[2001:db8::a]:80"]}"#;
    let of = |host: &str| json!({ "host": host }).to_string();
    let same = [
        "httpbin.foo",
        "Httpbin.Foo",
        "HTTPBIN.FOO:8080",
        "a.SHOP.example",
        "[2001:DB8::A]:80",
        "[2001:db8::a]:80",
    ];
    let other =
        ["httpbin.foo.", "httpbin.foo.:80", "a.shop.example:80", "[2001:db8::a]", "foo", ""];
    let deny = Scene::of(&operation("DENY", hosts)).await;
    let allow = Scene::of(&operation("ALLOW", hosts)).await;
    for host in same {
        deny.says(&[(&of(host), DENIED)]).await;
        allow.says(&[(&of(host), ALLOWED)]).await;
    }
    for host in other {
        deny.says(&[(&of(host), MISSED)]).await;
        allow.says(&[(&of(host), NOT_ALLOWED)]).await;
    }
}

/// A field that the data plane did not know was dropped, and the rule matched everything. An unknown
/// field refuses the policy, wherever it stands, and Postern does not start with it.
#[tokio::test]
async fn cve_2022_21679_an_unknown_field_never_widens_a_rule() {
    let policy = |spec: &str| {
        format!(
            "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: foo}}
spec: {spec}
"
        )
    };
    let sound = Scene::of(&policy("{rules: [{to: [{operation: {hosts: [a]}}]}]}")).await;
    sound.says(&[("{host: b}", NOT_ALLOWED)]).await;
    for spec in [
        "{rules: [{to: [{operation: {hostz: [a]}}]}]}",
        "{rules: [{to: [{operation: {hosts: [a], notHostz: [b]}}]}]}",
        "{rules: [{to: [{operation: {hosts: [a]}, operations: {}}]}]}",
        "{rules: [{from: [{source: {principal: [a]}}]}]}",
        "{rules: [{when: [{key: source.ip, value: [10.0.0.1]}]}]}",
        "{rules: [{when: [{key: source.ips, values: [10.0.0.1]}]}]}",
        "{rules: [{tos: [{operation: {hosts: [a]}}]}]}",
        "{rule: [{to: [{operation: {hosts: [a]}}]}]}",
        "{actions: DENY, rules: [{}]}",
        "{action: DENYY, rules: [{}]}",
    ] {
        let refused = refusal(&policy(spec)).await;
        assert!(refused.starts_with("the policies have "), "{spec}: {refused}");
    }
}

/// `*` was no character of a path segment, so a template missed `/admin/a*b/delete`. Every character
/// that RFC 3986 allows in a segment is one, escaped or not.
#[tokio::test]
async fn cve_2025_46821_templates_take_every_character_of_a_segment() {
    let scene = Scene::of(&operation("DENY", r#"{paths: ["/admin/{*}/delete"]}"#)).await;
    let unreserved = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain("-._~".chars());
    for c in unreserved.chain("!$&'()*+,;=:@".chars()) {
        scene.says(&[(&at(&format!("/admin/{c}/delete")), DENIED)]).await;
        let path = format!("/admin/x%{:02X}y/delete", u32::from(c));
        scene.says(&[(&at(&path), DENIED)]).await;
    }
    scene.says(&[(&at("/admin//delete"), MISSED), (&at("/admin/a/b/delete"), MISSED)]).await;
}

/// The upstream dropped `;x` from each segment, the rules did not. Parameters stay part of the path,
/// as with native filters: prefixes and templates see them, and an ALLOW list of exact paths refuses
/// what an exact DENY rule misses.
#[tokio::test]
async fn cve_2026_73553_cve_2026_73511_and_cve_2026_39852_parameters_are_part_of_the_path() {
    let paths = [
        "/admin;x",
        "/admin;x=1/y",
        "/admin;",
        "/a;p/admin",
        "/a/..;/admin",
        "/a/;/admin",
        "/;/admin",
    ];
    for mode in MODES {
        let settings = json!({ "pathNormalization": mode });
        let allow = operation("ALLOW", "{paths: [/a, /public]}");
        let allow = Scene::with(settings.clone(), &allow).await;
        let deny = operation("DENY", r#"{paths: ["/admin*", "*/admin"]}"#);
        let deny = Scene::with(settings, &deny).await;
        for path in paths {
            allow.says(&[(&at(path), NOT_ALLOWED)]).await;
            deny.says(&[(&at(path), DENIED)]).await;
        }
    }
    let exact = Scene::of(&operation("DENY", "{paths: [/admin]}")).await;
    exact.says(&[(&at("/admin;x"), MISSED)]).await;
}

/// The path was parsed as a URI, so that `//admin/x` lost `admin` as its authority. It is only ever
/// text: two slashes start nothing, and an absolute form is no path.
#[tokio::test]
async fn cve_2026_26205_a_path_is_never_read_as_a_uri() {
    let scene =
        Scene::of(&operation("DENY", r#"{paths: ["//admin*", "///x", "//u@h:80/p"]}"#)).await;
    for path in ["//admin/x", "//admin", "///x", "//u@h:80/p?q"] {
        scene.says(&[(&at(path), DENIED)]).await;
    }
    // What is behind such an authority is not the path either.
    let scene = Scene::of(&operation("DENY", r#"{paths: [/x, /p]}"#)).await;
    for path in ["//admin/x", "///x", "//u@h:80/p"] {
        scene.says(&[(&at(path), MISSED)]).await;
    }
    for path in ["http://host/x", "https://host/x", "//host/x".trim_start_matches('/')] {
        scene.says(&[(&at(path), MALFORMED)]).await;
    }
}

/// Rules saw `/public/../admin`, the upstream `/admin`. With BASE dot segments are gone before any
/// rule looks, in every spelling; without it they are matched as they are, and only as they are.
#[tokio::test]
async fn ghsa_p224_6x5r_fjpm_dot_segments_are_resolved_or_matched_raw() {
    let raw = Scene::of(&operation("DENY", r#"{paths: ["/admin*", "/public/../x"]}"#)).await;
    raw.says(&[(&at("/public/../x"), DENIED), (&at("/public/../admin"), MISSED)]).await;

    let settings = json!({"pathNormalization": "BASE"});
    let base = Scene::with(settings, &operation("DENY", r#"{paths: ["/admin*"]}"#)).await;
    for path in [
        "/public/../admin",
        "/public/%2e%2E/admin",
        "/public/.%2e/admin",
        "/public/%2e./admin",
        "/./admin",
        "/%2e/admin",
        "/a/b/../../admin/",
        "/../admin",
    ] {
        base.says(&[(&at(path), DENIED)]).await;
    }
    base.says(&[(&at("/public/..%2fadmin"), MISSED), (&at("/admin%00"), MALFORMED)]).await;
}

/// `:path` without its slash was routed and missed by every rule. It is refused before rules look,
/// but for the two forms that HTTP has: `*` of OPTIONS, and CONNECT.
#[tokio::test]
async fn cve_2026_33186_a_path_without_a_slash_is_denied() {
    for mode in MODES {
        let deny = operation("DENY", r#"{paths: ["/admin*"]}"#);
        let scene = Scene::with(json!({ "pathNormalization": mode }), &deny).await;
        for path in ["admin", "%2fadmin", " /admin", "./admin", r"\admin", "?", "#", "*", "*/"] {
            scene.says(&[(&at(path), MALFORMED)]).await;
        }
        scene.says(&[("{method: OPTIONS, path: '*'}", MISSED)]).await;
        scene.says(&[("{method: OPTIONS, path: 'admin'}", MALFORMED)]).await;
    }
}

/// CONNECT has no `:path`, and the filter dereferenced it. Whatever part of a message is empty or
/// absent is answered, and only what HTTP allows is not malformed.
#[tokio::test]
async fn cve_2026_73547_parts_that_are_not_there_are_answered() {
    let scene = Scene::of(&operation("DENY", r#"{paths: ["/admin*"], methods: [GET]}"#)).await;
    let connect = "{method: CONNECT, path: '', host: 'db.example:3306'}";
    scene
        .says(&[
            (connect, MISSED),
            ("{method: CONNECT, path: '', host: ''}", MISSED),
            ("{path: ''}", MALFORMED),
            ("{method: ''}", MALFORMED),
            ("{method: '', path: '', host: '', scheme: ''}", MALFORMED),
            ("{host: '', scheme: ''}", MISSED),
        ])
        .await;

    let whole = scene.check_request(connect);
    let edited = |edit: fn(&mut CheckRequest)| {
        let mut check = whole.clone();
        edit(&mut check);
        check
    };
    scene.says_to(edited(|check| http(check).header_map = None), MISSED).await;
    scene.says_to(edited(|check| http(check).host.clear()), MISSED).await;
    scene.says_to(CheckRequest::default(), MALFORMED).await;
    let mut without_http = whole.clone();
    without_http.attributes.as_mut().unwrap().request.as_mut().unwrap().http = None;
    scene.says_to(without_http, MALFORMED).await;
    // Nobody at either end, and no request: a connection, on which HTTP fields of DENY do not count.
    let mut bare = whole.attributes.unwrap();
    (bare.source, bare.destination, bare.request) = (None, None, None);
    scene.says_to(CheckRequest { attributes: Some(bare) }, DENIED).await;
}
