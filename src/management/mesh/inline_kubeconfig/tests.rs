use std::net::IpAddr;

use axum::body::Body;
use http::Response;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::MeshKind;
use super::super::clusters::{Embedded, routes};
use super::*;
use crate::api::access::Pki;
use crate::api::server::{Answers, Transport, serve, server_config};
use crate::authn::clock::Clock;
use crate::outbound::Resolver;
use crate::shutdown::Shutdown;

const VS: MeshKind = MeshKind::VirtualService;

fn encoded(text: &str) -> String {
    base64::prelude::BASE64_STANDARD.encode(text)
}

fn loopback() -> Destinations {
    Destinations::parse(["127.0.0.0/8"]).unwrap()
}

/// A kubeconfig with one of everything.
fn config(cluster: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "u", "user": user }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u", "namespace": "n" } }],
    })
}

fn good() -> Value {
    config(&json!({ "server": "https://127.0.0.1:6443" }), &json!({ "token": "t" }))
}

fn refused(text: &str) -> String {
    let error = Cluster::inline(&encoded(text), &loopback()).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

/// Each member that runs, reads, trusts or leads elsewhere. The value is never shown.
#[rstest]
#[case::program("/users/0/user", "exec", json!({ "command": "hunter2" }), "users[0].user.exec")]
#[case::provider("/users/0/user", "auth-provider", json!({ "config": { "cmd-path": "hunter2" } }), "users[0].user.auth-provider")]
#[case::token_file("/users/0/user", "tokenFile", json!("/hunter2"), "users[0].user.tokenFile")]
#[case::certificate_file("/users/0/user", "client-certificate", json!("/hunter2"), "users[0].user.client-certificate")]
#[case::key_file("/users/0/user", "client-key", json!("/hunter2"), "users[0].user.client-key")]
#[case::impersonation("/users/0/user", "as", json!("hunter2"), "users[0].user.as")]
#[case::groups("/users/0/user", "as-groups", json!(["hunter2"]), "users[0].user.as-groups")]
#[case::user_name("/users/0/user", "username", json!("hunter2"), "users[0].user.username")]
#[case::password("/users/0/user", "password", json!("hunter2"), "users[0].user.password")]
#[case::authority_file("/clusters/0/cluster", "certificate-authority", json!("/hunter2"), "clusters[0].cluster.certificate-authority")]
#[case::anybody("/clusters/0/cluster", "insecure-skip-tls-verify", json!(true), "clusters[0].cluster.insecure-skip-tls-verify")]
#[case::other_name("/clusters/0/cluster", "tls-server-name", json!("hunter2"), "clusters[0].cluster.tls-server-name")]
#[case::proxy("/clusters/0/cluster", "proxy-url", json!("http://hunter2"), "clusters[0].cluster.proxy-url")]
#[case::compression("/clusters/0/cluster", "disable-compression", json!(true), "clusters[0].cluster.disable-compression")]
#[case::extensions("/contexts/0/context", "extensions", json!([]), "contexts[0].context.extensions")]
#[case::preferences("", "preferences", json!({ "hunter2": 1 }), "preferences")]
#[case::beside_a_user("/users/0", "exec", json!("hunter2"), "users[0].exec")]
#[case::merge("/users/0/user", "<<", json!("hunter2"), "users[0].user.<<")]
fn no_other_member(
    #[case] place: &str,
    #[case] key: &str,
    #[case] value: Value,
    #[case] named: &str,
) {
    let mut config = good();
    config.pointer_mut(place).unwrap()[key] = value.clone();
    let expected = format!("the kubeconfig has `{named}`, which is not allowed here");
    assert_eq!(refused(&config.to_string()), expected);
    // Also where it is not what the current context uses.
    if place.starts_with("/users/") || place.starts_with("/clusters/") {
        let list = if place.starts_with("/users/") { "users" } else { "clusters" };
        let mut config = good();
        let mut other = config[list][0].clone();
        other["name"] = json!("other");
        let inside = place.splitn(4, '/').nth(3).map(|it| format!("/{it}")).unwrap_or_default();
        other.pointer_mut(&inside).unwrap()[key] = value;
        config[list].as_array_mut().unwrap().push(other);
        assert_eq!(refused(&config.to_string()), expected.replacen("[0]", "[1]", 1));
    }
}

/// As kubectl and kubeadm write it.
#[test]
fn preferences_may_be_empty() {
    let with = |preferences: Value| {
        let mut config = good();
        config["preferences"] = preferences;
        config.to_string()
    };
    Cluster::inline(&encoded(&with(json!({}))), &loopback()).unwrap();
    let text = with(json!({})).replace("{}", "{\"hunter2\": {}}");
    assert!(refused(&text).contains("`preferences`, which is not allowed here"));
    for other in [json!(null), json!([]), json!(""), json!("hunter2"), json!(false)] {
        assert_eq!(refused(&with(other)), "`preferences` of the kubeconfig is not a mapping");
    }
}

#[rstest]
#[case::http("http://127.0.0.1:6443")]
#[case::nothing("127.0.0.1:6443")]
#[case::file("file:///etc/passwd")]
#[case::credentials("https://user:hunter2@127.0.0.1")]
#[case::user("https://127.0.0.1@10.0.0.1")]
#[case::path("https://127.0.0.1/k8s/clusters/x")]
#[case::query("https://127.0.0.1?x=hunter2")]
#[case::fragment("https://127.0.0.1#x")]
#[case::backslash("https://127.0.0.1\\@x")]
#[case::port("https://127.0.0.1:0")]
#[case::large_port("https://127.0.0.1:65536")]
#[case::blank("https://127.0.0.1 ")]
#[case::line("https://127.0.0.1\n")]
fn servers_are_https_and_nothing_else(#[case] server: &str) {
    let config = config(&json!({ "server": server }), &json!({}));
    let expected = "`server` of the kubeconfig is not `https://` with a host and maybe a port";
    assert_eq!(refused(&config.to_string()), expected);
}

#[rstest]
#[case::empty("", "the kubeconfig is not one document")]
#[case::scalar("a", "`kubeconfig` of the kubeconfig is not a mapping")]
#[case::two("{}\n---\n{}", "the kubeconfig cannot be read: line 2 is not as it should be")]
#[case::two_of_yaml("a: 1\n---\nb: 1", "the kubeconfig is not one document")]
#[case::yaml("a: [", "the kubeconfig cannot be read: line 1 is not as it should be")]
#[case::tag(
    "a: !!python/object:os.system hunter2",
    "the kubeconfig cannot be read: line 1 is not as it should be"
)]
#[case::twice(
    "current-context: a\ncurrent-context: hunter2",
    "the kubeconfig cannot be read: line 2 is not as it should be"
)]
#[case::nothing_in_it("apiVersion: v1", "the kubeconfig has no `current-context`")]
#[case::no_context(
    "current-context: hunter2",
    "`current-context` of the kubeconfig does not name exactly one"
)]
#[case::kind("kind: Secret", "`kind` of the kubeconfig is not Config")]
#[case::version("apiVersion: v2", "`apiVersion` of the kubeconfig is not v1")]
#[case::users("users: {}", "`users` of the kubeconfig is not a list")]
#[case::user("users: [hunter2]", "`users[0]` of the kubeconfig is not a mapping")]
#[case::no_name("users: [{user: {}}]", "the kubeconfig has no `name`")]
#[case::no_user("users: [{name: a}]", "the kubeconfig has no `user`")]
#[case::no_server("clusters: [{name: a, cluster: {}}]", "the kubeconfig has no `server`")]
#[case::token(
    "users: [{name: a, user: {token: 12}}]",
    "`users[0].user.token` of the kubeconfig is not a string"
)]
#[case::no_cluster("contexts: [{name: a, context: {user: b}}]", "the kubeconfig has no `cluster`")]
fn texts_that_are_no_kubeconfig(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(refused(text), expected);
}

