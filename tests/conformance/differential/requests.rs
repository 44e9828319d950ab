//! Requests of a scenario: most are made to match some rule, and then half of them to miss it by
//! little.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

use super::{
    patterns::{address_in, inhabitant, near},
    random::Chance,
    scenario::Scenario,
    tokens::Bearer,
};
use crate::{
    cases::{Expect, Peer, Request},
    pki::Name,
};

/// A request, and the tokens it brings, by name.
pub(crate) struct Draft<'s> {
    pub(crate) scenario: &'s Scenario,
    pub(crate) request: Request,
    /// Trust domain, namespace, service account.
    identity: [String; 3],
    has_identity: bool,
    query: Vec<String>,
    forwarded_for: Option<IpAddr>,
    pub(crate) bearer: Bearer,
}

/// Sent as the byte E9; see `client::request_bytes`.
const RAW_E9: char = '\u{E0E9}';

/// One request.
pub(crate) fn request(
    chance: &mut Chance,
    scenario: &Scenario,
    policies: &[Value],
    tokens: &mut BTreeMap<String, Value>,
) -> Request {
    let mut draft = Draft::new(chance, scenario);
    let rules: Vec<&Value> = policies
        .iter()
        .filter(|p| p["kind"] == "AuthorizationPolicy")
        .flat_map(|p| p["spec"]["rules"].as_array())
        .flatten()
        .collect();
    if !rules.is_empty() && chance.percent(70) {
        let rule = *chance.pick(&rules);
        draft.satisfy(chance, rule);
    }
    for _ in 0..[0, 1, 2][chance.weighted(&[45, 40, 15])] {
        draft.disturb(chance);
    }
    draft.finish(chance, policies, tokens)
}

impl<'s> Draft<'s> {
    fn new(chance: &mut Chance, scenario: &'s Scenario) -> Self {
        let identity = chance.pick(&scenario.identities).clone();
        let part = |at: usize| identity.split('/').nth(at).unwrap_or_default().to_owned();
        let source = *chance.pick(&scenario.sources);
        let mut draft = Self {
            scenario,
            request: Request {
                name: String::new(),
                is_l4: chance.percent(18),
                proxied: None,
                is_http2: chance.percent(20),
                method: if chance.percent(60) {
                    "GET".into()
                } else {
                    chance.pick(&scenario.methods).clone()
                },
                path: chance.pick(&scenario.paths).clone(),
                host: Some(chance.pick(&scenario.hosts).clone()),
                headers: Vec::new(),
                peer: Peer::Plaintext,
                sni: chance.percent(30).then(|| chance.pick(&scenario.server_names).clone()),
                source,
                destination: (IpAddr::from([10, 9, 8, 7]), *chance.pick(&scenario.ports)).into(),
                body: if chance.percent(4) { "some=body".into() } else { String::new() },
                expect: Expect::default(),
            },
            identity: [part(0), part(2), part(4)],
            has_identity: chance.percent(40),
            query: Vec::new(),
            forwarded_for: chance.percent(30).then(|| *chance.pick(&scenario.clients)),
            bearer: Bearer::new(chance, scenario),
        };
        if chance.percent(35) {
            let (name, values) = chance.pick(&scenario.headers);
            let value = chance.pick(values).clone();
            draft.request.headers.push((name.clone(), value));
        }
        if chance.percent(20) {
            let word = chance.word(&[
                "x=1",
                "x=%20y",
                "x;y=1",
                "&&",
                "=",
                "x==1",
                "b=2&a=1",
                "a=%2F&a=2&flag",
                "q=a+b",
                "",
                "x=/admin",
                "a=?",
            ]);
            draft.query.push(word);
        }
        draft
    }

