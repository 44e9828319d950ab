//! What policies mean: every case of `tests/cases`, decided by the compiled plan, by the reference
//! evaluator and by a real server over gRPC. `tests/cases/README.md` describes the format.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value as ProtoValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use postern::app::{self, Running};
use postern::authn::{self, NoKeys, TokenCache, Verifier};
use postern::config::{Address, Config, Environment, Flags};
use postern::decide;
use postern::decide::reference;
use postern::extauthz::{ClientAddress, RequestSettings};
use postern::gate::{self, Passage};
use postern::manifest::node;
use postern::model::{Action, Attributes, Identity, MutualTlsMode, Peer, Reason, RuleId, Verdict};
use postern::plan::WorkloadPlan;
use postern::request_file::RequestFile;
use postern::telemetry::logging::{LogFilter, LogLevel};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rstest::rstest;
use serde::Deserialize;
use serde_json::Value as Json;
use tonic::transport::Channel;

#[rstest]
#[tokio::test]
async fn case(#[files("tests/cases/*/*.yaml")] path: PathBuf) {
    let file = CaseFile::read(&path);
    let server = Server::start(&file, path.parent().unwrap()).await;
    let mut mismatches = String::new();
    for case in &file.requests {
        for (engine, answer) in server.answers(case).await {
            if answer != case.expect {
                writeln!(mismatches, "{}, {engine}:", case.name).unwrap();
                writeln!(mismatches, "  expected {}", case.expect.shown()).unwrap();
                writeln!(mismatches, "  answered {}", answer.shown()).unwrap();
            }
        }
    }
    assert!(mismatches.is_empty(), "\n{}\n{mismatches}", path.display());
}

/// A comparison that never fails proves nothing.
#[tokio::test]
async fn a_wrong_expectation_is_seen_by_every_engine() {
    let text =
        "{policies: [], requests: [{name: x, expect: {outcome: deny, reason: no_allow_rule}}]}";
    let file = CaseFile::parse(text);
    let server = Server::start(&file, Path::new(".")).await;
    let answers = server.answers(&file.requests[0]).await;
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|(_, answer)| *answer != file.requests[0].expect), "{answers:?}");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default)]
    workload: WorkloadSettings,
    /// Settings as a `--config` file has them.
    #[serde(default)]
    settings: serde_json::Map<String, Json>,
    /// Resources, or names of files with them.
    policies: Vec<Json>,
    requests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadSettings {
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Default for WorkloadSettings {
    fn default() -> Self {
        Self { namespace: "foo".into(), labels: BTreeMap::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// As `postern check --request` takes it.
    #[serde(default = "plain_get")]
    request: Json,
    expect: Answer,
}

fn plain_get() -> Json {
    Json::Object(serde_json::Map::new())
}

/// What a case expects, and what an engine says. Whatever is left out is expected to be absent.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    outcome: String,
    reason: String,
    error: Option<String>,
    policy: Option<String>,
    rule: Option<u32>,
    #[serde(default)]
    audited_by: Vec<String>,
    shadow: Option<Box<Self>>,
}

impl CaseFile {
    fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap())
    }

    fn parse(text: &str) -> Self {
        let documents = node::parse_documents(text, Some("case.yaml")).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<String>())
        });
        let [document] = documents.as_slice() else { panic!("a case file is one document") };
        serde_json::from_value(document.to_json()).unwrap()
    }

    /// The text of every policy.
    fn policies(&self, folder: &Path) -> Vec<String> {
        let text = |policy: &Json| match policy.as_str() {
            Some(file) => fs::read_to_string(folder.join(file)).unwrap(),
            // Every JSON text is YAML.
            None => policy.to_string(),
        };
        self.policies.iter().map(text).collect()
    }

    fn config(&self, folder: &Path) -> Json {
        let mut settings = self.settings.clone();
        let mut set = |name: &str, value: Json| settings.insert(name.into(), value);
        set("policies", folder.join("policies").to_str().unwrap().into());
        set("namespace", self.workload.namespace.clone().into());
        set("labels", serde_json::to_value(&self.workload.labels).unwrap());
        set("listen", "127.0.0.1:0".into());
        set("admin", "127.0.0.1:0".into());
        Json::Object(settings)
    }
}

impl Answer {
    fn of(plan: &WorkloadPlan, verdict: Verdict, audited_by: &[RuleId]) -> Self {
        Self {
            outcome: verdict.outcome().as_str().into(),
            audited_by: audited_by.iter().map(|rule| policy_id(plan, *rule)).collect(),
            shadow: verdict.shadow.map(|shadow| Box::new(Self::of_reason(plan, shadow.reason))),
            ..Self::of_reason(plan, verdict.reason)
        }
    }

