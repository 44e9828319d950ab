//! RequestAuthentication and PeerAuthentication to plans.

use std::{collections::BTreeMap, sync::Arc};

use super::attach::selects;
use super::fingerprint;
use crate::key_set::KeySet;
use crate::model::{JwtRule, Mesh, MutualTlsMode, PeerAuthentication, Workload};
use crate::plan::{
    ClaimHeader, JwtPlan, JwtRulePlan, KeyReference, KeySourceId, PeerPlan, TokenPlaces,
};

/// The rules in the order they are tried: by issuer, else as they came.
pub(super) fn sorted<'a>(rules: &[&'a JwtRule]) -> Vec<&'a JwtRule> {
    let mut rules = rules.to_vec();
    rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    rules
}

/// All rules of a workload add up.
pub(super) fn jwt_plan(rules: &[&JwtRule]) -> JwtPlan {
    let rules = sorted(rules);
    let fingerprint = fingerprint::of(&rules);
    JwtPlan { rules: rules.into_iter().map(jwt_rule).collect(), fingerprint }
}

fn jwt_rule(rule: &JwtRule) -> JwtRulePlan {
    let boxed = |list: &[String]| list.iter().map(|s| s.as_str().into()).collect::<Vec<Box<str>>>();
    let mut space_delimited = boxed(&rule.space_delimited_claims);
    space_delimited.extend(["scope".into(), "permission".into()]);
    JwtRulePlan {
        issuer: rule.issuer.as_str().into(),
        audiences: rule.audiences.iter().map(|a| normalize_audience(a).into()).collect(),
        keys: key_reference(rule),
        places: token_places(rule),
        forward: rule.forward_original_token,
        payload_header: rule.output_payload_to_header.as_deref().map(Into::into),
        claim_headers: rule
            .output_claim_to_headers
            .iter()
            .map(|c| ClaimHeader {
                header: c.header.as_str().into(),
                claim: c.claim.split('.').map(Into::into).collect(),
            })
            .collect(),
        space_delimited: space_delimited.into(),
    }
}

fn key_reference(rule: &JwtRule) -> KeyReference {
    if let Some(text) = &rule.jwks {
        // Admission refuses a text that is no key set; unchecked, no token can be verified with it.
        return KeyReference::Inline(Arc::new(
            KeySet::parse(text).unwrap_or_else(|_| KeySet::unavailable()),
        ));
    }
    KeyReference::Remote(KeySourceId {
        issuer: rule.issuer.as_str().into(),
        uri: rule.jwks_uri.as_deref().map(Into::into),
    })
}

/// Any custom place turns off both default ones.
fn token_places(rule: &JwtRule) -> TokenPlaces {
    if rule.from_headers.is_empty() && rule.from_params.is_empty() && rule.from_cookies.is_empty() {
        return TokenPlaces {
            headers: [("authorization".into(), "Bearer ".into())].into(),
            params: ["access_token".into()].into(),
            cookies: [].into(),
        };
    }
    let names = |list: &[String]| {
        let mut names: Vec<Box<str>> = list.iter().map(|s| s.as_str().into()).collect();
        names.sort_unstable();
        names.dedup();
        names.into()
    };
    let mut headers: Vec<(Arc<str>, Box<str>)> = rule
        .from_headers
        .iter()
        .map(|h| (h.name.as_str().into(), h.prefix.as_str().into()))
        .collect();
    // Envoy keys them by name and prefix in one string.
    headers.sort_by_key(|(name, prefix)| format!("{name}{prefix}"));
    headers.dedup();
    TokenPlaces {
        headers: headers.into(),
        params: names(&rule.from_params),
        cookies: names(&rule.from_cookies),
    }
}

/// As Envoy compares audiences: without scheme and without one trailing slash.
pub fn normalize_audience(audience: &str) -> &str {
    let audience = audience
        .strip_prefix("https://")
        .or_else(|| audience.strip_prefix("http://"))
        .unwrap_or(audience);
    audience.strip_suffix('/').unwrap_or(audience)
}

/// The PeerAuthentications that one workload has its modes from: the oldest of each level.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PeerLevels<'r> {
    /// Of the root namespace, for all workloads.
    pub mesh: Option<&'r PeerAuthentication>,
    /// Of the workload's namespace, for all of its workloads.
    pub namespace: Option<&'r PeerAuthentication>,
    /// With a selector. Modes of ports come from this one alone.
    pub workload: Option<&'r PeerAuthentication>,
}

impl<'r> PeerLevels<'r> {
    /// Of `policies`, which come in precedence order, root namespace first.
    pub(super) fn of(
        policies: &[&'r PeerAuthentication],
        mesh: &Mesh,
        workload: &Workload,
    ) -> Self {
        let is_wide =
            |p: &PeerAuthentication| p.attachment.selector.as_ref().is_none_or(BTreeMap::is_empty);
        let in_root = |p: &PeerAuthentication| *p.metadata.namespace == *mesh.root_namespace;
        let find = |wanted: &dyn Fn(&PeerAuthentication) -> bool| {
            policies.iter().copied().find(|p| wanted(p))
        };
        Self {
            mesh: find(&|p| in_root(p) && is_wide(p)),
            namespace: find(&|p| !in_root(p) && is_wide(p)),
            workload: find(&|p| !in_root(p) && !is_wide(p) && selects(&p.attachment, workload)),
        }
    }

    /// From the widest to the narrowest, those that are there.
    pub fn all(&self) -> impl Iterator<Item = &'r PeerAuthentication> {
        [self.mesh, self.namespace, self.workload].into_iter().flatten()
    }

    /// The one that the mode of ports without a mode of their own is from; `None` where it is Istio's
    /// default.
    pub fn deciding(&self) -> Option<&'r PeerAuthentication> {
        self.all().filter(|policy| policy.mtls != MutualTlsMode::Unset).last()
    }
}

/// The effective mode: mesh, then namespace, then workload; ports only from the workload policy.
pub(super) fn peer_plan(levels: &PeerLevels<'_>) -> PeerPlan {
    let inherit = |mode: MutualTlsMode, parent: MutualTlsMode| match mode {
        MutualTlsMode::Unset => parent,
        MutualTlsMode::Disable | MutualTlsMode::Permissive | MutualTlsMode::Strict => mode,
    };
    let mode =
        levels.all().fold(MutualTlsMode::Permissive, |parent, policy| inherit(policy.mtls, parent));
    let ports = levels
        .workload
        .map(|policy| &policy.port_level_mtls)
        .into_iter()
        .flatten()
        .map(|(&port, &port_mode)| (port, inherit(port_mode, mode)))
        .collect();
    PeerPlan { mode, ports }
}