    /// Makes the rule match, as far as that is easy.
    fn satisfy(&mut self, chance: &mut Chance, rule: &Value) {
        let entry = |chance: &mut Chance, list: &Value| -> Value {
            match list.as_array() {
                Some(entries) if !entries.is_empty() => chance.pick(entries).clone(),
                _ => Value::Null,
            }
        };
        let source = entry(chance, &rule["from"])["source"].clone();
        let operation = entry(chance, &rule["to"])["operation"].clone();
        let mut conditions: Vec<(String, &Value, bool)> = Vec::new();
        for (field, values) in
            [&source, &operation].into_iter().filter_map(Value::as_object).flatten()
        {
            match field.strip_prefix("not") {
                Some(rest) => {
                    conditions.push((rest[..1].to_lowercase() + &rest[1..], values, true));
                }
                None => conditions.push((field.clone(), values, false)),
            }
        }
        for condition in rule["when"].as_array().into_iter().flatten() {
            let key = condition["key"].as_str().unwrap_or_default();
            for (list, is_negated) in [("values", false), ("notValues", true)] {
                if condition[list].is_array() {
                    conditions.push((key.to_owned(), &condition[list], is_negated));
                }
            }
        }
        for (key, values, is_negated) in conditions {
            let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
            // What must not be is mostly left alone.
            if values.is_empty() || (is_negated && !chance.percent(30)) {
                continue;
            }
            let value = chance.pick(values).as_str().unwrap_or_default().to_owned();
            self.meet(chance, &key, &value);
        }
    }

    fn meet(&mut self, chance: &mut Chance, key: &str, pattern: &str) {
        let text = inhabitant(chance, pattern);
        let text = if chance.percent(12) { near(chance, &text) } else { text };
        match key {
            "principals" | "source.principal" => {
                self.has_identity = true;
                let parts: Vec<&str> = text.split('/').collect();
                if let [domain, "ns", namespace, "sa", account] = parts.as_slice() {
                    self.identity = [*domain, *namespace, *account].map(str::to_owned);
                } else if pattern != "*" {
                    // Whatever it is, somebody may be called so.
                    let name = if chance.percent(50) {
                        Name::Uri(format!("spiffe://{text}"))
                    } else {
                        Name::Uri(text)
                    };
                    self.request.peer = Peer::Certificate(vec![name]);
                }
            }
            "namespaces" | "source.namespace" => {
                self.has_identity = true;
                self.identity[1] = text;
            }
            "serviceAccounts" | "source.serviceAccount" => {
                self.has_identity = true;
                let longer = chance.word(&["", "", "", "2", "-a", "/more"]);
                let text = format!("{text}{longer}");
                match text.split_once('/') {
                    Some((namespace, name)) => {
                        self.identity[1] = namespace.to_owned();
                        self.identity[2] = name.to_owned();
                    }
                    None => {
                        self.identity[1] = self.scenario.workload.namespace.clone();
                        self.identity[2] = text;
                    }
                }
            }
            "trustDomains" | "source.trustDomain" => {
                self.has_identity = true;
                self.identity[0] = text;
            }
            "ipBlocks" | "source.ip" => {
                let local = |ip: &IpAddr| ip.is_loopback();
                if let Some(ip) = address_in(chance, pattern).filter(local) {
                    self.request.source = ip;
                }
            }
            "remoteIpBlocks" | "remote.ip" => self.forwarded_for = address_in(chance, pattern),
            "destination.ip" => {
                if let Some(ip) = address_in(chance, pattern) {
                    self.request.destination.set_ip(ip);
                }
            }
            "ports" | "destination.port" => {
                if let Ok(port) = text.parse() {
                    self.request.destination.set_port(port);
                }
            }
            "hosts" | "request.headers[:authority]" | "request.headers[host]" => {
                self.request.host = Some(text);
            }
            "methods" | "request.headers[:method]" => self.request.method = text,
            "paths" | "request.headers[:path]" => {
                let path = filled(chance, &text);
                self.request.path = if path.starts_with('/') { path } else { format!("/{path}") };
            }
            "connection.sni" => self.request.sni = Some(text),
            _ => {
                if let Some(name) = key.strip_prefix("request.headers[") {
                    let name = name.trim_end_matches(']');
                    let headers = &mut self.request.headers;
                    headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
                    // A star asks for a line, whatever is in it.
                    let is_empty = pattern == "*" && chance.percent(30);
                    let text = if is_empty { String::new() } else { text };
                    headers.push((name.to_owned(), text));
                    // Another line before it or behind.
                    if chance.percent(25) {
                        let at = headers.len() - chance.below(2);
                        headers.insert(at, (name.to_owned(), chance.word(&["other", "gold", ""])));
                    }
                } else if key.starts_with("request") {
                    self.bearer.meet(key, pattern, &text);
                }
            }
        }
    }

