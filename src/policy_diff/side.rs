//! One side of a comparison: what its plan says of a request.

use crate::authn::{self, Vouching};
use crate::extauthz::RequestSettings;
use crate::gate;
use crate::model::{Outcome, Reason};
use crate::plan::WorkloadPlan;

use super::question::Question;

/// Any time will do: tokens that are made up have none.
const NOW: u64 = 1_800_000_000;

/// A plan that can be asked about requests whose tokens nobody signed.
#[derive(Debug)]
pub struct Side<'p> {
    /// Its plan.
    pub plan: &'p WorkloadPlan,
    settings: &'p RequestSettings,
    vouching: Vouching,
}

/// What is decided, and what is said beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Why; the outcome follows.
    pub reason: Reason,
    /// With dry-run policies enforced.
    pub shadow: Reason,
    /// The first AUDIT rule that matched.
    pub audited_by: Option<crate::model::RuleId>,
}

impl Answer {
    /// The decision.
    pub fn outcome(&self) -> Outcome {
        self.reason.outcome()
    }
}

/// What becomes of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TokenStatus {
    /// There is none where one is looked for.
    Absent,
    Accepted,
    Refused,
}

impl<'p> Side<'p> {
    /// For this plan. Requests are read with these settings.
    pub fn new(plan: &'p WorkloadPlan, settings: &'p RequestSettings) -> Self {
        let of_hosts = plan.access.iter().flat_map(|access| access.token_rules());
        let vouching = Vouching::new(plan.jwt.rules.iter().chain(of_hosts));
        Self { plan, settings, vouching }
    }

    /// What it says, by the way of every request; nothing of a request that cannot be.
    pub fn ask(&self, question: &Question) -> Option<Answer> {
        let text = self.token(question);
        let file = question.file(self.settings, text.as_deref());
        let check = file.check_request(self.settings.client_address);
        let mut attributes = file.attributes(&check, self.settings).ok()?;
        let verifier = self.vouching.verifier(NOW);
        let verdict = gate::pass(self.plan, &mut attributes, &verifier).verdict;
        let shadow = verdict.shadow.map_or(verdict.reason, |shadow| shadow.reason);
        Some(Answer { reason: verdict.reason, shadow, audited_by: verdict.audited_by })
    }

    /// What becomes of the token of a request.
    pub(super) fn token_status(&self, question: &Question) -> TokenStatus {
        let text = self.token(question);
        let file = question.file(self.settings, text.as_deref());
        let check = file.check_request(self.settings.client_address);
        let Ok(mut attributes) = file.attributes(&check, self.settings) else {
            return TokenStatus::Absent;
        };
        let Some(http) = &mut attributes.http else { return TokenStatus::Absent };
        let verifier = self.vouching.verifier(NOW);
        let authentication = authn::authenticate(&self.plan.jwt, http, &verifier);
        match (authentication.error, authentication.claims) {
            (Some(_), _) => TokenStatus::Refused,
            (None, Some(_)) => TokenStatus::Accepted,
            (None, None) => TokenStatus::Absent,
        }
    }

    /// [`Side::ask`] by the slow twin.
    #[cfg(test)]
    pub(super) fn ask_reference(&self, question: &Question) -> Option<Answer> {
        use crate::decide::reference;
        use crate::model::{Identity, MutualTlsMode};
        let text = self.token(question);
        let file = question.file(self.settings, text.as_deref());
        let check = file.check_request(self.settings.client_address);
        let mut attributes = file.attributes(&check, self.settings).ok()?;
        let refused = |reason| Some(Answer { reason, shadow: reason, audited_by: None });
        if !self.plan.invalid.is_empty() {
            return refused(Reason::InvalidPolicy);
        }
        match self.plan.peer.mode_of(attributes.destination_port) {
            MutualTlsMode::Disable => attributes.peer.names.clear(),
            MutualTlsMode::Strict if attributes.peer.names.is_empty() => {
                return refused(Reason::PeerUnauthenticated);
            }
            MutualTlsMode::Strict | MutualTlsMode::Permissive | MutualTlsMode::Unset => {}
        }
        if let Some((_, rule)) = reference::custom(self.plan, &attributes, false).first() {
            return refused(Reason::CustomProviderUndefined(*rule));
        }
        let verifier = self.vouching.verifier(NOW);
        let authentication = match &mut attributes.http {
            Some(http) => {
                let rules = crate::decide::token_rules(self.plan, http);
                authn::authenticate(rules, http, &verifier)
            }
            None => authn::Authentication::default(),
        };
        if let Some(error) = authentication.error {
            return refused(Reason::Jwt(error));
        }
        let identity = Identity { claims: authentication.claims.as_deref() };
        let verdict = reference::decide(self.plan, &attributes, &identity);
        let shadow = verdict.shadow.map_or(verdict.reason, |shadow| shadow.reason);
        Some(Answer { reason: verdict.reason, shadow, audited_by: verdict.audited_by })
    }

    fn token(&self, question: &Question) -> Option<String> {
        let token = question.token.as_ref()?;
        Some(self.vouching.token(&token.payload().to_string(), &token.signer, NOW))
    }
}
