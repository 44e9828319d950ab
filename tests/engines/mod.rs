//! Asks everything that decides, for tests of what policies mean: the compiled plan, the reference
//! evaluator, and a real server over gRPC.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value as ProtoValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use postern::app::{self, Running};
use postern::authn::{self, NoKeys, TokenCache, Verifier};
use postern::case_file::Answer;
use postern::config::{Address, Config, Environment, Flags};
use postern::custom::Standing;
use postern::decide;
use postern::decide::reference;
use postern::extauthz::{ClientAddress, Malformed, RequestSettings};
use postern::gate::{self, Passage};
use postern::model::{Action, Attributes, Identity, MutualTlsMode, Outcome, Peer, Reason, RuleId};
use postern::plan::WorkloadPlan;
use postern::request_file::RequestFile;
use postern::telemetry::logging::{LogFilter, LogLevel};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use serde_json::Value as Json;
use tonic::transport::Channel;

/// An answer of one of them, and its name.
pub(crate) type Named = (&'static str, Answer);

/// What a response says in its dynamic metadata; what it does must agree.
pub(crate) fn answer_of(response: &CheckResponse) -> Answer {
    let answer = of_metadata(response.dynamic_metadata.as_ref().unwrap());
    let status = response.status.as_ref().unwrap().code;
    let http = match response.http_response.as_ref().unwrap() {
        HttpResponse::OkResponse(_) => 200,
        HttpResponse::DeniedResponse(denied) => denied.status.as_ref().unwrap().code,
        HttpResponse::ErrorResponse(_) => panic!("an error response"),
    };
    let done = match (status, http) {
        (0, 200) => Outcome::Allow,
        (1.., 400 | 401 | 403) => Outcome::Deny,
        _ => panic!("status {status} with HTTP status {http}"),
    };
    assert_eq!(answer.outcome, done, "metadata and response disagree");
    answer
}

fn of_metadata(metadata: &Struct) -> Answer {
    let field = |name: &str| metadata.fields.get(name);
    let policy = |name: String| format!("AuthorizationPolicy/{name}");
    Answer {
        outcome: match field("decision").map(text).unwrap().as_str() {
            "allow" => Outcome::Allow,
            "deny" => Outcome::Deny,
            other => panic!("{other} is no decision"),
        },
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
            Some(Kind::StructValue(shadow)) => Some(Box::new(of_metadata(shadow))),
            Some(other) => panic!("shadow is {other:?}"),
            None => None,
        },
    }
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

/// A running Postern with some policies, and the plan that it decides by.
pub(crate) struct Engines {
    pub(crate) running: Running,
    pub(crate) settings: RequestSettings,
    client: AuthorizationClient<Channel>,
    _folder: tempfile::TempDir,
}

impl Engines {
    /// With one file for each policy text, and `settings` as in a `--config` file.
    pub(crate) async fn start(
        policies: &[String],
        settings: &serde_json::Map<String, Json>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        for (number, text) in policies.iter().enumerate() {
            fs::write(folder.path().join(format!("policies/{number:02}.yaml")), text).unwrap();
        }
        let config = config(folder.path(), settings);
        let request_settings = RequestSettings {
            client_address: ClientAddress {
                use_remote_address: config.use_remote_address,
                trusted_hops: config.xff_num_trusted_hops.try_into().unwrap(),
            },
            client_address_header: config.client_address_header.clone(),
            path_normalization: config.path_normalization,
            workload_from: config.workload_from,
            max_headers_size: config.max_headers_size,
            max_token_size: config.max_token_size,
        };
        let log = LogLevel::detached(LogFilter::default());
        let running = app::start(config, log).await.unwrap_or_else(|error| {
            panic!("{error:#}\n{error:?}");
        });
        let Address::Tcp(address) = &running.grpc_addr else { panic!("not on TCP") };
        let client = AuthorizationClient::connect(format!("http://{address}")).await.unwrap();
        Self { running, settings: request_settings, client, _folder: folder }
    }

    /// What each says to a request.
    pub(crate) async fn answers(&self, request: &RequestFile) -> Vec<Named> {
        let check = request.check_request(self.settings.client_address);
        let attributes = request.attributes(&check, &self.settings);
        let mut answers = self.decide(&attributes, request.now);
        // A server decides at the time it is.
        if request.now.is_none() {
            let response = self.ask(self.check_request(request)).await;
            answers.push(("over gRPC", answer_of(&response)));
        }
        answers
    }

    /// What Envoy asks about this request, with the peer's certificate.
    pub(crate) fn check_request(&self, request: &RequestFile) -> CheckRequest {
        let mut check = request.check_request(self.settings.client_address);
        let source = check.attributes.as_mut().and_then(|a| a.source.as_mut()).unwrap();
        if !request.source.principals.is_empty() {
            source.certificate = certificate(&request.source.principals);
        }
        check
    }

    /// The server's answer alone.
    pub(crate) async fn ask(&self, check: CheckRequest) -> CheckResponse {
        self.client.clone().check(check).await.unwrap().into_inner()
    }

    /// What the plan and its twin say.
    pub(crate) fn decide(
        &self,
        attributes: &Result<Attributes<'_>, Malformed>,
        at: Option<u64>,
    ) -> Vec<Named> {
        let snapshot = self.running.snapshots.load();
        let plan = snapshot.workloads.first().unwrap();
        let verifier = Verifier {
            keys: &NoKeys,
            cache: None,
            now: at.unwrap_or_else(now),
            max_token_size: self.settings.max_token_size,
        };
        type Engine = fn(&WorkloadPlan, &mut Attributes<'_>, Verifier<'_>) -> Answer;
        let by = |engine: Engine| match attributes {
            Ok(attributes) => engine(plan, &mut attributes.clone(), verifier),
            Err(_) => Answer::of_reason(plan, Reason::MalformedRequest),
        };
        vec![("on the plan", by(by_plan)), ("on the reference", by(by_reference))]
    }
}

/// The configuration that these settings make, with policies of `folder` if they name no others.
pub(crate) fn config(folder: &Path, settings: &serde_json::Map<String, Json>) -> Config {
    let mut settings = settings.clone();
    let policies = folder.join("policies");
    let defaults = [
        ("policies", policies.to_str().unwrap()),
        ("namespace", "foo"),
        ("listen", "127.0.0.1:0"),
        ("admin", "127.0.0.1:0"),
        ("httpListen", "127.0.0.1:0"),
    ];
    for (name, value) in defaults {
        settings.entry(name).or_insert_with(|| value.into());
    }
    let path = folder.join("postern.json");
    fs::write(&path, Json::Object(settings).to_string()).unwrap();
    let mut flags = Flags::default();
    flags.policy.config = Some(path.to_str().unwrap().into());
    Config::load(&flags, &Environment::default()).unwrap()
}

fn by_plan(plan: &WorkloadPlan, attributes: &mut Attributes<'_>, verifier: Verifier<'_>) -> Answer {
    let mut explained = attributes.clone();
    // One cache for all cases: it must never change an answer.
    static CACHE: LazyLock<TokenCache> = LazyLock::new(|| TokenCache::new(1 << 20));
    let verifier = Verifier { cache: Some(&CACHE), ..verifier };
    let explanation = gate::explain(plan, &mut explained, &verifier, Standing::default());
    let passage = gate::pass(plan, attributes, &verifier);
    assert_eq!(explanation.passage.verdict, passage.verdict, "an explanation of something else");
    let Passage { verdict, .. } = &passage;
    let audited_by: Vec<_> = if verdict.audited_by.is_some() {
        decide::audited_by(plan, attributes, &passage.identity()).collect()
    } else {
        Vec::new()
    };
    Answer::new(plan, *verdict, &audited_by)
}

/// The same way, with nothing of the plan but the policies as written.
fn by_reference(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    verifier: Verifier<'_>,
) -> Answer {
    if plan.peer.mode_of(attributes.destination_port) == MutualTlsMode::Disable {
        attributes.peer = Peer::default();
    }
    let before = decide::before_tokens(plan, attributes);
    let custom = reference::custom(plan, attributes, false);
    if let Some(reason @ (Reason::PeerUnauthenticated | Reason::InvalidPolicy)) = before {
        return Answer::of_reason(plan, reason);
    }
    if let Some((_, rule)) = custom.first() {
        return Answer::of_reason(plan, Reason::CustomProviderUndefined(*rule));
    }
    let authentication = match &mut attributes.http {
        Some(http) => authn::authenticate(&plan.jwt, http, &verifier),
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
    Answer::new(plan, verdict, &audited_by)
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
