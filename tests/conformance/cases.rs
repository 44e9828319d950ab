//! The recorded cases as data; the format is told in `cases/README.md`.
//!
//! Placeholders are still in place: `world` fills them in. A key that is not known here is an
//! error, so that no expectation is lost to a typing mistake.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde_json::{Map, Value};

use crate::{pki::Name, yaml};

/// Policies, and the requests that were sent to them.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) name: String,
    /// Why a server may answer otherwise.
    pub(crate) skip: Option<String>,
    pub(crate) workload: WorkloadSettings,
    pub(crate) policies: Vec<Value>,
    /// Token recipes.
    pub(crate) tokens: BTreeMap<String, Value>,
    pub(crate) requests: Vec<Request>,
}

/// The workload, its mesh, and the listener in front of it.
#[derive(Debug, Clone)]
pub(crate) struct WorkloadSettings {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) root_namespace: String,
    pub(crate) trust_domain: String,
    pub(crate) trust_domain_aliases: Vec<String>,
    pub(crate) listener: ListenerSettings,
}

/// What distinguishes one listener from another.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ListenerSettings {
    pub(crate) use_remote_address: bool,
    pub(crate) xff_num_trusted_hops: u32,
    /// Envoy says the client's address in this header, to Postern alone.
    pub(crate) client_address_header: Option<String>,
    /// Postern normalises paths, and Envoy does not.
    pub(crate) postern_normalizes: bool,
    pub(crate) path_normalization: PathNormalization,
    /// Dynamic metadata that an earlier filter has set, by its name.
    pub(crate) metadata: Map<String, Value>,
}

/// `pathNormalization.normalization` of Istio's mesh config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Default)]
pub(crate) enum PathNormalization {
    None,
    #[default]
    Base,
    MergeSlashes,
    DecodeAndMergeSlashes,
}

/// One request and the recorded answer.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) name: String,
    /// Bytes through a TCP proxy; of the request only names and addresses count.
    pub(crate) is_l4: bool,
    /// As HTTP/2, where it can be sent so.
    pub(crate) is_http2: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    /// `None` leaves the Host header out.
    pub(crate) host: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) peer: Peer,
    pub(crate) sni: Option<String>,
    pub(crate) source: IpAddr,
    /// Whom the PROXY protocol names, where that is another than who connects.
    pub(crate) proxied: Option<IpAddr>,
    pub(crate) destination: SocketAddr,
    pub(crate) body: String,
    pub(crate) expect: Expect,
}

/// How the client connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    Plaintext,
    /// TLS without a client certificate.
    Tls,
    /// TLS with a certificate of these names.
    Certificate(Vec<Name>),
}

/// The recorded answer; `None` in a map says that the header is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Expect {
    /// 0: the connection is refused. At L4, 200 is an answer of the upstream.
    pub(crate) status: u16,
    pub(crate) body: Option<String>,
    /// The path that the upstream saw.
    pub(crate) path: Option<String>,
    pub(crate) headers: BTreeMap<String, Option<String>>,
    pub(crate) upstream: BTreeMap<String, Option<String>>,
}

/// The case files' names, in order.
pub(crate) fn files() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .expect("the folder of the cases")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    names
}

/// The sets of one case file.
pub(crate) fn read(file: &str) -> Vec<Set> {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    let mut fields = Fields::of(file, yaml::parse(&text));
    let sets = fields.list("sets").into_iter().map(|set| set_from(file, set)).collect();
    fields.end();
    sets
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases")
}

fn set_from(file: &str, value: Value) -> Set {
    let mut f = Fields::of(file, value);
    let name = f.text("name").expect("a set has a name");
    f.place = format!("{file} {name}");
    let place = f.place.clone();
    f.take("note");
    let set = Set {
        skip: f.text("skip"),
        workload: workload_from(f.child("workload")),
        policies: f.list("policies"),
        tokens: f.map("tokens").into_iter().collect(),
        requests: f
            .list("requests")
            .into_iter()
            .enumerate()
            .map(|(i, request)| request_from(Fields::of(&format!("{place} #{i}"), request)))
            .collect(),
        name,
    };
    f.end();
    set
}

fn workload_from(mut f: Fields) -> WorkloadSettings {
    let defaults = [("app", "httpbin"), ("version", "v1")];
    let labels = match f.map("labels") {
        map if map.is_empty() => defaults.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        map => map.into_iter().map(|(k, v)| (k, text(v))).collect(),
    };
    let normalization = match f.text("path_normalization").as_deref() {
        Some("NONE") => PathNormalization::None,
        None | Some("DEFAULT" | "BASE") => PathNormalization::Base,
        Some("MERGE_SLASHES") => PathNormalization::MergeSlashes,
        Some("DECODE_AND_MERGE_SLASHES") => PathNormalization::DecodeAndMergeSlashes,
        Some(other) => panic!("{}: path normalisation `{other}`", f.place),
    };
    let hops = f.take("xff_num_trusted_hops").map_or(0, |v| v.as_u64().unwrap());
    let settings = WorkloadSettings {
        namespace: f.text("namespace").unwrap_or_else(|| "foo".into()),
        labels,
        root_namespace: f.text("root_namespace").unwrap_or_else(|| "istio-system".into()),
        trust_domain: f.text("trust_domain").unwrap_or_else(|| "cluster.local".into()),
        trust_domain_aliases: f.list("trust_domain_aliases").into_iter().map(text).collect(),
        listener: ListenerSettings {
            use_remote_address: f.take("use_remote_address").is_some_and(|value| value == true),
            xff_num_trusted_hops: hops.try_into().unwrap(),
            client_address_header: None,
            postern_normalizes: false,
            path_normalization: normalization,
            metadata: f.map("metadata"),
        },
    };
    f.end();
    settings
}

