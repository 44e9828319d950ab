//! The recorded cases through proxies that ask over HTTP.
//!
//! Left out is, by rule, what needs something that such a proxy does not say; each with its reason,
//! and counted.

mod nginx;

use std::collections::BTreeMap;

use postern::extauthz::Flavour;
use postern::model::{Headers, SentHeaders};
use serde_json::Value;

use crate::{
    Files,
    cases::{Request, Set},
    chosen_files, client,
    envoy_config::{self, Decider, Listener},
    envoy_process::Envoy,
    gate::Gate,
    http_gate::HttpGate,
    judge::{Observed, Report},
    native::Layer,
    world::World,
};
use nginx::{Nginx, Touched};

const NO_METADATA: &str = "dynamic metadata is not sent over HTTP";
const HIDDEN_HEADER: &str =
    "a policy asks for a header that HTTP requests to Postern have for themselves";

/// What nobody knows may cost an ALLOW; it never makes one.
fn assert_closed(reason: &str, request: &Request, observed: &Observed) {
    if [NO_METADATA, HIDDEN_HEADER].contains(&reason) {
        let passes = observed.status < 400;
        assert!(!passes || request.expect.status < 400, "{request:?}: {observed:?}");
    }
}

/// Why a case is none for a flavour; `None` for those that are.
pub(crate) fn left_out(flavour: Flavour, set: &Set, request: &Request) -> Option<&'static str> {
    let sent = match flavour {
        Flavour::Envoy => SentHeaders::ThroughEnvoy,
        Flavour::Nginx | Flavour::Traefik => SentHeaders::ThroughProxy,
    };
    let mut mentions = Mentions::default();
    set.policies.iter().for_each(|policy| mentions.read(policy));
    if request.is_l4 {
        return Some("a connection is not asked about over HTTP");
    }
    if flavour == Flavour::Nginx
        && let Some(reason) = left_out_of_nginx(set, request)
    {
        return Some(reason);
    }
    if mentions.metadata {
        return Some(NO_METADATA);
    }
    if mentions.headers.iter().any(|name| sent.hides(name)) {
        return Some(HIDDEN_HEADER);
    }
    let is_other_path = |path: &String| *path != request.path;
    if request.expect.path.as_ref().is_some_and(is_other_path) && mentions.tokens {
        return Some("a path cannot be changed over HTTP");
    }
    if flavour == Flavour::Envoy
        && request.path.parse::<tonic::codegen::http::uri::PathAndQuery>().is_err()
    {
        return Some("the path has characters that no URI has");
    }
    if request.expect.status >= 500 {
        return Some("Envoy fails over gRPC, where over HTTP Postern has refused already");
    }
    if flavour == Flavour::Envoy && request.method == "HEAD" && !request.expect.headers.is_empty() {
        return Some("Envoy asks with HEAD, and what answers that has no body to say the size of");
    }
    if flavour == Flavour::Envoy && request.proxied.is_some() {
        return Some("Envoy has no word for whom the PROXY protocol names, over HTTP");
    }
    None
}

fn left_out_of_nginx(set: &Set, request: &Request) -> Option<&'static str> {
    let count = |name: &str| {
        request.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count()
    };
    if request.is_http2 {
        return Some("nginx does not find out which HTTP a client without TLS speaks");
    }
    if !set.workload.listener.use_remote_address && count("x-forwarded-for") > 0 {
        return Some("nginx always appends who connects");
    }
    if !request.path.starts_with('/') {
        return Some(
            "of a target in absolute form, nginx takes the path, and the host of the line",
        );
    }
    if count("connection") > 0 {
        return Some("Envoy drops headers that `connection` names, and nginx does not");
    }
    if count("x-forwarded-proto") > 0 {
        return Some("nginx says the scheme of its own connection");
    }
    if request.expect.headers.contains_key("grpc-status") {
        return Some("nginx does not deny as gRPC has it");
    }
    if Headers::JOINED_BY_ENVOY.iter().any(|name| count(name) > 1) {
        return Some("Envoy joins lines of these headers, and nginx does not");
    }
    let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if request.headers.iter().any(|(name, _)| !is_plain(name)) {
        return Some("nginx drops headers with such names");
    }
    if touched(set).iter().any(|name| !is_plain(name)) {
        return Some("nginx has no variable for a header with such a name");
    }
    None
}

/// The headers that the token rules of a set take out or set.
fn touched(set: &Set) -> Touched {
    let mut names = Touched::from(["authorization".to_owned()]);
    let rules = set.policies.iter().filter_map(|p| p["spec"]["jwtRules"].as_array()).flatten();
    for rule in rules {
        let listed = |list: &str, field: &str| -> Vec<String> {
            let entries = rule[list].as_array().into_iter().flatten();
            entries.filter_map(|entry| entry[field].as_str()).map(str::to_lowercase).collect()
        };
        names.extend(listed("fromHeaders", "name"));
        names.extend(listed("outputClaimToHeaders", "header"));
        names.extend(rule["outputPayloadToHeader"].as_str().map(str::to_lowercase));
    }
    names
}

/// What a policy speaks of.
#[derive(Default)]
struct Mentions {
    metadata: bool,
    tokens: bool,
    headers: Vec<String>,
}

