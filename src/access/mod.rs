//! What the access strategies of APIRules need found out: tokens looked at, endpoints asked, headers
//! set.
//!
//! Which rule a request has, and in which order its strategies are tried, is `decide`'s job.

mod ask;
mod jwt;
mod mutate;
mod token;

pub use ask::{Answered, Ask, Asking, Introspection};
pub use mutate::{apply, hostname};

use std::sync::Arc;

use crate::authn::{Verifier, WantedKey};
use crate::decide::{Examiner, Finding};
use crate::model::{AccessStrategy, Http, Refusal};
use crate::plan::AccessRulePlan;

/// Looks at the tokens of one request.
#[derive(Debug)]
pub struct Tokens<'a> {
    http: &'a Http<'a>,
    verifier: &'a Verifier<'a>,
    introspection: Introspection<'a>,
    /// Keys that might verify what failed, if they could be had.
    pub wanted: Vec<WantedKey>,
    /// The rule whose extension providers let the request through.
    pub authorized: Option<Arc<AccessRulePlan>>,
    /// What has to be asked before the request can be decided.
    pub asks: Vec<Ask>,
    /// The strategy that decided.
    pub decided_by: Option<usize>,
}

impl<'a> Tokens<'a> {
    /// Of this request, as the rules for its tokens left it.
    pub fn new(
        http: &'a Http<'a>,
        verifier: &'a Verifier<'a>,
        introspection: Introspection<'a>,
    ) -> Self {
        let (wanted, asks) = (Vec::new(), Vec::new());
        Self { http, verifier, introspection, wanted, authorized: None, asks, decided_by: None }
    }
}

impl Examiner for Tokens<'_> {
    fn examine(&mut self, rule: &Arc<AccessRulePlan>, strategy: usize) -> Finding {
        match rule.strategies.get(strategy) {
            Some(AccessStrategy::OathkeeperJwt(config)) => {
                let keys = rule.keys.get(strategy).map(|keys| &**keys).unwrap_or_default();
                let Some(token) = token::find(&config.token_from, self.http) else {
                    return Finding::NotResponsible;
                };
                jwt::check(config, keys, &token, self.verifier, &mut self.wanted)
            }
            Some(AccessStrategy::Introspection(config)) => {
                let token = token::find(&config.token_from, self.http);
                let Some(token) = token.filter(|token| token.starts_with(&config.prefix)) else {
                    return Finding::NotResponsible;
                };
                if token.len() > self.verifier.max_token_size {
                    return Finding::Refused(Refusal::Inactive);
                }
                let answers = match self.introspection {
                    Introspection::NotHere => return Finding::Refused(Refusal::NotAsked),
                    Introspection::Answers(answers) => answers,
                };
                let ask = Ask::new(rule.clone(), strategy, token, config, self.http);
                match answers.iter().find(|answered| answered.ask == ask) {
                    Some(answered) => match answered.outcome {
                        Ok(()) => Finding::Passes,
                        Err(refusal) => Finding::Refused(refusal),
                    },
                    None => {
                        self.asks.push(ask);
                        Finding::Refused(Refusal::NoAnswer)
                    }
                }
            }
            // They come before tokens, as CUSTOM rules do: whom they refuse does not get here.
            Some(AccessStrategy::ExtAuth { .. }) => {
                let is_authorized = self
                    .authorized
                    .as_ref()
                    .is_some_and(|authorized| Arc::ptr_eq(authorized, rule));
                if is_authorized {
                    Finding::Passes
                } else {
                    Finding::Refused(Refusal::ProviderUndefined)
                }
            }
            Some(
                AccessStrategy::Allow
                | AccessStrategy::NoAuth
                | AccessStrategy::Noop
                | AccessStrategy::Anonymous
                | AccessStrategy::Unauthorized
                | AccessStrategy::Jwt(_),
            )
            | None => Finding::NotResponsible,
        }
    }

    fn decides(&mut self, strategy: usize) {
        self.decided_by = Some(strategy);
    }
}

#[cfg(test)]
mod tests;