#[test]
fn names_are_of_one_thing() {
    for (list, what) in
        [("contexts", "current-context"), ("clusters", "cluster"), ("users", "user")]
    {
        let expected = format!("`{what}` of the kubeconfig does not name exactly one");
        let mut twice = good();
        let same = twice[list][0].clone();
        twice[list].as_array_mut().unwrap().push(same);
        assert_eq!(refused(&twice.to_string()), expected);
        let mut none = good();
        none[list] = json!([]);
        assert_eq!(refused(&none.to_string()), expected);
    }
}

#[rstest]
#[case::authority("certificate-authority-data", json!("hunter2!"), None)]
#[case::no_authority("certificate-authority-data", json!(""), None)]
#[case::no_pem("certificate-authority-data", json!("YQ=="), None)]
#[case::certificate("client-certificate-data", json!("YQ=="), Some("YQ=="))]
#[case::token("token", json!("hunter2\r\nx: y"), None)]
#[case::no_token("token", json!(""), None)]
fn credentials_that_are_none(
    #[case] member: &str,
    #[case] value: Value,
    #[case] key: Option<&str>,
) {
    let mut config = good();
    let place = if member == "certificate-authority-data" {
        "/clusters/0/cluster"
    } else {
        "/users/0/user"
    };
    config.pointer_mut(place).unwrap()[member] = value;
    if let Some(key) = key {
        config["users"][0]["user"]["client-key-data"] = json!(key);
    }
    let expected = format!("`{member}` of the kubeconfig cannot be used");
    assert_eq!(refused(&config.to_string()), expected);
}