impl Mentions {
    fn read(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.metadata |= text.starts_with("experimental.envoy.filters.");
                let header = text.strip_prefix("request.headers[");
                self.headers.extend(header.map(|name| name.trim_end_matches(']').to_lowercase()));
            }
            Value::Array(items) => items.iter().for_each(|item| self.read(item)),
            Value::Object(map) => {
                self.tokens |= map.contains_key("jwtRules");
                map.values().for_each(|item| self.read(item));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// What came of a run, for people.
#[derive(Default)]
struct LeftOut(BTreeMap<&'static str, usize>);

impl LeftOut {
    fn note(&mut self, reason: &'static str) {
        *self.0.entry(reason).or_default() += 1;
    }

    fn text(&self) -> String {
        self.0.iter().map(|(reason, count)| format!("left out: {count} ({reason})\n")).collect()
    }
}

/// Every case through a real Envoy with `http_service`.
#[tokio::test(flavor = "multi_thread")]
async fn through_envoy_over_http() {
    let world = World::new().await;
    let gate = Gate::start().await;
    let http = HttpGate::start(&gate, Flavour::Envoy).await;
    let files = chosen_files();
    let (envoy, kinds) = start_envoy(&world, &files, &http).await;
    let addresses = envoy.listeners().await;
    let mut report = Report::default();
    let mut out = LeftOut::default();
    for (file, set) in files.iter().flat_map(|(file, sets)| sets.iter().map(move |s| (file, s))) {
        let set = world.fill(set);
        if let Err(problem) = gate.load(&set).await {
            report.add_failure(file, &set, &problem);
            continue;
        }
        let kind = kinds.iter().position(|kind| *kind == set.workload.listener).unwrap();
        for (index, request) in set.requests.iter().enumerate() {
            let reason = left_out(Flavour::Envoy, &set, request);
            if request.is_l4 {
                out.note(reason.unwrap());
                continue;
            }
            let address = addresses[&kind.to_string()];
            let observed = client::send(address, &world.pki, request).await;
            if let Some(reason) = reason {
                assert_closed(reason, request, &observed);
                out.note(reason);
                continue;
            }
            report.add(file, &set, index, request, &observed);
        }
    }
    eprintln!("{}{}", out.text(), report.text());
    assert!(report.passed(), "see above; Envoy said:\n{}", envoy.log());
}

async fn start_envoy(
    world: &World,
    files: &Files,
    http: &HttpGate,
) -> (Envoy, Vec<crate::cases::ListenerSettings>) {
    let mut kinds = Vec::new();
    for set in files.iter().flat_map(|(_, sets)| sets) {
        if !kinds.contains(&set.workload.listener) {
            kinds.push(set.workload.listener.clone());
        }
    }
    let listeners: Vec<_> = (kinds.iter().enumerate())
        .map(|(number, settings)| Listener {
            name: number.to_string(),
            settings: settings.clone(),
            layer: Layer::Http,
            decider: Decider::Http(http.address),
        })
        .collect();
    let bootstrap = envoy_config::bootstrap(&listeners, world);
    (Envoy::start("envoy.json", &bootstrap).await, kinds)
}

/// Every case through a real nginx with `auth_request`.
#[tokio::test(flavor = "multi_thread")]
async fn through_nginx() {
    let world = World::new().await;
    let gate = Gate::start().await;
    let http = HttpGate::start(&gate, Flavour::Nginx).await;
    let files = chosen_files();
    let mut servers: Vec<Touched> = Vec::new();
    for set in files.iter().flat_map(|(_, sets)| sets) {
        let touched = touched(set);
        if !servers.contains(&touched) && touched.iter().all(|name| is_token(name)) {
            servers.push(touched);
        }
    }
    let nginx = Nginx::start(&servers, http.address, &world).await;
    let mut report = Report::default();
    let mut out = LeftOut::default();
    for (file, set) in files.iter().flat_map(|(file, sets)| sets.iter().map(move |s| (file, s))) {
        let recorded = world.fill(set);
        let set = as_nginx_has_it(recorded.clone());
        if let Err(problem) = gate.load(&set).await {
            report.add_failure(file, &set, &problem);
            continue;
        }
        for (index, request) in set.requests.iter().enumerate() {
            let reason = left_out(Flavour::Nginx, &recorded, request);
            let touched = touched(&set);
            let server = servers.iter().position(|known| *known == touched);
            let (Some(server), false) = (server, request.is_l4 || request.is_http2) else {
                out.note(reason.unwrap());
                continue;
            };
            let address = nginx.address(server, &request.peer);
            http.was_asked();
            let observed = client::send(address, &world.pki, request).await;
            if !http.was_asked() {
                // Not a request for any nginx; what matters is that it did not pass.
                assert!(observed.status >= 400, "{file} {} #{index}: {observed:?}", set.name);
                out.note("nginx refuses it without asking");
                continue;
            }
            if let Some(reason) = reason {
                assert_closed(reason, request, &observed);
                out.note(reason);
                continue;
            }
            report.add(file, &set, index, &as_nginx_tells_it(request, &touched), &observed);
        }
    }
    eprintln!("{}{}", out.text(), report.text());
    assert!(report.passed(), "see above; nginx said:\n{}", nginx.log());
}

fn is_token(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// nginx leaves paths as they are, and appends who connects.
fn as_nginx_has_it(mut set: Set) -> Set {
    set.workload.listener.postern_normalizes = true;
    set.workload.listener.use_remote_address = true;
    set
}

/// Of the recorded answer, what nginx does not make up itself.
fn as_nginx_tells_it(request: &Request, touched: &Touched) -> Request {
    let mut request = request.clone();
    let expect = &mut request.expect;
    if expect.status == 400 {
        expect.status = 403;
    }
    if expect.status >= 400 {
        expect.body = None;
        let is_told = expect.status == 401;
        expect.headers.retain(|name, _| name == "www-authenticate" && is_told);
    }
    if expect.path.is_some() {
        expect.path = Some(request.path.clone());
    }
    expect.upstream.retain(|name, _| touched.contains(name));
    request
}