    fn of_reason(plan: &WorkloadPlan, reason: Reason) -> Self {
        Self {
            outcome: reason.outcome().as_str().into(),
            reason: reason.as_str().into(),
            error: if let Reason::Jwt(error) = reason { Some(error.to_string()) } else { None },
            policy: reason.rule().map(|rule| policy_id(plan, rule)),
            rule: reason.rule().map(|rule| rule.rule),
            ..Self::default()
        }
    }

    /// What a response says in its dynamic metadata; what it does must agree.
    fn of_response(response: &CheckResponse) -> Self {
        let answer = Self::of_metadata(response.dynamic_metadata.as_ref().unwrap());
        let status = response.status.as_ref().unwrap().code;
        let http = match response.http_response.as_ref().unwrap() {
            HttpResponse::OkResponse(_) => 200,
            HttpResponse::DeniedResponse(denied) => denied.status.as_ref().unwrap().code,
            HttpResponse::ErrorResponse(_) => panic!("an error response"),
        };
        let done = match (status, http) {
            (0, 200) => "allow",
            (1.., 400 | 401 | 403) => "deny",
            _ => panic!("status {status} with HTTP status {http}"),
        };
        assert_eq!(answer.outcome, done, "metadata and response disagree");
        answer
    }

    fn of_metadata(metadata: &Struct) -> Self {
        let field = |name: &str| metadata.fields.get(name);
        let policy = |name: String| format!("AuthorizationPolicy/{name}");
        Self {
            outcome: field("decision").map(text).unwrap(),
            reason: field("reason").map(text).unwrap(),
            error: field("jwt_error").map(text),
            policy: field("policy").map(text).map(policy),
            rule: field("rule").map(number),
            audited_by: match field("audited_by").and_then(|value| value.kind.as_ref()) {
                Some(Kind::ListValue(list)) => list.values.iter().map(text).map(policy).collect(),
                Some(other) => panic!("audited_by is {other:?}"),
                None => Vec::new(),
            },
            shadow: match field("shadow").and_then(|value| value.kind.as_ref()) {
                Some(Kind::StructValue(shadow)) => Some(Box::new(Self::of_metadata(shadow))),
                Some(other) => panic!("shadow is {other:?}"),
                None => None,
            },
        }
    }

    fn shown(&self) -> String {
        let mut shown = format!("{} {}", self.outcome, self.reason);
        for part in [&self.error, &self.policy].into_iter().flatten() {
            write!(shown, " {part}").unwrap();
        }
        if let Some(rule) = self.rule {
            write!(shown, " rule {rule}").unwrap();
        }
        if !self.audited_by.is_empty() {
            write!(shown, ", audited by {}", self.audited_by.join(", ")).unwrap();
        }
        if let Some(shadow) = &self.shadow {
            write!(shown, ", shadow: {}", shadow.shown()).unwrap();
        }
        shown
    }
}

fn policy_id(plan: &WorkloadPlan, rule: RuleId) -> String {
    let metadata = &plan.policy(rule).unwrap().metadata;
    format!("AuthorizationPolicy/{}/{}", metadata.namespace, metadata.name)
}

