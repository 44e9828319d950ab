//! What other policies would decide about a recorded request.
//!
//! Decides as `gate` does, with tokens as they were found at the time. Where a record lacks something
//! that a rule looks at, `bounds` finds out whether it matters.

mod bounds;
mod needs;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::record::{Authentication, Record, Schema};
use super::value::Texts;
use crate::compile::{Settings, compile};
use crate::custom::{Answer, Answered, Definitions, Denial, Failure, Standing, Trouble};
use crate::gate::{self, RecordedPassage, RecordedTokens};
use crate::model::{
    Attributes, Headers, Http, Mesh, Missing, Outcome, Peer, Reason, Resource, SentHeaders, Value,
    Verdict, Workload,
};
use crate::plan::WorkloadPlan;
use needs::{Needs, Wanting};

/// What these policies say of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// This.
    Decided(Reason),
    /// This, by what is not known for sure: it depends on something that the record lacks.
    DecidedSomehow(Outcome),
    /// One of its tokens is refused, as it was.
    TokenRefused,
    /// Nothing: it was refused for what no policy changes.
    Unaffected,
    /// It depends on something that the record lacks.
    CannotTell(Lacking),
}

/// What a record lacks, as docs/decision-log.md names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lacking(pub Cow<'static, str>);

impl After {
    /// The outcome; `None` where there is none to tell.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Decided(reason) => Some(reason.outcome()),
            Self::DecidedSomehow(outcome) => Some(*outcome),
            Self::TokenRefused => Some(Outcome::Deny),
            Self::Unaffected | Self::CannotTell(_) => None,
        }
    }
}

/// Decides recorded requests by one set of policies, for whichever workload they were.
#[derive(Debug)]
pub struct Judge {
    resources: Vec<Arc<Resource>>,
    mesh: Mesh,
    /// Of records that name none.
    default: Workload,
    definitions: Definitions,
    /// By the workload as records write it; the empty text is the default.
    benches: HashMap<Box<str>, Bench>,
}

/// The plan of one workload.
#[derive(Debug)]
struct Bench {
    plan: Arc<WorkloadPlan>,
    needs: Needs,
}

/// A workload that a record names wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`postern.workload` is not a namespace and labels")]
pub struct NoWorkload;

/// More workloads than one Postern guards; then some are compiled again.
const MOST_BENCHES: usize = 1_024;

impl Judge {
    /// Judges by these resources. Records that name no workload are about `default`.
    pub fn new(resources: Vec<Arc<Resource>>, mesh: Mesh, default: Workload) -> Self {
        let definitions = Definitions::default();
        Self { resources, mesh, default, definitions, benches: HashMap::new() }
    }

    /// Where these extension providers are defined; otherwise none is.
    #[must_use]
    pub fn with_providers(self, definitions: Definitions) -> Self {
        Self { definitions, ..self }
    }

    /// What these policies say of a record, and the plan that says so.
    ///
    /// # Errors
    /// The record's workload cannot be read.
    pub fn judge(&mut self, record: &Record<'_>) -> Result<(After, &WorkloadPlan), NoWorkload> {
        // As the default workload is kept; no record that says one is empty.
        let text = record.workload.unwrap_or_default();
        if record.workload == Some("") {
            return Err(NoWorkload);
        }
        if !self.benches.contains_key(text) {
            if self.benches.len() >= MOST_BENCHES {
                self.benches.clear();
            }
            let workload = match record.workload {
                Some(text) => read_workload(text).ok_or(NoWorkload)?,
                None => self.default.clone(),
            };
            let bench = Bench::new(&self.resources, &self.mesh, workload).ok_or(NoWorkload)?;
            self.benches.insert(text.into(), bench);
        }
        let bench = self.benches.get(text).ok_or(NoWorkload)?;
        Ok((bench.judge(record, &self.definitions), &bench.plan))
    }
}

fn read_workload(text: &str) -> Option<Workload> {
    #[derive(serde::Deserialize)]
    struct Written {
        namespace: String,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        services: BTreeSet<String>,
    }
    let Written { namespace, labels, name, services } = serde_json::from_str(text).ok()?;
    Some(Workload { namespace, labels, name, services, ..Workload::default() })
}

