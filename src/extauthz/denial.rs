//! What a refused caller is told, where that is not what native filters say.
//!
//! Off until configured. Chooses among what the operator and, if they may, policies say; it never sees
//! whether a request is refused, so it cannot change that. `encode` and `response` write it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::reply::{ACCESS_DENIED, Realm};
use crate::model::{self, Attributes, DenyResponse, Peer, Reason, Verdict, Workload};
use crate::plan::WorkloadPlan;

/// The header that tells a trusted caller why.
pub const REASON_HEADER: &str = "x-postern-reason";

/// How denials look, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DenialSettings {
    /// Whether annotations of policies count; if so, before all else.
    pub annotations: bool,
    /// Of single workloads; the first that selects one counts, before what is said for all.
    pub workloads: Vec<WorkloadDenials>,
    /// Of all workloads.
    pub all: Denials,
    /// Who is told why.
    pub reason_for: TrustedCallers,
}

/// How two kinds of denials look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Denials {
    /// Those by policies.
    pub policies: DenyResponse,
    /// Those of requests whose token is refused.
    pub tokens: DenyResponse,
}

/// How denials of some workloads look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkloadDenials {
    /// Theirs; `None` is any.
    pub namespace: Option<String>,
    /// Labels that they have, among others.
    pub labels: BTreeMap<String, String>,
    /// What callers are told.
    pub denials: Denials,
}

/// Callers that may know names of policies: by the peer of the connection, never by what a request says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedCallers {
    /// Addresses of peers (`source.ip`).
    pub addresses: Vec<IpNet>,
    /// Identities of peers (`source.principal`), as policies write them and without stars.
    pub principals: Vec<String>,
}

impl WorkloadDenials {
    fn selects(&self, workload: &Workload) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == workload.namespace)
            && self.labels.iter().all(|(name, value)| workload.labels.get(name) == Some(value))
    }
}

impl TrustedCallers {
    fn has(&self, ip: Option<IpAddr>, peer: &Peer<'_>) -> bool {
        let is_here = |ip: IpAddr| self.addresses.iter().any(|net| net.contains(&ip));
        let is_named = |name: &str| {
            let identity = name.strip_prefix("spiffe://");
            identity.is_some_and(|identity| self.principals.iter().any(|known| known == identity))
        };
        // An IPv4 address in the clothes of an IPv6 one is that address.
        ip.is_some_and(|ip| is_here(ip.to_canonical())) || peer.names.iter().any(|n| is_named(n))
    }
}

/// What is not native about one denial; by default nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Denial<'a> {
    pub(super) status: Option<u16>,
    pub(super) body: Option<&'a str>,
    pub(super) headers: &'a [(Arc<str>, Arc<str>)],
    /// For [`REASON_HEADER`].
    pub(super) reason: Option<String>,
}

impl DenialSettings {
    /// Whether there is anybody who is told why.
    pub(super) fn tells_why(&self) -> bool {
        self.reason_for != TrustedCallers::default()
    }

    /// How the denial of a request looks; `plan` is `None` where no workload was found for it.
    pub(super) fn denial<'a>(
        &'a self,
        plan: Option<&'a WorkloadPlan>,
        verdict: Verdict,
        attributes: &Attributes<'_>,
    ) -> Denial<'a> {
        let of_workload =
            plan.and_then(|plan| self.workloads.iter().find(|entry| entry.selects(&plan.workload)));
        let configured = of_workload.map(|entry| &entry.denials).into_iter().chain([&self.all]);
        let is_token = is_about_credentials(verdict.reason);
        let configured = configured.map(|denials| match is_token {
            true => &denials.tokens,
            false => &denials.policies,
        });
        let annotated = plan.filter(|_| self.annotations).and_then(|plan| annotated(plan, verdict));
        let layers: SmallVec<[&DenyResponse; 3]> =
            annotated.into_iter().chain(configured).collect();
        let trusted = self.reason_for.has(attributes.source_ip, &attributes.peer);
        Denial {
            status: layers.iter().find_map(|layer| layer.status),
            body: layers.iter().find_map(|layer| layer.body.as_deref()),
            headers: layers.iter().find_map(|layer| layer.headers.as_deref()).unwrap_or_default(),
            reason: trusted.then(|| reason_text(plan, verdict)),
        }
    }
}

/// A refusal as the caller gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalText {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Headers, their names in lower case.
    pub headers: Vec<(String, String)>,
}

impl DenialSettings {
    /// The refusal of a request, for people to look at. `attributes` are as the request came.
    pub fn refusal(
        &self,
        plan: &WorkloadPlan,
        verdict: Verdict,
        attributes: &Attributes<'_>,
    ) -> RefusalText {
        let realm = attributes.http.as_ref().map(Realm::of);
        let denial = self.denial(Some(plan), verdict, attributes);
        let Refusal { status, body, headers } = Refusal::new(verdict, realm.as_ref(), &denial);
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string()));
        RefusalText { status, body: body.into_owned(), headers: headers.collect() }
    }
}