    /// Changes one thing.
    fn disturb(&mut self, chance: &mut Chance) {
        match chance.weighted(&[14, 10, 14, 6, 5, 5, 6, 6, 6, 8, 10, 3]) {
            0 => self.request.path = odd_path(chance, &self.request.path),
            1 => {
                let host = self.request.host.clone().unwrap_or_default();
                self.request.host = Some(match chance.below(8) {
                    6 => format!("{host}ö"),
                    7 => format!("{host}{RAW_E9}"),
                    0 => host.to_uppercase(),
                    1 => format!("{host}:8080"),
                    2 => format!("{host}."),
                    3 => format!("x{host}"),
                    _ => near(chance, &host),
                });
            }
            2 => {
                let at = chance.below(4);
                if at == 3 {
                    self.identity[0] = self.scenario.known_trust_domain(chance);
                } else {
                    self.identity[at] = near(chance, &self.identity[at].clone());
                }
            }
            3 => self.has_identity = !self.has_identity,
            4 => {
                self.request.method = match chance.below(4) {
                    3 => self.request.method.to_lowercase(),
                    0 => near(chance, &self.request.method.clone()),
                    _ => chance.pick(&self.scenario.methods).clone(),
                }
            }
            5 => {
                let port = self.request.destination.port();
                let port =
                    if chance.percent(50) { port ^ 1 } else { *chance.pick(&self.scenario.ports) };
                self.request.destination.set_port(port.max(1));
            }
            6 => self.request.destination.set_ip(*chance.pick(&self.scenario.destinations)),
            7 => self.request.source = *chance.pick(&self.scenario.sources),
            8 => self.forwarded_for = Some(*chance.pick(&self.scenario.clients)),
            9 => self.request.sni = Some(chance.pick(&self.scenario.server_names).clone()),
            10 => self.disturb_headers(chance),
            _ => self.request.host = chance.percent(30).then(String::new),
        }
    }

    fn disturb_headers(&mut self, chance: &mut Chance) {
        let headers = &mut self.request.headers;
        if headers.is_empty() || chance.percent(20) {
            let (name, values) = chance.pick(&self.scenario.headers);
            headers.push((name.clone(), chance.pick(values).clone()));
            return;
        }
        let at = chance.below(headers.len());
        let (name, value) = headers[at].clone();
        match chance.below(8) {
            // The same once more, another before it, one line with both.
            0 => headers.push((name, value)),
            1 => headers.insert(at, (name, chance.word(&["silver", "gold", "", "x"]))),
            2 => headers.push((name.to_uppercase(), chance.word(&["silver", "gold2", ""]))),
            3 => headers[at].1 = format!("{value},{}", chance.word(&["silver", "gold"])),
            4 => headers[at].1 = String::new(),
            // A byte that is not UTF-8.
            5 => headers[at].1 = format!("{value}{}", RAW_E9),
            6 => drop(headers.remove(at)),
            _ => headers[at].1 = near(chance, &value),
        }
    }

