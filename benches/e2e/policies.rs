//! The policies of every table, the token they ask for, and two requests: one that only the last
//! rule allows, and one that none allows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cases::{ListenerSettings, Set, WorkloadSettings};

pub(crate) const NAMESPACE: &str = "shop";
const ISSUER: &str = "https://issuer.example";

/// A folder with a key, a token, and policies of some size.
pub(crate) struct Policies {
    folder: tempfile::TempDir,
    documents: Vec<Value>,
    pub(crate) token: String,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Only the last rule allows it.
    Allowed,
    /// No rule does.
    Denied,
}

impl Asked {
    pub(crate) const ALL: [Self; 2] = [Self::Denied, Self::Allowed];

    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Allowed => 200,
            Self::Denied => 403,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

impl Policies {
    /// Rules by path, method, header and who the token is for, ten to a policy.
    pub(crate) fn new(rules: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postern = |arguments: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_postern"))
                .current_dir(folder.path())
                .args(["jwt"])
                .args(arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        postern(&["keygen", "--algorithm", "RS256", "--key", "key.json", "--jwks", "jwks.json"]);
        let claims = [format!("iss={ISSUER}"), format!("sub=user-{}", rules - 1)];
        let token = postern(&[
            "sign",
            "--key",
            "key.json",
            "--claim",
            &claims[0],
            "--claim",
            &claims[1],
            "--expires-in",
            "24h",
        ]);
        let jwks = fs::read_to_string(folder.path().join("jwks.json")).unwrap();
        let documents = documents(rules, &jwks);
        let policies = Self { folder, documents, token: token.trim().to_owned() };
        policies.write(&policies.documents);
        policies
    }

    /// The file that Postern reads.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("policies.json")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, documents: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": documents});
        let new = self.folder.path().join("new");
        fs::write(&new, list.to_string()).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// Writes all of them again, the first one changed: every rule is read and compiled again.
    pub(crate) fn change(&self, turn: usize) {
        let mut documents = self.documents.clone();
        documents[1]["spec"]["rules"][0]["to"][0]["operation"]["paths"] =
            json!([format!("/changed-{turn}/*")]);
        self.write(&documents);
    }

    /// For the translation to native filters.
    pub(crate) fn set(&self) -> Set {
        Set {
            name: "e2e".to_owned(),
            skip: None,
            workload: WorkloadSettings {
                namespace: NAMESPACE.to_owned(),
                labels: Default::default(),
                root_namespace: "istio-system".to_owned(),
                trust_domain: "cluster.local".to_owned(),
                trust_domain_aliases: Vec::new(),
                listener: ListenerSettings::default(),
            },
            policies: self.documents.clone(),
            tokens: Default::default(),
            requests: Vec::new(),
        }
    }

    /// Path and headers of a request.
    pub(crate) fn request(&self, asked: Asked) -> (String, Vec<(&'static str, String)>) {
        let last = (self.documents.len() - 1) * 10 - 1;
        let path = match asked {
            Asked::Allowed => format!("/svc-{last}/list"),
            Asked::Denied => "/svc/list".to_owned(),
        };
        let mut headers: Vec<_> =
            HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        headers.push(("x-tenant", format!("tenant-{last}")));
        headers.push(("authorization", format!("Bearer {}", self.token)));
        (path, headers)
    }
}

/// What a browser and a few proxies send.
const HEADERS: [(&str, &str); 12] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("cache-control", "no-cache"),
    ("cookie", "session=0123456789abcdef; theme=dark"),
    ("origin", "https://shop.example.com"),
    ("referer", "https://shop.example.com/cart"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-origin"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("x-b3-sampled", "1"),
];

fn documents(rules: usize, jwks: &str) -> Vec<Value> {
    assert!(rules >= 10 && rules.is_multiple_of(10), "rules come in tens");
    let document = |kind: &str, name: String, spec: Value| {
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        })
    };
    let tokens = json!({"jwtRules": [{"issuer": ISSUER, "jwks": jwks}]});
    let mut documents = vec![document("RequestAuthentication", "tokens".to_owned(), tokens)];
    for policy in 0..rules / 10 {
        let rules: Vec<_> = (policy * 10..policy * 10 + 10)
            .map(|rule| {
                json!({
                    "from": [{"source": {"requestPrincipals": [format!("{ISSUER}/user-{rule}")]}}],
                    "to": [{"operation": {"methods": ["GET"], "paths": [format!("/svc-{rule}/*")]}}],
                    "when": [{
                        "key": "request.headers[x-tenant]",
                        "values": [format!("tenant-{rule}")],
                    }],
                })
            })
            .collect();
        let name = format!("p-{policy:05}");
        documents.push(document("AuthorizationPolicy", name, json!({ "rules": rules })));
    }
    documents
}
