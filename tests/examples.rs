//! The policies of `examples/` are valid, and mean what their comments say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use envoy_types::pb::envoy::{
    config::core::v3::{HeaderMap, HeaderValue},
    service::auth::v3::{
        AttributeContext, CheckRequest, CheckResponse,
        attribute_context::{self, HttpRequest, Peer},
        check_response::HttpResponse,
    },
};
use jsonwebtoken::{EncodingKey, Header};
use postern::authn::{KeyLookup, clock::Clock};
use postern::compile::{Settings, compile};
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, RequestSettings};
use postern::key_set::KeySet;
use postern::manifest::{Options, decode_files};
use postern::model::{JwtError, Mesh, Outcome, Reason, Workload};
use postern::plan::KeySourceId;
use rstest::rstest;
use serde_json::{Value, json};

const GATEWAY: &str = "spiffe://cluster.local/ns/edge/sa/gateway";
const LOGIN: &str = "https://login.bookinfo.example";

#[test]
fn every_file_is_valid() {
    for (folder, count) in [("bookinfo", 7), ("httpbin", 8)] {
        assert_eq!(files(folder).len(), count);
        for file in files(folder) {
            let decoded = decode(std::slice::from_ref(&file));
            // DENY rules that know paths only, which one of the files explains.
            let warned: Vec<_> = decoded.diagnostics.iter().map(|d| d.code.to_string()).collect();
            let name = file.file_name().and_then(|name| name.to_str()).unwrap();
            let expected: &[_] =
                if ["no-admin.yaml", "watching.yaml"].contains(&name) { &["PST0301"] } else { &[] };
            assert_eq!(warned, expected, "{name}");
        }
    }
}

#[rstest]
#[case::read("productpage", Ask::get("/productpage").peer(GATEWAY), "allow_rule")]
#[case::read_headers("productpage", Ask::new("HEAD", "/").peer(GATEWAY), "allow_rule")]
#[case::past_the_gateway(
    "productpage",
    Ask::get("/productpage").peer("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews"),
    "no_allow_rule"
)]
#[case::other_trust_domain(
    "productpage",
    Ask::get("/productpage").peer("spiffe://evil.example/ns/edge/sa/gateway"),
    "no_allow_rule"
)]
#[case::no_name("productpage", Ask::get("/productpage"), "peer_unauthenticated")]
#[case::admin("productpage", Ask::get("/admin").peer(GATEWAY), "deny_rule")]
#[case::admin_of_another(
    "details",
    Ask::get("/admin/x").peer("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"),
    "deny_rule"
)]
#[case::details(
    "details",
    Ask::get("/details/0").peer("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"),
    "allow_rule"
)]
#[case::moderator(
    "productpage",
    Ask::new("DELETE", "/api/v1/reviews/7").peer(GATEWAY).bearer(&login(&json!(["moderators"]))),
    "allow_rule"
)]
#[case::not_what_is_below_a_review(
    "productpage",
    Ask::new("DELETE", "/api/v1/reviews/7/x").peer(GATEWAY).bearer(&login(&json!(["moderators"]))),
    "no_allow_rule"
)]
#[case::other_group(
    "productpage",
    Ask::new("DELETE", "/api/v1/reviews/7").peer(GATEWAY).bearer(&login(&json!(["readers"]))),
    "no_allow_rule"
)]
#[case::moderator_past_the_gateway(
    "productpage",
    Ask::new("DELETE", "/api/v1/reviews/7")
        .peer("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews")
        .bearer(&login(&json!(["moderators"]))),
    "no_allow_rule"
)]
#[case::nothing_is_open_by_default(
    "a-new-service",
    Ask::get("/").peer(GATEWAY),
    "no_allow_rule"
)]
fn bookinfo(#[case] app: &str, #[case] ask: Ask, #[case] reason: &str) {
    let gate = Gate::new(&files("bookinfo"), "bookinfo", app);
    assert_eq!(gate.ask(&ask).reason.as_str(), reason);
}

#[test]
fn bookinfo_tells_the_page_who_the_user_is() {
    let gate = Gate::new(&files("bookinfo"), "bookinfo", "productpage");
    let ask = Ask::get("/productpage").peer(GATEWAY).header("x-user", "root");
    assert_eq!(gate.ask(&ask).change("x-user"), Change::Removed);
    let ask = ask.bearer(&login(&json!([])));
    assert_eq!(gate.ask(&ask).change("x-user"), Change::Set("maria".into()));
    assert_eq!(gate.ask(&ask).change("authorization"), Change::Removed);
}

#[rstest]
#[case("require-token.yaml", "foo")]
#[case("require-token-everywhere.yaml", "any")]
#[case("health-without-token.yaml", "foo")]
fn a_token_is_needed(#[case] file: &str, #[case] namespace: &str) {
    let gate = Gate::new(&[httpbin(file)], namespace, "httpbin");
    let good = json!({"iss": "issuer-foo", "sub": "me"});
    assert_eq!(gate.ask(&Ask::get("/x")).reason.as_str(), "no_allow_rule");
    assert_eq!(gate.ask(&Ask::get("/x").bearer(&good)).reason.outcome(), Outcome::Allow);
    let other = json!({"iss": "issuer-bar", "sub": "me"});
    let refused = gate.ask(&Ask::get("/x").bearer(&other)).reason;
    assert_eq!(refused, Reason::Jwt(JwtError::UnknownIssuer));
    // No subject, no request principal.
    let nobody = json!({"iss": "issuer-foo"});
    assert_eq!(gate.ask(&Ask::get("/x").bearer(&nobody)).reason.as_str(), "no_allow_rule");
}

