//! Requests at random, of the values that the generated policies are made of.

use proptest::test_runner::TestRunner;

use super::dice::Dice;
use super::edits::{AUDIENCES, CROWD, ISSUERS, KEYS, one};
use crate::authn::Signer;
use crate::decide::tests::{attributes, claims};
use crate::model::{Attributes, Value};
use crate::plan::KeySourceId;
use crate::policy_diff::question::{Place, Question, Token, json};

/// Parts that are put together anew for each request.
pub(super) struct Pool {
    attributes: Vec<Attributes<'static>>,
    claims: Vec<Vec<(String, Value)>>,
}

impl Pool {
    pub(super) fn new(runner: &mut TestRunner, size: usize) -> Self {
        let claims = (0..size).map(|_| match one(claims(), runner) {
            Some(Value::Object(members)) => members,
            _ => Vec::new(),
        });
        let claims = claims.collect();
        Self { attributes: (0..size).map(|_| one(attributes(), runner)).collect(), claims }
    }

    pub(super) fn question(&self, dice: &mut Dice, policies: usize) -> Question {
        let mut question = Question::default();
        let request = &mut question.request;
        let mut any = || dice.pick(&self.attributes);
        (request.source.ip, question.client) = (any().source_ip, any().remote_ip);
        request.destination.ip = any().destination_ip;
        request.destination.port = any().destination_port;
        request.sni = any().sni.to_string();
        request.source.principals = any().peer.names.iter().map(ToString::to_string).collect();
        request.source.principals.sort_by_key(|name| (!name.contains("://"), name.contains('=')));
        for (filter, value) in &any().filter_metadata {
            if let value @ serde_json::Value::Object(_) = json(value) {
                request.metadata.push((filter.to_string(), value));
            }
        }
        let Some(http) = &any().http else {
            request.connection = true;
            return question;
        };
        request.method = http.method.to_string();
        request.host = http.host.to_string();
        if let Some(http) = &any().http {
            request.path = http.path.to_string();
        }
        if policies >= CROWD && dice.chance(80) {
            let end = *dice.pick(&["", "/", "/x"]);
            request.path = format!("/c{}{end}", dice.below(policies));
        }
        for (name, value) in http.headers.iter() {
            if let Ok(value) = str::from_utf8(value) {
                request.headers.push((name.to_owned(), value.to_owned()));
            }
        }
        if dice.chance(60) {
            let mut claims = dice.pick(&self.claims).clone();
            let issuer = *dice.pick(ISSUERS);
            if dice.chance(80) {
                claims.retain(|(name, _)| name != "iss");
                claims.push(("iss".to_owned(), Value::String(issuer.to_owned())));
            }
            if dice.chance(50) {
                let audience = *dice.pick(AUDIENCES);
                claims.retain(|(name, _)| name != "aud");
                claims.push(("aud".to_owned(), Value::String(audience.to_owned())));
            }
            let key_issuer = if dice.chance(80) { issuer } else { dice.pick(ISSUERS) };
            let uri = dice.pick(KEYS).map(Into::into);
            let signer = Signer::Remote(KeySourceId { issuer: key_issuer.into(), uri });
            let place = if dice.chance(70) {
                Place::Header { name: "authorization".into(), prefix: "Bearer ".into() }
            } else if dice.chance(50) {
                Place::Param("access_token".into())
            } else {
                Place::Header { name: "x-t".into(), prefix: String::new() }
            };
            question.token = Some(Token { signer, place, claims });
        }
        question
    }
}
