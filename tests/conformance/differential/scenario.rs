//! The few values that the policies and requests of one set are made of, so that they often meet.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Map, Value, json};

use super::{patterns::near, random::Chance};
use crate::cases::{ListenerSettings, PathNormalization, WorkloadSettings};

pub(crate) struct Scenario {
    pub(crate) workload: WorkloadSettings,
    /// `td/ns/n/sa/s`
    pub(crate) identities: Vec<String>,
    pub(crate) hosts: Vec<String>,
    /// Without queries.
    pub(crate) paths: Vec<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: Vec<(String, Vec<String>)>,
    pub(crate) sources: Vec<IpAddr>,
    /// For `x-forwarded-for`.
    pub(crate) clients: Vec<IpAddr>,
    pub(crate) destinations: Vec<IpAddr>,
    pub(crate) ports: Vec<u16>,
    pub(crate) server_names: Vec<String>,
    pub(crate) issuers: Vec<(String, String)>,
    pub(crate) subjects: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) claim_values: Vec<String>,
}

const TRUST_DOMAINS: [&str; 6] = ["cluster.local", "td1", "td0", "old-td", "new-td", "td10"];
const NAMESPACES: [&str; 6] = ["foo", "foo2", "fo", "bar", "istio-system", "a-foo"];
const ACCOUNTS: [&str; 5] = ["sleep", "sleep2", "slee", "default", "a.sleep"];
const SEGMENTS: [&str; 16] = [
    "a", "ab", "admin", "api", "v1", "v2", "x.txt", "Admin", "a;p=1", "b%2Fc", "%61", "a%20b",
    "c+d", "~me", "a@b", "_",
];
const HEADER_NAMES: [&str; 16] = [
    "x-a",
    "x-role",
    "x-b",
    "x-a",
    "user-agent",
    "cookie",
    "accept",
    "x-forwarded-for",
    "content-type",
    "referer",
    "x-forwarded-proto",
    "X-Mixed",
    "origin",
    "x_under",
    "cache-control",
    "x-forwarded-client-cert",
];
const VALUES: [&str; 12] = [
    "gold",
    "gold2",
    "gol",
    "Gold",
    "silver",
    "gold,silver",
    "a b",
    "g*ld",
    "0",
    "v1.2",
    "göld",
    "gold=silver; v1",
];
/// Only claims can say these.
const ODD_CLAIMS: [&str; 5] = ["gold\n", "a\nb", "", " gold", "\u{10FFFF}"];
/// Each with the key that signs its tokens.
const ISSUERS: [(&str, &str); 10] = [
    ("issuer-a", "ec256a"),
    ("issuer-b", "ec256b"),
    ("https://iss.example/c", "rsa1"),
    ("https://iss.example/c", "rsa1"),
    ("https://iss.example/", "ec256b"),
    ("issuer-a", "ec256a"),
    ("issuer-a2", "ec384a"),
    ("issuer.a", "oct1"),
    ("issuer-e", "ec521a"),
    ("me@example.com", "ed1"),
];

impl Scenario {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let workload = workload(chance);
        let identities = some(chance, 3, |c| {
            format!(
                "{}/ns/{}/sa/{}",
                c.pick(&TRUST_DOMAINS),
                c.pick(&NAMESPACES),
                c.pick(&ACCOUNTS)
            )
        });
        let mut hosts = vec!["httpbin.foo".to_owned()];
        hosts.extend(some(chance, 2, |c| {
            c.word(&[
                "a.example.com",
                "example.com",
                "evil-example.com",
                "example.com.evil.org",
                "HTTPBIN.foo",
                "httpbin.foo:8080",
                "example.com:80",
                "httpbin.foo.",
                "[fd00::1]:80",
                "10.9.8.7",
            ])
        }));
        Self {
            identities,
            hosts,
            paths: some(chance, 4, path),
            methods: some(chance, 3, |c| {
                c.word(&[
                    "GET", "GET", "POST", "PUT", "PURGE", "HEAD", "OPTIONS", "DELETE", "PATCH",
                ])
            }),
            headers: (0..3).map(|_| header(chance)).collect(),
            sources: some(chance, 2, |c| {
                c.word(&["127.0.0.1", "127.0.0.5", "127.0.0.4", "127.0.1.5", "127.8.0.5", "::1"])
                    .parse()
                    .unwrap()
            }),
            clients: some(chance, 3, |c| {
                c.word(&[
                    "10.0.0.1",
                    "10.0.0.2",
                    "10.0.1.1",
                    "192.168.7.9",
                    "fd00::1",
                    "fd00::2",
                    "2001:db8::1",
                    "127.0.0.5",
                    "::ffff:10.0.0.1",
                ])
                .parse()
                .unwrap()
            }),
            destinations: some(chance, 2, |c| {
                c.word(&["10.9.8.7", "10.9.8.6", "10.9.9.7", "10.8.8.7", "fd00::7", "fd00::6"])
                    .parse()
                    .unwrap()
            }),
            ports: some(chance, 2, |c| *c.pick(&[8080, 80, 443, 8081, 9090, 65535])),
            server_names: some(chance, 2, |c| {
                c.word(&["a.example.com", "b.example.com", "example.com", "A.Example.com", "foo"])
            }),
            issuers: some(chance, 2, |c| {
                let (issuer, key) = c.pick(&ISSUERS);
                ((*issuer).to_owned(), (*key).to_owned())
            }),
            subjects: some(chance, 2, |c| {
                c.word(&["alice", "alice2", "bob", "a/b", "alic", "*", "al\nice", "älice"])
            }),
            audiences: some(chance, 2, |c| {
                c.word(&["aud1", "aud2", "https://svc.example.com/", "svc.example.com", "Aud1"])
            }),
            claim_values: some(chance, 3, |c| {
                if c.percent(8) { c.word(&ODD_CLAIMS) } else { c.word(&VALUES) }
            }),
            workload,
        }
    }

    /// Sees to it that an earlier filter has set some metadata.
    pub(crate) fn set_metadata(&mut self, chance: &mut Chance) {
        self.workload.listener.metadata = metadata(chance);
    }

    /// The mesh's, an alias, or the name that points to them.
    pub(crate) fn known_trust_domain(&self, chance: &mut Chance) -> String {
        let mut known = vec!["cluster.local", self.workload.trust_domain.as_str()];
        known.extend(self.workload.trust_domain_aliases.iter().map(String::as_str));
        chance.word(&known)
    }

    /// `namespace`, or another one.
    pub(crate) fn namespace(&self, chance: &mut Chance) -> String {
        match chance.weighted(&[70, 22, 8]) {
            0 => self.workload.namespace.clone(),
            1 => self.workload.root_namespace.clone(),
            _ => "other".into(),
        }
    }
}