#[test]
fn the_health_check_needs_no_token_and_takes_no_bad_one() {
    let gate = Gate::new(&[httpbin("health-without-token.yaml")], "foo", "httpbin");
    assert_eq!(gate.ask(&Ask::get("/healthz")).reason.outcome(), Outcome::Allow);
    assert_eq!(gate.ask(&Ask::get("/healthz/x")).reason.outcome(), Outcome::Deny);
    let late = json!({"iss": "issuer-foo", "sub": "me", "exp": 1});
    let refused = gate.ask(&Ask::get("/healthz").bearer(&late)).reason;
    assert_eq!(refused, Reason::Jwt(JwtError::Expired));
}

#[rstest]
#[case("foo", "example.com", "allow_rule")]
#[case("foo", "example.com:8080", "allow_rule")]
#[case("foo", "another-host.com", "no_allow_rule")]
#[case("bar", "another-host.com", "allow_rule")]
#[case("bar", "example.com", "no_allow_rule")]
fn each_issuer_is_good_for_its_host(#[case] name: &str, #[case] host: &str, #[case] reason: &str) {
    let gate = Gate::new(&[httpbin("issuer-per-host.yaml")], "foo", "httpbin");
    let token = json!({"iss": format!("https://issuer-{name}.example"), "sub": "me"});
    assert_eq!(gate.ask(&Ask::get("/").host(host).bearer(&token)).reason.as_str(), reason);
}

#[test]
fn the_gateway_hands_the_token_on() {
    let gate = Gate::new(&[httpbin("gateway.yaml")], "istio-system", "istio-ingressgateway");
    assert_eq!(gate.ask(&Ask::get("/")).reason.as_str(), "no_allow_rule");
    let answer = gate.ask(&Ask::get("/").bearer(&json!({"iss": "example.com", "sub": "dev"})));
    assert_eq!(answer.reason.as_str(), "allow_rule");
    assert_eq!(answer.change("x-jwt-sub"), Change::Set("dev".into()));
    assert_eq!(answer.change("authorization"), Change::Kept);
}

#[rstest]
#[case(json!("bookstore_web.apps.example.com"), None)]
#[case(json!(["x", "bookstore_android.apps.example.com"]), None)]
#[case(json!("x"), Some(JwtError::AudienceNotAllowed))]
#[case(Value::Null, Some(JwtError::AudienceNotAllowed))]
fn an_audience_has_to_be_listed(#[case] audience: Value, #[case] error: Option<JwtError>) {
    let gate = Gate::new(&[httpbin("audiences.yaml")], "foo", "httpbin");
    let mut claims = json!({"iss": "https://example.com", "sub": "me"});
    if !audience.is_null() {
        claims["aud"] = audience;
    }
    let expected = error.map_or(Reason::NoAllowPolicy, Reason::Jwt);
    assert_eq!(gate.ask(&Ask::get("/").bearer(&claims)).reason, expected);
}

#[test]
fn tokens_are_found_where_the_rule_says() {
    let gate = Gate::new(&[httpbin("token-places.yaml")], "foo", "httpbin");
    let claims = json!({"iss": "https://example.com", "sub": "me"});
    let token = sign(&claims);
    let outcome = |ask: Ask| gate.ask(&ask).reason.outcome();
    let get = || Ask::get("/a");
    assert_eq!(outcome(get().header("x-goog-iap-jwt-assertion", &token)), Outcome::Allow);
    assert_eq!(
        outcome(get().header("x-jwt-assertion", &format!("Bearer {token}"))),
        Outcome::Allow
    );
    assert_eq!(outcome(get().header("x-jwt-assertion", &token)), Outcome::Deny);
    assert_eq!(
        outcome(get().header("cookie", &format!("a=b; auth-token={token}"))),
        Outcome::Allow
    );
    assert_eq!(outcome(get().bearer(&claims)), Outcome::Deny);
    let answer = gate.ask(&Ask::get(&format!("/a?b=c&my_token={token}")));
    assert_eq!(answer.reason.outcome(), Outcome::Allow);
    assert_eq!(answer.change(":path"), Change::Set("/a?b=c".into()));
}

