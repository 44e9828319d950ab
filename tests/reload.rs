//! Policies change under load without one failed, mixed or wrong answer.
//!
//! Every generation of the policies says something else about the same few requests, in three
//! resources that only make sense together, and every answer names the revision it was decided by.
//! So each answer can be held against the one generation it may come from.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test support functions"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use http_body_util::{BodyExt as _, Empty};
use postern::app;
use postern::authn::NoKeys;
use postern::authn::clock::Clock;
use postern::compile::Settings;
use postern::config::{Address, Config, Environment, Flags, PolicyFlags, ServerFlags};
use postern::control::publish::SnapshotCell;
use postern::control::{ControlStatus, Controller, Decode, Decoded, Document, Parts};
use postern::extauthz::{AuthorizationService, CheckServer, RequestSettings};
use postern::manifest;
use postern::model::{Mesh, Workload};
use postern::source::{Corpus, PolicyFile};
use postern::telemetry::logging::{LogFilter, LogLevel};
use postern::telemetry::metrics::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};

/// Generations repeat after so many, so that every request is answered in every way.
const SLOTS: u64 = 4;
const FILES: [&str; 3] = ["allow.yaml", "deny.yaml", "jwt.yaml"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_under_load() {
    const RELOADS: u64 = 1_000;
    let (snapshots, publisher) = SnapshotCell::new();
    let workload =
        Workload { namespace: "shop".into(), labels: BTreeMap::new(), ..Workload::default() };
    let metrics = Metrics::new("0.0.0");
    let mut controller = Controller::new(Parts {
        workload_metrics: metrics.workloads(),
        settings: Arc::new(Settings { mesh: Mesh::default(), workloads: vec![workload] }),
        decode: Decode::new(decode),
        publisher,
        sync_keys: Box::new(|_| {}),
        metrics: metrics.snapshot(),
    });
    controller.start(corpus(files(1))).await.unwrap();
    let mut status = controller.status();
    let (corpora, changes) = watch::channel(corpus(files(1)));
    let control = tokio::spawn(controller.run(changes));

    let service = AuthorizationService::new(
        snapshots,
        Arc::new(NoKeys),
        RequestSettings::default(),
        Clock::system(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(CheckServer::new(service, 4 << 20))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let load = Load::start(address).await;

    let mut seen = load.seen.subscribe();
    let reloads = async {
        for generation in 2..=RELOADS + 1 {
            if generation % 10 == 0 {
                corpora.send_replace(corpus(broken(generation)));
                let refused = status.wait_for(|status| !status.rejected.is_empty()).await.unwrap();
                assert_eq!(refused.revision, generation - 1, "nothing new may be in force");
            }
            corpora.send_replace(corpus(files(generation)));
            let accepted =
                |s: &Arc<ControlStatus>| s.rejected.is_empty() && s.revision >= generation;
            assert_eq!(status.wait_for(accepted).await.unwrap().revision, generation);
            // The ones between are replaced at once.
            if generation % 2 == 0 {
                seen.wait_for(|seen| *seen >= generation).await.unwrap();
            }
        }
    };
    let tally = load.during(reloads).await;

    assert!(tally.revisions.len() as u64 >= RELOADS / 2, "{}", tally.revisions.len());
    tally.assert_all_kinds();
    control.abort();
    server.abort();
}

/// The same through the whole server and files that Kubernetes would mount.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_map_updates_under_load() {
    const UPDATES: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let mut volume = ConfigMapVolume::new(folder.path().join("policies"));
    volume.update(files(1));
    let flags = Flags {
        policy: PolicyFlags {
            policies: vec![volume.folder.clone()],
            namespace: Some("shop".into()),
            ..PolicyFlags::default()
        },
        server: ServerFlags {
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            http_listen: Some("off".into()),
            ..ServerFlags::default()
        },
    };
    let config = Config::load(&flags, &Environment::default()).unwrap();
    let postern = app::start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
    let Address::Tcp(address) = postern.grpc_addr else { panic!("not a port") };
    let (admin, shutdown) = (postern.admin_addr, postern.shutdown.clone());
    let serving = tokio::spawn(postern.wait());
    let load = Load::start(address).await;

    let mut seen = load.seen.subscribe();
    let updates = async {
        for generation in 2..=UPDATES + 1 {
            if generation % 5 == 0 {
                volume.update(broken(generation));
                while !shows(admin, "postern_snapshot_rejected_resources 1").await {}
                assert!(
                    shows(admin, &format!("postern_snapshot_revision {}", generation - 1)).await
                );
            }
            volume.update(files(generation));
            seen.wait_for(|seen| *seen >= generation).await.unwrap();
        }
    };
    let tally = load.during(updates).await;

    let all: BTreeSet<u64> = (1..=UPDATES + 1).collect();
    assert!(tally.revisions.is_subset(&all), "{:?}", tally.revisions);
    tally.assert_all_kinds();
    shutdown.begin();
    serving.await.unwrap().unwrap();
}

/// The law has something to say: no request is answered alike by every generation.
#[test]
fn generations_differ() {
    for ask in Ask::all() {
        let answers: BTreeSet<_> =
            (1..=SLOTS).map(|g| format!("{:?}", Answer::expected(ask, g))).collect();
        assert!(answers.len() > 1, "{ask:?}");
    }
}

/// The policy files of a generation. Its slot is in paths, names, keys, and the numbers of rules.
fn files(generation: u64) -> [(&'static str, String); 3] {
    let slot = generation % SLOTS;
    let fillers: String =
        (0..slot).map(|i| format!("  - to: [{{operation: {{paths: [/filler-{i}]}}}}]\n")).collect();
    let resource = |kind: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: {kind}\n\
             metadata: {{name: {name}, namespace: shop}}\nspec:\n{spec}"
        )
    };
    let allow = format!(
        "  action: ALLOW\n  rules:\n{fillers}\
         \x20 - to: [{{operation: {{paths: [/both, /gen-{slot}/*]}}}}]\n\
         \x20 - from: [{{source: {{requestPrincipals: [issuer/alice-{slot}]}}}}]\n\
         \x20   to: [{{operation: {{paths: [/token]}}}}]\n"
    );
    let deny = format!(
        "  action: DENY\n  rules:\n{fillers}\
         \x20 - to: [{{operation: {{paths: [/gen-{slot}/secret]}}}}]\n"
    );
    let keys = format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, BASE64URL.encode(secret(slot)));
    let jwt = format!("  jwtRules:\n  - issuer: issuer\n    jwks: '{keys}'\n");
    [
        ("allow.yaml", resource("AuthorizationPolicy", "allow", &allow)),
        ("deny.yaml", resource("AuthorizationPolicy", &format!("deny-{slot}"), &deny)),
        ("jwt.yaml", resource("RequestAuthentication", "jwt", &jwt)),
    ]
}

