//! Fills a set's placeholders: tokens, key sets, their addresses.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde_json::Value;

use crate::{
    cases::{Request, Set},
    keys::Keys,
    native::{self, Native},
    pki::Pki,
    servers::{self, Server, issuer_path, jwks_path},
    tokens,
};

/// Keys, certificates and servers of one run.
pub(crate) struct World {
    keys: Arc<Keys>,
    pub(crate) pki: Pki,
    key_host: Server,
    pub(crate) upstream: Server,
    pub(crate) tcp_upstream: Server,
}

impl World {
    pub(crate) async fn new() -> Self {
        let keys = Arc::new(Keys::default());
        let host_keys = keys.clone();
        Self {
            keys,
            pki: Pki::new(),
            key_host: servers::key_host(move |list| host_keys.jwks(list)).await,
            upstream: servers::echo().await,
            tcp_upstream: servers::tcp_echo().await,
        }
    }

    /// A filled set as configuration of Envoy's own filters.
    pub(crate) fn native(&self, set: &Set) -> Native {
        native::translate(set, &|url| {
            // Where istiod cannot fetch keys it writes some that nobody has.
            let list = servers::described_key_set(url);
            self.keys.jwks(list.as_deref().unwrap_or("rsa-nobodys/nokid"))
        })
    }

    /// The set with every placeholder filled in. A token is one and the same in all of the set.
    pub(crate) fn fill(&self, set: &Set) -> Set {
        let filling = Filling {
            keys: &self.keys,
            host: self.key_host.address,
            tokens: set
                .tokens
                .iter()
                .map(|(name, recipe)| (name.as_str(), tokens::mint(&self.keys, recipe)))
                .collect(),
        };
        let mut filled = set.clone();
        filled.policies.iter_mut().for_each(|policy| filling.value(policy));
        filled.requests.iter_mut().for_each(|request| filling.request(request));
        filled
    }
}

struct Filling<'a> {
    keys: &'a Keys,
    host: SocketAddr,
    tokens: BTreeMap<&'a str, String>,
}

impl Filling<'_> {
    fn request(&self, request: &mut Request) {
        self.text(&mut request.path);
        request.headers.iter_mut().for_each(|(_, value)| self.text(value));
        let expect = &mut request.expect;
        expect.path.iter_mut().for_each(|path| self.text(path));
        expect.headers.values_mut().flatten().for_each(|value| self.text(value));
        expect.upstream.values_mut().flatten().for_each(|value| self.text(value));
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.value(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, text: &mut String) {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (placeholder, after) = after.split_once('}').expect("a closed placeholder");
            out.push_str(before);
            out.push_str(&self.placeholder(placeholder));
            rest = after;
        }
        out.push_str(rest);
        *text = out;
    }

    fn placeholder(&self, text: &str) -> String {
        let (kind, argument) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "T" => self.tokens[argument].clone(),
            "JWKS" => self.keys.jwks(argument),
            "JWK" => self.keys.jwk(argument).to_string(),
            "JWKS_URL" => format!("http://{}{}", self.host, jwks_path(argument)),
            "OIDC" => format!("http://{}{}", self.host, issuer_path(argument)),
            "LETTERS" => "a".repeat(argument.parse().expect("a number")),
            _ => panic!("placeholder `{text}`"),
        }
    }
}
