//! Makes a difference small: leaves out whatever can be left out while it still differs.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value, json};

use super::{
    compare::{Comparison, compare},
    only,
    replay::Bench,
};
use crate::{
    cases::{ListenerSettings, PathNormalization, Peer, Request, Set},
    pki::Name,
};

/// Rounds at most; each tries every single step at once.
const ROUNDS: usize = 40;

/// The smallest set with one request that still differs in the first of its differences.
pub(super) async fn minimize(
    bench: &Bench,
    set: &Set,
    index: usize,
    found: &Comparison,
) -> (Set, Comparison) {
    let mut smallest = (only(set, index), found.clone());
    for _ in 0..ROUNDS {
        let mut candidates = smaller(&smallest.0);
        // Large steps first: many of the small ones at once.
        candidates.sort_by_key(size);
        let mut better = None;
        for some in candidates.chunks(12) {
            let answers = bench.ask(some).await;
            better = some.iter().zip(answers).find_map(|(candidate, answers)| {
                let answers = answers.ok()?;
                let comparison = compare(&candidate.requests[0], answers.first()?);
                same_difference(found, &comparison).then(|| (candidate.clone(), comparison))
            });
            if better.is_some() {
                break;
            }
        }
        match better {
            Some(better) => smallest = better,
            None => break,
        }
    }
    smallest
}

/// Whether it is about the same thing: the same part of the answer differs.
fn same_difference(a: &Comparison, b: &Comparison) -> bool {
    let what = |comparison: &Comparison| {
        let first = comparison.differences.first()?;
        Some(first.split(':').next()?.to_owned())
    };
    !b.is_beyond_comparison && what(a).is_some() && what(a) == what(b)
}

fn size(set: &Set) -> usize {
    as_text(set).len()
}

/// Every set with one thing less.
fn smaller(set: &Set) -> Vec<Set> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Set)| {
        let mut smaller = set.clone();
        change(&mut smaller);
        if as_text(&smaller) != as_text(set) {
            all.push(smaller);
        }
    };
    for at in 0..set.policies.len() {
        with(&|s| drop(s.policies.remove(at)));
        for steps in removable(&set.policies[at]) {
            with(&|s| remove(&mut s.policies[at], &steps));
        }
    }
    with(&|s| {
        s.tokens.retain(|name, _| as_text_of(&s.requests[0]).contains(&format!("${{T:{name}}}")));
    });
    for (name, recipe) in &set.tokens {
        for steps in removable(recipe) {
            with(&|s| remove(s.tokens.get_mut(name).unwrap(), &steps));
        }
    }
    with(&|s| s.workload.trust_domain_aliases.clear());
    with(&|s| s.workload.trust_domain = "cluster.local".into());
    with(&|s| s.workload.namespace = "foo".into());
    with(&|s| s.workload.listener = ListenerSettings::default());
    with(&|s| s.workload.listener.metadata = Map::new());
    with(&|s| s.workload.listener.xff_num_trusted_hops = 0);
    with(&|s| s.workload.listener.path_normalization = PathNormalization::Base);
    let request = &set.requests[0];
    for at in 0..request.headers.len() {
        with(&|s| drop(s.requests[0].headers.remove(at)));
    }
    let mut with_request = |change: &dyn Fn(&mut Request)| with(&|s| change(&mut s.requests[0]));
    with_request(&|r| r.is_http2 = false);
    with_request(&|r| r.method = "GET".into());
    with_request(&|r| r.path = "/".into());
    with_request(&|r| {
        r.path = r.path.find('?').map_or("/".into(), |at| format!("/{}", &r.path[at..]));
    });
    with_request(&|r| r.path.truncate(r.path.find('?').unwrap_or(r.path.len())));
    with_request(&|r| r.host = Some("httpbin.foo".into()));
    with_request(&|r| r.peer = Peer::Plaintext);
    with_request(&|r| r.peer = Peer::Certificate(vec![Name::Uri("spiffe://a".into())]));
    with_request(&|r| r.sni = None);
    with_request(&|r| {
        r.source = Ipv4Addr::LOCALHOST.into();
        r.destination.set_ip(IpAddr::from([10, 9, 8, 7]));
    });
    with_request(&|r| r.destination.set_port(8080));
    with_request(&|r| r.body.clear());
    if let Peer::Certificate(names) = &request.peer {
        for at in 0..names.len() {
            with_request(&|r| {
                if let Peer::Certificate(names) = &mut r.peer {
                    names.remove(at);
                }
            });
        }
    }
    all
}

/// A way into a value.
#[derive(Clone)]
enum Step {
    Field(String),
    Entry(usize),
}