    fn finish(
        mut self,
        chance: &mut Chance,
        policies: &[Value],
        tokens: &mut BTreeMap<String, Value>,
    ) -> Request {
        self.bearer.place(chance, policies, tokens, &mut self.request.headers, &mut self.query);
        if let Some(last) = self.forwarded_for {
            let value = forwarded_for(chance, self.scenario, last);
            self.request.headers.push(("x-forwarded-for".into(), value));
        }
        let request = &mut self.request;
        match chance.below(100) {
            0..3 => {
                request.method = "OPTIONS".into();
                request.headers.push(("origin".into(), "https://a.example".into()));
                request.headers.push(("access-control-request-method".into(), "GET".into()));
            }
            3..7 => request.headers.push(("content-type".into(), "application/grpc".into())),
            7..9 => request.headers.push(("x-forwarded-proto".into(), "https".into())),
            9..11 => request.headers.push(("x-envoy-original-path".into(), "/original?x".into())),
            11 => request.path = "*".into(),
            16 => request.headers.push(("content-type".into(), "application/grpc+proto".into())),
            17 => request.headers.push(("Host".into(), chance.pick(&self.scenario.hosts).clone())),
            13 => request.headers.push(("connection".into(), "x-a, close".into())),
            14 => {
                request.headers.push(("origin".into(), chance.word(&["", "null"])));
                request.headers.push(("access-control-request-method".into(), String::new()));
                request.method = "OPTIONS".into();
            }
            15 => request.path = format!("{}/{}", request.path, "long".repeat(70)),
            12 => request.path = format!("http://other.example{}", request.path),
            _ => {}
        }
        if request.path == "*" {
            request.method = "OPTIONS".into();
        } else if !self.query.is_empty() {
            let separator = if request.path.contains('?') { '&' } else { '?' };
            request.path = format!("{}{separator}{}", request.path, self.query.join("&"));
        }
        sendable(chance, request);
        if self.has_identity {
            request.peer = match std::mem::replace(&mut request.peer, Peer::Plaintext) {
                Peer::Certificate(names) => Peer::Certificate(names),
                Peer::Plaintext | Peer::Tls => certificate(chance, self.scenario, &self.identity),
            };
        } else {
            request.peer = if request.sni.is_some() || chance.percent(15) {
                Peer::Tls
            } else {
                Peer::Plaintext
            };
        }
        if request.peer == Peer::Plaintext {
            request.sni = None;
        }
        // Both addresses are of one family.
        if request.source.is_ipv4() != request.destination.is_ipv4() {
            let port = request.destination.port();
            let any: &[IpAddr] = &self.scenario.destinations;
            let fitting = any.iter().find(|ip| ip.is_ipv4() == request.source.is_ipv4());
            let fallback: IpAddr = if request.source.is_ipv4() {
                [10, 9, 8, 7].into()
            } else {
                "fd00::7".parse().unwrap()
            };
            request.destination = (*fitting.unwrap_or(&fallback), port).into();
        }
        self.request
    }
}

/// The operators of a template as segments.
fn filled(chance: &mut Chance, path: &str) -> String {
    let many = chance.word(&["a", "a/b", "", "a/b/c", "a//b"]);
    let one = chance.word(&["a", "x.txt", "b;c=1", "a%2Fb", "", "", "a/b", "[", "~", "%20"]);
    path.replace("{**}", &many).replace("{*}", &one)
}

fn odd_path(chance: &mut Chance, path: &str) -> String {
    let last = path.len();
    let middle = (0..=last).filter(|&at| path.is_char_boundary(at)).nth(last / 2).unwrap_or(0);
    match chance.below(19) {
        0 => format!("{path}/"),
        1 => format!("/{path}"),
        2 => format!("{path}?"),
        3 => format!("{path}?x=y"),
        4 => format!("/x/..{path}"),
        5 => format!("/.{path}"),
        6 => format!("{path}/.."),
        7 => format!("{path};a=b"),
        8 => path.replacen('a', "%61", 1),
        9 => path.replacen('/', "%2F", 2).replacen("%2F", "/", 1),
        10 => path.replacen("/a", "\\a", 2).replacen('\\', "/", 1),
        11 => format!("{path}%"),
        12 => format!("{path}#fragment"),
        13 => format!("{}//{}", &path[..middle], &path[middle..]),
        14 => path.to_uppercase(),
        15 => format!(
            "{path}{}",
            chance
                .pick(&["\"", "<", "^", "|", "{x}", "[", "%00", "%7E", "%", "%2", "%zz", "%C3%A9"])
        ),
        16 => path.replacen("/a", "/%41/../a", 1),
        17 => path.replacen('/', "%5C", 2).replacen("%5C", "/", 1),
        _ => near(chance, path),
    }
}