impl Bench {
    /// `None` never comes: there is a plan for each workload.
    fn new(resources: &[Arc<Resource>], mesh: &Mesh, workload: Workload) -> Option<Self> {
        let settings = Settings { mesh: mesh.clone(), workloads: vec![workload] };
        let plan = compile(1, resources, &[], &settings).workloads.into_iter().next()?;
        let needs = Needs::of(&plan);
        Some(Self { plan, needs })
    }

    fn judge(&self, record: &Record<'_>, definitions: &Definitions) -> After {
        if let Some("malformed_request" | "unknown_workload") = record.before.reason.as_deref() {
            return After::Unaffected;
        }
        let (plan, needs) = (&*self.plan, &self.needs);
        let mut attributes = match attributes(record) {
            Ok(attributes) => attributes,
            Err(lacking) => return After::CannotTell(lacking),
        };
        let is_http = attributes.http.is_some();
        let mut wanting = Wanting::default();
        let tokens = if is_http {
            needs.check(record, &mut wanting);
            self.tokens(record, &mut wanting)
        } else {
            RecordedTokens::None
        };
        needs.check_metadata(record, &mut wanting);
        let answers = answers(record);
        let providers =
            Standing { definitions: Some(definitions), answers: &answers, ..Standing::default() };
        // A record has no tokens, only what policies of then made of them.
        let no_tokens = || After::CannotTell(Lacking("http.request.header.authorization".into()));
        let looks_at_own_tokens = attributes.http.as_ref().is_some_and(|http| {
            let host = plan.access.as_ref().and_then(|access| access.host(&http.host));
            host.is_some_and(|host| host.jwt.is_some())
        });
        if looks_at_own_tokens {
            return no_tokens();
        }
        if !wanting.is_empty() {
            return bounds::judge(plan, &mut attributes, tokens, &wanting, providers);
        }
        match gate::pass_recorded(plan, &mut attributes, tokens, providers) {
            RecordedPassage::Decided(Verdict {
                reason: Reason::ApiRuleRefused(_, refusal),
                ..
            }) if refusal.is_for_want_of_an_examiner() => no_tokens(),
            RecordedPassage::Decided(Verdict { reason, .. }) => After::Decided(reason),
            RecordedPassage::TokenRefused => After::TokenRefused,
            RecordedPassage::NotAsked(_) => After::CannotTell(custom()),
        }
    }

    /// What became of tokens, or that it cannot be known.
    fn tokens<'r, 's>(
        &'s self,
        record: &'r Record<'_>,
        wanting: &mut Wanting<'s>,
    ) -> RecordedTokens<'r> {
        let plan = &self.plan;
        let claims = record.claims.as_ref();
        if plan.jwt.rules.is_empty() {
            return RecordedTokens::None;
        }
        let found = match (&record.authentication, record.schema) {
            (Some(Authentication { result, rules, .. }), _) => {
                if u64::from_str_radix(rules, 16) == Ok(plan.jwt.fingerprint) {
                    known_tokens(result, claims)
                } else {
                    None
                }
            }
            (None, Some(Schema::AccessLog)) => of_access_log(record, claims),
            (None, Some(Schema::Decision) | None) => None,
        };
        match found {
            Some(tokens) => {
                if let RecordedTokens::Verified(claims) = tokens {
                    self.needs.check_claims(claims, wanting);
                }
                tokens
            }
            None => {
                wanting.tokens(&self.needs);
                RecordedTokens::None
            }
        }
    }
}

/// What a record says that extension providers said. Their changes are in its other fields.
fn answers(record: &Record<'_>) -> Vec<Answered> {
    let Some(Value::Object(members)) = &record.custom else { return Vec::new() };
    let failed =
        |passes| Answer::Failed(Box::new(Failure { passes, ..Failure::closed(Trouble::NotAsked) }));
    let read = |(name, result): &(String, Value)| {
        let answer = match result.as_str()? {
            "allow" => Answer::Allowed(Box::default()),
            "deny" => Answer::Denied(Box::new(Denial::of_status(403))),
            "error" => failed(false),
            "fail_open" => failed(true),
            _ => return None,
        };
        Some(Answered { provider: name.as_str().into(), answer: Arc::new(answer) })
    };
    members.iter().filter_map(read).collect()
}

/// What is lacking where a provider was not asked.
fn custom() -> Lacking {
    Lacking("postern.custom".into())
}

fn known_tokens<'r>(result: &str, claims: Option<&'r Value>) -> Option<RecordedTokens<'r>> {
    match (result, claims) {
        ("none", _) => Some(RecordedTokens::None),
        ("refused", _) => Some(RecordedTokens::Refused),
        ("verified", Some(claims)) => Some(RecordedTokens::Verified(claims)),
        _ => None,
    }
}

