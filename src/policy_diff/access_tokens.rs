//! Credentials that strategies of APIRules tell apart, and the keys that tokens are signed with.
//!
//! Which requests they are put in is for others.

use std::collections::BTreeSet;

use super::canonical::CanonicalTokenRule;
use super::question::{Place, Token};
use crate::authn::Signer;
use crate::model::{AccessRule, AccessStrategy, JwtAuthorization, Value};
use crate::plan::{JwtPlan, JwtRulePlan};

/// What a request brings.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Credential {
    None,
    /// Which `anonymous` tells from none.
    Other,
    Token(Token),
}

/// Credentials for the rules that decide on the two sides, the simplest first. Tokens are those of the
/// token rules of both, of each key set; `apart` is whether these rules differ. At
/// most so many; and whether these are all.
pub(super) fn credentials(
    rules: &[&AccessRule],
    token_rules: [&JwtPlan; 2],
    apart: bool,
    most: usize,
) -> (Vec<Credential>, bool) {
    let mut found = vec![Credential::None];
    let strategies = || rules.iter().flat_map(|rule| &rule.strategies);
    if strategies().any(|strategy| *strategy == AccessStrategy::Anonymous) {
        found.push(Credential::Other);
    }
    let mut demands = vec![Demands::default()];
    let accesses = || strategies().filter_map(AccessStrategy::jwt_access);
    for authorization in accesses().flat_map(|access| &access.authorizations) {
        for more in Demands::around(authorization) {
            if !demands.contains(&more) {
                demands.push(more);
            }
        }
    }
    let issuers: BTreeSet<&str> = accesses()
        .flat_map(|access| &access.authentications)
        .map(|it| it.issuer.as_str())
        .collect();
    let of_side = |plan: &JwtPlan| -> Vec<CanonicalTokenRule> {
        plan.rules.iter().map(CanonicalTokenRule::new).collect()
    };
    let of_sides = token_rules.map(of_side);
    let is_changed = |rule: &JwtRulePlan| {
        let rule = CanonicalTokenRule::new(rule);
        !of_sides.iter().all(|rules| rules.contains(&rule))
    };
    // Those first that somebody takes, or that only one side knows.
    let mut signers: Vec<(bool, &JwtRulePlan)> = token_rules
        .iter()
        .flat_map(|plan| &plan.rules)
        .map(|rule| (!(issuers.contains(&*rule.issuer) || apart && is_changed(rule)), rule))
        .collect();
    signers.sort_by_key(|(is_other, _)| *is_other);
    if !apart {
        // The keys of an issuer are as good as each other, and where nobody reads tokens all are.
        let mut known = BTreeSet::new();
        signers.retain(|(_, rule)| known.insert(&*rule.issuer));
        if accesses().next().is_none() {
            signers.truncate(1);
        }
    }
    // Which rule looks at a place, and whose tokens it takes, are two questions where they change.
    let places: BTreeSet<Place> = token_rules
        .iter()
        .flat_map(|plan| &plan.rules)
        .flat_map(|it| Place::all(&it.places))
        .collect();
    let places_of = |rule: &JwtRulePlan| -> Vec<Place> {
        let mut own: Vec<Place> = Place::all(&rule.places).collect();
        if apart {
            let others: Vec<Place> =
                places.iter().filter(|place| !own.contains(place)).cloned().collect();
            own.extend(others);
        } else {
            own.truncate(1);
        }
        own
    };
    let mut known = BTreeSet::new();
    for demands in &demands {
        known.clear();
        for (_, rule) in &signers {
            for place in places_of(rule) {
                let bad = apart.then_some(Signer::Stranger);
                for signer in [Signer::of(rule)].into_iter().chain(bad) {
                    if !known.insert((signer.clone(), rule.issuer.clone(), place.clone())) {
                        continue;
                    }
                    if found.len() >= most {
                        return (found, false);
                    }
                    found.push(Credential::Token(demands.token(&signer, rule, &place)));
                }
            }
        }
    }
    (found, true)
}

/// What a token has.
#[derive(Debug, Clone, Default, PartialEq)]
struct Demands {
    scopes: Vec<String>,
    audiences: Vec<String>,
    is_nameless: bool,
    /// Whether they are in `scp`, as a text, beside another.
    is_in_scp: bool,
}

impl Demands {
    /// What is enough for an authorization, and what lacks one thing.
    fn around(authorization: &JwtAuthorization) -> Vec<Self> {
        let JwtAuthorization { required_scopes, audiences } = authorization;
        let enough = Self {
            scopes: required_scopes.clone(),
            audiences: audiences.clone(),
            is_nameless: false,
            is_in_scp: false,
        };
        let without = |list: &[String], at: usize| {
            let others = list.iter().enumerate().filter(|(place, _)| *place != at);
            others.map(|(_, it)| it.clone()).collect()
        };
        let scopes = (0..required_scopes.len())
            .map(|at| Self { scopes: without(required_scopes, at), ..enough.clone() });
        let fewer = (0..audiences.len())
            .map(|at| Self { audiences: without(audiences, at), ..enough.clone() });
        let mut all = vec![enough.clone()];
        all.extend(scopes.chain(fewer));
        if !required_scopes.is_empty() {
            all.push(Self { is_in_scp: true, ..enough.clone() });
        }
        all.push(Self { is_nameless: true, ..enough });
        all
    }

    fn token(&self, signer: &Signer, rule: &JwtRulePlan, place: &Place) -> Token {
        let text = |text: &str| Value::String(text.to_owned());
        let issuer = if rule.issuer.is_empty() { "issuer" } else { &*rule.issuer };
        let mut claims = vec![("iss".to_owned(), text(issuer))];
        if !self.is_nameless {
            claims.push(("sub".to_owned(), text("someone")));
        }
        if !self.scopes.is_empty() {
            let scopes = self.scopes.join(" ");
            claims.push(match self.is_in_scp {
                true => ("scp".to_owned(), text(&format!("{scopes} other"))),
                false => ("scope".to_owned(), text(&scopes)),
            });
        }
        // A RequestAuthentication may ask for one of its own.
        let wanted = rule.audiences.first().map(|audience| text(audience));
        let audiences: Vec<Value> =
            self.audiences.iter().map(|audience| text(audience)).chain(wanted).collect();
        if !audiences.is_empty() {
            claims.push(("aud".to_owned(), Value::List(audiences)));
        }
        Token { signer: signer.clone(), place: place.clone(), claims }
    }
}