#[test]
fn a_certificate_needs_its_key() {
    for (member, other) in [
        ("client-certificate-data", "client-key-data"),
        ("client-key-data", "client-certificate-data"),
    ] {
        let mut config = good();
        config["users"][0]["user"][member] = json!("YQ==");
        assert_eq!(refused(&config.to_string()), format!("the kubeconfig has no `{other}`"));
    }
}

#[test]
fn sizes_and_encodings() {
    let inline = |text: &str| Cluster::inline(text, &loopback()).map(|_| ());
    for text in ["", "a", "****", "aGVsbG8=x", "/w==", "é"] {
        let error = inline(text).unwrap_err();
        let expected = [InvalidKubeconfig::Base64, InvalidKubeconfig::Documents];
        assert!(expected.contains(&error), "{text} {error}");
    }
    let of_size = |size: usize| {
        let text = good().to_string();
        text.clone() + &" ".repeat(size - text.len())
    };
    assert_eq!(inline(&encoded(&of_size(MAX_KUBECONFIG))), Ok(()));
    assert_eq!(inline(&encoded(&of_size(MAX_KUBECONFIG + 1))), Err(InvalidKubeconfig::TooLarge));
    assert_eq!(inline(&"A".repeat(10 << 20)), Err(InvalidKubeconfig::TooLarge));
    // Both alphabets differ, with padding and without, in lines, and after a query was read.
    let mut text = good();
    text["users"][0]["user"]["token"] = json!("~~~???>>>ooo~~");
    let text = encoded(&text.to_string());
    assert!(text.contains('+') || text.contains('/'), "{text}");
    let for_urls = text.replace('+', "-").replace('/', "_");
    let lines: Vec<_> = text.as_bytes().chunks(76).collect();
    let lines = String::from_utf8(lines.join(&b"\r\n"[..])).unwrap();
    for form in [&text, &for_urls, &lines, &text.replace('+', " ")] {
        assert_eq!(inline(form), Ok(()), "{form}");
        assert_eq!(inline(form.trim_end_matches('=')), Ok(()), "{form}");
    }
}

/// Small in bytes and large in nodes, or deep.
#[test]
fn bombs() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = level - 1;
        let aliases = vec![format!("*a{below}"); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let begun = std::time::Instant::now();
    assert!(refused(&bomb).starts_with("the kubeconfig cannot be read"), "{bomb}");
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(refused(&deep).starts_with("the kubeconfig cannot be read"));
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(refused(&deep).starts_with("the kubeconfig cannot be read"));
    let endless = "a: &a [*a]";
    assert!(refused(endless).starts_with("the kubeconfig cannot be read"));
}

#[rstest]
#[case("10.0.0.0/33")]
#[case("")]
#[case("a b")]
#[case("*.example")]
#[case("1.2.3")]
#[case("http://a")]
fn destinations_that_are_none(#[case] entry: &str) {
    let error = Destinations::parse([entry]).unwrap_err();
    assert!(error.to_string().contains(&format!("`{entry}`")), "{error}");
}

#[test]
fn a_key_is_named_and_cut() {
    let mut config = good();
    config[format!("{}\u{7}\n", "k".repeat(100))] = json!(1);
    let expected = format!("the kubeconfig has `{}`, which is not allowed here", "k".repeat(64));
    assert_eq!(refused(&config.to_string()), expected);
}

/// The cluster of a kubeconfig, with names of our own.
fn with_names(text: &str, allowed: &[&str], names: fn(&str) -> Vec<IpAddr>) -> Cluster {
    let allowed = Destinations::parse(allowed).unwrap();
    let chosen = document::read(text).unwrap();
    let inline = Inline::new(chosen, &allowed, String::new()).unwrap();
    Cluster::of_caller(inline.resolving(Resolver::Fixed(names)))
}