/// What the policy says whose rule denies; or, where no rule allows, the first ALLOW policy that says
/// something.
fn annotated(plan: &WorkloadPlan, verdict: Verdict) -> Option<&DenyResponse> {
    match verdict.reason {
        Reason::DenyRule(rule) | Reason::CustomProviderUndefined(rule) => {
            plan.policy(rule)?.deny_response.as_deref()
        }
        Reason::NoAllowRule => plan.not_allowed(),
        Reason::NoAllowPolicy
        | Reason::AllowRule(_)
        | Reason::ApiRule(_)
        | Reason::ApiRuleRefused(..)
        | Reason::NoApiRule
        | Reason::CustomDenied(_)
        | Reason::CustomError(_)
        | Reason::PeerUnauthenticated
        | Reason::Jwt(_)
        | Reason::InvalidPolicy
        | Reason::UnknownWorkload
        | Reason::MalformedRequest => None,
    }
}

/// Fit for a header whatever names hold.
fn reason_text(plan: Option<&WorkloadPlan>, verdict: Verdict) -> String {
    /// Two names of Kubernetes may take 316 bytes.
    const MOST: usize = 400;
    let word = verdict.reason.as_str();
    let rule = verdict.reason.rule();
    let text = if let Some((rule, policy)) = rule.and_then(|id| Some((id, plan?.policy(id)?))) {
        let (namespace, name) = (&policy.metadata.namespace, &policy.metadata.name);
        format!("{word}; policy={namespace}/{name}; rule={}", rule.rule)
    } else if let Reason::ApiRule(id) | Reason::ApiRuleRefused(id, _) = verdict.reason
        && let Some([namespace, name]) = plan.and_then(|plan| plan.api_rule(id))
    {
        format!("{word}; apirule={namespace}/{name}; rule={}", id.rule)
    } else if let Reason::Jwt(error) = verdict.reason {
        format!("{word}; error={error}")
    } else {
        word.to_owned()
    };
    let visible = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    text.chars().take(MOST).map(visible).collect()
}

/// Whether other credentials would do.
fn is_about_credentials(reason: Reason) -> bool {
    let is_401 = |refusal: model::Refusal| refusal.status() == 401;
    matches!(reason, Reason::Jwt(_))
        || matches!(reason, Reason::ApiRuleRefused(_, refusal) if is_401(refusal))
}

/// What is said to callers whom an APIRule refuses; it tells nothing of its rules.
fn access_refused(refusal: model::Refusal) -> Cow<'static, str> {
    match (refusal, refusal.status()) {
        (model::Refusal::Jwt(error), _) => Cow::Owned(error.to_string()),
        (_, 401) => "access credentials are missing or not good".into(),
        (_, 429) => "too many requests".into(),
        (_, 500) => "access credentials cannot be looked at".into(),
        (_, _) => ACCESS_DENIED.into(),
    }
}

/// A whole refusal: the native one, with what is not native about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal<'r> {
    pub(super) status: u16,
    pub(super) body: Cow<'r, str>,
    pub(super) headers: SmallVec<[(&'r str, Cow<'r, str>); 2]>,
}

impl<'r> Refusal<'r> {
    pub(super) fn new(
        verdict: Verdict,
        realm: Option<&'r Realm<'_>>,
        denial: &'r Denial<'_>,
    ) -> Self {
        let (native, body) = match verdict.reason {
            Reason::Jwt(error) => (error.status(), Cow::Owned(error.to_string())),
            Reason::ApiRuleRefused(_, refusal) => (refusal.status(), access_refused(refusal)),
            Reason::NoAllowPolicy
            | Reason::AllowRule(_)
            | Reason::ApiRule(_)
            | Reason::NoApiRule
            | Reason::DenyRule(_)
            | Reason::NoAllowRule
            | Reason::CustomProviderUndefined(_)
            | Reason::CustomDenied(_)
            | Reason::CustomError(_)
            | Reason::PeerUnauthenticated
            | Reason::InvalidPolicy
            | Reason::UnknownWorkload
            | Reason::MalformedRequest => (403, Cow::Borrowed(ACCESS_DENIED)),
        };
        let status = denial.status.unwrap_or(native);
        let mut headers = SmallVec::new();
        // A challenge goes with 401, and natively with an audience that is refused: with a status that
        // somebody chose it would tell what that hides.
        let is_challenge = |(name, _): &(Arc<str>, Arc<str>)| **name == *"www-authenticate";
        let challenges = is_about_credentials(verdict.reason)
            && (status == native || status == 401)
            && !denial.headers.iter().any(is_challenge);
        if let Some(realm) = realm.filter(|_| challenges) {
            headers.push(("www-authenticate", Cow::Owned(realm.challenge())));
        }
        // Nor is it said what a status that somebody chose hides.
        let is_configured = || denial.headers.iter().any(|(name, _)| **name == *"retry-after");
        if let Reason::ApiRuleRefused(
            _,
            model::Refusal::TooManyRequests { retry_after: Some(seconds) },
        ) = verdict.reason
            && status == native
            && !is_configured()
        {
            headers.push(("retry-after", Cow::Owned(seconds.to_string())));
        }
        for (name, value) in denial.headers {
            headers.push((&**name, Cow::Borrowed(&**value)));
        }
        if let Some(reason) = &denial.reason {
            headers.push((REASON_HEADER, Cow::Borrowed(reason.as_str())));
        }
        Self { status, body: denial.body.map_or(body, Cow::Borrowed), headers }
    }
}

#[cfg(test)]
mod tests;