fn request_from(mut f: Fields) -> Request {
    let mut headers = match f.take("headers") {
        None => Vec::new(),
        Some(Value::Object(map)) => map.into_iter().map(|(k, v)| (k, text(v))).collect(),
        Some(Value::Array(pairs)) => pairs
            .into_iter()
            .map(|pair| match pair {
                Value::Array(pair) => {
                    let [name, value] = pair.try_into().expect("a name and a value");
                    (text(name), text(value))
                }
                other => panic!("{}: header {other}", f.place),
            })
            .collect(),
        Some(other) => panic!("{}: headers {other}", f.place),
    };
    if let Some(token) = f.text("token") {
        headers.insert(0, ("authorization".into(), format!("Bearer ${{T:{token}}}")));
    }
    let request = Request {
        name: f.text("name").unwrap_or_default(),
        is_l4: f.take("l4").is_some_and(|value| value == true),
        is_http2: f.take("h2").is_some_and(|value| value == true),
        method: f.text("method").unwrap_or_else(|| "GET".into()),
        path: f.text("path").unwrap_or_else(|| "/".into()),
        host: match f.take("host") {
            None => Some("httpbin.foo".into()),
            Some(Value::Null) => None,
            Some(value) => Some(text(value)),
        },
        headers,
        peer: peer_from(f.text("as").as_deref()),
        sni: f.text("sni"),
        source: f.text("src").map_or(Ipv4Addr::LOCALHOST.into(), |s| s.parse().unwrap()),
        proxied: f.text("proxied").map(|s| s.parse().unwrap()),
        destination: f.text("dst").as_deref().unwrap_or("10.9.8.7:8080").parse().unwrap(),
        body: f.text("body").unwrap_or_default(),
        expect: match f.take("expect").expect("a request has an expectation") {
            Value::Object(map) => {
                expect_from(Fields::of(&format!("{} expect", f.place), Value::Object(map)))
            }
            status => Expect { status: status_from(&status), ..Expect::default() },
        },
    };
    f.end();
    request
}

fn peer_from(text: Option<&str>) -> Peer {
    match text {
        None | Some("") => Peer::Plaintext,
        Some("tls") => Peer::Tls,
        Some("nameless") => Peer::Certificate(Vec::new()),
        Some(names) => Peer::Certificate(names.split('+').map(name_from).collect()),
    }
}

fn name_from(text: &str) -> Name {
    if let Some(uri) = text.strip_prefix("uri:") {
        Name::Uri(uri.into())
    } else if let Some(dns) = text.strip_prefix("dns:") {
        Name::Dns(dns.into())
    } else if let Some(cn) = text.strip_prefix("cn:") {
        Name::Subject(cn.into())
    } else if let Some(unit) = text.strip_prefix("ou:") {
        Name::Unit(unit.into())
    } else if let Some(email) = text.strip_prefix("email:") {
        Name::Email(email.into())
    } else {
        Name::Uri(format!("spiffe://{text}"))
    }
}

fn expect_from(mut f: Fields) -> Expect {
    let optional = |v: Value| if v.is_null() { None } else { Some(text(v)) };
    Expect {
        status: status_from(&f.take("status").expect("an expected status")),
        body: f.text("body"),
        path: f.text("path"),
        upstream: f.map("up").into_iter().map(|(k, v)| (k, optional(v))).collect(),
        headers: f.rest().into_iter().map(|(k, v)| (k, optional(v))).collect(),
    }
}

fn status_from(value: &Value) -> u16 {
    value.as_u64().and_then(|v| v.try_into().ok()).unwrap_or_else(|| panic!("status {value}"))
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => panic!("`{other}` is not a string"),
    }
}

/// The fields of a map that are not read yet.
struct Fields {
    place: String,
    map: Map<String, Value>,
}

impl Fields {
    fn of(place: &str, value: Value) -> Self {
        match value {
            Value::Object(map) => Self { place: place.into(), map },
            other => panic!("{place}: `{other}` is not a map"),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.take(key).map(text)
    }

    fn list(&mut self, key: &str) -> Vec<Value> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => panic!("{}: {key} `{other}`", self.place),
        }
    }

    fn map(&mut self, key: &str) -> Map<String, Value> {
        self.child(key).map
    }

    fn child(&mut self, key: &str) -> Self {
        let value = self.take(key).unwrap_or_else(|| Value::Object(Map::new()));
        Self::of(&format!("{} {key}", self.place), value)
    }

    fn rest(self) -> Map<String, Value> {
        self.map
    }

    fn end(self) {
        let keys: Vec<_> = self.map.keys().collect();
        assert!(keys.is_empty(), "{}: unknown {keys:?}", self.place);
    }
}

/// UTF-8, but U+E080 to U+E0FF are the bytes 80 to FF, as no text can hold them alone.
pub(crate) fn bytes_of(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for c in text.chars() {
        match u8::try_from(u32::from(c).wrapping_sub(0xE000)) {
            Ok(byte) if byte >= 0x80 => out.push(byte),
            _ => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    out
}