fn text(value: &ProtoValue) -> String {
    match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rules are few")]
fn number(value: &ProtoValue) -> u32 {
    match value.kind {
        Some(Kind::NumberValue(number)) => number as u32,
        ref other => panic!("{other:?} is no number"),
    }
}

/// A Postern with the policies of one file.
struct Server {
    running: Running,
    client: AuthorizationClient<Channel>,
    settings: RequestSettings,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(file: &CaseFile, beside: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        fs::create_dir(&policies).unwrap();
        for (number, text) in file.policies(beside).into_iter().enumerate() {
            fs::write(policies.join(format!("{number:02}.yaml")), text).unwrap();
        }
        let path = folder.path().join("postern.json");
        fs::write(&path, file.config(folder.path()).to_string()).unwrap();
        let mut flags = Flags::default();
        flags.policy.config = Some(path.to_str().unwrap().into());
        let config = Config::load(&flags, &Environment::default()).unwrap();
        let settings = RequestSettings {
            client_address: ClientAddress {
                use_remote_address: config.use_remote_address,
                trusted_hops: config.xff_num_trusted_hops.try_into().unwrap(),
            },
            client_address_header: config.client_address_header.clone(),
            path_normalization: config.path_normalization,
        };
        let log = LogLevel::detached(LogFilter::default());
        let running = app::start(config, log).await.unwrap_or_else(|error| {
            panic!("{error:#}\n{error:?}");
        });
        let Address::Tcp(address) = &running.grpc_addr else { panic!("not on TCP") };
        let client = AuthorizationClient::connect(format!("http://{address}")).await.unwrap();
        Self { running, client, settings, _folder: folder }
    }

    async fn answers(&self, case: &Case) -> Vec<(&'static str, Answer)> {
        let request = RequestFile::read(&case.request.to_string(), None).unwrap_or_else(|found| {
            panic!("{}: {}", case.name, found.iter().map(ToString::to_string).collect::<String>())
        });
        let snapshot = self.running.snapshots.load();
        let plan = snapshot.workloads.first().unwrap();
        let mut answers = vec![
            ("on the plan", self.decide(plan, &request, by_plan)),
            ("on the reference", self.decide(plan, &request, by_reference)),
        ];
        // A server decides at the time it is.
        if request.now.is_none() {
            answers.push(("over gRPC", self.ask(&request).await));
        }
        answers
    }

    fn decide(
        &self,
        plan: &WorkloadPlan,
        request: &RequestFile,
        engine: fn(&WorkloadPlan, &mut Attributes<'_>, u64) -> Answer,
    ) -> Answer {
        let check = request.check_request(self.settings.client_address);
        match request.attributes(&check, &self.settings) {
            Ok(mut attributes) => engine(plan, &mut attributes, request.now.unwrap_or_else(now)),
            Err(_) => Answer::of_reason(plan, Reason::MalformedRequest),
        }
    }

    async fn ask(&self, request: &RequestFile) -> Answer {
        let mut check = request.check_request(self.settings.client_address);
        let source = check.attributes.as_mut().and_then(|a| a.source.as_mut()).unwrap();
        if !request.source.principals.is_empty() {
            source.certificate = certificate(&request.source.principals);
        }
        let response = self.client.clone().check(check).await.unwrap().into_inner();
        Answer::of_response(&response)
    }
}

fn by_plan(plan: &WorkloadPlan, attributes: &mut Attributes<'_>, now: u64) -> Answer {
    let mut explained = attributes.clone();
    // One cache for all cases: it must never change an answer.
    static CACHE: LazyLock<TokenCache> = LazyLock::new(|| TokenCache::new(1 << 20));
    let verifier = Verifier { keys: &NoKeys, cache: Some(&CACHE), now };
    let explanation = gate::explain(plan, &mut explained, &verifier);
    let passage = gate::pass(plan, attributes, &verifier);
    assert_eq!(explanation.passage.verdict, passage.verdict, "an explanation of something else");
    let Passage { verdict, .. } = &passage;
    let audited_by: Vec<_> = if verdict.audited_by.is_some() {
        decide::audited_by(plan, attributes, &passage.identity()).collect()
    } else {
        Vec::new()
    };
    Answer::of(plan, *verdict, &audited_by)
}

/// The same way, with nothing of the plan but the policies as written.
fn by_reference(plan: &WorkloadPlan, attributes: &mut Attributes<'_>, now: u64) -> Answer {
    if plan.peer.mode_of(attributes.destination_port) == MutualTlsMode::Disable {
        attributes.peer = Peer::default();
    }
    let before = decide::before_tokens(plan, attributes);
    let custom = reference::custom(plan, attributes);
    if let Some(reason @ (Reason::PeerUnauthenticated | Reason::InvalidPolicy)) = before {
        return Answer::of_reason(plan, reason);
    }
    if let Some(reason) = custom {
        return Answer::of_reason(plan, reason);
    }
    let authentication = match &mut attributes.http {
        Some(http) => {
            let verifier = Verifier { keys: &NoKeys, cache: None, now };
            authn::authenticate(&plan.jwt, http, &verifier)
        }
        None => authn::Authentication::default(),
    };
    if let Some(error) = authentication.error {
        return Answer::of_reason(plan, Reason::Jwt(error));
    }
    let identity = Identity { claims: authentication.claims.as_deref() };
    let verdict = reference::decide(plan, attributes, &identity);
    let is_audit = |rule: RuleId| {
        plan.policy(rule).is_some_and(|p| matches!(p.action, Action::Audit) && !p.dry_run)
    };
    let audited_by: Vec<_> = reference::traces(plan, attributes, &identity)
        .into_iter()
        .filter(|trace| trace.matches && is_audit(trace.id))
        .map(|trace| trace.id)
        .collect();
    Answer::of(plan, verdict, &audited_by)
}

#[expect(clippy::disallowed_methods, reason = "tokens of the cases are good or bad at any time")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A certificate with these names, as Envoy sends it.
fn certificate(names: &[String]) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in names {
        match name.strip_prefix("CN=") {
            Some(subject) => params.distinguished_name.push(DnType::CommonName, subject),
            None if name.contains("://") => {
                params.subject_alt_names.push(SanType::URI(name.as_str().try_into().unwrap()));
            }
            None => {
                params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().unwrap()));
            }
        }
    }
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    utf8_percent_encode(&pem, NON_ALPHANUMERIC).to_string()
}
