//! The recorded cases through proxies that ask over HTTP.
//!
//! Left out is, by rule, what needs something that such a proxy does not say; each with its reason,
//! and counted.

use std::collections::BTreeMap;

use postern::extauthz::Flavour;
use postern::model::SentHeaders;
use serde_json::Value;

use crate::{
    Files,
    cases::{Request, Set},
    chosen_files, client,
    envoy_config::{self, Decider, Listener},
    envoy_process::Envoy,
    gate::Gate,
    http_gate::HttpGate,
    judge::Report,
    native::Layer,
    world::World,
};

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
    if mentions.metadata {
        return Some("dynamic metadata is not sent over HTTP");
    }
    if mentions.headers.iter().any(|name| sent.hides(name)) {
        return Some(
            "a policy asks for a header that HTTP requests to Postern have for themselves",
        );
    }
    let is_other_path = |path: &String| *path != request.path;
    if request.expect.path.as_ref().is_some_and(is_other_path) && mentions.tokens {
        return Some("a path cannot be changed over HTTP");
    }
    if request.path.parse::<tonic::codegen::http::uri::PathAndQuery>().is_err() {
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
            if let Some(reason) = left_out(Flavour::Envoy, &set, request) {
                out.note(reason);
                continue;
            }
            let address = addresses[&kind.to_string()];
            let observed = client::send(address, &world.pki, request).await;
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