#[test]
fn claims_become_headers() {
    let gate = Gate::new(&[httpbin("claims-to-headers.yaml")], "foo", "httpbin");
    let claims = json!({
        "iss": "https://example.com", "sub": "me",
        "my-group": "staff", "test-flag": true, "nested": {"key": {"group": 7}},
    });
    let forged = Ask::get("/").header("x-my-company-jwt-group", "root");
    assert_eq!(gate.ask(&forged).change("x-my-company-jwt-group"), Change::Removed);
    let answer = gate.ask(&forged.bearer(&claims));
    for (header, value) in [
        ("x-my-company-jwt-group", "staff"),
        ("x-test-environment-flag", "true"),
        ("x-jwt-claim-group", "7"),
    ] {
        assert_eq!(answer.change(header), Change::Set(value.into()), "{header}");
    }
    let Change::Set(payload) = answer.change("x-jwt-payload") else { panic!("no payload") };
    let payload: Value = serde_json::from_slice(&BASE64URL.decode(payload).unwrap()).unwrap();
    assert_eq!(payload["nested"], claims["nested"]);
    assert_eq!(answer.change("authorization"), Change::Removed);
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(folder);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn httpbin(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/httpbin").join(file)
}

fn decode(files: &[PathBuf]) -> postern::manifest::Decoded {
    let texts: Vec<_> =
        files.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
    let texts = texts.iter().map(|(path, text)| (path.as_str(), text.as_slice()));
    let decoded = decode_files(texts, &Options::default());
    let found: Vec<_> = decoded.diagnostics.iter().map(ToString::to_string).collect();
    assert!(!decoded.has_errors(), "{}", found.join("\n"));
    decoded
}

/// What users' tokens say.
fn login(groups: &Value) -> Value {
    json!({"iss": LOGIN, "sub": "maria", "aud": "bookinfo", "groups": groups})
}

const SECRET: &[u8] = b"the secret of these tests, shared with nobody";

/// Every issuer's key is one and the same here.
fn sign(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

struct OneKey(Arc<KeySet>);

impl KeyLookup for OneKey {
    fn keys(&self, _: &KeySourceId) -> Option<Arc<KeySet>> {
        Some(self.0.clone())
    }
}

/// Postern with some policies, for one workload.
struct Gate(AuthorizationService);

impl Gate {
    fn new(files: &[PathBuf], namespace: &str, app: &str) -> Self {
        let resources: Vec<_> = decode(files).accepted().cloned().map(Arc::new).collect();
        let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
        let settings = Settings {
            mesh: Mesh::default(),
            workloads: vec![Workload {
                namespace: namespace.into(),
                labels,
                ..Workload::default()
            }],
        };
        let (cell, mut publisher) = SnapshotCell::new();
        drop(publisher.publish(Arc::new(compile(1, &resources, &[], &settings))));
        let jwks = json!({"keys": [{"kty": "oct", "alg": "HS256", "k": BASE64URL.encode(SECRET)}]});
        let keys = Arc::new(OneKey(Arc::new(KeySet::parse(&jwks.to_string()).unwrap())));
        let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        Self(AuthorizationService::new(cell, keys, RequestSettings::default(), clock))
    }

    fn ask(&self, ask: &Ask) -> Answer {
        let checked = self.0.answer(&ask.check_request());
        Answer { reason: checked.verdict.reason, response: checked.response }
    }
}

struct Answer {
    reason: Reason,
    response: CheckResponse,
}

/// What becomes of a request header.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Kept,
    Set(String),
    Removed,
}

impl Answer {
    fn change(&self, name: &str) -> Change {
        let Some(HttpResponse::OkResponse(ok)) = &self.response.http_response else {
            panic!("denied: {:?}", self.reason)
        };
        if ok.headers_to_remove.iter().any(|removed| removed == name) {
            return Change::Removed;
        }
        let set = ok.headers.iter().filter_map(|option| option.header.as_ref());
        let set: Option<&HeaderValue> = set.into_iter().find(|header| header.key == name);
        set.map_or(Change::Kept, |header| Change::Set(header.value.clone()))
    }
}

/// A request, as Envoy describes it.
#[derive(Debug, Clone)]
struct Ask {
    method: String,
    path: String,
    host: String,
    principal: String,
    headers: Vec<(String, String)>,
}

impl Ask {
    fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            host: "example.com".into(),
            principal: String::new(),
            headers: Vec::new(),
        }
    }

    fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    fn peer(self, spiffe_id: &str) -> Self {
        Self { principal: spiffe_id.into(), ..self }
    }

    fn host(self, host: &str) -> Self {
        Self { host: host.into(), ..self }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn bearer(self, claims: &Value) -> Self {
        self.header("authorization", &format!("Bearer {}", sign(claims)))
    }

    fn check_request(&self) -> CheckRequest {
        let line = |(key, value): &(String, String)| HeaderValue {
            key: key.clone(),
            raw_value: value.clone().into_bytes(),
            ..HeaderValue::default()
        };
        let host = (":authority".to_owned(), self.host.clone());
        let http = HttpRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            scheme: "https".into(),
            header_map: Some(HeaderMap {
                headers: self.headers.iter().chain([&host]).map(line).collect(),
            }),
            ..HttpRequest::default()
        };
        let source = Peer { principal: self.principal.clone(), ..Peer::default() };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(source),
                request: Some(attribute_context::Request {
                    http: Some(http),
                    ..attribute_context::Request::default()
                }),
                ..AttributeContext::default()
            }),
        }
    }
}