fn on_loopback(_: &str) -> Vec<IpAddr> {
    vec![[127, 0, 0, 1].into()]
}

fn at_the_metadata_service(_: &str) -> Vec<IpAddr> {
    vec![[169, 254, 169, 254].into()]
}

fn hidden(_: &str) -> Vec<IpAddr> {
    vec!["::ffff:127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]
}

/// All refusals are the same to a caller.
fn out_of_reach() -> MeshError {
    let message = "the kubeconfig's cluster cannot be reached, or is none of those allowed";
    MeshError::Unreachable(message.into())
}

#[rstest]
#[case::nowhere(&[], on_loopback)]
#[case::other_range(&["10.0.0.0/8"], on_loopback)]
#[case::other_name(&["other.example"], on_loopback)]
#[case::part_of_a_name(&["example", "pi.example"], on_loopback)]
#[case::metadata(&["0.0.0.0/0"], at_the_metadata_service)]
#[case::metadata_by_name(&["api.example"], at_the_metadata_service)]
#[case::other_form(&["10.0.0.0/8"], hidden)]
#[tokio::test]
async fn where_no_kubeconfig_leads(
    #[case] allowed: &[&str],
    #[case] names: fn(&str) -> Vec<IpAddr>,
) {
    let embedded = Embedded::start().await;
    let port = embedded.url.rsplit_once(':').unwrap().1;
    let text = embedded.kubeconfig.replace("127.0.0.1", "api.example");
    assert!(text.contains(&format!("https://api.example:{port}")), "{text}");
    let cluster = with_names(&text, allowed, names);
    assert_eq!(cluster.istio_enabled().await, Err(out_of_reach()));
    assert_eq!(cluster.list(VS, "shop").await, Err(out_of_reach()));
    // It is the addresses that kept it: there is an answer where they are allowed.
    let cluster = with_names(&text, &["API.example."], on_loopback);
    assert_eq!(cluster.istio_enabled().await, Ok(true));
    let cluster = with_names(&text, &["127.0.0.0/8"], on_loopback);
    assert_eq!(cluster.istio_enabled().await, Ok(true));
}

#[rstest]
#[case("https://169.254.169.254")]
#[case("https://[fd00:ec2::254]")]
#[case("https://100.100.100.200:443")]
#[case("https://0.0.0.0:6443")]
#[case("https://[::ffff:169.254.169.254]")]
#[tokio::test]
async fn addresses_that_nobody_may_ask(#[case] server: &str) {
    let text = config(&json!({ "server": server }), &json!({})).to_string();
    let everywhere = Destinations::parse(["0.0.0.0/0", "::/0"]).unwrap();
    let cluster = Cluster::inline(&encoded(&text), &everywhere).unwrap();
    assert_eq!(cluster.istio_enabled().await, Err(out_of_reach()));
}

/// Odd ways of writing an address are no way around the ranges.
#[rstest]
#[case("https://2130706433:6443")]
#[case("https://0x7f000001:6443")]
#[case("https://127.1:6443")]
#[case("https://localhost:6443")]
#[tokio::test]
async fn loopback_in_other_words(#[case] server: &str) {
    let text = config(&json!({ "server": server }), &json!({})).to_string();
    let others = Destinations::parse(["10.0.0.0/8", "api.example"]).unwrap();
    let cluster = Cluster::inline(&encoded(&text), &others).unwrap();
    assert_eq!(cluster.istio_enabled().await, Err(out_of_reach()));
}

/// Answers every request in the same way.
#[derive(Clone)]
struct Redirects(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl Answers for Redirects {
    const NAME: &'static str = "redirects";

    async fn answer(
        &self,
        _: Option<&crate::api::access::User>,
        request: http::Request<Body>,
    ) -> Response<Body> {
        let what = format!("{} {}", request.method(), request.uri().path());
        self.0.lock().unwrap().push(what);
        Response::builder()
            .status(307)
            .header("location", "/elsewhere")
            .body(Body::from("secret of upstream"))
            .unwrap()
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let now = Clock::system().now();
    let pki = Pki::ephemeral(now).unwrap();
    let leaf = pki.server(&["127.0.0.1".to_owned()], now).unwrap();
    let tls = server_config(&leaf.certificate, &leaf.key, &[]).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (redirects, shutdown) = (Redirects(std::sync::Arc::default()), Shutdown::default());
    let ending = shutdown.clone();
    tokio::spawn(serve(redirects.clone(), listener, Transport::Tls(tls), ending, PATIENCE));
    let authority = encoded(pki.pem());
    let cluster = json!({ "server": url, "certificate-authority-data": authority });
    let text = config(&cluster, &json!({ "token": "t" })).to_string();
    let cluster = Cluster::inline(&encoded(&text), &loopback()).unwrap();
    let expected = "the cluster answers with a redirect, which is not followed";
    assert_eq!(cluster.istio_enabled().await, Err(MeshError::Unreachable(expected.into())));
    assert_eq!(*redirects.0.lock().unwrap(), ["GET /apis"]);
    shutdown.begin();
}

/// Whom it does not know, it does not tell the token.
#[tokio::test]
async fn others_than_the_authority_says_are_not_trusted() {
    let embedded = Embedded::start().await;
    let other = Pki::ephemeral(Clock::system().now()).unwrap();
    let authority = encoded(other.pem());
    let cluster = json!({ "server": embedded.url, "certificate-authority-data": authority });
    let text = config(&cluster, &json!({ "token": "token-0123456789" })).to_string();
    let cluster = Cluster::inline(&encoded(&text), &loopback()).unwrap();
    assert_eq!(cluster.istio_enabled().await, Err(out_of_reach()));
}

#[tokio::test]
async fn a_real_api_by_certificate_and_by_token() {
    let embedded = Embedded::start().await;
    embedded.put("virtualservices.networking.istio.io", "a", &routes("a", [80, 20]));
    let cluster = Cluster::inline(&encoded(&embedded.kubeconfig), &loopback()).unwrap();
    assert_eq!(cluster.istio_enabled().await, Ok(true));
    assert_eq!(cluster.list(VS, "shop").await.unwrap().len(), 1);
    assert_eq!(cluster.get(VS, "shop", "b").await, Ok(None));
    assert_eq!(cluster.kubeconfig_sha256().unwrap().len(), 64);
    assert!(!format!("{cluster:?}").contains("PRIVATE"));
    let path = "/spec/http/0/route/0/weight";
    let patch = |from: i64| {
        let steps = json!([
            { "op": "test", "path": path, "value": from },
            { "op": "replace", "path": path, "value": 60 },
        ]);
        serde_json::from_value::<json_patch::Patch>(steps).unwrap()
    };
    let refused = cluster.patch("shop", "a", &patch(1), "u").await;
    assert_eq!(refused, Err(MeshError::Conflict("it has changed meanwhile".into())));
    let patched = cluster.patch("shop", "a", &patch(80), "u").await.unwrap();
    assert_eq!(patched["spec"]["http"][0]["route"][0]["weight"], 60);

    let authority = embedded.kubeconfig.lines().find_map(|line| {
        line.trim().strip_prefix("certificate-authority-data: ").map(str::to_owned)
    });
    let server = json!({ "server": embedded.url, "certificate-authority-data": authority });
    let of_token = |token: &str| {
        let text = config(&server, &json!({ "token": token })).to_string();
        Cluster::inline(&encoded(&text), &loopback()).unwrap()
    };
    assert_eq!(of_token("token-0123456789").list(VS, "shop").await.unwrap().len(), 1);
    let message = "the cluster does not accept the credentials";
    let expected = Err(MeshError::Unreachable(message.into()));
    assert_eq!(of_token("another").list(VS, "shop").await, expected);
}

proptest! {
    /// Nothing panics, and what is taken has only what is known.
    #[test]
    fn anything_can_be_sent(
        text in prop_oneof![
            "\\PC{0,200}",
            "[A-Za-z0-9+/=_ -]{0,200}",
            // Cuts and changes of a good one.
            (0_usize..400, "[a-z{}\\[\\]:,\"\\n &*<-]{0,4}").prop_map(|(at, with)| {
                let mut text = good().to_string();
                let at = at % text.len();
                text.replace_range(at..=at, &with);
                encoded(&text)
            }),
        ],
    ) {
        if let Ok(cluster) = Cluster::inline(&text, &loopback()) {
            prop_assert_eq!(cluster.kubeconfig_sha256().map(str::len), Some(64));
        }
    }
}
