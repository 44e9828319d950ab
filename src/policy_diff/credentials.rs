//! Tokens and claims that tests and token rules tell apart.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::question::{Place, Question, Token};
use super::values::{MOST_PAIRED, MOST_VALUES, Maker, Setting};
use crate::authn::Signer;
use crate::compile::normalize_audience;
use crate::model::Value;
use crate::witness::{Input, Test, boundary};

/// How many issuers tokens are made of.
const MOST_ISSUERS: usize = 24;

/// Claims of a token.
type Claims = Vec<(String, Value)>;

impl Maker<'_> {
    /// No token, and tokens of every signer at every place, with issuers, subjects and audiences.
    pub(super) fn tokens(&self, tests: &[&Test]) -> Vec<Setting> {
        let rules = || self.sides.iter().flat_map(|side| &side.plan.jwt.rules);
        let of_audience = |test: &&&Test| matches!(test.input(), Input::Claim(path) if path.first().is_some_and(|name| name == "aud"));
        let (about_audience, others): (Vec<&Test>, Vec<&Test>) =
            tests.iter().partition(|test| of_audience(test));
        let (mut issuers, mut subjects) = boundary::issuers_and_subjects(&others);
        let is_of_subject = |test: &&&Test| {
            let Input::Header(name) = test.input() else { return false };
            self.outputs.get(name).is_some_and(|path| *path == ["sub"])
        };
        let of_subject: Vec<&Test> = others.iter().filter(is_of_subject).copied().collect();
        if !of_subject.is_empty() {
            subjects.extend(boundary::texts(&of_subject));
        }
        let own: Vec<String> = rules()
            .map(|rule| rule.issuer.to_string())
            .filter(|issuer| !issuer.is_empty())
            .collect();
        if rules().any(|rule| rule.issuer.is_empty()) {
            let more = std::mem::take(&mut issuers);
            issuers = own.into_iter().chain(["issuer".to_owned()]).chain(more).collect();
        } else {
            // Others are refused, whoever they are.
            issuers = own.into_iter().chain(["unknown".to_owned()]).collect();
        }
        let string = |text: &String| Value::String(text.clone());
        let mut people = Vec::new();
        for issuer in issuers.iter().take(MOST_ISSUERS) {
            let of_issuer = |subject: Option<&String>| {
                let mut claims = vec![("iss".to_owned(), string(issuer))];
                claims.extend(subject.map(|subject| ("sub".to_owned(), string(subject))));
                claims
            };
            let all = subjects.iter().map(|subject| of_issuer(Some(subject)));
            people.extend(self.distinct(all.chain([of_issuer(None)]).collect(), &others));
        }
        if rules().any(|rule| rule.issuer.is_empty()) {
            people.push(Vec::new());
            people.push(vec![("sub".to_owned(), Value::String("user".to_owned()))]);
        }
        let mut audiences: Vec<String> =
            rules().flat_map(|rule| rule.audiences.iter().map(ToString::to_string)).collect();
        audiences.extend(boundary::texts(&about_audience));
        let claim = |value: Value| vec![("aud".to_owned(), value)];
        let mut one: Vec<Claims> = vec![Vec::new()];
        one.extend(audiences.iter().map(|audience| claim(string(audience))));
        let mut one = self.distinct(one, &about_audience);
        let values: Vec<Value> =
            one.iter().take(MOST_PAIRED).flatten().map(|(_, value)| value.clone()).collect();
        for (at, first) in values.iter().enumerate() {
            let others = values.iter().skip(at.saturating_add(1));
            one.extend(
                others.map(|second| claim(Value::List(vec![first.clone(), second.clone()]))),
            );
        }
        let audiences = self.distinct(one, &about_audience);
        let signers: BTreeSet<(Signer, Place)> = rules()
            .flat_map(|rule| {
                let signer = Signer::of(rule);
                Place::all(&rule.places).map(move |place| (signer.clone(), place))
            })
            .collect();
        // Every signer at every place: which rule looks there, and what for, are two questions.
        let places: BTreeSet<&Place> = signers.iter().map(|(_, place)| place).collect();
        let signers: BTreeSet<&Signer> = signers.iter().map(|(signer, _)| signer).collect();
        let mut all = vec![Setting::Token(None)];
        for place in &places {
            // A bad signature, where a rule would take anybody's good one.
            all.extend(people.iter().map(|person| {
                let (signer, place) = (Signer::Stranger, (*place).clone());
                Setting::Token(Some(Token { signer, place, claims: person.clone() }))
            }));
            for signer in &signers {
                for person in &people {
                    for audience in &audiences {
                        all.push(Setting::Token(Some(Token {
                            signer: (*signer).clone(),
                            place: (*place).clone(),
                            claims: [person.as_slice(), audience].concat(),
                        })));
                    }
                }
            }
        }
        all
    }

    /// One of those that tests and the audiences of token rules take alike.
    fn distinct(&self, all: Vec<Claims>, tests: &[&Test]) -> Vec<Claims> {
        let mut seen = HashSet::new();
        let rules = || self.sides.iter().flat_map(|side| &side.plan.jwt.rules);
        all.into_iter()
            .filter(|claims| {
                let mut question = Question::default();
                let (signer, place) = (Signer::Stranger, Place::Param(String::new()));
                question.token = Some(Token { signer, place, claims: (*claims).clone() });
                let Some(probe) = self.probe(&question) else { return false };
                let holds: Vec<bool> = tests.iter().map(|test| test.holds(&probe)).collect();
                let audiences: Vec<&str> = match claims.iter().find(|(name, _)| name == "aud") {
                    Some((_, Value::List(items))) => {
                        items.iter().filter_map(Value::as_str).collect()
                    }
                    Some((_, value)) => value.as_str().into_iter().collect(),
                    None => Vec::new(),
                };
                let taken: Vec<bool> = rules()
                    .map(|rule| {
                        rule.audiences.is_empty()
                            || audiences.iter().any(|audience| {
                                let audience = normalize_audience(audience);
                                rule.audiences.iter().any(|own| **own == *audience)
                            })
                    })
                    .collect();
                seen.insert((holds, taken))
            })
            .collect()
    }

    /// Values of one claim, with what is in it.
    pub(super) fn claim_values(&self, tests: &[&Test]) -> Vec<Setting> {
        let mut by_path: BTreeMap<&[String], Vec<&Test>> = BTreeMap::new();
        for test in tests {
            let path = if let Input::Claim(path) = test.input() {
                Some(path)
            } else if let Input::Header(name) = test.input() {
                self.outputs.get(name)
            } else {
                None
            };
            if let Some(path) = path {
                by_path.entry(path.get(1..).unwrap_or_default()).or_default().push(test);
            }
        }
        let mut all = vec![None];
        let mut nested: Vec<Value> = Vec::new();
        for (path, tests) in &by_path {
            let texts = boundary::texts(tests);
            if path.is_empty() {
                all.extend(texts.iter().map(|text| Some(Value::String(text.clone()))));
                continue;
            }
            // With what other paths put into it, and without.
            let before = nested.clone();
            for text in &texts {
                let value = Value::String(text.clone());
                nested.push(within(None, path, value.clone()));
                nested.push(within(None, path, Value::List(vec![value.clone()])));
                let room = MOST_VALUES.saturating_sub(nested.len());
                nested.extend(
                    before
                        .iter()
                        .take(room)
                        .map(|it| within(Some(it.clone()), path, value.clone())),
                );
            }
        }
        all.extend(nested.into_iter().map(Some));
        all.push(Some(Value::Number(1.0)));
        all.push(Some(Value::List(Vec::new())));
        all.into_iter().map(Setting::Claim).collect()
    }
}

/// A value with another one in it, at a path.
fn within(object: Option<Value>, path: &[String], value: Value) -> Value {
    let Some((name, rest)) = path.split_first() else { return value };
    let mut members = match object {
        Some(Value::Object(members)) => members,
        Some(_) | None => Vec::new(),
    };
    let at = members.iter().position(|(known, _)| known == name);
    let inner = at.map(|at| members.remove(at).1);
    members.push((name.clone(), within(inner, rest, value)));
    Value::Object(members)
}