/// An access log does not say by which rules tokens were found: what was found is taken as found again.
fn of_access_log<'r>(record: &Record<'_>, claims: Option<&'r Value>) -> Option<RecordedTokens<'r>> {
    if record.before.reason.as_deref() == Some("jwt") {
        return Some(RecordedTokens::Refused);
    }
    let claims = claims?;
    let is_verified = match claims {
        Value::Object(members) => members.iter().any(|(_, claim)| *claim != Value::Null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::List(_) => {
            false
        }
    };
    Some(if is_verified { RecordedTokens::Verified(claims) } else { RecordedTokens::None })
}

/// What the record says of the request.
fn attributes<'r>(record: &'r Record<'_>) -> Result<Attributes<'r>, Lacking> {
    let text =
        |text: &'r Option<super::Text<'_>>| text.as_deref().map(Cow::Borrowed).unwrap_or_default();
    let is_missing = |input: &str| record.missing_inputs.iter().any(|missing| missing == input);
    let is_access_log = record.schema == Some(Schema::AccessLog);
    let http = match &record.method {
        None => None,
        Some(method) => {
            let Some(path) = &record.path else { return Err(Lacking("url.path".into())) };
            let host = match (&record.server_address, record.server_port) {
                (Some(name), Some(port)) => Cow::Owned(format!("{name}:{port}")),
                (Some(name), None) => Cow::Borrowed(&**name),
                (None, _) => Cow::Borrowed(""),
            };
            let lines = |(name, lines): &'r (super::Text<'_>, Texts<'_>)| {
                lines.iter().map(|line| (Cow::Borrowed(&**name), Cow::Borrowed(line.as_bytes())))
            };
            let mut all = Vec::with_capacity(record.headers.len());
            all.extend(record.headers.iter().flat_map(lines));
            Some(Http {
                method: Cow::Borrowed(&**method),
                path: Cow::Borrowed(&**path),
                host,
                scheme: text(&record.scheme),
                headers: Headers::new(all, is_missing("encode_raw_headers")),
            })
        }
    };
    let names = record.peer_names.iter().map(|name| &**name);
    // Envoy's access log has them in one text, and no name that is a URI has a comma.
    let names = names.flat_map(|name| name.split(if is_access_log { ',' } else { '\0' }));
    let names = names.filter(|name| !name.is_empty()).map(Cow::Borrowed);
    let destination_port = match record.local_port {
        None => None,
        Some(port) => Some(u16::try_from(port).map_err(|_| Lacking("network.local.port".into()))?),
    };
    let sni = match record.sni.as_deref() {
        Some(sni) if sni.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(sni.to_ascii_lowercase())
        }
        sni => Cow::Borrowed(sni.unwrap_or_default()),
    };
    Ok(Attributes {
        source_ip: record.peer_address,
        remote_ip: record.client_address,
        destination_ip: record.local_address,
        destination_port,
        sni,
        peer: Peer { names: names.collect() },
        http,
        filter_metadata: metadata(record.metadata.as_ref()),
        exchange: crate::model::Exchange::default(),
        missing: Missing {
            peer_certificate: is_missing("include_peer_certificate"),
            tls_session: is_missing("include_tls_session"),
            client_address: is_missing("client_address_header"),
            source_address: is_missing("source_address"),
            destination: is_missing("destination"),
            metadata: is_missing("metadata"),
            headers: SentHeaders::KINDS
                .into_iter()
                .find(|kind| kind.missing_input().is_some_and(is_missing))
                .unwrap_or_default(),
        },
    })
}

/// Each value stands in a list, so that none can be told from nothing known.
fn metadata(recorded: Option<&Value>) -> Vec<(Cow<'_, str>, Value)> {
    let Some(Value::Object(filters)) = recorded else { return Vec::new() };
    let value = |(key, list): &(String, Value)| match list {
        Value::List(items) => items.first().map(|value| (key.clone(), value.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            None
        }
    };
    let known = |keys: &Value| match keys {
        Value::Object(keys) => Value::Object(keys.iter().filter_map(value).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::List(_) => {
            Value::Null
        }
    };
    filters.iter().map(|(filter, keys)| (Cow::Borrowed(filter.as_str()), known(keys))).collect()
}