/// The files of the generation before, one resource replaced by its new form with a slip in it:
/// behind its name, or before, so that nobody can tell which resource it was to be.
fn broken(generation: u64) -> [(&'static str, String); 3] {
    let mut files = self::files(generation - 1);
    let count = generation / 5;
    let slip = count as usize % files.len();
    let (_, new) = &self::files(generation)[slip];
    let name = |generation| format!("deny-{}", generation % SLOTS);
    let new = new.replace(&name(generation), &name(generation - 1));
    files[slip].1 = if (count / 2).is_multiple_of(2) {
        format!("oops: [\n{new}")
    } else {
        format!("{new}  oops: [\n")
    };
    files
}

fn secret(slot: u64) -> [u8; 32] {
    [slot as u8 + 1; 32]
}

fn token(slot: u64) -> String {
    let claims = format!(r#"{{"iss":"issuer","sub":"alice-{slot}"}}"#);
    let input = format!("{}.{}", BASE64URL.encode(r#"{"alg":"HS256"}"#), BASE64URL.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret(slot));
    format!("{input}.{}", BASE64URL.encode(hmac::sign(&key, input.as_bytes())))
}

fn corpus(files: [(&'static str, String); 3]) -> Arc<Corpus> {
    let file = |(name, text): (&str, String)| PolicyFile { name: name.into(), text: text.into() };
    Arc::new(Corpus { files: files.into_iter().map(file).collect(), ..Corpus::default() })
}

/// As `app` does it.
fn decode(files: &[PolicyFile]) -> Decoded {
    let texts = files.iter().map(|file| (&*file.name, file.text.as_bytes()));
    let decoded = manifest::decode_files(texts, &manifest::Options::default());
    let documents = decoded.documents.into_iter().map(|document| Document {
        file: document.file.clone().unwrap_or_default(),
        resource: document.accepted().cloned().map(Arc::new),
        id: document.id,
        scope: document.scope,
    });
    Decoded {
        documents: documents.collect(),
        diagnostics: decoded.diagnostics,
        services: decoded.services,
    }
}

/// What is asked, of every generation. The number is the slot of the generation that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// What every generation allows.
    Both,
    /// What only one allows.
    Open(u64),
    /// What one allows and denies, so that it would be open between two.
    Secret(u64),
    /// What one's token is for: its key in one resource, its subject in another.
    Token(u64),
}

impl Ask {
    fn all() -> impl Iterator<Item = Self> + Clone {
        let slots = (0..SLOTS).flat_map(|s| [Self::Open(s), Self::Secret(s), Self::Token(s)]);
        // What every generation allows says the same of each but for the rule's number.
        slots.flat_map(|ask| [Self::Both, ask])
    }

    fn request(self) -> CheckRequest {
        let (path, token) = match self {
            Self::Both => ("/both".to_owned(), None),
            Self::Open(slot) => (format!("/gen-{slot}/open"), None),
            Self::Secret(slot) => (format!("/gen-{slot}/secret"), None),
            Self::Token(slot) => ("/token".to_owned(), Some(token(slot))),
        };
        let headers = token.into_iter().map(|token| HeaderValue {
            key: "authorization".into(),
            raw_value: format!("Bearer {token}").into_bytes(),
            ..HeaderValue::default()
        });
        let http = HttpRequest {
            method: "GET".into(),
            path,
            host: "shop".into(),
            scheme: "http".into(),
            header_map: Some(HeaderMap { headers: headers.collect() }),
            ..HttpRequest::default()
        };
        let request = Request { http: Some(http), ..Request::default() };
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(request),
                ..AttributeContext::default()
            }),
        }
    }
}

/// All that depends on the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: i32,
    reason: String,
    policy: Option<(String, u64)>,
    subject: Option<String>,
    removed: Vec<String>,
}

impl Answer {
    fn expected(ask: Ask, generation: u64) -> Self {
        let current = generation % SLOTS;
        let answer = |status, reason: &str, policy: Option<(String, u64)>| Self {
            status,
            reason: reason.into(),
            policy,
            subject: None,
            removed: Vec::new(),
        };
        let allowed = |rule| answer(200, "allow_rule", Some(("shop/allow".into(), rule)));
        match ask {
            Ask::Both => allowed(current),
            Ask::Open(slot) if slot == current => allowed(current),
            Ask::Secret(slot) if slot == current => {
                answer(403, "deny_rule", Some((format!("shop/deny-{slot}"), current)))
            }
            Ask::Open(_) | Ask::Secret(_) => answer(403, "no_allow_rule", None),
            Ask::Token(slot) if slot == current => Self {
                subject: Some(format!("alice-{slot}")),
                removed: vec!["authorization".into()],
                ..allowed(current + 1)
            },
            Ask::Token(_) => answer(401, "jwt", None),
        }
    }

    /// The answer and the revision that it says it is from.
    fn read(response: CheckResponse) -> (Self, u64) {
        let metadata = response.dynamic_metadata.expect("metadata").fields;
        let fields: HashMap<_, _> =
            metadata.into_iter().filter_map(|(name, value)| Some((name, value.kind?))).collect();
        let text = |name: &str| match fields.get(name)? {
            Kind::StringValue(text) => Some(text.clone()),
            _ => panic!("{name}"),
        };
        let number = |name: &str| match fields.get(name)? {
            Kind::NumberValue(number) => Some(*number as u64),
            _ => panic!("{name}"),
        };
        let subject = match fields.get("jwt_payload") {
            None => None,
            Some(Kind::StructValue(claims)) => match &claims.fields["sub"].kind {
                Some(Kind::StringValue(subject)) => Some(subject.clone()),
                _ => panic!("sub"),
            },
            Some(_) => panic!("jwt_payload"),
        };
        let (status, removed) = match response.http_response.expect("an HTTP response") {
            HttpResponse::OkResponse(ok) => (200, ok.headers_to_remove),
            HttpResponse::DeniedResponse(denied) => (denied.status.expect("a code").code, vec![]),
            HttpResponse::ErrorResponse(_) => panic!("never sent"),
        };
        let code = response.status.expect("a status").code;
        assert_eq!(code == 0, status == 200, "the two halves of an answer disagree");
        let answer = Self {
            status,
            reason: text("reason").expect("a reason"),
            policy: text("policy").zip(number("rule")),
            subject,
            removed,
        };
        (answer, number("revision").expect("a revision"))
    }
}

/// Clients that ask all the time and check every answer.
struct Load {
    clients: JoinSet<Tally>,
    /// The latest revision that any of them was answered by.
    seen: watch::Sender<u64>,
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Tally {
    answers: u64,
    revisions: BTreeSet<u64>,
    reasons: BTreeMap<String, u64>,
}

impl Load {
    /// Something that never comes shall fail the test, not hang it.
    const LONGEST: Duration = Duration::from_secs(120);
    const CONNECTIONS: usize = 2;
    const CLIENTS_PER_CONNECTION: usize = 3;

    async fn start(address: SocketAddr) -> Self {
        let (seen, _) = watch::channel(0);
        let (ended, _) = watch::channel(false);
        let mut clients = JoinSet::new();
        for _ in 0..Self::CONNECTIONS {
            let channel =
                Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            for offset in 0..Self::CLIENTS_PER_CONNECTION {
                let client = AuthorizationClient::new(channel.clone());
                clients.spawn(ask_all_the_time(client, offset, seen.clone(), ended.subscribe()));
            }
        }
        Self { clients, seen, ended }
    }

    /// Runs the work under the load, then ends the load. A client that fails ends both.
    async fn during(mut self, work: impl Future<Output = ()>) -> Tally {
        tokio::select! {
            done = timeout(Self::LONGEST, work) => done.expect("an end"),
            Some(ended) = self.clients.join_next() => {
                panic!("a client ended on its own: {:?}", ended.unwrap());
            }
        }
        self.ended.send_replace(true);
        let mut all = Tally::default();
        for tally in self.clients.join_all().await {
            assert!(tally.answers > 0, "a client without an answer");
            all.answers += tally.answers;
            all.revisions.extend(tally.revisions);
            for (reason, count) in tally.reasons {
                *all.reasons.entry(reason).or_default() += count;
            }
        }
        all
    }
}

impl Tally {
    fn assert_all_kinds(&self) {
        let kinds: Vec<_> = self.reasons.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["allow_rule", "deny_rule", "jwt", "no_allow_rule"]);
        assert!(self.answers >= self.revisions.len() as u64);
    }
}

async fn ask_all_the_time(
    mut client: AuthorizationClient<Channel>,
    offset: usize,
    seen: watch::Sender<u64>,
    ended: watch::Receiver<bool>,
) -> Tally {
    let mut tally = Tally::default();
    let mut last = 0;
    for ask in Ask::all().cycle().skip(offset * 7) {
        if *ended.borrow() {
            break;
        }
        let response = client.check(ask.request()).await.expect("every call is answered");
        let (answer, revision) = Answer::read(response.into_inner());
        assert!(revision >= last, "revision {revision} after {last}");
        assert_eq!(answer, Answer::expected(ask, revision), "{ask:?} by revision {revision}");
        last = revision;
        tally.answers += 1;
        tally.revisions.insert(revision);
        *tally.reasons.entry(answer.reason).or_default() += 1;
        seen.send_if_modified(|seen| {
            let newer = revision > *seen;
            *seen = revision.max(*seen);
            newer
        });
    }
    tally
}

/// A volume as the kubelet writes it: files lead through `..data` to a folder that is swapped.
struct ConfigMapVolume {
    folder: PathBuf,
    count: u32,
}

impl ConfigMapVolume {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        for name in FILES {
            symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
        }
        Self { folder, count: 0 }
    }

    fn update(&mut self, files: [(&'static str, String); 3]) {
        let version = |count| format!("..version-{count}");
        let old = self.folder.join(version(self.count));
        self.count += 1;
        let new = self.folder.join(version(self.count));
        fs::create_dir(&new).unwrap();
        for (name, text) in files {
            fs::write(new.join(name), text).unwrap();
        }
        let link = self.folder.join("..data_tmp");
        symlink(version(self.count), &link).unwrap();
        fs::rename(&link, self.folder.join("..data")).unwrap();
        if self.count > 1 {
            fs::remove_dir_all(old).unwrap();
        }
    }
}

/// Whether the metrics have this line.
async fn shows(admin: SocketAddr, sample: &str) -> bool {
    let stream = TcpStream::connect(admin).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/metrics")
        .header("host", admin.to_string())
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    String::from_utf8_lossy(&body).lines().any(|line| line == sample)
}
