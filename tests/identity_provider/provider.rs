//! The identity provider: a process of its own, asked over HTTPS as its clients do.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    process::Stdio,
};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use postern::outbound::{Client, DialGuard, Outgoing, Target};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
    task::spawn_blocking,
};

use crate::{PATIENCE, packages};

/// What tokens are for. Which of them are JSON Web Tokens, and how those are signed, is the
/// provider's configuration.
pub(crate) const ORDERS: &str = "https://orders.example";
pub(crate) const ORDERS_ES256: &str = "https://orders.example/es256";
pub(crate) const PAYMENTS: &str = "https://payments.example";
pub(crate) const OPAQUE: &str = "https://opaque.example";

/// How long opaque tokens last.
pub(crate) const OPAQUE_TOKEN_SECONDS: u64 = 600;

/// A client of the provider: its id, and its secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registered {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
}

/// Of the staff.
pub(crate) const CLERK: Registered = Registered { id: "clerk", secret: "clerk-secret" };
/// A client about whom tokens say nothing more.
pub(crate) const VISITOR: Registered = Registered { id: "visitor", secret: "visitor-secret" };
/// Whoever checks tokens. What is in its names has a meaning in forms and headers.
pub(crate) const GATE: Registered = Registered { id: "gate:1", secret: "s+cret/%26=:&" };

impl Registered {
    /// RFC 6749 section 2.3.1.
    pub(crate) fn authorization(self) -> HeaderValue {
        let pair = format!("{}:{}", encoded(self.id), encoded(self.secret));
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).unwrap()
    }
}

/// A pair of keys, RSA and EC, that sign tokens.
pub(crate) struct SigningKeys(Value);

impl SigningKeys {
    pub(crate) fn new(name: &str) -> Self {
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key = |kind: &str, alg: &str, pair: &KeyPair| {
            json!({
                "kid": format!("{name}-{kind}"), "alg": alg, "use": "sig",
                "pem": pair.serialize_pem(),
            })
        };
        Self(json!([key("rsa", "RS256", &rsa), key("ec", "ES256", &ec)]))
    }
}

/// Those of each, in this order: the first ones sign.
fn all(keys: &[&SigningKeys]) -> Value {
    keys.iter().flat_map(|keys| keys.0.as_array().unwrap().clone()).collect()
}

/// Where the provider says that it is asked for something.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub(crate) token: String,
    pub(crate) introspection: String,
    pub(crate) revocation: String,
}

/// The running provider. Ends with its handle.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) endpoints: Endpoints,
    /// Trusts the provider.
    pub(crate) client: Client,
    authority: CertifiedIssuer<'static, KeyPair>,
    control: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    _process: Child,
    _folder: TempDir,
}

impl Provider {
    /// With these keys, of which the first ones sign.
    pub(crate) async fn start(keys: &[&SigningKeys]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &authority).unwrap();

        let modules = spawn_blocking(packages::node_modules).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Packages are looked for beside the file that names them.
        symlink(modules, at("node_modules")).unwrap();
        fs::write(at("provider.mjs"), include_str!("provider.mjs")).unwrap();
        let configuration = configuration(&leaf.pem(), &key.serialize_pem(), &all(keys));
        fs::write(at("configuration.json"), configuration.to_string()).unwrap();
        let mut process = Command::new("node")
            .args([at("provider.mjs"), at("configuration.json")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(at("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let stdin = process.stdin.take().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let Some(issuer) = said.next_line().await.unwrap() else {
            panic!("the provider ended: {}", fs::read_to_string(at("log")).unwrap());
        };
        let issuer: String = serde_json::from_str(&issuer).unwrap();

        let trusted = [authority.der().clone()];
        let client = Client::new(DialGuard::default(), &trusted, Vec::new()).unwrap();
        let endpoints = discover(&client, &issuer).await;
        let control = Mutex::new((stdin, said));
        Self { issuer, endpoints, client, authority, control, _process: process, _folder: folder }
    }

    pub(crate) fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    /// Publishes these keys and no others from now on.
    pub(crate) async fn publish(&self, keys: &[&SigningKeys]) {
        self.command(&json!({ "keys": all(keys) })).await;
    }

    /// Lets this time pass for the provider.
    pub(crate) async fn pass(&self, seconds: u64) {
        self.command(&json!({ "pass": seconds })).await;
    }

    async fn command(&self, command: &Value) {
        let mut control = self.control.lock().await;
        control.0.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        assert_eq!(control.1.next_line().await.unwrap().as_deref(), Some("\"done\""));
    }

    /// An access token of its token endpoint.
    pub(crate) async fn token(&self, to: Registered, resource: &str, scope: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", resource), ("scope", scope)];
        let (status, body) = self.post(&self.endpoints.token, to, &form).await;
        assert_eq!(status, StatusCode::OK);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Withdraws a token at the revocation endpoint.
    pub(crate) async fn revoke(&self, of: Registered, token: &str) {
        let (status, _) = self.post(&self.endpoints.revocation, of, &[("token", token)]).await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn post(&self, url: &str, by: Registered, form: &[(&str, &str)]) -> (StatusCode, Bytes) {
        let form: Vec<_> =
            form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, by.authorization()),
            (header::CONTENT_TYPE, form_type),
        ]);
        ask(&self.client, url, Method::POST, headers, form.join("&").into()).await
    }
}

fn configuration(certificate: &str, certificate_key: &str, keys: &Value) -> Value {
    let clients: Vec<_> = [CLERK, VISITOR, GATE]
        .iter()
        .map(|client| json!({"client_id": client.id, "client_secret": client.secret}))
        .collect();
    let jwt = |audience: &str, alg: &str| {
        json!({
            "audience": audience, "scope": "orders:read orders:write",
            "accessTokenFormat": "jwt", "accessTokenTTL": 600, "jwt": {"sign": {"alg": alg}},
        })
    };
    let opaque = json!({
        "audience": OPAQUE, "scope": "orders:read orders:write",
        "accessTokenFormat": "opaque", "accessTokenTTL": OPAQUE_TOKEN_SECONDS,
    });
    json!({
        "certificate": certificate,
        "certificateKey": certificate_key,
        "keys": keys,
        "clients": clients,
        "claims": {CLERK.id: {"groups": ["staff", "night-shift"], "tenant": {"name": "acme"}}},
        "resources": {
            ORDERS: jwt(ORDERS, "RS256"),
            ORDERS_ES256: jwt(ORDERS, "ES256"),
            PAYMENTS: jwt(PAYMENTS, "RS256"),
            OPAQUE: opaque,
        },
    })
}

/// What a client of the provider looks up first.
async fn discover(client: &Client, issuer: &str) -> Endpoints {
    let url = format!("{issuer}/.well-known/openid-configuration");
    let (_, body) = ask(client, &url, Method::GET, HeaderMap::new(), Bytes::new()).await;
    let document: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["issuer"], *issuer);
    let endpoint = |name: &str| document[name].as_str().unwrap().to_owned();
    Endpoints {
        token: endpoint("token_endpoint"),
        introspection: endpoint("introspection_endpoint"),
        revocation: endpoint("revocation_endpoint"),
    }
}

async fn ask(
    client: &Client,
    url: &str,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let outgoing = Outgoing { issuer: "", method, headers, body };
    let answer = client.send(&Target::parse(url).unwrap(), outgoing, PATIENCE).await.unwrap();
    (answer.status(), answer.into_body())
}

fn encoded(text: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