fn forwarded_for(chance: &mut Chance, scenario: &Scenario, trusted: IpAddr) -> String {
    let hops = usize::try_from(scenario.workload.listener.xff_num_trusted_hops).unwrap();
    let mut entries: Vec<String> = Vec::new();
    for _ in 0..chance.below(3) {
        entries.push(chance.pick(&scenario.clients).to_string());
    }
    entries.push(trusted.to_string());
    for _ in 0..hops {
        entries.push(chance.pick(&scenario.clients).to_string());
    }
    if chance.percent(20) {
        let at = chance.below(entries.len());
        let entry = chance.word(&[
            "garbage",
            "",
            "10.0.0.1:80",
            "[fd00::1]:80",
            "010.0.0.1",
            "10.0.0",
            "fe80::1%eth0",
            "10.0.0.1 ",
            "::ffff:10.0.0.1",
            "unknown",
        ]);
        entries[at] = entry;
    }
    entries.join(*chance.pick(&[",", ", "]))
}

fn certificate(chance: &mut Chance, scenario: &Scenario, identity: &[String; 3]) -> Peer {
    let [domain, namespace, account] = identity;
    let own = Name::Uri(format!("spiffe://{domain}/ns/{namespace}/sa/{account}"));
    let other = Name::Uri(format!("spiffe://{}", chance.pick(&scenario.identities)));
    let id = format!("spiffe://{domain}/ns/{namespace}/sa/{account}");
    let dns = Name::Dns(chance.word(&["a.example.com", "b.example.com"]));
    let subject = Name::Subject(chance.word(&["me", "a,b", "CN", "x=\"y\"", " z", "#1"]));
    let names = match chance.weighted(&[68, 5, 5, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1, 1]) {
        1 => vec![other, own],
        2 => vec![own, other],
        3 => vec![dns, own],
        4 => vec![dns],
        5 => vec![subject],
        6 => vec![own, dns, subject],
        7 => vec![Name::Uri(format!("spiffe://{domain}/x/y/ns/{namespace}/z/sa/{account}/more"))],
        8 => vec![Name::Uri(format!("https://{domain}/ns/{namespace}/sa/{account}"))],
        9 => vec![Name::Uri(format!("spiffe://{domain}/ns/{namespace}\n/sa/{account}"))],
        10 => vec![],
        // Who is called like somebody else, but is not called so in the right place.
        11 => vec![Name::Dns(id)],
        12 => vec![Name::Subject(id)],
        13 => vec![Name::Uri(format!("SPIFFE://{domain}/ns/{namespace}/sa/{account}"))],
        _ => vec![own],
    };
    Peer::Certificate(names)
}

/// Takes out what cannot be sent at all.
fn sendable(chance: &mut Chance, request: &mut Request) {
    let is_visible = |c: char| c.is_ascii_graphic();
    request.path.retain(is_visible);
    if request.path.is_empty() {
        request.path = "/".into();
    }
    request.method.retain(|c| c.is_ascii_alphanumeric() || c == '-');
    // A tunnel is another story.
    if request.method.is_empty() || request.method == "CONNECT" {
        request.method = chance.pick(&["GET", "POST"]).to_string();
    }
    if let Some(host) = &mut request.host {
        host.retain(|c| is_visible(c) || !c.is_ascii());
    }
    for (_, value) in &mut request.headers {
        value.retain(|c| !c.is_control());
    }
    // `:path` and the like are no names of header lines, and the length is that of the body.
    if request.headers.iter().any(|(name, _)| name == "content-length") {
        request.body = "some=body".into();
    }
    request.headers.retain(|(name, _)| {
        !name.starts_with(':') && name != "host" && !name.eq_ignore_ascii_case("content-length")
    });
    if let Some(name) = &request.sni {
        let is_name = |label: &str| {
            !label.is_empty()
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let numeric = name.split('.').all(|label| label.chars().all(|c| c.is_ascii_digit()));
        if !name.split('.').all(is_name) || numeric {
            request.sni = None;
        }
    }
    for name in match &mut request.peer {
        Peer::Certificate(names) => names.as_mut_slice(),
        Peer::Plaintext | Peer::Tls => &mut [],
    } {
        let (Name::Uri(text)
        | Name::Dns(text)
        | Name::Subject(text)
        | Name::Unit(text)
        | Name::Email(text)) = name;
        text.retain(|c| c.is_ascii_graphic() || c == '\n');
    }
}