/// Every field and entry, the outermost first, but those that no resource can do without.
fn removable(value: &Value) -> Vec<Vec<Step>> {
    const NEEDED: [&str; 7] =
        ["apiVersion", "kind", "metadata", "name", "namespace", "spec", "key"];
    let mut found = Vec::new();
    let mut waiting = vec![(Vec::new(), value)];
    while let Some((steps, value)) = waiting.pop() {
        let children: Vec<(Step, &Value)> = match value {
            Value::Object(map) => {
                map.iter().map(|(name, v)| (Step::Field(name.clone()), v)).collect()
            }
            Value::Array(list) => {
                list.iter().enumerate().map(|(at, v)| (Step::Entry(at), v)).collect()
            }
            _ => Vec::new(),
        };
        for (step, child) in children {
            let is_needed = matches!(&step, Step::Field(name) if NEEDED.contains(&name.as_str()));
            let mut way: Vec<Step> = steps.clone();
            way.push(step);
            if !is_needed {
                found.push(way.clone());
            }
            waiting.push((way, child));
        }
    }
    found
}

fn remove(value: &mut Value, steps: &[Step]) {
    match steps {
        [Step::Field(name)] => drop(value.as_object_mut().and_then(|m| m.shift_remove(name))),
        [Step::Entry(at)] => drop(value.as_array_mut().map(|list| list.remove(*at))),
        [Step::Field(name), rest @ ..] => remove(&mut value[name.as_str()], rest),
        [Step::Entry(at), rest @ ..] => remove(&mut value[*at], rest),
        [] => {}
    }
}

/// The set as a case file has it, but for what is expected.
pub(super) fn as_text(set: &Set) -> String {
    let workload = &set.workload;
    let mut settings = json!({});
    if workload.namespace != "foo" {
        settings["namespace"] = workload.namespace.clone().into();
    }
    if workload.trust_domain != "cluster.local" {
        settings["trust_domain"] = workload.trust_domain.clone().into();
    }
    if !workload.trust_domain_aliases.is_empty() {
        settings["trust_domain_aliases"] = workload.trust_domain_aliases.clone().into();
    }
    let listener = &workload.listener;
    if listener.xff_num_trusted_hops != 0 {
        settings["xff_num_trusted_hops"] = listener.xff_num_trusted_hops.into();
    }
    if listener.path_normalization != PathNormalization::Base {
        settings["path_normalization"] = match listener.path_normalization {
            PathNormalization::None => "NONE",
            PathNormalization::Base => "BASE",
            PathNormalization::MergeSlashes => "MERGE_SLASHES",
            PathNormalization::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
        .into();
    }
    if !listener.metadata.is_empty() {
        settings["metadata"] = listener.metadata.clone().into();
    }
    let requests: Vec<_> = set.requests.iter().map(request_value).collect();
    let mut whole = json!({"name": set.name});
    if settings != json!({}) {
        whole["workload"] = settings;
    }
    whole["policies"] = set.policies.clone().into();
    if !set.tokens.is_empty() {
        whole["tokens"] = json!(set.tokens);
    }
    whole["requests"] = requests.into();
    serde_json::to_string_pretty(&whole).unwrap()
}

fn as_text_of(request: &Request) -> String {
    request_value(request).to_string()
}

fn request_value(request: &Request) -> Value {
    let mut value = json!({});
    if request.is_l4 {
        value["l4"] = true.into();
    }
    if request.is_http2 {
        value["h2"] = true.into();
    }
    if request.method != "GET" {
        value["method"] = request.method.clone().into();
    }
    if request.path != "/" {
        value["path"] = request.path.clone().into();
    }
    if request.host.as_deref() != Some("httpbin.foo") {
        value["host"] = request.host.clone().into();
    }
    if !request.headers.is_empty() {
        value["headers"] = json!(request.headers);
    }
    match &request.peer {
        Peer::Plaintext => {}
        Peer::Tls => value["as"] = "tls".into(),
        Peer::Certificate(names) => {
            let names: Vec<_> = names
                .iter()
                .map(|name| match name {
                    Name::Uri(uri) => format!("uri:{uri}"),
                    Name::Dns(dns) => format!("dns:{dns}"),
                    Name::Subject(subject) => format!("cn:{subject}"),
                    Name::Unit(subject) => format!("ou:{subject}"),
                    Name::Email(subject) => format!("email:{subject}"),
                })
                .collect();
            value["as"] = if names.is_empty() { "nameless".into() } else { names.join("+").into() };
        }
    }
    if let Some(sni) = &request.sni {
        value["sni"] = sni.clone().into();
    }
    if request.source != IpAddr::from(Ipv4Addr::LOCALHOST) {
        value["src"] = request.source.to_string().into();
    }
    if request.destination.to_string() != "10.9.8.7:8080" {
        value["dst"] = request.destination.to_string().into();
    }
    if !request.body.is_empty() {
        value["body"] = request.body.clone().into();
    }
    value
}