fn some<T>(chance: &mut Chance, number: usize, mut one: impl FnMut(&mut Chance) -> T) -> Vec<T> {
    (0..number).map(|_| one(chance)).collect()
}

fn header(chance: &mut Chance) -> (String, Vec<String>) {
    let name = chance.word(&HEADER_NAMES);
    let values: &[&str] = match name.as_str() {
        "x-forwarded-proto" => &["https", "http", "HTTPS", "ftp", "https,http", "Http", ""],
        _ => &VALUES,
    };
    let values = some(chance, 3, |c| c.word(values));
    (name, values)
}

fn path(chance: &mut Chance) -> String {
    let mut path = String::new();
    for _ in 0..chance.between(1, 3) {
        path.push('/');
        path.push_str(&chance.word(&SEGMENTS));
    }
    if chance.percent(15) {
        path.push('/');
    }
    if chance.percent(15) { near(chance, &path) } else { path }
}

fn workload(chance: &mut Chance) -> WorkloadSettings {
    let (trust_domain, aliases): (&str, &[&str]) = *chance.pick(&[
        ("cluster.local", &[] as &[&str]),
        ("cluster.local", &[]),
        ("cluster.local", &["td1"]),
        ("td1", &["td0", "cluster.local"]),
        ("td1", &["td0"]),
        ("new-td", &["old-td", "td1"]),
        ("td1", &[]),
    ]);
    let in_root = chance.percent(5);
    let mut labels: BTreeMap<String, String> = [("app", "httpbin"), ("version", "v1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    if chance.percent(4) {
        labels.insert("gateway.networking.k8s.io/gateway-name".into(), "gw".into());
    }
    WorkloadSettings {
        namespace: if in_root { "istio-system" } else { "foo" }.into(),
        labels,
        root_namespace: "istio-system".into(),
        trust_domain: trust_domain.into(),
        trust_domain_aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        listener: listener(chance),
    }
}

fn listener(chance: &mut Chance) -> ListenerSettings {
    ListenerSettings {
        use_remote_address: chance.percent(20),
        xff_num_trusted_hops: u32::try_from(chance.weighted(&[70, 20, 10])).unwrap(),
        path_normalization: [
            PathNormalization::Base,
            PathNormalization::None,
            PathNormalization::MergeSlashes,
            PathNormalization::DecodeAndMergeSlashes,
        ][chance.weighted(&[70, 10, 10, 10])],
        metadata: if chance.percent(15) { metadata(chance) } else { Map::new() },
        ..ListenerSettings::default()
    }
}

fn metadata(chance: &mut Chance) -> Map<String, Value> {
    let (v, w) = (chance.word(&VALUES), chance.word(&VALUES));
    let fields = json!({
        "k": v, "l": [v, w], "n": 5, "b": true, "o": {"k": v}, "e": "", "m": [1, w, [v]],
    });
    let mut map = Map::new();
    map.insert("envoy.filters.http.x".into(), fields);
    if chance.percent(30) {
        map.insert("envoy.filters.x".into(), json!({ "k": w }));
    }
    map
}
